"""How a measure is taken, and how it is printed.

Process CPU time, wall time beside it: a foreign process on the machine distorts the one far less
than the other. Ratios are medians over medians, measured in one run.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """Median CPU and wall seconds of something that was done `repeats` times."""

    cpu: float
    wall: float
    repeats: int

    def plus(self, other: Times, times: int = 1) -> Times:
        """These and `times` of the other, one after another."""
        repeats = min(self.repeats, other.repeats)
        return Times(self.cpu + times * other.cpu, self.wall + times * other.wall, repeats)

    def over(self, count: int) -> Times:
        """One of `count` equal parts."""
        return Times(self.cpu / count, self.wall / count, self.repeats)


def times(work: Callable[[], object], repeats: int) -> Times:
    """Do it `repeats` times; once more before, to warm up, where there are several."""
    if repeats > 1:
        work()
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = (statistics.median(values) for values in zip(*found, strict=True))
    return Times(cpu, wall, repeats)


def show(name: str, fast: Times, plain: Times, unit: str, **more: object) -> None:
    """Print one measure: how many times as long the plain way takes."""
    document = {
        "name": name,
        "ratio": plain.cpu / fast.cpu,
        "fast_s": fast.cpu,
        "plain_s": plain.cpu,
        "unit": unit,
        "repeats": fast.repeats,
        "plain_repeats": plain.repeats,
        "fast_wall_s": fast.wall,
        "plain_wall_s": plain.wall,
        **more,
    }
    print(json.dumps(document), flush=True)
