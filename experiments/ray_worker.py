"""What runs on a node of a Ray cluster: the same worker as everywhere.

A module of its own, so that a node finds it by its name in the code that it was sent.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Errand:
    """What a node has to know of a study."""

    study: str
    storage: str
    tracking: str
    folder: str  # where runs keep checkpoints and corpora, on every node; shared or not
    until: float | None = None


@dataclass(frozen=True)
class Places:
    """Where on a cluster a study's workers run."""

    address: str | None  # of the cluster; None: RAY_ADDRESS, or this machine alone
    workers: int
    gpus: float = 0.0  # of each worker


def work_on(errand: Errand) -> str:
    """Take runs from the study's queue until it is empty; which node it was, and how many runs."""
    from core.tracking.mlflow_store import open_tracker
    from experiments.joining import check
    from experiments.single_run.run import run
    from studies.definition import from_definition
    from studies.running.execute import work
    from studies.running.queue import load_queue
    from variants import registry

    folder = Path(errand.folder)
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    os.environ["MLFLOW_TRACKING_URI"] = errand.tracking
    tracker = open_tracker(errand.tracking)
    queue = load_queue(errand.study, errand.storage)
    check(queue, from_definition(queue.user_attrs["definition"], registry()), tracker.store_dir)
    ended = 0

    def train(*arguments: Any, **named: Any) -> Any:
        nonlocal ended
        result = run(*arguments, **named)
        ended += 1
        words = f"{result.outcome}, {result.updates} updates, {result.seconds:.1f} s"
        print(f"{named['name']}: {words}", file=sys.stderr, flush=True)  # to the driver
        return result

    work(errand.study, tracker, errand.storage, train, registry(), errand.until)
    return f"{socket.gethostname()}: {ended} runs"
