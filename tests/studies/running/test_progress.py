"""Progress of a study: what is shown, what is logged, and how long the rest may take."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from experiments.study_output import status
from studies.analysis.runs import duration
from studies.running.execute import SHARE, look, to_record, watching, work
from studies.running.queue import Progress, load_queue, progress, typical_seconds
from tests.studies import test_search as search
from tests.studies.running.test_life import FEW, begun
from tests.studies.test_studies import NAME, FakeTraining, plan
from variants import registry

TABLE = search.plan("study.trial_budget={updates=2}", "study.budget={updates=10}").table
TUNING, FINAL = TABLE.tuning_seed, 1


def test_progress_is_shown_and_logged(tmp_path: Path) -> None:
    tracker, url = begun(tmp_path)
    heard: list[Progress] = []
    parent = tracker.continue_run(load_queue(NAME, url).user_attrs["parent_run_id"])
    log = to_record(parent, 1)

    def watch(state: Progress) -> None:
        heard.append(state)
        log(state)

    with watching(NAME, url, plan(*FEW).table, watch):
        work(NAME, tracker, url, FakeTraining(), registry())
    assert heard[-1].done == 8
    assert heard[-1].best_variant == "noise · gumbel_softmax · full"
    last = tracker.run(parent.run_id).metrics
    assert (last["study/runs_ended"], last["study/runs_planned"]) == (8, 8)
    assert last["study/best"] == heard[-1].best
    assert last["study/seconds_left"] == 0


def test_a_look_that_costs_much_is_had_seldom(tmp_path: Path) -> None:
    _, url = begun(tmp_path)

    def slow(_: Progress) -> None:
        before = time.thread_time()
        while time.thread_time() - before < 0.03:
            pass

    queue, table = load_queue(NAME, url), plan(*FEW).table
    assert look(queue, table, slow) >= 0.03 * SHARE


def test_progress_in_words() -> None:
    state = Progress(3, 1, 2, 4, later=2, best=0.5, best_variant="x", work_left=420.0)
    assert (state.total, state.seconds_left(2)) == (12, 210.0)
    assert status(state, 2) == "best 0.5000 (x), 1 ended with an error, about 3.5 min left"
    assert status(Progress(0, 0, 0, 3), 1) == ""
    assert [duration(s) for s in (5, 600, 9000)] == ["5 s", "10.0 min", "2.5 h"]


@pytest.mark.parametrize(
    ("ended", "running", "seconds"),
    [
        ([], [900.0], None),
        ([480.0], [300.0, 10.0], 480.0),
        ([480.0], [900.0, 900.0], 900.0),
        ([480.0, 1200.0, 1300.0], [900.0, 1250.0], 1225.0),
    ],
)
def test_a_run_under_way_that_takes_longer_counts(
    ended: list[float], running: list[float], seconds: float | None
) -> None:
    assert typical_seconds(ended, running) == seconds


def job(number: int, variant: str, seed: int, seconds: float | None = None) -> FrozenTrial:
    """One that took so many seconds; without them, one that waits."""
    begin = None if seconds is None else datetime(2026, 1, 1)
    end = begin and begin + timedelta(seconds=seconds or 0.0)
    state, value = (TrialState.COMPLETE, 1.0) if begin else (TrialState.WAITING, None)
    return FrozenTrial(
        number, state, value, begin, end, {}, {}, {"variant": variant, "seed": seed}, {}, {}, number
    )


def of_jobs(monkeypatch: pytest.MonkeyPatch, rows: set[str], *jobs: FrozenTrial) -> Progress:
    """The progress of a search with these jobs and rows, and two finalists to come."""
    monkeypatch.setattr("studies.running.queue.planned", lambda _: jobs)
    queue = SimpleNamespace(user_attrs={"variant_run_ids": dict.fromkeys(rows), "later": 2})
    return progress(cast("optuna.Study", queue), TABLE)


def test_finalists_are_expected_to_take_as_much_longer_as_their_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They have five times the updates of trials, which took a minute."""
    ended = job(0, "trial 000", TUNING, 60.0)
    found = of_jobs(monkeypatch, set(), ended, job(1, "trial 001", TUNING))
    assert (found.next_seconds, found.later_seconds) == (60, 300)
    assert found.work_left == 60 + 2 * 300
    found = of_jobs(monkeypatch, {"published"}, ended, job(1, "published", FINAL))
    assert (found.next_seconds, found.work_left) == (300, (1 + 2) * 300)


def test_how_long_finalists_take_is_measured_once_one_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = job(0, "trial 000", TUNING, 60.0), job(1, "trial 000", FINAL, 400.0)
    assert of_jobs(monkeypatch, {"trial 000"}, *jobs).later_seconds == 400


def test_the_trial_that_became_a_finalist_counts_as_a_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = job(0, "trial 000", TUNING, 60.0), job(1, "trial 000", FINAL)
    assert of_jobs(monkeypatch, {"trial 000"}, *jobs).next_seconds == 300
