"""Many seeds at once: K runs as one program, beside the same K runs by themselves.

Of each system and size, CPU seconds of one thread for an update of one run: runs one after another
in this process, one stack of K, and K processes side by side on one core (`--processes`, of the
smallest K). Only updates are timed: evaluation and record are each run's own either way.

    python -m benchmarks.stacked [--updates 20] [--repeats 3] [--processes] [--only TEXT]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import torch
from torch import Tensor

from benchmarks.measure import Times, show
from core.allocator import keep_freed_memory
from core.config import Config
from core.players import build
from core.train import Trainer
from core.walks import Walker, walk_together
from experiments import load
from variants import registry

CPU = torch.device("cpu")
V = 107  # words of the default grammar
BATCHES = 8
ALIKE = ("discriminator.dropout=0",)
NARROW = ("generator.width=32", "discriminator.width=32")
STACKS = (4, 8)
SMOKE = "experiments/smoke/run.toml"
CARD = (SMOKE, "sampling.name=detached", "generator.width=16", "generator.hidden=32",
        "discriminator.width=16", "discriminator.hidden=32", "schedule.n_d=1")  # fmt: skip
# What it is called, how it is made; each at every batch size of `SIZES`.
SYSTEMS: Mapping[str, tuple[str, ...]] = {
    "lstm of 32, likelihood": ("mle", "generator.name=lstm", "generator.width=32"),
    "transformer of 64, likelihood (mle)": ("mle",),
    "scratchgan, lstms of 32": ("scratchgan", *ALIKE, *NARROW, "generator.hidden=32",
                                "discriminator.hidden=32", "generator.layers=1"),
    "modern, as it comes": ("modern", *ALIKE),
    "design_axes' smallest, wgan-gp": CARD,
    "transformers of 64, wgan-gp": (SMOKE, "sampling.name=detached", "generator.width=64",
                                    "generator.hidden=256", "discriminator.width=64",
                                    "discriminator.hidden=256", "schedule.n_d=1"),
}  # fmt: skip
SIZES = (8, 64, 256)


class Sentences:
    """Random sentences of a run's seed, made beforehand; half of S words to S."""

    per_epoch = sentences = 1000

    def __init__(self, config: Config) -> None:
        rng = torch.Generator().manual_seed(config.seed)
        N, S = config.train.batch_size, config.model.length
        self._batches = torch.randint(4, V, (BATCHES, N, S), generator=rng)
        ends = torch.randint(S // 2, S, (BATCHES, N, 1), generator=rng)
        place = torch.arange(S)
        self._batches[place == ends], self._batches[place > ends] = 2, 0

    def batch(self, number: int) -> Tensor:
        """Batch `number`, int64 (N, S)."""
        return self._batches[number % BATCHES]


def trainer(config: Config, stacked: bool) -> Trainer:
    """A run without record."""
    players = build(config, registry(), V, CPU)
    sentences = Sentences(config)
    run = Trainer(config, players, sentences, CPU, lambda values, step: None)  # type: ignore[arg-type]
    run.counters.stacked = stacked
    return run


def configs(system: str, batch: int, updates: int, count: int) -> list[Config]:
    """Seeds of one system."""
    source, *overrides = SYSTEMS[system]
    size = [f"train.batch_size={batch}", f"train.updates={updates}"]
    return [load(source, [*overrides, *size, f"seed={seed}"]) for seed in range(count)]


def timed(settings: list[Config], stack: bool) -> tuple[float, float]:
    """CPU and wall seconds for an update of one run."""
    runs = [trainer(config, stack) for config in settings]
    walkers = [Walker(run.walk(lambda: None, lambda: None), run) for run in runs]
    cpu, wall = time.process_time(), time.perf_counter()
    for group in [walkers] if stack else [[walker] for walker in walkers]:
        walk_together(group)
    spent = time.process_time() - cpu, time.perf_counter() - wall
    updates = sum(config.train.updates or 0 for config in settings)
    return spent[0] / updates, spent[1] / updates


def in_a_process(config: Config, core: int) -> float:
    """CPU seconds of an update, in a process of its own on one core, beside others."""
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    keep_freed_memory()
    warm = config.model_copy(update={"train": config.train.model_copy(update={"updates": 2})})
    timed([warm], stack=False)
    return timed([config], stack=False)[0]


def side_by_side(settings: list[Config], core: int) -> float:
    """The same of as many processes as runs, all at once: their mean."""
    with ProcessPoolExecutor(len(settings), mp_context=get_context("spawn")) as pool:
        spent = pool.map(in_a_process, settings, [core] * len(settings))
        return sum(spent) / len(settings)


def main() -> None:
    """Measure every system at every size."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("--only", default="", help="systems whose name has this in it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    core = max(os.sched_getaffinity(0))
    for system in (name for name in SYSTEMS if options.only in name):
        for batch in SIZES:
            warm = configs(system, batch, 2, 2)
            timed(warm, stack=False), timed(warm, stack=True)
            few = max(3, options.updates // (4 if batch > 64 else 1))
            for count in STACKS:
                settings = configs(system, batch, few, count)
                pairs = [
                    (timed(settings[:2], stack=False), timed(settings, stack=True))
                    for _ in range(options.repeats)
                ]
                plain, fast = (
                    Times(*(median(values) for values in zip(*side, strict=True)), options.repeats)
                    for side in zip(*pairs, strict=True)
                )
                more = {}
                if options.processes and count == STACKS[0]:
                    more = {"process_s": side_by_side(settings, core)}
                show(f"stacked: {system}, batch {batch}, {count} runs", fast, plain,
                     "CPU seconds for an update of one run", **more)  # fmt: skip


if __name__ == "__main__":
    main()
