"""A worker of a study: checks that its machine fits, and takes runs until the queue is empty.

All machines of a study need the same code and the same corpora. Fingerprints of both are stored
when the study begins, and every worker compares its own with them.

Workers can be Ray tasks: Ray places them, gives them fractions of GPUs and restarts those of a lost
node. The study's queue decides which run a worker trains, as everywhere. Only this file imports
Ray, and only when it is used.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna

from core.addresses import INSTALL
from core.errors import DeletedError, InputError, MachineError, first_line
from core.plural import count
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import Tracker, study_run
from experiments.console import stderr
from experiments.corpora import corpus_key
from experiments.loading import open_corpus
from experiments.single_run.run import run
from studies.definition import Study, from_definition
from studies.running.execute import POLL_SECONDS, work
from studies.running.queue import load_queue
from studies.running.worker import Train
from variants import registry

PACKAGES = ("core", "variants", "studies", "experiments")
MADE_WITH = "made_with"  # attribute of the queue
MOST_LOSSES = 10  # restarts of one Ray worker after losses of its node
ROOT = Path(__file__).resolve().parents[1]
EXCLUDED = ["**/__pycache__", "**/*.pyc"]  # of the code that Ray sends to the nodes


def take_runs(
    study: str, storage: str, tracker: Tracker, until: float | None, train: Train = run
) -> None:
    """Train runs of a study until its queue is empty; MachineError if this machine does not fit,
    DeletedError if the study is deleted.
    """
    queue = load_queue(study, storage)
    try:
        study_run(tracker, study)
    except DeletedError:
        raise
    except (InputError, MachineError):
        pass  # the store is away, or the study's run waits to be delivered
    definition = from_definition(queue.user_attrs["definition"], registry())
    check_machine(queue, definition, tracker.store_dir)
    work(study, tracker, storage, train, registry(), until)


def store_fingerprints(queue: optuna.Study, corpora: Mapping[str, str]) -> None:
    """Store the fingerprints of the code and of the corpora (as `prepare` returns them)."""
    made = {"version": version("textgan-lab"), "code": code_fingerprint(), "corpora": dict(corpora)}
    queue.set_user_attr(MADE_WITH, made)


def check_machine(queue: optuna.Study, study: Study, store_dir: Path) -> None:
    """MachineError if this machine has other code, or builds another corpus."""
    made: Mapping[str, Any] = queue.user_attrs.get(MADE_WITH, {})
    if not made:
        return
    if made["code"] != code_fingerprint():
        raise MachineError(
            f"study {queue.study_name!r} was begun with textgan-lab {made['version']}, code "
            f"{made['code'][:8]}; here is {version('textgan-lab')}, code {code_fingerprint()[:8]}: "
            f"install the same everywhere, or continue with this one by `textgan study FILE "
            f"--resume`"
        )
    ours: dict[str, str] = {}
    for config in (variant.config for variant in study.variants):
        key = corpus_key(config)
        theirs = made["corpora"].get(key)
        if key not in ours:
            ours[key] = open_corpus(config.corpus, store_dir, config.model.length).fingerprint
        if theirs is not None and theirs != ours[key]:
            raise MachineError(
                f"corpus {config.corpus.source}: its fingerprint is {ours[key][:12]} here and "
                f"{theirs[:12]} where study {queue.study_name!r} was begun; give every machine the "
                f"same file, or a shared folder"
            )


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """A hash of all our source files, wherever the packages are installed."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        (place,) = importlib.import_module(package).__path__
        for file in sorted(Path(place).rglob("*.py")):
            digest.update(f"{package}/{file.relative_to(place)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


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


def launch(task: WorkerTask, cluster: Cluster) -> None:
    """Run the workers until the study's queue is empty; MachineError if every worker failed."""
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
        text = f"{result.outcome}, {count(result.updates, 'update')}, {result.seconds:.1f} s"
        print(f"{named['labels'].name}: {text}", file=sys.stderr, flush=True)  # to the driver
        return result

    take_runs(task.study, task.storage, open_tracker(task.tracking), task.until, train)
    return f"{socket.gethostname()}: {count(ended, 'run')}"


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
