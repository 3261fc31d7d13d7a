"""Training and sampling against the yardstick, one JSON document a measure.

    python -m benchmarks.speed            the full sizes
    python -m benchmarks.speed --quick    batch 16, one repeat of the yardstick

One thread, process CPU time (wall time beside it): a foreign process on the machine distorts the
one far less than the other. Ratios are medians over medians, measured in one run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.sizes import Setting
from benchmarks.yardstick import Yardstick
from core.allocator import keep_freed_memory
from core.checkpoint import Counters
from core.protocols import Phase
from core.rollout import Drawing, sample_tokens
from core.steps import Steps

N_D = 5
GENERATOR = Phase("generator", "adversarial")
DISCRIMINATOR = Phase("discriminator", "adversarial", N_D)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peak", choices=["fast", "plain"], help="print the peak memory of one")
    parser.add_argument("--repeats", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    setting = Setting(batch=16 if asked.quick else 64)
    if asked.peak:
        print(peak_of_an_iteration(setting, asked.peak))
        return
    repeats = asked.repeats or (3 if asked.quick else 5)
    plain_repeats = 1 if asked.quick else 2
    training(setting, repeats, plain_repeats)
    lengths(setting, repeats)
    vocabularies(setting, repeats)
    peak_memory(asked.quick)


def training(setting: Setting, repeats: int, plain_repeats: int) -> None:
    """Sampling, a step of each player, and an iteration of five and one."""
    fast, plain = setting.steps(), Yardstick(setting)
    tokens = setting.batch * setting.length
    sampling = times(lambda: sample(fast), repeats), times(plain.sample, plain_repeats)
    show("sampling", *sampling, f"{tokens / sampling[0][0]:.0f} tokens a second")
    for name in ("last_token", "fixed_token"):
        other = replace(setting, next_input=name).steps()
        show(f"sampling_{name}", times(lambda s=other: sample(s), repeats), sampling[1], "seconds")
    g = times(lambda: play(fast, GENERATOR), repeats), times(plain.generator_step, plain_repeats)
    show("generator_update", *g, "seconds, the rollout included")
    d = (
        tuple(t / N_D for t in times(lambda: play(fast, DISCRIMINATOR), repeats)),
        times(plain.discriminator_step, plain_repeats),
    )
    show("discriminator_update", *d, "seconds, the fake batch included")
    show("iteration", *composed(g, d), f"seconds, {N_D} D + 1 G")
    small = replace(setting, light=True)
    fast, plain = small.steps(), Yardstick(small)
    d = (
        tuple(t / N_D for t in times(lambda: play(fast, DISCRIMINATOR), repeats)),
        times(plain.discriminator_step, plain_repeats),
    )
    g = times(lambda: play(fast, GENERATOR), repeats), times(plain.generator_step, plain_repeats)
    show("iteration_light", *composed(g, d), f"seconds, {N_D} D + 1 G, D: T 1, B 1, O 1")


def lengths(setting: Setting, repeats: int) -> None:
    """An iteration's cost from 32 to 128 words; the ratio is the growth."""
    short, long = (iteration_time(replace(setting, length=S), repeats) for S in (32, 128))
    show("length_32_to_128", short, long, "seconds of an iteration; the ratio is the growth")


def vocabularies(setting: Setting, repeats: int) -> None:
    """An iteration's cost from 5,000 to 70,000 words; the ratio is the growth."""
    few, many = (
        iteration_time(replace(setting, vocabulary=V, length=32, light=True), repeats)
        for V in (5_000, 70_000)
    )
    show("vocabulary_5k_to_70k", few, many, "seconds of an iteration; 14 is linear")


def peak_memory(quick: bool) -> None:
    """Peak memory of an iteration, each side in a process of its own."""
    peaks = []
    for side in ("fast", "plain"):
        command = [sys.executable, "-m", "benchmarks.speed", "--peak", side]
        done = subprocess.run(
            [*command, *(["--quick"] if quick else [])], capture_output=True, text=True, check=True
        )
        peaks.append(float(done.stdout))
    print(json.dumps({"name": "peak_memory", "ratio": peaks[1] / peaks[0], "fast_mb": peaks[0],
                      "plain_mb": peaks[1], "fast_s": None, "plain_s": None,
                      "unit": "MB above the empty process", "repeats": 1}), flush=True)  # fmt: skip


def peak_of_an_iteration(setting: Setting, side: str) -> float:
    """MB that one step of each player adds to the process at its peak."""
    if side == "fast":
        steps = setting.steps()
        before = peak_mb()
        play(steps, DISCRIMINATOR)
        play(steps, GENERATOR)
    else:
        plain = Yardstick(setting)
        before = peak_mb()
        plain.discriminator_step()
        plain.generator_step()
    return peak_mb() - before


def peak_mb() -> float:
    """The most memory this process has held, MB (its own: `getrusage` counts its parent's)."""
    status = Path("/proc/self/status").read_text()
    return float(status.split("VmHWM:")[1].split()[0]) / 1e3


def iteration_time(setting: Setting, repeats: int) -> tuple[float, float]:
    """CPU and wall seconds of five D steps and one G step."""
    steps = setting.steps()

    def iteration() -> None:
        play(steps, DISCRIMINATOR)
        play(steps, GENERATOR)

    return times(iteration, repeats)


def play(steps: Steps, phase: Phase) -> None:
    """All steps of a phase."""
    steps.play(phase, 0.0, Counters())


def sample(steps: Steps) -> None:
    """Draw one batch."""
    drawing = Drawing(steps.players.sampling)
    size = steps.config.train.batch_size
    sample_tokens(steps.players.generator, drawing, size, steps.streams["noise"])


def times(work: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Median CPU and wall seconds; one run to warm up where there are several."""
    if repeats > 1:
        work()
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return statistics.median(c for c, _ in found), statistics.median(w for _, w in found)


Pair = tuple[tuple[float, ...], tuple[float, ...]]


def composed(g: Pair, d: Pair) -> Pair:
    """An iteration from its parts, fast and plain."""
    fast, plain = (
        tuple(N_D * one + other for one, other in zip(d[side], g[side], strict=True))
        for side in (0, 1)
    )
    return fast, plain


def show(name: str, fast: tuple[float, ...], plain: tuple[float, ...], unit: str) -> None:
    """Print one measure."""
    document = {
        "name": name,
        "ratio": plain[0] / fast[0],
        "fast_s": fast[0],
        "plain_s": plain[0],
        "fast_wall_s": fast[1],
        "plain_wall_s": plain[1],
        "unit": unit,
        "repeats": 1,
    }
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
