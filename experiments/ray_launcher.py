"""Workers of a study as Ray tasks. Ray places them, gives them fractions of GPUs and restarts those
of a lost node. The study's queue decides which run a worker trains, as everywhere.

Only this file imports Ray, and only when it is used.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from core.addresses import INSTALL
from core.errors import InputError, MachineError, first_line
from core.tracking.mlflow_store import open_tracker
from experiments.console import stderr
from experiments.single_run.run import run
from experiments.study_worker import PACKAGES, take_runs
from studies.running.execute import POLL_SECONDS

MOST_LOSSES = 10  # restarts of one worker after losses of its node
ROOT = Path(__file__).resolve().parents[1]
EXCLUDED = ["**/__pycache__", "**/*.pyc"]


@dataclass(frozen=True)
class WorkerTask:
    """What a node needs to know of a study."""

    study: str
    storage: str
    tracking: str
    folder: str  # for checkpoints and corpora, on every node; shared or not
    until: float | None = None


@dataclass(frozen=True)
class Cluster:
    """The Ray cluster of a study's workers."""

    address: str | None  # None: RAY_ADDRESS, or this machine alone
    workers: int
    gpus: float = 0.0  # per worker


def check_cluster(cluster: Cluster, storage: str, tracking: str) -> None:
    """InputError if Ray is not installed, or if other machines cannot reach storage or tracking."""
    if find_spec("ray") is None:
        raise InputError(f"--launcher ray needs the extra packages of a cluster: {INSTALL}")
    if cluster.address is None and "RAY_ADDRESS" not in os.environ:  # this machine alone
        return
    for option, url, right in (
        ("--storage", storage, "postgresql://..."),
        ("--tracking", tracking, "http://HOST:PORT"),
    ):
        if url.startswith("sqlite:"):
            raise InputError(
                f"--launcher ray: the nodes of a cluster cannot reach {url}; give {option} {right}"
            )


def launch(task: WorkerTask, cluster: Cluster, watch: Callable[[], None]) -> None:
    """Run the workers until the study's queue is empty; call `watch` repeatedly meanwhile.

    MachineError if every worker failed.
    """
    import ray
    from ray.exceptions import RayError

    with _connected(cluster):
        _warn_if_full(cluster)
        remote = ray.remote(num_cpus=1, num_gpus=cluster.gpus, max_retries=MOST_LOSSES)(work_on)
        waiting = [remote.remote(task) for _ in range(cluster.workers)]
        failures: list[str] = []
        ended = 0
        try:
            while waiting:
                done, waiting = ray.wait(waiting, timeout=POLL_SECONDS)
                for each in done:
                    try:
                        stderr.print(f"worker finished: {ray.get(each)}", markup=False)
                        ended += 1
                    except RayError as error:
                        failures.append(first_line(getattr(error, "cause", None) or error))
                        stderr.print(f"worker lost: {failures[-1]}", markup=False)
                watch()
        except BaseException:
            _interrupt(waiting)
            raise
        if failures and not ended:
            raise MachineError(f"every worker failed; the first: {failures[0]}")


def work_on(task: WorkerTask) -> str:
    """On a node: take runs until the study's queue is empty; the node and its number of runs."""
    folder = Path(task.folder)
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    os.environ["MLFLOW_TRACKING_URI"] = task.tracking
    ended = 0

    def train(*arguments: Any, **named: Any) -> Any:
        nonlocal ended
        result = run(*arguments, **named)
        ended += 1
        text = f"{result.outcome}, {result.updates} updates, {result.seconds:.1f} s"
        print(f"{named['labels'].name}: {text}", file=sys.stderr, flush=True)  # to the driver
        return result

    take_runs(task.study, task.storage, open_tracker(task.tracking), task.until, train)
    return f"{socket.gethostname()}: {ended} runs"


@contextmanager
def _connected(cluster: Cluster) -> Iterator[None]:
    """A connection to the cluster, which receives our code; an existing connection is used."""
    import ray

    if ray.is_initialized():
        yield
        return
    code = {"py_modules": [str(ROOT / package) for package in PACKAGES], "excludes": EXCLUDED}
    try:
        ray.init(address=cluster.address, runtime_env=code, log_to_driver=True)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise MachineError(
            f"--address {cluster.address}: no Ray cluster there ({first_line(error)})"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _warn_if_full(cluster: Cluster) -> None:
    """Say how many workers have to wait; no error, because a cluster may grow on demand."""
    import ray

    has = ray.cluster_resources()
    for resource, wanted in (("CPU", 1.0), ("GPU", cluster.gpus)):
        room = int(has.get(resource, 0.0) / wanted) if wanted else cluster.workers
        if room < cluster.workers:
            stderr.print(
                f"the cluster has room for {room} of {cluster.workers} workers now "
                f"({has.get(resource, 0.0):g} {resource}, {wanted:g} for each); the others wait"
            )


def _interrupt(waiting: list[Any]) -> None:
    """Interrupt the workers, which end after their current update, as with Ctrl-C."""
    import ray
    from ray.exceptions import RayError

    for each in waiting:
        ray.cancel(each)
    for each in waiting:
        try:
            ray.get(each)
        except RayError:  # because it was cancelled
            continue
