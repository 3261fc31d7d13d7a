"""The section of a study's sweeps: each variant's area over its seeds, the plane, who is ahead."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.statistics import difference, interval
from studies.analysis.wording import between, contrast, count
from studies.figures import AMBER, BLUE, GREEN, GREY, ORANGE, PINK, SKY
from studies.sections import Section
from studies.temperature import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEED = " · seed "  # between a run's variant and what tells it from the variant's others
CURVES = (BLUE, PINK, AMBER, SKY)
MARKS = {"real": ("D", ORANGE), "ngram": ("^", GREY), "mle": ("s", GREEN)}
NAMES = {"real": "real text", "ngram": "n-gram model", "mle": "MLE"}
READING = (
    "Each run draws the same number of sentences at each temperature; up is nearer to real text, "
    "right is more varied, and both are of the same sentences (Caccia et al. 2020). A run's *area* "
    "is the part of the unit square that some temperature of its dominates in both. A system "
    "whose curve lies above and right of another's is better in this plane whatever the "
    "temperature; where curves cross, neither is. Beyond real text nothing is gained: BLEU counts "
    "frequent n-grams and does not see whether a sentence is one."
)


def sweep_section(sweeps: Mapping[str, Sweep]) -> Section:
    """The sweeps of a study: each variant's area over its seeds, the figure, who is ahead."""
    areas = {name: [one.area for one in runs] for name, runs in _by_variant(sweeps).items()}
    rows = []
    for name, found in areas.items():
        over = interval(found, np.random.default_rng(zlib.crc32(name.encode())))
        sure = between(over.ends if len(found) > 1 else None)
        rows.append([name, f"{over.value:.4f}", sure, str(len(found))])
    return Section(
        "temperature",
        "Quality and diversity over temperature",
        READING,
        ("variant", "area", "95% interval", "seeds"),
        rows,
        {"temperature": lambda: sweep_figure(sweeps)},
        {"area": areas},
        _findings(areas),
    )


def _findings(areas: Mapping[str, Sequence[float]]) -> list[str]:
    """The largest area against each other."""
    ranked = sorted(areas, key=lambda name: -float(np.mean(areas[name])))
    best, said = ranked[0], []
    for other in ranked[1:]:
        rng = np.random.default_rng(zlib.crc32(f"{best}/{other}".encode()))
        found = difference([(areas[best], areas[other])], rng, paired=False)
        words = contrast(best, other, found.value, found.low, found.high, found.pairs,
                         higher_is_better=True, unit="pair of runs")  # fmt: skip
        said.append(f"Area over temperature: {words}")
    return said


def _by_variant(sweeps: Mapping[str, Sweep]) -> dict[str, list[Sweep]]:
    found: dict[str, list[Sweep]] = {}
    for run, one in sweeps.items():
        found.setdefault(run.partition(SEED)[0], []).append(one)
    return found


def sweep_figure(sweeps: Mapping[str, Sweep]) -> Figure:
    """Curves in the plane of diversity and quality, a colour a variant; baselines as points."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5.6, 4.8), layout="constrained")
    axis = drawing.subplots()
    variants = _by_variant(sweeps)
    for colour, (name, runs) in zip(itertools.cycle(CURVES), variants.items(), strict=False):
        for seed, one in enumerate(runs):
            label = None if seed else _label(name, [each.area for each in runs])
            _curve(axis, label, one, colour)
    baselines = {name: point for one in sweeps.values() for name, point in one.baselines.items()}
    for name, point in baselines.items():
        mark, colour = MARKS[name]
        axis.plot(point.diversity, point.quality, mark, color=colour, ms=8, label=NAMES[name])
    axis.set_xlabel("1 - Self-BLEU-4 (more diverse to the right)")
    axis.set_ylabel("BLEU-4 (closer to real text upwards)")
    swept = sorted({found.swept for found in sweeps.values()})
    axis.set_title(f"swept: {', '.join(swept)}; bars: 95% intervals", fontsize=10)
    axis.margins(0.1)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    # Below the axes: points may lie anywhere in them.
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
    if label is None:  # the first curve of a variant says which end is which
        return
    for point in (found.points[0], found.points[-1]):
        axis.annotate(f"{point.temperature:g}", (point.diversity, point.quality), (5, 5),
                      textcoords="offset points", color=colour, fontsize=8)  # fmt: skip
