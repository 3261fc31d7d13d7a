"""A worker of a study: checks that its machine fits, and takes runs until the queue is empty.

All machines of a study need the same code and the same corpora. Fingerprints of both are stored
when the study begins, and every worker compares its own with them.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna

from core.errors import MachineError
from core.tracking.protocol import Tracker
from experiments.corpora import corpus_key
from experiments.single_run.loading import open_corpus
from experiments.single_run.run import run
from studies.definition import Study, from_definition
from studies.running.execute import work
from studies.running.queue import load_queue
from studies.running.worker import Train
from variants import registry

PACKAGES = ("core", "variants", "studies", "experiments")
MADE_WITH = "made_with"  # attribute of the queue


def take_runs(
    study: str, storage: str, tracker: Tracker, until: float | None, train: Train = run
) -> None:
    """Train runs of a study until its queue is empty; MachineError if this machine does not fit."""
    queue = load_queue(study, storage)
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
