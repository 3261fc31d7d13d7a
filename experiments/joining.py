"""What every machine of a study must have in common: the code, and the corpora as they were built.

Both are written down when the study begins, as fingerprints, and looked at by whoever joins.
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
from experiments.commands.corpora import corpus_key
from experiments.single_run.run import open_corpus
from studies.definition import Study

PACKAGES = ("core", "variants", "studies", "experiments")
MADE_WITH = "made_with"  # attribute of the queue


def write_down(queue: optuna.Study, corpora: Mapping[str, str]) -> None:
    """What the study is made with; `corpora` as `prepare` gives them."""
    queue.set_user_attr(
        MADE_WITH, {"version": version("textgan-lab"), "code": code(), "corpora": dict(corpora)}
    )


def check(queue: optuna.Study, study: Study, store_dir: Path) -> None:
    """MachineError where this machine has other code, or builds another corpus."""
    made: Mapping[str, Any] = queue.user_attrs.get(MADE_WITH, {})
    if not made:
        return
    if made["code"] != code():
        raise MachineError(
            f"study {queue.study_name!r} was begun with textgan-lab {made['version']}, code "
            f"{made['code'][:8]}; here is {version('textgan-lab')}, code {code()[:8]}: install the "
            f"same everywhere, or go on with this one by `textgan study FILE --resume`"
        )
    configs = [variant.config for variant in study.variants]
    ours: dict[str, str] = {}
    for config in configs:
        key = corpus_key(config)
        theirs = made["corpora"].get(key)
        if key not in ours:
            ours[key] = open_corpus(config.corpus, store_dir, config.model.length).fingerprint
        if theirs is not None and theirs != ours[key]:
            raise MachineError(
                f"corpus {config.corpus.source}: its fingerprint here is {ours[key][:12]}, where "
                f"study {queue.study_name!r} was begun it is {theirs[:12]}; give every machine the "
                f"same file, or a shared folder"
            )


@lru_cache(maxsize=1)
def code() -> str:
    """A fingerprint of all our source files, wherever the packages lie."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        (place,) = importlib.import_module(package).__path__
        for file in sorted(Path(place).rglob("*.py")):
            digest.update(f"{package}/{file.relative_to(place)}\0".encode() + file.read_bytes())
    return digest.hexdigest()
