"""Commands that read a store change nothing in it, also while a study runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from core.tracking.mlflow_store import MlflowTracker, open_tracker
from core.tracking.protocol import study_run
from experiments.ui import study_pages
from studies.plan import Limit
from studies.running.execute import begin, to_record, work
from studies.running.queue import load_queue, progress
from studies.running.storage import storage_url
from tests.experiments.test_cli import textgan
from tests.studies.test_studies import NAME, FakeTraining, plan
from variants import registry

FEW = ('study.axes.next_input=["noise"]', "study.seeds=2")  # 4 variants, 8 runs


@pytest.fixture
def under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowTracker]:
    """A study with 3 of 8 runs ended, whose own run another process is writing, and others."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    tracker, study = open_tracker(uri), plan(*FEW)
    url = storage_url(tracker)
    begin(study, "begun", tracker, url, "")
    for name in ("other", NAME):
        begin(study, name, tracker, url, "", Limit(trials=3))
        work(name, tracker, url, FakeTraining(), registry())
    parent = study_run(tracker, NAME).run_id
    record = tracker.continue_run(parent)
    to_record(record, 1)(progress(load_queue(NAME, url), study.table))
    record.flush()
    writer = tracker.continue_run(parent)  # holds the run's journal, as the study's process does
    yield tracker
    writer.flush()


def content(tracker: MlflowTracker) -> list[str]:
    """Every row of every table."""
    with closing(sqlite3.connect(tracker.store_dir / "mlflow.db")) as database:
        return list(database.iterdump())


@pytest.mark.slow
@pytest.mark.usefixtures("figure_files")
def test_what_reads_changes_nothing_in_the_store(
    under_way: MlflowTracker,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("studies.report.draw", lambda _: Figure())
    monkeypatch.setattr("studies.report.inline", lambda *_: "")
    seeds = [run.run_id for run in under_way.runs(NAME, tags={"level": "seed"})]
    output = tmp_path / "out"
    before = content(under_way)
    for arguments in (
        ["report", NAME, "--json"],
        ["report", NAME, "--summary", str(tmp_path / "summary.json")],
        ["report", NAME, "other"],
        ["report", NAME, "--output", str(output)],
        ["report", "begun", "--output", str(tmp_path / "begun")],
        ["runs"],
        ["runs", "begun"],
        ["runs", NAME, "--csv"],
        ["runs", "compare", *seeds[:2]],
        ["doctor"],
        ["watch", "begun", "--once"],
        ["study", NAME, "--resume", "--dry-run", "--no-estimate"],
    ):
        code, out, err = textgan(*arguments, capsys=capsys)
        assert code == 0, (arguments, err)
        assert content(under_way) == before, arguments
        assert "run mle" not in out + err, "no run has ended: the study is what continues"
    assert [*study_pages(under_way, NAME)] == ["runs", "samples of all runs"]
    parent = study_run(under_way, NAME).run_id
    assert not [*(under_way.store_dir / "artifacts").rglob("report.html")]
    code, out, err = textgan("report", NAME, capsys=capsys)
    assert code == 0, err
    assert content(under_way) == before
    page = under_way.store_dir / "reports" / NAME / "report.html"
    assert f"partial report (3 of 8 runs have ended): {page}" in err
    assert "3 of 8 planned runs have a result so far" in page.read_text(encoding="utf-8")
    assert under_way.artifact(parent, "report.html").read_bytes() == page.read_bytes()
