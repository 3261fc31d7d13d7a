"""A real MLflow server behind a proxy that misbehaves: a run never waits, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import MachineError
from core.tracking import delivery
from core.tracking.mlflow_reader import _downloads
from core.tracking.mlflow_store import MlflowTracker, open_tracker
from core.tracking.rendering import Sample
from tests.chaos.servers import FAULTS, FaultyProxy, free_port

pytestmark = pytest.mark.slow  # a server has to start


@pytest.fixture
def proxy(upstream: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("TEXTGAN_WAIT_SECONDS", "20")
    monkeypatch.setattr(delivery, "RETRY_SECONDS", 0.05)
    running = FaultyProxy(upstream)
    yield running
    running.close()


def write(tracker: MlflowTracker, proxy: FaultyProxy, fault: str, folder: Path) -> str:
    """A run during which the server misbehaves from its second step on."""
    run = tracker.start_run("outage", fault, params={"a": 1}, tags={"level": "run"})
    run.log_metrics({"m": 0.0}, 0)
    proxy.set(fault)
    for step in range(1, 2500):  # more than two batches
        run.log_metrics({"m": step / 7, "n": -step}, step)
    run.log_samples([Sample(0, 0, "the road")])
    run.set_tags({"colour": "red"})
    run.set_tags({"colour": "blue"})
    run.log_samples([Sample(0, 0, "the road"), Sample(5, 0, "the hill")])
    run.log_model(folder)
    if fault in ("slow", "lost"):  # such a server takes everything in the end
        run.finish("ok")
        proxy.set(None)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TEXTGAN_WAIT_SECONDS", "0.2")
            run.finish("ok")
    return run.run_id


@pytest.mark.parametrize("fault", FAULTS)
def test_everything_arrives_once_when_the_server_returns(
    fault: str, proxy: FaultyProxy, tmp_path: Path
) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "weights").write_bytes(b"123")
    tracker = open_tracker(proxy.address)
    run_id = write(tracker, proxy, fault, tmp_path / "g")
    if fault not in ("slow", "lost"):
        assert tracker.undelivered() == [run_id]
    proxy.set(None)
    result = tracker.sync()
    assert not result.busy
    assert not result.away
    assert tracker.undelivered() == []
    record = tracker.run(run_id)
    assert (record.status, record.outcome, record.tags["colour"]) == ("FINISHED", "ok", "blue")
    assert record.params == {"a": "1"}
    assert tracker.history(run_id, "m") == [(s, s / 7) for s in range(2500)]
    assert tracker.history(run_id, "n") == [(s, -float(s)) for s in range(1, 2500)]
    samples = tracker.artifact(run_id, "samples.json")
    assert _downloads() in samples.parents
    table = json.loads(samples.read_text())
    assert [row[1] for row in table["data"]] == ["update 5: the hill", "update 0: the road"]
    assert (tracker.model(run_id) / "weights").read_bytes() == b"123"
    models = tracker.store.client.get_run(run_id).outputs.model_outputs
    assert len(models) == 1
    assert not (tracker.store_dir / "journal" / run_id).exists(), "no file is left waiting"


@pytest.mark.parametrize("fault", ["refused", "lost"])
def test_a_run_may_begin_while_the_server_is_away(fault: str, proxy: FaultyProxy) -> None:
    tracker = open_tracker(proxy.address)
    tracker.start_run(f"away-{fault}", "study", params={}, tags={}).flush()
    proxy.set(fault)
    run = open_tracker(proxy.address).start_run(
        f"away-{fault}", "one", params={"a": 1}, tags={"level": "run"}
    )
    (tracker.store_dir / "runs" / run.run_id).mkdir(parents=True)
    run.log_metrics({"m": 1.0}, 3)
    run.finish("ok")
    proxy.set(None)
    assert not tracker.sync().away
    (record,) = tracker.runs(f"away-{fault}", tags={"level": "run"})
    assert tracker.run(run.run_id) == record, "both ids mean the run"
    assert (record.name, record.status, record.params) == ("one", "FINISHED", {"a": "1"})
    assert tracker.history(run.run_id, "m") == [(3, 1.0)]
    assert (tracker.store_dir / "runs" / record.run_id).exists()
    again = tracker.continue_run(run.run_id)
    again.log_metrics({"m": 2.0}, 3)
    again.log_metrics({"m": 2.0}, 4)
    again.finish("ok")
    assert tracker.history(run.run_id, "m") == [(3, 1.0), (4, 2.0)]
    assert len(tracker.runs(f"away-{fault}")) == 2


def test_reading_while_the_server_is_away_gets_words(proxy: FaultyProxy) -> None:
    tracker = open_tracker(proxy.address)
    proxy.set("500")
    for read in (tracker.experiments, tracker.runs, lambda: tracker.history("x", "m")):
        with pytest.raises(MachineError, match="the store does not answer"):
            read()


def test_an_address_that_never_answered_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MachineError, match="the store does not open"):
        open_tracker(f"http://127.0.0.1:{free_port()}")
