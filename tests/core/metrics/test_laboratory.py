"""The laboratory finds planted faults as often as an exactly known metric does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from scipy import stats

from core.metrics import plugins
from core.metrics.catalogue import CATALOGUE, GROUPS, TEXT_GROUPS
from core.metrics.fault_sources import GrammarText, Law, Source
from core.metrics.faults import FAULTS, Fault
from core.metrics.laboratory import (
    DOSES,
    POWER,
    SHOWN,
    Effort,
    Laboratory,
    TextTable,
    drift,
    effort_of,
    measure,
    null_of,
)
from core.metrics.ngrams import Sentence
from core.text.grammar import grammar

N, SHARE, REPEATS = 200, 0.1, 100


class Coins:
    """Sentences `heads` with probability SHARE, else `tails`."""

    real = Law(lambda n, rng: [["heads" if x < SHARE else "tails"] for x in rng.random(n)])


def tails(text: Sequence[Sentence], groups: Sequence[str]) -> dict[str, float | None]:
    return {"unique": sum(sentence == ["tails"] for sentence in text) / len(text)}


ALL_HEADS = Fault("", replace=lambda source, stays: Law(lambda n, rng: [["heads"]] * n))


def exact_power(dose: float, low: float) -> float:
    """P(share of tails < low) if a share `dose` of N sentences becomes heads."""
    left = N - round(dose * N)
    return float(stats.binom.cdf(math.ceil(low * N - 1e-9) - 1, left, 1 - SHARE))


def test_a_planted_fault_is_found_at_the_dose_that_theory_says() -> None:
    effort = Effort(null=199, fresh=400, repeats=REPEATS)
    lab = Laboratory(cast(Source, Coins()), N, {"unique": effort}, tails)
    null = lab.nulls["unique"]
    assert null.low is not None
    assert null.high is None
    assert null.mean == pytest.approx(1 - SHARE, abs=0.006)
    alarms = exact_power(0, null.low)
    assert null.false_alarms == pytest.approx(alarms, abs=4 * math.sqrt(alarms / 400))
    seen = lab.try_fault(ALL_HEADS)["unique"]
    error = 4 * math.sqrt(0.25 / REPEATS)
    assert seen.power == pytest.approx(exact_power(SHOWN, null.low), abs=error)
    assert seen.smallest is not None
    lower = DOSES[DOSES.index(seen.smallest) + 1]
    assert exact_power(seen.smallest, null.low) > POWER - error
    assert exact_power(lower, null.low) < POWER + error
    assert seen.trend == "falls"


def test_a_metric_does_not_see_what_it_cannot_and_no_improvement() -> None:
    effort = Effort(null=99, fresh=20, repeats=10)
    lab = Laboratory(cast(Source, Coins()), N, {"unique": effort}, tails)
    nothing = Fault("", rewrite=lambda words, source, rng: words)
    assert lab.try_fault(nothing)["unique"].smallest is None
    better = Fault("", replace=lambda source, stays: Law(lambda n, rng: [["tails"]] * n))
    found = lab.try_fault(better)["unique"]
    assert (found.smallest, found.power, found.trend) == (None, 0, "rises")


@pytest.mark.parametrize(("direction", "sides"), [("lower", 1), ("higher", 1), ("near", 2)])
@pytest.mark.parametrize("count", [39, 99])
def test_false_alarms_are_five_percent_on_average(direction: Any, sides: int, count: int) -> None:
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(300):
        values = rng.exponential(size=count).tolist()
        null = null_of(values, rng.exponential(size=100).tolist(), direction, 1)
        rates.append(null.false_alarms)
    exact = sides * math.floor(0.05 * (count + 1) / sides) / (count + 1)
    assert exact <= 0.05
    error = float(np.std(rates)) / math.sqrt(300)
    assert np.mean(rates) == pytest.approx(exact, abs=4 * error)


def test_too_few_real_samples_make_no_test() -> None:
    with pytest.raises(ValueError, match="38 real samples are too few for a test at 5%"):
        null_of([0.0] * 38, [0.0], "near", 1)
    assert null_of([0.0] * 19, [0.0], "lower", 1).sees(None)


def test_every_group_can_be_tried() -> None:
    for group in TEXT_GROUPS:
        for n in (100, 10_000):
            effort = effort_of(group, n)
            null_of([0.0] * effort.null, [0.0], "lower", effort.repeats)
    table = TextTable("grammar")
    source = GrammarText(grammar("easy"))
    for n in (20, 40):
        measure(table, source, n, ["length", "unique"], ["truncation"])
    assert [*table.sheets] == [20, 40]
    assert set(table.sheets[20].real) == {"length", "unique"}
    assert table.sheets[40].faults["truncation"]["length"].smallest in DOSES
    assert table.sheets[40].faults["truncation"]["length"].trend == "falls"
    assert len(table.planted["truncation"]) == len(DOSES)
    found = drift(table, "length")
    assert found is not None
    assert abs(found) < 1
    assert drift(table, "bleu_2") is None
    assert set(FAULTS) > {"truncation"}


def test_a_metric_of_a_plug_in_can_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    for known in (plugins.PLUGINS, CATALOGUE, GROUPS):
        monkeypatch.setitem(cast("dict[str, Any]", known), "longest", None)  # removed at the end
    longest = plugins.PluginMetric(
        lambda samples, references: float(max(map(len, samples))), "words of the longest", "near"
    )
    plugins.register("longest", longest)
    table, source = TextTable("grammar"), GrammarText(grammar("easy"))
    measure(table, source, 20, ["longest"], ["truncation", "swapped_neighbours"])
    faults = table.sheets[20].faults
    assert faults["truncation"]["longest"].smallest in DOSES
    assert faults["swapped_neighbours"]["longest"].smallest is None
