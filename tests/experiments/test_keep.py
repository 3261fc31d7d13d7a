"""`textgan sync` as a person meets it."""

from __future__ import annotations

import json

import pytest

from core.tracking.journal import Journal
from core.tracking.mlflow_store import open_tracker
from tests.experiments.test_cli import textgan


def test_sync_delivers_what_a_killed_process_left(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = open_tracker()
    run = tracker.start_run("a", "one", params={}, tags={})
    journal = Journal(tracker.store_dir / "journal" / f"{run.run_id}.jsonl")
    journal.metrics({"m": 1.5}, 4)
    code, out, err = textgan("sync", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out) == {"delivered": 0, "busy": [run.run_id], "away": {}}
    said = textgan("sync", capsys=capsys)[2].splitlines()
    assert said[-1] == "0 runs delivered; 1 run being written"
    journal.close()
    lock = journal.path.with_suffix(".lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()  # a place that nobody can write
    code, _, err = textgan("sync", capsys=capsys)
    assert code == 1
    assert "1 run not delivered" in err
    assert "cannot be written" in err
    lock.rmdir()
    assert json.loads(textgan("doctor", "--json", capsys=capsys)[1])["undelivered"] == 1
    code, _, err = textgan("sync", capsys=capsys)
    assert (code, err.strip()) == (0, "1 run delivered; nothing waits")
    assert tracker.history(run.run_id, "m") == [(4, 1.5)]
