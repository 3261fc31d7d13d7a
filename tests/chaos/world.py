"""Where faults are tried: a store's template, what an undisturbed run comes to, and the check."""

from __future__ import annotations

import importlib
import io
import logging
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tests.chaos import runs
from tests.chaos.children import BASE_SECONDS, PACE, Ended, Kill, child
from tests.chaos.tally import Tally

Say = Callable[[Tally], None]  # hears how far it is, and may wait


class World:
    """A folder to work in, the template of a store, and what an undisturbed run comes to."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        # One path for all: experiments keep the absolute path of their artifacts.
        self.store_dir, self.template = folder / "store", folder / "template"

    def prepare(self) -> None:
        """Make the template and an undisturbed run, unless they are there."""
        if self.template.exists():
            return
        prepared = child(partial(then_modules, partial(runs.prepare, self.store_dir)), self.folder)
        assert not prepared.words, prepared.traceback
        shutil.copytree(self.store_dir, self.template)
        import_all(self.undisturbed().answer[1])
        _settle()
        self.undisturbed()  # what it takes once nothing is imported any more
        kept = ("runs", "artifacts", "journal")
        self.bytes = sum(size(self.store_dir / name) for name in kept)
        self.expected = self.facts()
        print(f"a run: {self.seconds:.1f} s, {self.steps} file operations", flush=True)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.store_dir}/mlflow.db"

    def fresh(self) -> None:
        """A store in which nothing has happened."""
        runs.fresh(self.template, self.store_dir)

    def undisturbed(self) -> Ended:
        self.fresh()
        began = time.monotonic()
        ended = child(partial(then_modules, partial(runs.work, self.uri)), self.folder, Kill())
        self.seconds, self.steps = time.monotonic() - began, ended.steps
        PACE.factor = 2 * self.seconds / BASE_SECONDS
        assert ended.answer, ended
        assert ended.answer[0] == "ok", ended
        return ended

    def facts(self) -> dict[str, Any]:
        ended = child(partial(runs.facts, self.uri), self.folder)
        return ended.answer if ended.answer else {"problem": ended.words, "history": {}}

    def kill(self, share: float = 1.0) -> Kill:
        """At a random instant, or right before a random step in the file system, within the first
        `share` of what an undisturbed run takes.
        """
        if self.rng.random() < 0.5:
            return Kill(seconds=self.rng.uniform(0, share * self.seconds))
        return Kill(step=self.rng.randint(1, max(1, int(share * self.steps))))

    def check(self, ended: list[Ended]) -> list[str]:
        """What differs from the undisturbed run, and hangs and tracebacks on the way."""
        wrong = runs.differences(found := self.facts(), self.expected)
        if "problem" in found:
            wrong = [found["problem"]]
        return wrong + troubles(ended)


def troubles(ended: Sequence[Ended]) -> list[str]:
    """Hangs, tracebacks, and deaths that nobody meant."""
    hung = ["hung" for end in ended if end.hung]
    hung += [f"died of signal {end.died}" for end in ended if end.died]
    return hung + [end.traceback.strip().splitlines()[-1] for end in ended if end.traceback]


def longest(ended: Iterable[Ended]) -> float:
    """Seconds of the slowest."""
    return max(end.seconds for end in ended)


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def then_modules(act: partial[Any]) -> list[Any]:
    """What `act` answers, and what is imported after it."""
    return [act(), sorted(sys.modules)]


def import_all(names: list[str]) -> None:
    """So that a child's file operations are those of a run and not of imports."""
    for name in names:
        if name not in sys.modules:
            try:
                importlib.import_module(name)
            except ImportError:
                logging.getLogger(__name__).debug("%s is made by whoever has it", name)


def _settle() -> None:
    """What the first run of a process does once: find fonts, packages and compiled kernels, and
    compute what a grammar's metrics compare with.
    """
    from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

    from core.seeding import generator
    from core.text.grammar import grammar
    from core.training.players import build
    from core.training.rollout import sample_tokens
    from experiments.single_run.page import curves_figure
    from variants import registry

    config = runs.config()
    grammar(config.corpus.difficulty).expected_mass(1)
    players = build(config, registry(), 20, torch.device("cpu"))
    sample_tokens(players.averaged, players.sampling_at(config, 1.0), 1, generator(0, "settled"))

    warn_dependency_requirement_mismatches(["textgan-lab"])
    figure = curves_figure({"losses": {"loss": [(0, 1.0), (1, 2.0)]}})
    for kind in ("png", "svg"):
        figure.savefig(io.BytesIO(), format=kind)
