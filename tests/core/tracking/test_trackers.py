"""Every tracker keeps what it is given; the one in memory has the semantics of the real one."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from matplotlib.figure import Figure

from core.errors import InputError, MachineError
from core.process import environment
from core.tracking.memory import MemoryTracker
from core.tracking.mlflow_client import store_dir_of
from core.tracking.mlflow_reader import Filter, SqlRuns
from core.tracking.mlflow_store import MlflowTracker, open_tracker
from core.tracking.protocol import NOTE, Columns, RunRecord, Tracker, View
from core.tracking.rendering import Sample, as_table

SAMPLES = [Sample(0, 0, "the road"), Sample(20, 0, "<script>alert('x')</script> & road")]


@pytest.fixture(params=["memory", "mlflow"])
def tracker(request: pytest.FixtureRequest, tmp_path: Path) -> Tracker:
    if request.param == "memory":
        return MemoryTracker(tmp_path / "store")
    return MlflowTracker(f"sqlite:///{tmp_path}/store/mlflow.db")


def test_a_run_reads_back_as_written(tracker: Tracker, tmp_path: Path) -> None:
    parent = tracker.start_run("study", "study", params={"metric": "m"}, tags={"level": "study"})
    run = tracker.start_run(
        "study", "seed 0", params={"train.rate": 0.1, "name": "a"}, tags={"level": "seed"},
        parent_id=parent.run_id,
    )  # fmt: skip
    run.log_metrics({"eval/unique": 0.25, "eval/oracle_nll": None}, 0)
    run.log_metrics({"eval/unique": 0.5, "train/loss": -3.0}, 20)
    run.log_metrics({"eval/unique": 0.9}, 20)  # logged again by a resumed run: the first stays
    run.log_samples(SAMPLES)
    run.log_text("hello", "notes/hello.txt")
    run.describe("**what** it is")
    run.log_dataset("grammar", "f" * 64, "grammar", "training")
    figure = Figure()
    figure.subplots().plot([0, 1])
    run.log_figure(figure, "figures/curves.png")
    for text in ("which is better?", "not this: it has a description"):
        tracker.describe_experiment("study", text)
    assert run.flush()
    run.finish("collapsed", "few words")
    if isinstance(tracker, MlflowTracker):
        described = tracker.store.client.get_experiment_by_name("study").tags
        assert described == {NOTE: "which is better?"}

    record = tracker.run(run.run_id)
    assert record.parent_id == parent.run_id
    assert (record.experiment, record.name, record.status) == ("study", "seed 0", "FINISHED")
    assert record.outcome == "collapsed"
    assert record.tags["reason"] == "few words"
    assert record.params == {"train.rate": "0.1", "name": "a"}
    assert record.metrics == {"eval/unique": 0.5, "train/loss": -3.0}
    assert tracker.history(run.run_id, "eval/unique") == [(0, 0.25), (20, 0.5)]
    assert tracker.history(run.run_id, "eval/none") == []
    assert tracker.artifact(run.run_id, "notes/hello.txt").read_text() == "hello"
    assert tracker.artifact(run.run_id, "figures/curves.png").stat().st_size > 1000
    table = json.loads(tracker.artifact(run.run_id, "samples.json").read_text())
    assert table["columns"] == ["key", "text", "step", "row"]
    keys = [row[0] for row in table["data"]]
    assert keys == ["last · #00", "first · #00"]
    page = tracker.artifact(run.run_id, "samples.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "road" in tracker.artifact(run.run_id, "samples.txt").read_text()
    with pytest.raises(InputError, match="no artifact"):
        tracker.artifact(run.run_id, "absent.txt")


def test_samples_line_up_across_runs_that_end_at_different_updates() -> None:
    def table(steps: Sequence[int]) -> list[list[object]]:
        return list(as_table([Sample(step, 0, "the road") for step in steps])["data"])

    whole, shorter, forked = table(range(0, 101, 5)), table(range(0, 47, 2)), table(range(60, 99))
    assert [row[0] for row in whole] == [
        "last · #00", "75% · #00", "50% · #00", "25% · #00", "first · #00"
    ]  # fmt: skip
    assert [row[0] for row in shorter] == [row[0] for row in forked] == [row[0] for row in whole]
    assert [row[2] for row in whole] == [100, 75, 50, 25, 0]
    assert forked[-1][1:3] == ["update 60: the road", 60]
    assert [row[0] for row in table((0, 2, 4))] == ["last · #00", "50% · #00", "first · #00"]
    assert [row[0] for row in table((7,))] == ["last · #00"]
    assert table(()) == []


def test_runs_are_found_by_tag_id_and_name(tracker: Tracker) -> None:
    made = [
        tracker.start_run(experiment, name, params={}, tags={"seed": seed})
        for experiment, name, seed in [("a", "one", "0"), ("a", "two", "1"), ("b", "two", "0")]
    ]
    ids = [run.run_id for run in made]
    assert [r.run_id for r in tracker.runs()] == ids
    assert [r.run_id for r in tracker.runs("a", tags={"seed": "0"})] == ids[:1]
    assert [r.run_id for r in tracker.runs(tags={"seed": "0"})] == [ids[0], ids[2]]
    assert tracker.runs("absent") == []
    assert {"a", "b"} <= set(tracker.experiments())
    assert tracker.run("one").run_id == ids[0]
    assert tracker.run(ids[1][:10]).run_id == ids[1]
    with pytest.raises(InputError, match="matches 2 runs"):
        tracker.run("two")
    with pytest.raises(InputError, match="did you mean 'one'"):
        tracker.run("onee")


def test_a_run_that_is_begun_again_is_the_same_one_with_its_settings(tracker: Tracker) -> None:
    identity = "f" * 32
    first = tracker.start_run("a", "one", params={}, tags={"seed": "0"}, identity=identity)
    assert first.flush()  # its process died before it had said with what
    again = tracker.start_run("a", "one", params={"b": 1}, tags={"seed": "0"}, identity=identity)
    assert again.run_id == first.run_id
    again.finish("ok")
    (record,) = tracker.runs("a")
    assert dict(record.params) == {"b": "1"}


def test_a_run_goes_on_and_ends_again(tracker: Tracker) -> None:
    first = tracker.start_run("a", "one", params={}, tags={})
    first.log_metrics({"m": 1.0}, 1)
    first.finish("killed")
    assert tracker.run("one").status == "KILLED"
    again = tracker.continue_run(first.run_id)
    assert again.flush()
    assert tracker.run("one").status == "RUNNING"
    again.log_metrics({"m": 5.0}, 1)
    again.log_metrics({"m": 2.0}, 2)
    again.finish("ok")
    assert tracker.run("one").status == "FINISHED"
    assert tracker.history(first.run_id, "m") == [(1, 1.0), (2, 2.0)]


def test_a_model_is_the_folder_it_was(tracker: Tracker, tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "weights").write_bytes(b"123")
    run = tracker.start_run("a", "one", params={}, tags={})
    with pytest.raises(InputError, match=r"no model|no artifact"):
        tracker.model(run.run_id)
    run.log_model(tmp_path / "g")
    run.finish("ok")
    assert (tracker.model(run.run_id) / "weights").read_bytes() == b"123"
    assert tracker.register(run.run_id, "writer", "what it is", {"study": "a"}) == "1"
    assert tracker.register(run.run_id, "writer", "again", {}) == "2"


def test_store_dir_follows_the_address(tmp_path: Path) -> None:
    assert store_dir_of(f"sqlite:///{tmp_path}/x/mlflow.db") == tmp_path / "x"
    one, two = store_dir_of("http://one:5000"), store_dir_of("http://two:5000")
    assert one != two
    assert one.parent == Path.cwd() / "mlruns"


def test_an_old_file_store_and_an_unknown_address_get_words(tmp_path: Path) -> None:
    old = tmp_path / "mlruns" / "0"
    old.mkdir(parents=True)
    (old / "meta.yaml").write_text("name: Default")
    with pytest.raises(InputError, match="old file store"):
        open_tracker()
    with pytest.raises(InputError, match="sqlite:///"):
        open_tracker("file:///somewhere")


@pytest.mark.slow
def test_several_processes_open_a_fresh_store_at_once(tmp_path: Path) -> None:
    """One imports, for seconds, and the others are forks of it."""
    script = """
