"""Human ratings: reproducible questions, agreement against Krippendorff's own example."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from core.errors import InputError
from core.tracking.memory import MemoryTracker
from studies.ratings import (
    REAL,
    TIE,
    Answer,
    agreement,
    answers,
    cohen,
    comparisons,
    correlations,
    file_of,
    keep,
    krippendorff,
    people,
    preferences,
    sections_of,
    session,
)
from studies.sections import Section

SENTENCES = {name: [f"{name} {i}" for i in range(30)] for name in ("a", "b", "c", REAL)}


def test_agreement_is_krippendorffs_published_example() -> None:
    # Krippendorff (2011), section C: nominal data, four observers, twelve units, alpha .743.
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    units = [[str(o[i]) for o in observers if o[i] is not None] for i in range(12)]
    assert krippendorff(units) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff([["a", "a"], ["b", "b"]]) == 1
    assert krippendorff([["a", "a"], ["a", "a"]]) is None


def test_raters_get_the_same_comparisons_in_their_own_order() -> None:
    made = comparisons("s", "better", SENTENCES, 60)
    assert made == comparisons("s", "better", SENTENCES, 60)
    assert made != comparisons("t", "better", SENTENCES, 60)
    pairs = Counter((c.first_source, c.second_source) for c in made)
    assert set(pairs.values()) == {20}
    assert all(REAL not in pair for pair in pairs)
    assert all(c.second_source == REAL for c in comparisons("s", "real", SENTENCES, 9))
    ada, bob = session(made, "ada"), session(made, "bob")
    assert ada == session(made, "ada")
    assert [c.number for c, _ in ada] != [c.number for c, _ in bob]
    assert sorted(c.number for c, _ in ada) == list(range(60))
    assert 15 < sum(swapped for _, swapped in ada) < 45
    with pytest.raises(InputError, match="too few sources"):
        comparisons("s", "better", {"a": ["x"]}, 3)


def answer(rater: str, number: int, preferred: str) -> Answer:
    return Answer("s", "better", rater, number, "a", "b", preferred)


def test_one_answer_is_no_preference_of_people() -> None:
    (found, _) = preferences([answer("r", 0, "a")]).values()
    assert found.value == 1
    assert found.low < 0.5 < found.high == 1
    ten = preferences([answer("r", number, "a") for number in range(10)])["a"]
    assert 0.5 < ten.low < 0.9


def test_preferences_agreement_and_correlation(tmp_path: Path) -> None:
    for number in range(40):
        keep(tmp_path, answer("ada", number, "a" if number % 4 else "b"))
        keep(tmp_path, answer("bob", number, "a" if number % 5 else TIE))
    keep(tmp_path, answer("ada", 1, TIE))  # she changed her mind
    given = answers(tmp_path, "s")
    assert len(given) == 80
    found = preferences(given)
    expected = (29 + 0.5 + 32 + 8 * 0.5) / 80
    assert found["a"].value == pytest.approx(expected)
    assert found["a"].low < expected < found["a"].high
    assert found["a"].value + found["b"].value == pytest.approx(1)
    agreed = agreement(given)
    assert agreed is not None
    assert agreed.low <= agreed.value <= agreed.high
    assert agreement([a for a in given if a.rater == "ada"]) is None
    assert cohen([a for a in given if a.rater == "ada"]) is None
    rho, p, n = correlations(
        {"a": 0.6, "b": 0.5, "c": 0.1}, {v: {"m": x} for v, x in zip("abc", (1, 2, 3), strict=True)}
    )["m"]
    assert (rho, n) == (-1, 3)
    assert p == pytest.approx(2 / 6)  # two of the six orders
    assert answers(tmp_path, "other") == []
    file_of(tmp_path, "s").parent.rename(tmp_path / "judgements")  # of an earlier version
    assert answers(tmp_path, "s") == given
    keep(tmp_path, answer("ada", 0, "a"))
    assert answers(tmp_path, "s")[0].preferred == "a"


def test_p_of_a_rank_correlation_is_that_of_all_orders() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        x, y = rng.integers(0, 4, (2, 6)).astype(float)
        people = {str(i): value for i, value in enumerate(x)}
        metric = {str(i): {"m": value} for i, value in enumerate(y)}
        rho, p, _ = correlations(people, metric)["m"]
        orders = [spearmanr(x, order).statistic for order in permutations(y)]
        assert p == pytest.approx(np.mean(np.abs(orders) >= abs(rho) - 1e-9))


def test_few_variants_agree_by_chance_and_a_negative_rho_is_disagreement() -> None:
    def found(variants: int, rho: float) -> Section:
        p = 2 / math.factorial(variants)
        one = {"rho": rho, "p": p, "p_adjusted": p, "variants": variants}
        related = {"eval/bleu_4": one}
        answered = {"answers": 0, "correlations": related}
        return next(sections_of(answered))

    assert not found(3, 1.0).findings
    assert "no correlation can be significant" in found(3, 1.0).values["few"]
    assert found(5, 1.0).findings == ["Metrics that rank as people do: `eval/bleu_4`."]
    assert not found(5, -1.0).findings


def test_kappa_is_sklearns_and_its_mean_over_pairs() -> None:
    rng = np.random.default_rng(0)
    said = rng.choice(["a", "b", TIE], (3, 60), p=[0.5, 0.3, 0.2])
    said[1] = np.where(rng.random(60) < 0.6, said[0], said[1])
    raters = dict(zip(("ada", "bob", "cy"), said, strict=True))
    given = [answer(r, i, str(x)) for r, row in raters.items() for i, x in enumerate(row) if i > 4]
    two = cohen([one for one in given if one.rater != "cy"])
    assert two is not None
    assert two.value == pytest.approx(cohen_kappa_score(said[0, 5:], said[1, 5:]), abs=1e-12)
    assert two.low < two.value < two.high
    three = cohen(given)
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([cohen_kappa_score(said[i, 5:], said[j, 5:]) for i, j in pairs])
    assert three is not None
    assert three.value == pytest.approx(expected, abs=1e-12)
    assert cohen([answer(r, i, "a") for r in raters for i in range(9)]) is None


def test_tossing_a_coin_is_no_agreement_however_many_variants_there_are() -> None:
    rng, names = np.random.default_rng(1), [f"v{i}" for i in range(12)]
    given = []
    for number in range(600):
        first, second = rng.choice(names, 2, replace=False)
        for rater in ("ada", "bob"):
            chosen = str(rng.choice([first, second]))
            given.append(Answer("s", "better", rater, number, str(first), str(second), chosen))
    for found in (agreement(given), cohen(given)):
        assert found is not None
        assert found.low < 0 < found.high
        assert abs(found.value) < 0.1


def test_a_report_has_preferences_and_the_metrics_that_agree(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    tracker.start_run("s", "s", params={}, tags={"level": "study"})
    reading = SimpleNamespace(tracker=tracker, board=SimpleNamespace(study="s"))
    assert not [*people(reading)]  # type: ignore[arg-type]
    for place, variant in enumerate(("a", "b", "c")):
        tags = {"level": "seed", "variant": variant, "seed": "0"}
        run = tracker.start_run("s", variant, params={}, tags=tags)
        run.log_metrics({"eval/m": float(place), "train/loss": 1.0}, 1)
        run.finish("ok")
    for number in range(30):
        first, second = ("ab", "bc", "ac")[number % 3]
        keep(tmp_path, Answer("s", "better", "ada", number, first, second, first))
    preferred, metrics = people(reading)  # type: ignore[arg-type]
    assert [row[:2] for row in preferred.rows] == [["a", "1"], ["b", ".5"], ["c", "0"]]
    assert preferred.findings == ["People prefer the sentences of `a`."]
    assert "30 answers of 1 rater" in preferred.explanation
    assert preferred.figures["preferences"]().axes
    assert [row[:2] for row in metrics.rows] == [["eval/m", "-1.00"]]
    assert "With 3 variants no correlation can be significant." in metrics.explanation
