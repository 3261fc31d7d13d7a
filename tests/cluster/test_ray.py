"""A study on a real Ray cluster of two nodes, one of which is lost in the middle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.tracking.mlflow_store import open_tracker
from experiments.commands.beginning import begin_or_join
from experiments.ray_launcher import launch
from experiments.ray_worker import Errand, Places
from experiments.runner import run
from studies.definition import Study, load_study
from studies.execute import begin, work
from studies.leaderboard import leaderboard
from studies.plan import Limit
from studies.progress import progress
from studies.queue import load_queue
from studies.storage import storage_url
from tests.cluster.studies import faults, tiny_study
from tests.conftest import ROOT
from variants import registry

pytestmark = pytest.mark.cluster
JOBS = 24


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
    few = (f"study.name={name}", "study.seeds=6", 'study.axes.noise_mapping=["broadcast"]',
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
    begun = begin_or_join(study, tracker, url, "textgan study", Limit(), resume=False)
    queue = load_queue(name, url)
    lost_at: list[int] = []

    def watch() -> None:
        state = progress(queue, study.table)
        if not lost_at and state.done >= JOBS // 2 and state.running == 2:
            lost_at.append(state.done)
            threading.Thread(target=cluster.lose_a_node).start()

    errand = Errand(begun.name, url, mlflow_address, str(tmp_path))
    launch(errand, Places(cluster.address, 2), watch)
    assert lost_at, "a node was lost while both were at work"
    assert faults(tracker, name, url, JOBS) == []
    alone = alone_on_this_machine(study, tmp_path / "alone")
    assert [(r.variant, r.scores) for r in leaderboard(tracker, name).rows] == alone


def alone_on_this_machine(study: Study, folder: Path) -> list[tuple[str, object]]:
    """The same study by one worker on SQLite: its rows."""
    tracker = open_tracker(f"sqlite:///{folder}/mlflow.db")
    url = storage_url(tracker)
    begin(study, "lost", tracker, url, "textgan study")
    work("lost", tracker, url, run, registry())
    return [(row.variant, row.scores) for row in leaderboard(tracker, "lost").rows]
