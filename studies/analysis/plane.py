"""Quality against diversity, which shows a variant that trades one for the other.

Caccia et al. 2020 ("Language GANs Falling Short"): one number alone is not enough. A generator that
repeats one good sentence has quality, and one that draws tokens at random has diversity.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.tracking.protocol import RunRecord
from studies.figures import BLUE, GREY, ORANGE, PAPER, canvas
from studies.sections import Reading, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUALITY = (("valid", "valid sentences"), ("bleu_4", "BLEU-4"), ("bleu_2", "BLEU-2"))
DIVERSITY = ("self_bleu_4", "self_bleu_2")
TRACE = 0.005
NEAR = 0.06  # share of the plane's span: closer numbers are merged into one label
Point = tuple[float, float]  # diversity, quality


def plane(reading: Reading) -> list[Section]:
    """The plane; none if the runs do not have such metrics."""
    quality = next(((k, label) for k, label in QUALITY if _informs(reading, k)), None)
    diversity = next((k for k in DIVERSITY if _has(reading, k)), None)
    if quality is None or diversity is None:
        return []
    runs = {run.run_id: run for run in reading.seeds}
    points = {
        row.variant: [p for run in row.seed_runs.values()
                      if (p := _point(runs[run], "eval", diversity, quality[0])) is not None]
        for row in reading.board.rows
    }  # fmt: skip
    real = [p for run in runs.values() if (p := _point(run, "real", diversity, quality[0]))]
    likelihood = {
        run.tags["variant"] for run in runs.values() if run.params.get("schedule.name") == "mle"
    }
    return [
        Section(
            "plane",
            figures={
                "quality_diversity": lambda: _figure(
                    points, real, likelihood, quality[1], diversity
                )
            },
        )
    ]


def _has(reading: Reading, name: str) -> bool:
    return any(f"eval/{name}" in run.metrics for run in reading.seeds)


def _informs(reading: Reading, name: str) -> bool:
    """Whether half of the runs have more than a trace of it; otherwise it separates few runs."""
    more = sum(run.metrics.get(f"eval/{name}", 0) > TRACE for run in reading.seeds)
    return 2 * more >= len(reading.seeds)


def _point(run: RunRecord, where: str, diversity: str, quality: str) -> Point | None:
    x, y = run.metrics.get(f"{where}/{diversity}"), run.metrics.get(f"{where}/{quality}")
    return None if x is None or y is None else (1 - x, y)


def _figure(
    points: Mapping[str, Sequence[Point]],
    real: Sequence[Point],
    likelihood: set[str],
    quality: str,
    diversity: str,
) -> Figure:
    from matplotlib.patheffects import withStroke

    halo = withStroke(linewidth=2.5, foreground=PAPER)
    drawing, axis = canvas(6.6, 4.8)
    axis.grid(lw=0.6)
    for variant, found in points.items():
        if found:
            _variant(axis, found, variant in likelihood)
    if real:
        x, y = np.mean(real, axis=0)
        axis.plot(x, y, "P", color=ORANGE, ms=10, mew=0)
        axis.annotate("real text", (x, y), (0, 9), textcoords="offset points", color=ORANGE,
                      ha="center", fontsize=9)  # fmt: skip
    axis.margins(0.1)
    for (x, y), label in _numbers(points, axis).items():
        axis.annotate(label, (x, y), (0, -6), textcoords="offset points", color=BLUE, ha="center",
                      va="top", fontsize=8.5, path_effects=[halo])  # fmt: skip
    axis.set_xlabel(f"diversity: 1 - Self-BLEU-{diversity[-1]}")
    axis.set_ylabel(f"quality: {quality}")
    return drawing


def _variant(axis: Axes, found: Sequence[Point], likelihood: bool) -> None:
    xs, ys = zip(*found, strict=True)
    axis.plot(xs, ys, "o", color=GREY, ms=3.5, mew=0, alpha=0.8)
    x, y = np.mean(found, axis=0)
    axis.plot(x, y, "D" if likelihood else "o", color=BLUE, ms=8, mew=0)


def _numbers(points: Mapping[str, Sequence[Point]], axis: Axes) -> dict[Point, str]:
    """Where to write which ranks: neighbours share a label."""
    span = np.array([np.ptp(axis.get_xlim()), np.ptp(axis.get_ylim())])
    groups: list[dict[int, np.ndarray]] = []  # rank -> mean
    for rank, found in enumerate(points.values(), start=1):
        if not found:
            continue
        place = np.mean(found, axis=0)
        near = (g for g in groups if np.all(np.abs(_first(g) - place) < NEAR * span))
        group = next(near, None)
        if group is None:
            groups.append({rank: place})
        else:
            group[rank] = place
    return {
        (float(_first(group)[0]), float(min(y for _, y in group.values()))): ranks(list(group))
        for group in groups
    }


def _first(group: Mapping[int, np.ndarray]) -> np.ndarray:
    return next(iter(group.values()))


def ranks(found: Sequence[int]) -> str:
    """`3`, `3, 5`, `7-12`."""
    parts: list[str] = []
    for _, group in itertools.groupby(enumerate(found), key=lambda pair: pair[1] - pair[0]):
        run = [rank for _, rank in group]
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run)
    return ", ".join(parts)
