"""What can be said before a cluster is asked, and the proxy in front of a database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from core.addresses import shown, with_driver
from core.errors import InputError, MachineError
from core.tracking.memory import MemoryTracker
from experiments.study_worker import (
    MADE_WITH,
    Cluster,
    check_cluster,
    check_machine,
    store_fingerprints,
)
from studies.running import storage
from studies.running.execute import begin, work
from studies.running.queue import is_double, latest, load_queue, sweep
from studies.running.storage import open_storage, storage_url
from tests.chaos.servers import free_port
from tests.conftest import ROOT
from tests.studies.test_studies import NAME, FakeTraining, plan
from variants import registry

FEW = ('study.axes.next_input=["noise"]', "study.seeds=2")  # 4 variants, 8 runs


def test_an_address_gets_our_driver_and_hides_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_driver("postgresql://u:p@h/d") == "postgresql+psycopg://u:p@h/d"
    assert with_driver("postgres://h/d") == "postgresql+psycopg://h/d"
    for other in ("postgresql+psycopg2://h/d", "sqlite:///x.db", "http://h:1"):
        assert with_driver(other) == other
    assert shown("postgresql://u:secret@h/d") == "postgresql://u:***@h/d"
    monkeypatch.setattr("core.addresses.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'textgan-lab\[cluster\]'"):
        with_driver("postgresql://u:secret@h/d")


def test_a_storage_that_does_not_open_is_named_without_its_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(MachineError) as caught:
        open_storage(f"postgresql://u:secret@127.0.0.1:{free_port()}/d")
    assert "does not open" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError, match="HOST:PORT"):
        open_storage("grpc://nowhere")
    with pytest.raises(InputError, match="HOST:PORT"):
        open_storage("grpc://host:abc")


def test_ray_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    away = Cluster("10.0.0.1:6379", 2)
    with pytest.raises(InputError, match="give --storage postgresql"):
        check_cluster(away, "sqlite:///x.db", "http://h:5000")
    with pytest.raises(InputError, match="give --tracking http"):
        check_cluster(away, "postgresql://h/d", "sqlite:///x.db")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check_cluster(Cluster(None, 2), "sqlite:///x.db", "sqlite:///y.db")  # this machine alone
    monkeypatch.setattr("experiments.study_worker.find_spec", lambda _: None)
    with pytest.raises(InputError, match="textgan-lab"):
        check_cluster(away, "postgresql://h/d", "http://h:5000")


@pytest.mark.slow
def test_ray_is_imported_by_nobody_else() -> None:
    script = (
        "import sys, experiments.cli, experiments.study_session; assert 'ray' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_other_code_and_another_corpus_are_refused(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    url, study = storage_url(tracker), plan(*FEW, "corpus.sentences=300")
    begin(study, NAME, tracker, url, "")
    queue = load_queue(NAME, url)
    check_machine(queue, study, tracker.store_dir)  # of a study without fingerprints
    store_fingerprints(queue, {})
    check_machine(queue, study, tracker.store_dir)
    made = dict(queue.user_attrs[MADE_WITH])
    (key,) = {
        f"{v.config.model.length} {v.config.corpus.model_dump_json()}" for v in study.variants
    }
    queue.set_user_attr(MADE_WITH, {**made, "corpora": {key: "another"}})
    with pytest.raises(MachineError, match="give every machine the same file"):
        check_machine(load_queue(NAME, url), study, tracker.store_dir)
    queue.set_user_attr(MADE_WITH, {**made, "code": "f" * 64})
    with pytest.raises(MachineError, match="code ffffffff; here is"):
        check_machine(load_queue(NAME, url), study, tracker.store_dir)


def test_a_job_queued_twice_is_run_once(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    url = storage_url(tracker)
    begin(plan(*FEW), NAME, tracker, url, "")
    queue = load_queue(NAME, url)
    first = queue.trials[0]
    queue.enqueue_trial({}, user_attrs=dict(first.user_attrs))
    work(NAME, tracker, url, training := FakeTraining(), registry())
    assert len(training.seen) == 8
    states = [trial.state for trial in queue.trials]
    assert (states.count(TrialState.COMPLETE), states.count(TrialState.PRUNED)) == (8, 1)


def test_a_job_that_kills_every_worker_is_left_as_failed(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    url = storage_url(tracker)
    begin(plan(*FEW), NAME, tracker, url, "")
    queue = load_queue(NAME, url)
    job = ("", 0)
    for _ in range(storage.MOST_RETRIES + 1):
        waiting = [t for t in queue.trials if t.state == TrialState.WAITING]
        trial = optuna.Trial(queue, waiting[0 if not job[0] else -1]._trial_id)
        queue._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        job = (trial.user_attrs["variant"], trial.user_attrs["seed"])
        trial.set_user_attr("process", [os.uname().nodename, _dead(), trial.number])
        sweep(queue)
    assert latest(queue)[job].state == TrialState.FAIL
    assert not is_double(queue, trial)


def _dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.cluster
def test_a_study_behind_the_proxy(
    database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("grpc", reason="needs the extra packages of a cluster: make setup")
    port = free_port()
    command = ["-m", "experiments", "proxy", "--storage", database(), "--port", str(port)]
    served = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        url, tracker = f"grpc://127.0.0.1:{port}", MemoryTracker(tmp_path)
        monkeypatch.setattr(storage, "CONNECT_SECONDS", 120)
        begin(plan(*FEW), NAME, tracker, url, "")
        queue = load_queue(NAME, url)
        lost = queue.ask()
        queue._storage.set_trial_user_attr(lost._trial_id, storage.BEAT, time.time() - 600)
        work(NAME, tracker, url, training := FakeTraining(), registry())
        assert len(training.seen) == len(set(training.seen)) == 8
        assert queue.trials[lost.number].state == TrialState.FAIL, "its heartbeat was missed"
        beats = [t.user_attrs.get(storage.BEAT) for t in queue.trials if t.number != lost.number]
        assert all(beats)
    finally:
        served.send_signal(signal.SIGTERM)  # in the background of a script SIGINT is not heard
        served.wait(30)
