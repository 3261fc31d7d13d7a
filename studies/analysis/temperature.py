"""Sweeps of temperature: their data, each variant's area over its seeds, and the figure.

`area` is the part of the unit square that some point of the sweep dominates in both metrics: one
number for the whole curve, higher is better, 0 to 1. It depends on the number of sentences and
references, as its two metrics do, and grows with the swept range: compare equal ones.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from core.errors import InputError
from core.files import read_bounded
from core.statistics import Interval, difference, interval
from studies.analysis.wording import between, contrast, count
from studies.figures import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    SKY,
    bare_plane,
    canvas,
)
from studies.sections import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST = 10_000_000  # bytes of a file of sweeps
SEED = " · seed "  # separates a run's variant from its seed
CURVES = (BLUE, PINK, AMBER, SKY)
MARKS = {
    "real": ("real text", "D", ORANGE),
    "ngram": ("n-gram model", "^", GREY),
    "mle": ("MLE", "s", GREEN),
}
Ends = tuple[float, float] | None


@dataclass(frozen=True)
class Point:
    """Quality and diversity of one sample, each with its interval."""

    temperature: float | None  # None: a baseline
    quality: float
    diversity: float
    quality_interval: Ends
    diversity_interval: Ends
    sentences: int


@dataclass(frozen=True)
class Sweep:
    """The points of a generator, those of the baselines, and the area."""

    swept: str
    points: tuple[Point, ...]
    baselines: Mapping[str, Point]
    area: float
    references: int
    notes: tuple[str, ...] = ()  # on baselines, including those that are not available

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


Sweeps = Mapping[str, Sweep]  # run -> its sweep
SWEEPS = TypeAdapter(dict[str, Sweep])


def read_sweeps(file: Path) -> dict[str, Sweep]:
    """The sweeps that `textgan sweep --json` wrote, by run; InputError for any other file."""
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


def sweep_section(sweeps: Sweeps) -> Section:
    """The sweeps of a study: each variant's area over its seeds, the figure, comparisons."""
    areas = {name: [one.area for one in runs] for name, runs in _by_variant(sweeps).items()}
    rows = []
    for name, found in areas.items():
        over = interval(found, np.random.default_rng(zlib.crc32(name.encode())))
        sure = between(over.ends if len(found) > 1 else None)
        rows.append([name, f"{over.value:.4f}", sure, str(len(found))])
    return Section(
        "temperature",
        ("variant", "area", "95% interval", "seeds"),
        rows,
        {"temperature": lambda: sweep_figure(sweeps)},
        _findings(areas),
    )


def _findings(areas: Mapping[str, Sequence[float]]) -> list[str]:
    """The largest area against each other."""
    ranked = sorted(areas, key=lambda name: -float(np.mean(areas[name])))
    best, said = ranked[0], []
    for other in ranked[1:]:
        rng = np.random.default_rng(zlib.crc32(f"{best}/{other}".encode()))
        found = difference([(areas[best], areas[other])], rng, paired=False)
        text = contrast(best, other, Interval(found.value, found.low, found.high), found.pairs,
                        higher_is_better=True, unit="pair of runs")  # fmt: skip
        said.append(f"Area over temperature: {text}")
    return said


def _by_variant(sweeps: Sweeps) -> dict[str, list[Sweep]]:
    found: dict[str, list[Sweep]] = {}
    for run, one in sweeps.items():
        found.setdefault(run.partition(SEED)[0], []).append(one)
    return found


def sweep_figure(sweeps: Sweeps) -> Figure:
    """Curves in the plane of diversity and quality, one colour per variant; baselines as points."""
    drawing, axis = canvas(5.6, 4.8)
    variants = _by_variant(sweeps)
    for colour, (name, runs) in zip(itertools.cycle(CURVES), variants.items(), strict=False):
        for seed, one in enumerate(runs):
            label = None if seed else _label(name, [each.area for each in runs])
            _curve(axis, label, one, colour)
    baselines = {name: point for one in sweeps.values() for name, point in one.baselines.items()}
    for name, point in baselines.items():
        label, mark, colour = MARKS[name]
        axis.plot(point.diversity, point.quality, mark, color=colour, ms=8, label=label)
    axis.set_xlabel("1 - Self-BLEU-4 (more diverse to the right)")
    axis.set_ylabel("BLEU-4 (closer to real text upwards)")
    swept = sorted({found.swept for found in sweeps.values()})
    axis.set_title(f"swept: {', '.join(swept)}; bars: 95% intervals", fontsize=10)
    axis.margins(0.1)
    bare_plane(axis)
    # Below the axes, since points can be anywhere in them.
    drawing.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    return drawing


def _label(name: str, areas: Sequence[float]) -> str:
    if len(areas) == 1:
        return f"{name}, area {areas[0]:.3f}"
    return f"{name}, {count(len(areas), 'run')}, area {min(areas):.3f} to {max(areas):.3f}"


def _curve(axis: Axes, label: str | None, found: Sweep, colour: str) -> None:
    x = [point.diversity for point in found.points]
    y = [point.quality for point in found.points]
    axis.plot(x, y, "o-", color=colour, ms=4, lw=1.4, label=label)
    for point in found.points:
        if point.quality_interval is not None:
            axis.plot([point.diversity] * 2, point.quality_interval, color=colour, lw=1)
        if point.diversity_interval is not None:
            axis.plot(point.diversity_interval, [point.quality] * 2, color=colour, lw=1)
    if label is None:  # the first curve of a variant shows the temperatures at its ends
        return
    for point in (found.points[0], found.points[-1]):
        axis.annotate(f"{point.temperature:g}", (point.diversity, point.quality), (5, 5),
                      textcoords="offset points", color=colour, fontsize=8)  # fmt: skip
