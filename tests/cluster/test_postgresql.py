"""A study whose queue is in PostgreSQL and whose record is an MLflow server on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import RunLabels, Tracker
from experiments.single_run.run import run
from experiments.study_session import Session, begin_or_join
from studies.definition import load_study
from studies.plan import Limit
from tests.cluster.studies import attempts, faults, started_at, tiny_study
from tests.conftest import ROOT, tiny
from variants import registry

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
LONGEST = 600  # seconds; for machines under load


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "experiments", *arguments]


def workers_of(name: str, reach: list[str], folders: list[Path]) -> list[int]:
    """`textgan worker` in each folder, until all have ended; their processes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = []
    for folder in folders:
        folder.mkdir()
        processes.append(
            subprocess.Popen(
                command("worker", name, *reach),
                cwd=folder, env=environment, text=True, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
    said = [process.communicate(timeout=LONGEST)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(folders), said
    return [process.pid for process in processes]


@pytest.mark.slow
def test_workers_of_two_machines_drain_a_study(
    database: Callable[[], str], mlflow_address: str, tmp_path: Path
) -> None:
    url, tracker = database(), open_tracker(mlflow_address)
    name = f"two_{url[-6:]}"
    few = (f"study.name={name}", "study.seeds=4", 'study.axes.sampling=["detached"]',
           'study.axes.next_input=["noise"]', 'study.axes.noise_mapping=["full"]')  # fmt: skip
    study = load_study(tiny_study(tmp_path / "study.toml", *few), [], registry())
    session = Session(name, study, tracker, url)
    begun = begin_or_join(session, "textgan study", Limit(), resume=False)
    again = begin_or_join(session, "textgan study", Limit(), resume=False)
    assert (begun.joined, again.joined, again.name) == (False, True, name)
    # Nothing shared: each machine has a store directory of its own.
    reach = ["--storage", url, "--tracking", mlflow_address]
    processes = workers_of(name, reach, [tmp_path / "one", tmp_path / "other"])
    assert faults(tracker, name, url, 4) == []
    assert {started_at(trial) for trial in attempts(name, url)} <= set(processes)
    ended = begin_or_join(session, "textgan study", Limit(), resume=False)
    assert (ended.joined, ended.name) == (False, f"{name}-2"), "a study at its end is not joined"


def test_a_run_begun_on_one_machine_ends_on_another(mlflow_address: str, tmp_path: Path) -> None:
    """Without a shared folder its checkpoint is out of reach: it starts anew, under its id."""
    config = tiny("evaluation.gradients=0", "train.log_every=1")
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    tracker = open_at(here, mlflow_address)
    begun: list[str] = []
    name = f"moved_{tmp_path.name}"

    def stop(step: int, *_: object) -> None:
        if step == 2:
            raise RuntimeError("the machine is gone")

    with pytest.raises(RuntimeError, match="gone"):
        run(config, tracker=tracker, labels=RunLabels(name), report=stop, started=begun.append)
    before = tracker.history(begun[0], "train/generator_loss")
    assert [step for step, _ in before] == [1, 2]
    result = run(config, tracker=open_at(there, mlflow_address), labels=RunLabels(name),
                 resume=begun[0])  # fmt: skip
    assert (result.run_id, result.outcome) == (begun[0], "ok")
    after = tracker.history(begun[0], "train/generator_loss")
    assert [step for step, _ in after] == [1, 2, 3, 4], "no point twice"
    assert after[:2] == before
    assert len(tracker.runs(name)) == 1


def open_at(folder: Path, address: str) -> Tracker:
    """The tracker as a process in this folder has it."""
    os.chdir(folder)
    return open_tracker(address)
