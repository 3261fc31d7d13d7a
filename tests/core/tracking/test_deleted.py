"""What people delete, restore and rename in MLflow's UI, while runs are written and afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import DeletedError, InputError, listed
from core.tracking import delivery
from core.tracking.mlflow_store import MlflowTracker, open_tracker
from core.tracking.protocol import NONE, study_run
from experiments.deletion import restore

MANY = 1_005  # more than one page


@pytest.fixture(params=["database", pytest.param("server", marks=pytest.mark.slow)])
def tracker(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MlflowTracker:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", 0.05)
    if request.param == "database":
        return open_tracker(f"sqlite:///{tmp_path}/store/mlflow.db")
    return open_tracker(f"http://127.0.0.1:{request.getfixturevalue('upstream')}")


def delete_experiment(tracker: MlflowTracker, name: str) -> None:
    client = tracker.store.client
    client.delete_experiment(client.get_experiment_by_name(name).experiment_id)


def test_what_is_deleted_waits_and_arrives_after_a_restore(tracker: MlflowTracker) -> None:
    def by_run(run_id: str) -> str:
        tracker.trash().mark([run_id])
        return run_id

    def by_experiment(run_id: str) -> str:
        delete_experiment(tracker, "e")
        return "e"

    ways: list[Callable[[str], str]] = [by_run, by_experiment]
    for way in ways:
        run = tracker.start_run("e", "one", params={"a": 1}, tags={"level": "run"})
        run.log_metrics({"m": 1.0}, 0)
        assert run.flush()
        key = way(run.run_id)
        run.log_metrics({"m": 2.0}, 1)
        run.finish("ok")
        assert "textgan runs restore" in str(run.rejected)
        assert tracker.gone([run.run_id]) == {run.run_id}
        assert list(tracker.sync().away) == [run.run_id]
        with pytest.raises(DeletedError, match="textgan runs restore"):
            tracker.continue_run(run.run_id)
        restore(tracker, [key])
        assert not tracker.sync().away
        assert tracker.undelivered() == []
        record = tracker.run(run.run_id)
        assert (record.status, record.outcome) == ("FINISHED", "ok")
        assert tracker.history(run.run_id, "m") == [(0, 1.0), (1, 2.0)]


def test_no_run_begins_in_a_deleted_experiment(tracker: MlflowTracker) -> None:
    tracker.start_run("f", "one", params={}, tags={}).flush()
    delete_experiment(tracker, "f")
    for each in (tracker, open_tracker(tracker.uri)):  # one that knows the experiment, one that not
        with pytest.raises(DeletedError, match="experiment 'f' is deleted; restore it"):
            each.start_run("f", "two", params={}, tags={})
    assert "f" not in tracker.experiments()
    assert "f" in tracker.experiments(deleted=True)
    away = tracker._run("ab" * 16)  # begun while the store was away
    away.begin("f", "three", {}, None)
    away.finish("ok")
    assert "experiment 'f' is deleted" in str(away.rejected)
    assert tracker.gone([away.run_id]) == set(), "it was never in the store"
    with pytest.raises(InputError, match=r"no deleted run or study 'x'; deleted: .*f"):
        restore(tracker, ["x"])
    restore(tracker, ["f"])
    assert not tracker.sync().away
    assert {run.name for run in tracker.runs("f")} == {"one", "three"}


def test_a_run_that_was_removed_for_good_is_named(tracker: MlflowTracker) -> None:
    run = tracker.start_run("g", "one", params={}, tags={})
    assert run.flush()
    unknown = tracker._run("f" * 32)  # as after `mlflow gc`
    unknown.finish("ok")
    assert "kept in" in str(unknown.rejected)
    with pytest.raises(DeletedError, match="removed from the store for good"):
        tracker.continue_run("f" * 32)
    assert tracker.gone([run.run_id, "f" * 32]) == {"f" * 32}


def test_a_renamed_study_is_found_under_both_names_and_gets_its_runs(
    tracker: MlflowTracker,
) -> None:
    parent = tracker.start_run("old", "old", params={}, tags={"level": "study", "study": "old"})
    assert parent.flush()
    client = tracker.store.client
    client.rename_experiment(client.get_experiment_by_name("old").experiment_id, "it's new")
    client.update_run(parent.run_id, name="edited")
    for name in ("old", "it's new"):
        found = study_run(tracker, name)
        assert (found.run_id, found.experiment, found.study) == (parent.run_id, "it's new", "old")
    child = tracker.start_run("old", "c", params={}, tags={}, parent_id=parent.run_id,
                              identity="cd" * 16)  # fmt: skip
    assert child.flush()
    again = tracker.start_run("old", "c", params={}, tags={}, parent_id=parent.run_id,
                              identity="cd" * 16)  # fmt: skip
    assert again.flush()
    assert again.run_id == child.run_id
    assert {run.name for run in tracker.runs("it's new")} == {"edited", "c"}
    assert "old" not in tracker.experiments(deleted=True)


@pytest.mark.parametrize("through", ["sql", "client"])
def test_every_page_is_read(through: str, tmp_path: Path) -> None:
    tracker = open_tracker(f"sqlite:///{tmp_path}/mlflow.db")
    tracker.start_run("many", "first", params={}, tags={"level": "study"}).flush()
    home = tracker.store.experiment_id("many")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        for table, key, rows in (
            ("experiments", "experiment_id", [(10**6 + n, f"x{n:05d}") for n in range(MANY)]),
            ("runs", "run_uuid", [(f"{n:032x}", f"r{n:05d}") for n in range(MANY)]),
        ):
            names = [each[1] for each in database.execute(f"PRAGMA table_info({table})")]
            others = [name for name in names if name not in (key, "name")]
            chosen = ", ".join(others)
            database.executemany(
                f"INSERT INTO {table} ({key}, name, {chosen}) "
                f"SELECT ?, ?, {chosen} FROM {table} WHERE experiment_id = {home} LIMIT 1",
                rows,
            )
    if through == "client":
        tracker.sql = None
    assert len(tracker.experiments()) == MANY + 1
    assert len(tracker.runs("many", columns=NONE)) == MANY + 1
    known = [f"{n:032x}" for n in range(MANY)]
    assert tracker.gone([*known, "absent"]) == {"absent"}
    tracker.trash().mark(known[:1])
    assert [each.run_id for each in tracker.trash().leftovers()] == known[:1]
    with pytest.raises(InputError) as caught:
        tracker.run("r")
    assert len(str(caught.value)) < 300


def test_a_message_names_ten_and_counts_the_others() -> None:
    names = [f"n{k}" for k in range(300)]
    assert listed(names[:2]) == "n0, n1"
    assert listed([]) == "none yet"
    assert listed(names).endswith("n9 and 290 more")
