"""Workers of a study as Ray tasks: Ray places them and fractions of GPUs, and starts those again
whose node is lost. Which run a worker does is decided by the study's queue, as everywhere.

This file alone imports Ray, and only when asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from core.addresses import INSTALL
from core.errors import InputError, MachineError
from experiments import ray_worker
from experiments.console import err
from experiments.joining import PACKAGES
from experiments.ray_worker import Errand, Places
from studies.running.execute import POLL_SECONDS

MOST_LOSSES = 10  # of nodes, that one worker is started again after
ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = ["**/__pycache__", "**/*.pyc"]


def check_cluster(places: Places, storage: str, tracking: str) -> None:
    """InputError where Ray is not installed, or where a queue or a record is out of reach of other
    machines.
    """
    if find_spec("ray") is None:
        raise InputError(f"--launcher ray needs the extra packages of a cluster: {INSTALL}")
    if places.address is None and "RAY_ADDRESS" not in os.environ:  # this machine alone
        return
    for option, url, right in (
        ("--storage", storage, "postgresql://..."),
        ("--tracking", tracking, "http://HOST:PORT"),
    ):
        if url.startswith("sqlite:"):
            raise InputError(
                f"--launcher ray: the nodes of a cluster cannot reach {url}; give {option} {right}"
            )


def launch(errand: Errand, places: Places, watch: Callable[[], None]) -> None:
    """Run the workers until the study's queue is empty; `watch` is called again and again.

    MachineError where no worker came to its end.
    """
    import ray
    from ray.exceptions import RayError

    with _cluster(places):
        _say_what_is_missing(places)
        task = ray.remote(num_cpus=1, num_gpus=places.gpus, max_retries=MOST_LOSSES)(
            ray_worker.work_on
        )
        waiting = [task.remote(errand) for _ in range(places.workers)]
        failures: list[str] = []
        ended = 0
        try:
            while waiting:
                done, waiting = ray.wait(waiting, timeout=POLL_SECONDS)
                for each in done:
                    try:
                        err.print(f"worker at its end: {ray.get(each)}", markup=False)
                        ended += 1
                    except RayError as error:
                        failures.append(_words(error))
                        err.print(f"worker lost: {failures[-1]}", markup=False)
                watch()
        except BaseException:
            _end(waiting)
            raise
        if failures and not ended:
            raise MachineError(f"every worker failed; the first: {failures[0]}")


@contextmanager
def _cluster(places: Places) -> Iterator[None]:
    """Connected to the cluster, which is sent our code; a connection of the caller's is used."""
    import ray

    if ray.is_initialized():
        yield
        return
    code = {"py_modules": [str(ROOT / package) for package in PACKAGES], "excludes": LEFT_OUT}
    try:
        ray.init(address=places.address, runtime_env=code, log_to_driver=True)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise MachineError(f"--address {places.address}: no Ray cluster there ({first})") from None
    try:
        yield
    finally:
        ray.shutdown()


def _say_what_is_missing(places: Places) -> None:
    """A cluster may grow when asked, so this is no error."""
    import ray

    has = ray.cluster_resources()
    for resource, wanted in (("CPU", 1.0), ("GPU", places.gpus)):
        room = int(has.get(resource, 0.0) / wanted) if wanted else places.workers
        if room < places.workers:
            err.print(
                f"the cluster has room for {room} of {places.workers} workers now "
                f"({has.get(resource, 0.0):g} {resource}, {wanted:g} for each); the others wait"
            )


def _end(waiting: list[Any]) -> None:
    """Interrupt: each worker ends after its step, as by Ctrl-C."""
    import ray
    from ray.exceptions import RayError

    for each in waiting:
        ray.cancel(each)
    for each in waiting:
        try:
            ray.get(each)
        except RayError:  # that it was cancelled
            continue


def _words(error: Any) -> str:
    cause = getattr(error, "cause", None) or error
    return str(cause).strip().splitlines()[0][:300] if str(cause).strip() else type(cause).__name__
