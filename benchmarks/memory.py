"""Peak memory of an iteration, each measure in a process of its own.

python -m benchmarks.memory SIDE [--batch N] [--vocabulary V] [...]    prints megabytes
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.sizes import Setting, discriminator_phase, generator_phase
from benchmarks.yardstick import Yardstick
from core.training.loop import train_phase
from core.training.players import as_module

SIDES = ("fast", "plain", "weights")
OF_A_WEIGHT = 4  # numbers that training keeps: itself, its gradient, Adam's two moments


def iteration(quick: bool) -> None:
    """`peak_memory`: one step of each player, above the process before the first step."""
    # A quarter of the batch in memory, as at the full size.
    sizes = ["--batch", "16", "--micro", "4"] if quick else ["--batch", "64", "--micro", "16"]
    fast, plain = (megabytes(side, *sizes) for side in ("fast", "plain"))
    unit = "MB above the process before its first step"
    _show("peak_memory", plain / fast, unit, fast_mb=fast, plain_mb=plain)


def vocabularies() -> None:
    """`vocabulary_memory`: the same from 5,000 to 70,000 words, beyond the weights, their
    gradients and Adam's moments; the ratio is the growth.
    """
    found = {}
    for words in (5_000, 70_000):
        sizes = ["--batch", "16", "--length", "32", "--vocabulary", str(words), "--light"]
        weights = megabytes("weights", *sizes)
        found[words] = max(megabytes("fast", *sizes) - weights, 1.0)
    few, many = found.values()
    unit = "MB of an iteration beyond weights, gradients and moments; the ratio is the growth"
    _show("vocabulary_memory_5k_to_70k", many / few, unit, few_mb=few, many_mb=many)


def _show(name: str, ratio: float, unit: str, **more: float) -> None:
    document = {"name": name, "ratio": ratio, "fast_s": None, "plain_s": None, "unit": unit,
                "repeats": 1, **more}  # fmt: skip
    print(json.dumps(document), flush=True)


def megabytes(side: str, *sizes: str) -> float:
    """What a process of its own prints."""
    command = [sys.executable, "-m", "benchmarks.memory", side, *sizes]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--micro", type=int, default=16)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--vocabulary", type=int, default=4600)
    parser.add_argument("--light", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    setting = Setting(asked.batch, asked.length, asked.vocabulary, asked.light,
                      micro_batch=asked.micro)  # fmt: skip
    print(kept(setting) if asked.side == "weights" else added(setting, asked.side))


def kept(setting: Setting) -> float:
    """MB of gradients and moments, which the first step adds to the weights that are there."""
    modules = [module for _, module in setting.players().modules()]
    numbers = sum(p.numel() for module in modules for p in as_module(module).parameters())
    return numbers * (OF_A_WEIGHT - 1) * torch.float32.itemsize / 1e6


def added(setting: Setting, side: str) -> float:
    """MB that one step of each player adds to the process at its peak. A tiny one goes before, so
    that libraries and compiled code, which are loaded once, are not counted on either side.
    """
    play(TINY, side)()
    steps = play(setting, side)
    forget_peak()
    before = peak_mb()
    steps()
    return peak_mb() - before


TINY = Setting(batch=4, length=8, vocabulary=64, light=True, micro_batch=2)


def play(setting: Setting, side: str) -> Callable[[], None]:
    """A step of each player, not yet taken."""
    if side == "fast":
        steps = setting.state()
        phases = discriminator_phase(1), generator_phase()

        def ours() -> None:
            for phase in phases:
                train_phase(steps, phase)

        return ours
    plain = Yardstick(setting)

    def both() -> None:
        plain.discriminator_step()
        plain.generator_step()

    return both


def forget_peak() -> None:
    """The most memory so far is what is held now, and nothing that is free is held."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """The most memory this process has held, MB (its own: `getrusage` counts its parent's)."""
    status = Path("/proc/self/status").read_text()
    return float(status.split("VmHWM:")[1].split()[0]) / 1e3


if __name__ == "__main__":
    main()