import os
import mlflow.store.tracking.sqlalchemy_store
from core.tracking.mlflow_store import open_tracker

processes = 3 * [0]
for number in range(len(processes)):
    processes[number] = os.fork()
    if processes[number] == 0:
        open_tracker().start_run("together", "one", params={}, tags={}).finish("ok")
        os._exit(0)
print([os.waitpid(process, 0)[1] for process in processes])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True
    )
    assert done.stdout == "[0, 0, 0]\n", done.stderr
    assert len(open_tracker().runs("together")) == 3


def test_runs_read_by_sql_are_those_that_mlflow_gives(tmp_path: Path) -> None:
    tracker = MlflowTracker(f"sqlite:///{tmp_path}/store/mlflow.db")
    for experiment, seed in [("a", "0"), ("a", "1"), ("b", "0")]:
        run = tracker.start_run(
            experiment,
            f"{experiment} {seed}",
            params={"rate": 0.1},
            tags={"seed": seed, "x_y": "%"},
        )
        run.log_metrics({"eval/unique": 0.5, "eval/nan": math.nan, "train/loss": math.inf}, 3)
        run.finish("ok")
    gone = tracker.start_run("b", "gone", params={}, tags={})
    tracker.store.client.delete_run(gone.run_id)
    for experiment, tags in [(None, {}), ("a", {}), ("a", {"seed": "1"}), ("absent", {})]:
        fast = tracker.runs(experiment, tags=tags)
        plain = tracker._search(Filter(experiment, tags))
        assert repr(sorted(fast, key=_id)) == repr(sorted(plain, key=_id))
    a, fast_reader = tracker.runs("a")[0].run_id, tracker.sql
    curves = {key: tracker.history(a, key) for key in ("eval/nan", "train/loss")}
    tracker.sql = None
    assert repr(curves) == repr({key: tracker.history(a, key) for key in curves})
    tracker.sql = fast_reader
    few = tracker.runs("a", columns=Columns(tags=("seed",), params=(), metrics=("eval/*",)))
    assert [dict(r.tags) for r in few] == [{"seed": "0"}, {"seed": "1"}]
    assert [set(r.metrics) for r in few] == [{"eval/unique", "eval/nan"}] * 2
    assert [dict(r.params) for r in few] == [{}, {}]
    assert tracker.experiments() == ["a", "b"], "Default is MLflow's own"


