"""Adaptive seeds: tests that are valid at every look, the course of a study, and its queue."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks import adaptive as benchmark
from core.errors import InputError
from core.sequential import SINGLE, anytime, nominal
from core.statistics import LEVEL, Difference
from core.tracking.memory import MemoryTracker
from docs import results as pages
from experiments.loading import resolve_file
from experiments.study_output import status
from studies.adaptive import (
    FIRST,
    Contrasts,
    Looks,
    course,
    expected_runs,
    most_runs,
    results_of,
)
from studies.analysis.contrasts import BETTER, Effect, effects
from studies.analysis.effects import conclusion
from studies.definition import Study, load_study
from studies.leaderboard import Row
from studies.plan import Done, Job
from studies.report import build, document, read
from studies.running.execute import begin, grow, work
from studies.running.queue import load_queue, progress
from studies.running.storage import storage_url
from studies.table import Contrast
from tests.conftest import ROOT
from tests.studies.test_findings import board_of
from tests.studies.test_studies import FakeTraining
from variants import registry

FILE = ROOT / "experiments" / "smoke" / "adaptive.toml"
NAME = "adaptive_smoke"
STORED = ROOT / "results" / pages.ADAPTIVE
METRIC = "eval/ms_jaccard_2"
BASE = "detached · attention=full"
SAMPLED, CAUSAL = "gumbel_softmax · attention=full", "detached · attention=causal"


def plan(*overrides: str) -> Study:
    return load_study(FILE, overrides, registry(), resolve_file)


@dataclass
class Scores(FakeTraining):
    """Gumbel-softmax is clearly better, causal attention makes no difference."""

    spread: float = 0.03
    scored: Callable[[str, int], float] | None = None
    order: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, config: Any, *, tracker: Any, labels: Any, **more: Any) -> Any:
        run = super().__call__(config, tracker=tracker, labels=labels, **more)
        variant, seed = labels.tags["variant"], int(labels.tags["seed"])
        value = score(variant, seed, self.spread)
        tracker._runs[run.run_id].points[METRIC] = {1: value}
        self.order.append((variant, seed))
        return tracker.run(run.run_id)


def score(variant: str, seed: int, spread: float = 0.03) -> float:
    noise = np.random.default_rng([*variant.encode(), seed]).normal(0, spread)
    return float(0.3 + 0.4 * ("gumbel" in variant) + noise)


def done(job: Job, spread: float = 0.03, outcome: str = "ok") -> Done:
    value = score(job.variant.name, job.seed, spread)
    return Done(
        job.variant.name, job.seed, outcome, {METRIC: None if outcome == "failed" else value}
    )


def test_p_of_every_look_is_larger_and_nominal_is_its_inverse() -> None:
    assert anytime(0.03, SINGLE) == pytest.approx(0.03, rel=1e-3), "one look changes nothing"
    assert nominal(LEVEL, SINGLE) == LEVEL
    p = np.array([1e-6, 1e-4, 0.01, 0.2, 1.0])
    assert (anytime(p, 5.0) >= p).all()
    assert (np.diff(anytime(p, 5.0)) >= 0).all()
    assert anytime(nominal(0.02, 6.0), 6.0) == pytest.approx(0.02)
    found = Difference.student(0.01, 0.004, 8, 5, paired=False)
    wider = found.at_every_look(20 / 3)
    assert wider.p == pytest.approx(float(anytime(found.p, 20 / 3)))
    reach = stats.t(8).ppf(1 - nominal(LEVEL, 20 / 3) / 2) * 0.004
    assert wider.ends == pytest.approx((0.01 - reach, 0.01 + reach))
    assert wider.equivalent(0.05) > found.equivalent(0.05)


def test_a_normal_walk_exceeds_the_boundary_as_often_as_it_says() -> None:
    """Against theory, with more looks than a study has: Brownian motion between 1 and R."""
    rng, ratio = np.random.default_rng(0), 4.0
    times = np.linspace(1, ratio, 300)
    steps = np.diff(times, prepend=0.0)
    walks = (rng.normal(size=(4000, 300)) * np.sqrt(steps)).cumsum(axis=1) / np.sqrt(times)
    p = 2 * stats.norm.sf(abs(walks).max(axis=1))
    assert 0.035 < (p <= nominal(LEVEL, ratio)).mean() < 0.057


def test_the_next_seed_goes_where_it_narrows_an_open_contrast_most() -> None:
    rng = np.random.default_rng(1)
    scores = 0.5 + np.array([0.01, 0.05, 0.01])[:, None] * rng.normal(size=(1, 3, 12))
    scores[:, 2] += 0.3  # settled at the first look
    known = np.ones(scores.shape, dtype=bool)
    contrasts = Contrasts([{"b": 1.0, "a": -1.0}, {"c": 1.0, "a": -1.0}], "abc")
    now = course((scores, ~known, known), contrasts, Looks(12, 0.02))
    assert now.used[0, 2] == FIRST, "a settled row retires"
    assert list(now.open[0]) == [True, False]
    ended = known.copy()
    ended[0, 1, 5:] = False
    now = course((scores, ~known, ended), contrasts, Looks(12, 0.02), ahead=True)
    assert now.used[0, 1] == 5 > now.used[0, 0], "the row that varies more has more seeds"
    assert now.ahead[0] == (1, 5)
    assert len({*now.ahead}) == len(now.ahead)


def test_first_every_row_has_three_seeds() -> None:
    first = plan().kind.plan(())
    assert len(first.jobs) == 3 * FIRST
    assert first.open == ("generator.attention: attention=causal - attention=full",
                          "sampling: gumbel_softmax - detached")[::-1]  # fmt: skip
    assert first.contrasts is not None
    looks = Looks(6, 0.1)
    assert 3 * FIRST <= expected_runs(first.contrasts, looks) < most_runs(first.contrasts, looks)
    assert most_runs(first.contrasts, looks) == 3 * 6
    named = plan().table.contrasts
    assert [each.title for each in named] == list(first.open), "stored, for the report"


def run_alone(study: Study, broken: tuple[str, ...] = ()) -> list[Done]:
    """What a single worker does."""
    results: list[Done] = []
    while True:
        now = study.kind.plan(results)
        known = {each.key for each in results}
        jobs = [job for job in (*now.jobs, *now.ahead[:1]) if job.key not in known]
        if not jobs:
            return results
        job = jobs[0]
        results.append(done(job, outcome="failed" if job.variant.name in broken else "ok"))


def test_the_plan_depends_on_the_results_not_on_their_order() -> None:
    study = plan("study.seeds.most=10", "study.margin=0.05")
    results = run_alone(study)
    counts = {
        name: sum(each.variant == name for each in results) for name in (BASE, SAMPLED, CAUSAL)
    }
    assert counts[SAMPLED] == FIRST, "a clear winner retires"
    assert counts[BASE] > FIRST
    last = study.kind.plan(results)
    again = study.kind.plan(results[::-1])
    assert (again.jobs, again.ahead, again.open) == (last.jobs, last.ahead, last.open)
    assert not last.ahead
    assert len(last.jobs) == len(results)
    # Other workers may be ahead: their runs change nothing that the course has not reached.
    early = [each for each in results if each.seed < FIRST]
    next_job = study.kind.plan(early).ahead[0]
    further = Done(CAUSAL, 9, "ok", {METRIC: 0.9})
    assert study.kind.plan([*early, further]).ahead[0].key == next_job.key


def test_rows_whose_runs_break_do_not_go_on_for_ever() -> None:
    results = run_alone(plan(), broken=(CAUSAL,))
    assert sum(each.variant == CAUSAL for each in results) == FIRST
    assert not plan().kind.plan(results).ahead


def test_a_study_ends_when_its_contrasts_are_settled(tmp_path: Path) -> None:
    study = plan("study.seeds.most=10", "study.margin=0.05")
    tracker = MemoryTracker(tmp_path)
    url = storage_url(tracker)
    begin(study, NAME, tracker, url, "textgan study x.toml")
    state = progress(load_queue(NAME, url), study.table)
    assert len(state.open) == 2
    assert state.total == state.waiting == 3 * FIRST
    assert "open: sampling: gumbel_softmax - detached" in status(state, 1)
    work(NAME, tracker, url, training := Scores(), registry())
    alone = run_alone(study)
    assert sorted(training.order) == sorted(each.key for each in alone)
    state = progress(load_queue(NAME, url), study.table)
    assert (state.open, state.waiting, state.later) == ((), 0, 0)
    assert not grow(NAME, tracker, url, study)

    reading = read(tracker, NAME)
    found = {each.title: each for each in effects(reading.board, reading.table.contrasts)}
    better = found["sampling: gumbel_softmax - detached"]
    equal = found["generator.attention: causal - full"]
    assert (better.shown, equal.shown) == ("better, settled", "equivalent, settled")
    assert better.seeds == f"{FIRST} and {sum(v == BASE for v, _ in training.order)}"
    states = [each["state"] for each in document(reading)["contrasts"]]
    assert states == ["settled", "settled"]
    page = build(reading).markdown()
    assert "Settled: 2 of 2 contrasts." in page
    assert "valid at every look" in page


def test_a_contrast_that_stays_open_ends_with_the_most_seeds(tmp_path: Path) -> None:
    study = plan("study.margin=0.001")
    tracker = MemoryTracker(tmp_path)
    begin(study, NAME, tracker, url := storage_url(tracker), "")
    work(NAME, tracker, url, training := Scores(), registry())
    assert sum(variant == CAUSAL for variant, _ in training.order) == 6
    page = build(read(tracker, NAME)).markdown()
    assert "undecided, open" in page
    assert "Settled: 1 of 2 contrasts." in page


def test_a_row_whose_runs_all_broke_counts_in_the_report_as_in_the_plan() -> None:
    rng, looks = np.random.default_rng(0), Looks(6, 0.01)
    scores = {"a": rng.normal(0.5, 0.01, 3), "b": rng.normal(0.56, 0.02, 3)}
    board = board_of({name: list(map(float, values)) for name, values in scores.items()})
    rows = tuple(replace(row, seed_runs=dict.fromkeys(row.scores, "run")) for row in board.rows)
    broken = Row("c", None, None, 0, {}, {}, {}, None, {}, errored=frozenset(range(3)))
    contrasts = [Contrast(level=name, reference="a") for name in "bc"]
    board = replace(board, rows=rows, looks=looks, lost=(broken,))
    (found,) = effects(board, contrasts)
    results = [{seed: (value, False) for seed, value in row.scores.items()} for row in rows]
    results.append(dict.fromkeys(range(3), (np.nan, False)))
    names = [*(row.variant for row in rows), "c"]
    of_plan = Contrasts([{"b": 1.0, "a": -1.0}, {"c": 1.0, "a": -1.0}], names)
    expected = course(results_of(results, looks), of_plan, looks)  # type: ignore[arg-type]
    assert found.adjusted == pytest.approx(expected.different[0, 0])
    assert found.title == "b - a"
    (alone,) = effects(replace(board, lost=()), contrasts)
    assert alone.adjusted < found.adjusted, "one contrast of two, not of one"


def test_a_sentence_does_not_contradict_the_verdict_of_an_earlier_look() -> None:
    now = Difference.student(0.01, 0.01, 8, 5, paired=False)
    effect = Effect("", "b", "a", now, 0.03, named=True, sign=BETTER, seeds="5 and 5")
    said = conclusion(effect, [effect], higher_is_better=True)
    assert said.startswith("`b` is better than `a`, as an earlier look showed; now: No significant")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("study.seeds.most=1", r"study\.seeds\.most = 1: must be 4 or more"),
        ("study.seeds.margin=0", r"study\.seeds\.margin = 0: must be above 0"),
        ("study.seeds.margin=0.2", r"seeds\.margin is 0\.2 and margin 0\.01"),
        ('study.seeds.until="bored"', r"study\.seeds\.until = 'bored': must be 'settled'"),
        ("study.axes={sampling=['detached']}", "need two rows to compare"),
        ('study.contrasts=[{level="detached · x", reference="y"}]', "no variant 'detached · x'"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(override)


def test_only_kinds_that_compare_rows_adapt_and_they_need_a_margin(tmp_path: Path) -> None:
    text = FILE.read_text(encoding="utf-8").replace("margin = 0.01\n", "")
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"seeds\.until needs study\.margin"):
        load_study(tmp_path / "a.toml", [], registry())
    path = ROOT / "experiments" / "studies" / "modern_to_log_ratio.toml"
    seeds = ('study.seeds={until="settled"}', "study.margin=0.1")
    with pytest.raises(InputError, match="kind 'path' needs a fixed number of seeds"):
        load_study(path, seeds, registry(), resolve_file)


def check(found: dict[str, Any], slack: float) -> None:
    """What the simulation must show: at most 5% of studies have a false verdict, and the intervals
    at the stop cover 95%.
    """
    for row in found["errors"]:
        assert row["either"] <= LEVEL + slack, row
        assert row["coverage"] >= 1 - LEVEL - slack, row


def test_the_stored_simulation_keeps_what_it_promises() -> None:
    found = json.loads(STORED.read_text(encoding="utf-8"))
    assert found["repeats"] >= 2000
    assert {row["rows"] for row in found["errors"]} == {2, 4, 8}
    check(found, 2 * (LEVEL * (1 - LEVEL) / found["repeats"]) ** 0.5)
    saved = [row["saved"] for row in found["savings"]]
    assert np.mean(saved) >= 0.4


@pytest.mark.slow
def test_a_small_simulation_keeps_it_too() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # unknown variances
        check(benchmark.simulated(300, (2, 4)), slack=0.03)


SEARCH = ROOT / "experiments" / "smoke" / "search.toml"


def test_finalists_of_a_search_have_adaptive_seeds() -> None:
    seeds = ('study.seeds={until="settled", most=8}', "study.margin=0.05", "study.trials=3",
             "study.finalists=2")  # fmt: skip
    study = load_study(SEARCH, seeds, registry(), resolve_file)
    first = study.kind.plan(())
    assert (len(first.jobs), first.later) == (3, 3 * FIRST)
    ranked = study.table.ranked_by
    results = [
        Done(job.variant.name, job.seed, "ok", {study.table.metric: 0.1 * place}, {}, place == 0)
        for place, job in enumerate(first.jobs)
    ]
    finals = [job for job in study.kind.plan(results).jobs if job.arm is None]
    assert len(finals) == 3 * FIRST
    assert all(job.tested for job in finals)
    for job in finals:
        value = score("gumbel" if job.variant.name == "published" else job.variant.name, job.seed)
        results.append(Done(job.variant.name, job.seed, "ok", {ranked: value}))
    now = study.kind.plan(results)
    assert {*now.open} <= {"trial 001 - published", "trial 002 - published"}
    with pytest.raises(InputError, match="no variant 'trial 7'"):
        load_study(SEARCH, ('study.contrasts=[{level="trial 7", reference="published"}]',),
                   registry(), resolve_file)  # fmt: skip
