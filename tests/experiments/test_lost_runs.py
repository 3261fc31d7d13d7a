"""Runs and studies that people delete, restore or rename while they train, and afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from core.errors import DeletedError, InputError, MachineError
from core.tracking.mlflow_store import MlflowTracker, open_tracker
from experiments import study_session
from experiments.deletion import restore
from experiments.single_run.run import run
from experiments.study_session import begin_or_join, complete, find_study
from experiments.study_worker import take_runs
from studies.leaderboard import Leaderboard
from studies.plan import NO_LIMIT
from studies.report import Report
from studies.running.execute import load_queue
from tests.conftest import tiny
from tests.studies.test_studies import FILE, FakeTraining

SMALL = ["study.name=a", "study.axes.next_input=['noise']", "study.axes.noise_mapping=['full']",
         "corpus.sentences=300"]  # fmt: skip


def delete_experiment(tracker: MlflowTracker, name: str) -> None:
    client = tracker.store.client
    client.delete_experiment(client.get_experiment_by_name(name).experiment_id)


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_a_run_that_is_deleted_while_it_trains_is_not_called_recorded(
    what: str, tmp_path: Path
) -> None:
    tracker = open_tracker()
    begun: list[str] = []

    def report(step: int, total: int | None, values: Mapping[str, float | None]) -> None:
        if not tracker.gone(begun):
            if what == "experiment":
                delete_experiment(tracker, "runs")
            else:
                tracker.trash().mark(begun)

    with pytest.raises(MachineError, match=r"is not recorded: .*textgan runs restore"):
        run(tiny(), tracker=tracker, report=report, started=begun.append)
    with pytest.raises(DeletedError):
        run(None, tracker=tracker, resume=begun[0])
    restore(tracker, ["runs"] if what == "experiment" else begun)
    result = run(None, tracker=tracker, resume=begun[0])
    record = tracker.run(begun[0])
    assert (record.status, record.outcome) == ("FINISHED", result.outcome)
    assert [step for step, _ in tracker.history(begun[0], "eval/unique")] == [0, 2, 4]
    assert tracker.undelivered() == []


def session(source: str, *, resume: bool) -> Leaderboard:
    """`textgan study`, with a stand-in for training."""
    found = find_study(source, SMALL if source.endswith(".toml") else [], None, None, resume=resume)
    found = begin_or_join(found, "textgan study", NO_LIMIT, resume=resume)
    return complete(found, 1, None, None)[0]


@pytest.mark.slow
def test_a_study_survives_what_people_do_to_its_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study_session, "run", training := FakeTraining())
    monkeypatch.setattr(Report, "write", lambda _, folder, *__: folder.mkdir(parents=True))
    board = session(str(FILE), resume=False)
    assert (board.study, board.runs) == ("a", 2)
    tracker = open_tracker()
    client = tracker.store.client
    client.rename_experiment(client.get_experiment_by_name("a").experiment_id, "b")
    for name in ("a", "b"):
        seed = next(iter(session(name, resume=True).rows[0].seed_runs.values()))
        training.seen.clear()
        tracker.trash().mark([seed])
        again = session(name, resume=True)
        assert len(training.seen) == 1, "the deleted seed alone is trained again"
        assert "to be trained again: 1 run" in capfd.readouterr().err
        assert (again.study, again.runs, len(again.rows)) == ("b", 2, 2)
    assert {run.status for run in tracker.runs("b")} == {"FINISHED"}

    delete_experiment(tracker, "b")
    for name in ("a", "b"):
        with pytest.raises(InputError, match=rf"study '{name}' is deleted; .*restore b"):
            session(name, resume=True)
    with pytest.raises(DeletedError, match="study 'a' is deleted"):
        take_runs("a", study_session.storage_url(tracker), tracker, None)
    assert session(str(FILE), resume=False).study == "a-2", "its queue still has the name a"
    restore(tracker, ["b"])
    assert session("a", resume=True).document()["leaderboard"] == board.document()["leaderboard"]

    def deletes(variant: str, seed: int) -> None:
        if "a-3" in open_tracker().experiments():
            delete_experiment(tracker, "a-3")

    training.breaks = deletes
    with pytest.raises(InputError, match="study 'a-3' is deleted"):
        session(str(FILE), resume=False)
    assert load_queue("a-3", study_session.storage_url(tracker)).trials