def test_tables_that_sql_does_not_know_are_left_to_mlflow(tmp_path: Path) -> None:
    tracker = MlflowTracker(f"sqlite:///{tmp_path}/store/mlflow.db")
    made = tracker.start_run("a", "one", params={}, tags={"seed": "0"})
    tracker.sql = SqlRuns(f"sqlite:///{tmp_path}/other.db")
    assert [r.run_id for r in tracker.runs("a")] == [made.run_id]
    assert tracker.run("one").tags["seed"] == "0"


def _id(record: RunRecord) -> str:
    return record.run_id


def test_two_workers_log_the_same_new_dataset_at_the_same_moment(tmp_path: Path) -> None:
    """The other one's whole call falls between the look for the dataset and its making."""
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    trackers = [open_tracker(f"sqlite:///{tmp_path}/mlflow.db") for _ in range(2)]
    first, second = (t.start_run("study", f"run {i}", params={}, tags={})
                     for i, t in enumerate(trackers))  # fmt: skip
    assert first.flush()
    assert second.flush()
    met: list[bool] = []

    def interrupt(session: Session, *_: object) -> None:
        if met or not any(type(made).__name__ == "SqlDataset" for made in session.new):
            return
        met.append(True)
        second.log_dataset("grammar", "0123456789abcdef", "grammar", "training")
        assert second.flush()

    event.listen(Session, "before_flush", interrupt)
    try:
        first.log_dataset("grammar", "0123456789abcdef", "grammar", "training")
        assert first.flush()
    finally:
        event.remove(Session, "before_flush", interrupt)
    assert met
    assert not list((tmp_path / "journal").glob("*.refused"))
    logged = [
        trackers[0].store.client.get_run(run.run_id).inputs.dataset_inputs[0].dataset.digest
        for run in (first, second)
    ]
    assert logged == ["0123456789abcdef"] * 2


