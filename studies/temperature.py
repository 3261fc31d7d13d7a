"""Sweeps of temperature: what was measured of a run, and the area that its curve dominates.

`area` is the part of the unit square that some point of the sweep dominates in both: one number for
the whole curve, higher is better, 0 to 1. It depends on the number of sentences and references, as
its two metrics do, and grows with the range swept: compare equal ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from core.errors import InputError
from core.files import read_bounded

LARGEST = 10_000_000  # bytes of a file of sweeps
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Point:
    """Quality and diversity of one sample, each with its interval."""

    temperature: float | None  # None: a baseline
    quality: float
    diversity: float
    quality_interval: Interval
    diversity_interval: Interval
    sentences: int


@dataclass(frozen=True)
class Sweep:
    """The points of a generator, those of the baselines, and the area."""

    swept: str
    points: tuple[Point, ...]
    baselines: Mapping[str, Point]
    area: float
    references: int
    notes: tuple[str, ...] = ()  # on baselines, those that could not be had among them

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


SWEEPS = TypeAdapter(dict[str, Sweep])


def read_sweeps(file: Path) -> dict[str, Sweep]:
    """Run -> its sweep, as `textgan sweep --json` wrote them; InputError for anything else."""
    try:
        return SWEEPS.validate_json(read_bounded(file, LARGEST))
    except ValidationError as error:
        raise InputError(f"{file}: no sweeps: {error.errors()[0]['msg']}") from None


def area(points: Sequence[tuple[float, float]]) -> float:
    """Area of the union of the rectangles between (0, 0) and each point."""
    total, height = 0.0, 0.0
    for x, y in sorted(points, reverse=True):
        if y > height:
            total += x * (y - height)
            height = y
    return total
