"""A study on a real Ray cluster of two nodes, one of which is lost in the middle."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from core.addresses import with_driver
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import Tracker
from experiments.single_run.run import run
from experiments.study_session import Session, begin_or_join
from experiments.study_worker import Cluster as Workers
from experiments.study_worker import WorkerTask, launch
from studies.definition import Study, load_study
from studies.plan import Limit
from studies.report import build, read
from studies.running.execute import begin, watching, work
from studies.running.queue import Progress
from studies.running.storage import GRACE_SECONDS, storage_url
from tests.cluster.studies import faults, tiny_study
from tests.conftest import ROOT
from variants import registry

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
JOBS = 8  # enough that both workers are at work while some have ended


class Cluster:
    """Two nodes of one worker each on this machine; the second can be lost. Ray gives both the
    machine's own address, which never leaves it.
    """

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "object_store_memory": 80_000_000}
        self._cluster = Cluster(
            initialize_head=True, head_node_args={**node, "include_dashboard": False}
        )
        self._second = self._cluster.add_node(**node)
        self.address = self._cluster.address

    def lose_a_node(self) -> None:
        """As by pulling its plug: nobody is told."""
        self._cluster.remove_node(self._second, allow_graceful=False)

    def stop(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    pytest.importorskip("ray", reason="needs the extra packages of a cluster: make setup")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = Cluster()
    yield made
    made.stop()


def study_of(folder: Path, name: str) -> Study:
    few = (f"study.name={name}", "study.seeds=4", 'study.axes.noise_mapping=["broadcast"]',
           'study.axes.sampling=["detached"]',
           'study.axes.next_input=["noise", "fixed_token"]')  # fmt: skip
    return load_study(tiny_study(folder / "study.toml", *few), [], registry())


def test_a_lost_node_costs_no_trial(
    database: Callable[[], str],
    mlflow_address: str,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    url, tracker = database(), open_tracker(mlflow_address)
    name = f"lost_{url[-6:]}"
    study = study_of(tmp_path, name)
    session = Session(name, study, tracker, url)
    begun = begin_or_join(session, "textgan study", Limit(), resume=False)
    lost_at: list[int] = []

    def watch(state: Progress) -> None:
        if not lost_at and state.done and state.running == 2:
            lost_at.append(state.done)
            threading.Thread(target=lose).start()

    def lose() -> None:
        cluster.lose_a_node()
        let_grace_pass(url)

    task = WorkerTask(begun.name, url, mlflow_address, str(tmp_path))
    with watching(name, url, study.table, watch):
        launch(task, Workers(cluster.address, 2))
    assert lost_at, "a node was lost while both were at work"
    assert faults(tracker, name, url, JOBS) == []
    record = open_tracker(f"sqlite:///{tmp_path}/alone/mlflow.db")
    alone_on_this_machine(study, name, record)
    assert numbers(tracker, name) == numbers(record, name)
    theirs, ours = (reported(t, name) for t in (tracker, record))
    assert "## Leaderboard" in ours
    assert "## Learning curves" in ours
    assert theirs == ours


def let_grace_pass(url: str) -> None:
    """Every sign of life so far is as old as if the grace period had passed since; who lives
    gives another.
    """
    engine = sqlalchemy.create_engine(with_driver(url))
    older = "UPDATE trial_heartbeats SET heartbeat = heartbeat - make_interval(secs => :seconds)"
    with engine.begin() as tables:
        tables.execute(sqlalchemy.text(older), {"seconds": GRACE_SECONDS})
    engine.dispose()


def alone_on_this_machine(study: Study, name: str, tracker: Tracker) -> None:
    """The same study by one worker on SQLite."""
    url = storage_url(tracker)
    begin(study, name, tracker, url, "textgan study")
    work(name, tracker, url, run, registry())


def numbers(tracker: Tracker, name: str) -> dict[tuple[str, str], Any]:
    """Every point of every evaluation, by variant and seed."""
    return {
        (r.tags["variant"], r.tags["seed"]): {
            key: tracker.history(r.run_id, key) for key in sorted(r.metrics) if key[:5] == "eval/"
        }
        for r in tracker.runs(name, tags={"level": "seed"})
    }


def reported(tracker: Tracker, name: str) -> str:
    """The report as Markdown but for what the clock and the place say: its costs, how to get it
    again, and the ids of runs.
    """
    sections = build(read(tracker, name)).markdown().split("\n## ")
    kept = [each for each in sections if not each.startswith(("Cost", "How to reproduce"))]
    assert len(kept) == len(sections) - 2
    return re.sub(r"\b[0-9a-f]{8}\b", "RUN", "\n## ".join(kept))
