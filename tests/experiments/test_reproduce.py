"""A run again from the store: the same numbers, or what differs by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.tracking.memory import MemoryRun, MemoryTracker
from core.tracking.protocol import RunLabels
from experiments.cli import status
from experiments.reproduce import Compared, _compare, prediction_interval, reproduce
from experiments.single_run.run import run
from experiments.single_run.session import Result
from tests.conftest import tiny


def stored(tracker: MemoryTracker, run_id: str) -> MemoryRun:
    return tracker._runs[run_id]


def test_a_run_agrees_with_itself_and_with_a_changed_record_it_does_not(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    first = run(tiny("train.updates=2"), tracker=tracker)
    found = reproduce(tracker, first.run_id)
    assert found.verdict == "identical"
    assert found.differs == {}
    assert found.run_id != first.run_id
    assert {row.verdict for row in found.metrics} == {"identical"}
    again = tracker.run(found.run_id)
    assert again.experiment == "reproductions"
    assert (again.tags["reproduces"], again.tags["agrees"]) == (first.run_id, "identical")

    record = stored(tracker, first.run_id)
    record.points["eval/unique"][0] += 1e-12  # an early evaluation, in the last digit
    record.tags |= {"versions": record.tags["versions"].replace("torch=", "torch=1."),
                    "corpus": "0" * 64, "git_commit": "abc"}  # fmt: skip
    found = reproduce(tracker, first.run_id)
    assert found.verdict == "unknown", "one run has no interval"
    assert {row.metric for row in found.metrics if row.verdict != "identical"} == {"eval/unique"}
    assert set(found.differs) >= {"torch", "data", "commit"}
    assert found.differs["torch"][0].startswith("1.")


def test_a_stored_run_that_was_trained_stacked_cannot_be_repeated_and_says_so(
    tmp_path: Path,
) -> None:
    tracker = MemoryTracker(tmp_path)
    first = run(tiny("train.updates=1"), tracker=tracker, labels=RunLabels(tags={"stacked": "2"}))
    with pytest.raises(InputError, match=r"with 1 other run.*cannot be repeated"):
        reproduce(tracker, first.run_id)


def test_other_seeds_say_how_far_another_run_may_lie(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    tags = {"study": "s", "variant": "v", "level": "seed"}
    first = run(tiny("train.updates=1"), tracker=tracker, labels=RunLabels("s", tags=tags))
    for seed, value in enumerate((0.0, 1.0)):
        other = tracker.start_run("s", f"other {seed}", params={}, tags=tags)
        other.log_metrics(dict.fromkeys(first.metrics, value), 1)
        other.finish("ok")
    record = stored(tracker, first.run_id)
    record.points["eval/unique"][1] -= 0.01
    found = reproduce(tracker, first.run_id)
    (row,) = (row for row in found.metrics if row.metric == "eval/unique")
    assert row.verdict == "within"
    assert found.verdict == "within"
    for number, run_ in enumerate(tracker._runs.values()):
        if run_.experiment == "s":
            run_.points["eval/unique"] = {1: 7.0 + 0.01 * number}
    found = reproduce(tracker, first.run_id)
    assert found.verdict == "outside"


def of_variant(tmp_path: Path, *values: dict[str, float]) -> tuple[MemoryTracker, list[MemoryRun]]:
    """A store with a run of one variant for each of the values at update 1; all have ended."""
    tracker, runs = MemoryTracker(tmp_path), []
    for seed, metrics in enumerate(values):
        tags = {"study": "s", "variant": "v", "level": "seed"}
        runs.append(tracker.start_run("s", f"seed {seed}", params={}, tags=tags))
        runs[-1].log_metrics(metrics, 1)
        runs[-1].finish("ok")
    return tracker, runs


def compared(tracker: MemoryTracker, again: dict[str, float | None]) -> dict[str, Compared]:
    """The rows of a comparison of the first run with one that has these values."""
    new = tracker.start_run("reproductions", "again", params={}, tags={})
    new.log_metrics(again, 1)
    result = Result(new.run_id, "ok", 1, 1.0, again)
    first = next(run for run in tracker.runs("s"))
    return {row.metric: row for row in _compare(tracker, first, result)}


def test_intervals_of_many_metrics_miss_none_in_95_of_100(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"eval/metric_{i}" for i in range(40)]

    def values() -> dict[str, float]:
        return dict(zip(names, rng.normal(size=40), strict=True))

    tracker, _ = of_variant(tmp_path, *(values() for _ in range(6)))
    outside = 0
    for _ in range(60):
        rows = compared(tracker, {**values()})
        outside += any(row.verdict == "outside" for row in rows.values())
    assert outside <= 9, "of 60; 3 are expected, and 50 with intervals that are not adjusted"


def test_runs_without_a_result_have_no_say(tmp_path: Path) -> None:
    seen = [{"eval/unique": value} for value in (0.5, 0.51, 0.52, 90.0, -90.0)]
    tracker, runs = of_variant(tmp_path, *seen)
    runs[3].finish("killed")
    del runs[4].tags["outcome"]  # still running
    row = compared(tracker, {"eval/unique": 0.9})["eval/unique"]
    assert row.verdict == "outside"
    assert (row.low, row.high) == prediction_interval([0.5, 0.51, 0.52]).ends


def test_seeds_with_equal_values_say_nothing_about_another_value(tmp_path: Path) -> None:
    seen = [{"eval/valid": 0.0, "eval/unique": value} for value in (0.5, 0.51, 0.52)]
    tracker, _ = of_variant(tmp_path, *seen)
    rows = compared(tracker, {"eval/valid": 0.001, "eval/unique": 0.53})
    assert {name: row.verdict for name, row in rows.items()} == {
        "eval/valid": "unknown", "eval/unique": "within"
    }  # fmt: skip
    assert rows["eval/valid"].low is None
    assert rows["eval/unique"].high == prediction_interval([0.5, 0.51, 0.52]).high, "one metric"


def test_a_metric_that_is_gone_does_not_agree(tmp_path: Path) -> None:
    seen = {"eval/unique": 0.5, "eval/valid": 0.7, "train/loss": 1.0, "real/unique": 0.9}
    tracker, _ = of_variant(tmp_path, seen)
    rows = compared(tracker, {"eval/unique": 0.5, "eval/valid": None})
    assert {name: row.verdict for name, row in rows.items()} == {
        "eval/unique": "identical", "eval/valid": "outside"
    }  # fmt: skip
    rows = compared(tracker, {"eval/unique": 0.5})
    assert (rows["eval/valid"].then, rows["eval/valid"].now) == (0.7, None)
    assert rows["eval/valid"].verdict == "outside"


def test_a_prediction_interval_lies_within_the_interval_in_95_of_100() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, size=(4000, 6))
    hits = []
    for *seen, new in values:
        where = prediction_interval(seen)
        hits.append(where.low <= new <= where.high)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.01)


def test_what_cannot_be_reproduced_gets_words(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    running = tracker.start_run("a", "going on", params={}, tags={})
    with pytest.raises(InputError, match="has no result to compare with"):
        reproduce(tracker, "going on")
    running.set_tags({"outcome": "ok", "git_commit": "abc123+dirty"})
    with pytest.raises(InputError, match=r"no artifact 'config.toml'"):
        reproduce(tracker, "going on")
    running.log_text("[model]\nlenght = 3\n", "config.toml")
    with pytest.raises(InputError, match="made at commit abc123"):
        reproduce(tracker, "going on")


def test_a_run_that_the_clock_ended_is_run_for_as_many_updates(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    first = run(tiny("train.updates=2", "train.minutes=60"), tracker=tracker)
    said: list[str] = []
    found = reproduce(tracker, first.run_id, note=said.append)
    assert "after a time limit" in said[0]
    assert tracker.run(found.run_id).tags["updates"] == "2"


def test_the_command_and_deleting_what_it_made(capsys: pytest.CaptureFixture[str]) -> None:
    first = run(tiny("train.updates=1"))
    capsys.readouterr()
    assert status(["reproduce", first.run_id[:8], "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["agrees"]) == ("identical", True)

    assert status(["runs", "delete", document["run_id"][:8]]) == 2
    err = capsys.readouterr().err
    assert "nothing was deleted" in err
    assert document["run_id"][:8] in err, "named before it is asked about"
    assert status(["runs", "delete", document["run_id"][:8], "--yes"]) == 0
    capsys.readouterr()
    assert status(["runs", "--json"]) == 0
    assert [row["run_id"] for row in json.loads(capsys.readouterr().out)] == [first.run_id]
    assert status(["runs", "restore", document["run_id"][:8]]) == 0
    assert status(["runs", "delete", document["run_id"][:8], "--yes"]) == 0

    store_dir = Path("mlruns")
    own = store_dir / "runs" / first.run_id
    assert list(store_dir.rglob(f"*{document['run_id']}*"))
    spool = store_dir / "journal" / document["run_id"] / "7"  # of files that waited for a server
    spool.mkdir(parents=True, exist_ok=True)
    (spool / "samples.json").write_text("{}")
    capsys.readouterr()
    assert status(["runs", "gc"]) == 2
    err = capsys.readouterr().err
    assert first.run_id[:8] in err, "named: it has ended, its checkpoint is spare"
    assert document["run_id"][:8] in err
    assert (own / "checkpoint.safetensors").exists()
    assert status(["runs", "gc", "--yes"]) == 0
    assert list(store_dir.rglob(f"*{document['run_id']}*")) == []
    assert sorted(file.name for file in own.iterdir()) == ["config.toml", "result.json"]
    assert not list((store_dir / "journal").glob(f"{first.run_id}*"))
    capsys.readouterr()
    assert status(["runs", "gc", "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().err
    assert status(["sample", first.run_id[:8], "-n", "1"]) == 0