@pytest.mark.parametrize("version", ["451aebb31d03", "ffffffffffff"])  # before ours, and unknown
def test_a_store_of_another_version_is_read_or_refused_in_words(
    version: str, tmp_path: Path
) -> None:
    run = open_tracker(f"sqlite:///{tmp_path}/mlflow.db").start_run(
        "study", "one", params={"a": 1}, tags={}
    )
    run.finish("ok")
    (tmp_path / "other").mkdir()
    uri = f"sqlite:///{tmp_path}/other/mlflow.db"  # MLflow keeps a store that it has opened open
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as ours,
        contextlib.closing(sqlite3.connect(tmp_path / "other" / "mlflow.db")) as tables,
    ):
        ours.backup(tables)
        tables.execute("UPDATE alembic_version SET version_num = ?", (version,))
        tables.commit()
    tracker = open_tracker(uri)
    assert tracker.run(run.run_id).params == {"a": "1"}, "what can be read is"
    with pytest.raises(MachineError, match="written by another version of MLflow") as refused:
        tracker.start_run("study", "two", params={}, tags={})
    assert f"mlflow db upgrade {uri}" in str(refused.value)
    assert len(tracker.runs()) == 1


def test_a_view_has_its_columns_and_charts_in_order(tmp_path: Path) -> None:
    tracker = MlflowTracker(f"sqlite:///{tmp_path}/store/mlflow.db")
    tracker.start_run("a", "one", params={}, tags={}).finish("ok")
    columns = ("metrics.`score`", "metrics.`score_low`", "metrics.`score_high`")
    charts = {"Model metrics": ["score"], "eval": ["eval/unique"]}
    table = View("leaderboard", "tags.`rank` LIKE '%'", "score", False, columns, charts)
    curves = View("curves", "tags.`level` = 'seed'", "m", True, charts={"eval": []}, curves=True)
    found = [_state(tracker, tracker.store_view("a", view)) for view in (table, table, curves)]
    assert found[0] == found[1]
    state = found[0]
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`score`", False)
    assert state["columnOrder"][1:4] == state["selectedColumns"] == list(columns)
    bars = [(c["metricKey"], c["type"], c["metricSectionId"]) for c in state["compareRunCharts"]]
    assert bars == [("score", "BAR", "Model metrics"), ("eval/unique", "BAR", "eval")]
    assert state["groupBy"] is None
    assert [section["name"] for section in found[2]["compareRunSections"]] == ["eval"]
    assert found[2]["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "variant"}]


def _state(tracker: MlflowTracker, link: str) -> Any:
    """The state of a stored view, as MLflow's page unpacks it."""
    (key,) = parse_qs(link.partition("?")[2])["viewStateShareKey"]
    tags = tracker.store.client.get_experiment_by_name("a").tags
    stored = json.loads(tags[f"mlflow.sharedViewState.{key}"])["state"]
    return json.loads(zlib.decompress(base64.b64decode(stored.removeprefix("deflate;"))))


def test_downloads_are_removed_when_the_process_ends() -> None:
    show = "from core.tracking import mlflow_reader; print(mlflow_reader._downloads().resolve())"
    said = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    folder = Path(said.stdout.strip())
    assert folder.name.startswith("textgan-downloads-")
    assert not folder.exists()
