"""Quality against diversity: a variant that trades one for the other shows it here.

Caccia et al. 2020 ("Language GANs Falling Short"): one number for either is not enough, since a
generator that repeats one good sentence has quality, and one that draws words at random diversity.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.tracking.protocol import RunRecord
from studies.figures import BLUE, GREY, ORANGE, PAPER
from studies.sections import Reading, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUALITY = (("valid", "valid sentences"), ("bleu_4", "BLEU-4"), ("bleu_2", "BLEU-2"))
DIVERSITY = ("self_bleu_4", "self_bleu_2")
TRACE = 0.005
NEAR = 0.06  # of the plane's span: closer numbers are written as one
Point = tuple[float, float]  # diversity, quality
READING = (
    "Up is better written, right is more varied; a good generator lies near real text, and one "
    "that moves away from it in either direction has a fault. A small dot is a run, a number a "
    "variant's mean and its rank in the leaderboard, the cross real held-out text scored as if it "
    "had been generated; a diamond a variant trained on likelihood alone."
)


def plane(reading: Reading) -> list[Section]:
    """The plane; none where a run has no such numbers."""
    quality = next(((k, words) for k, words in QUALITY if _tells(reading, k)), None)
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
            "Quality and diversity",
            READING,
            figures={
                "quality_diversity": lambda: _figure(
                    points, real, likelihood, quality[1], diversity
                )
            },
        )
    ]


def _has(reading: Reading, name: str) -> bool:
    return any(f"eval/{name}" in run.metrics for run in reading.seeds)


def _tells(reading: Reading, name: str) -> bool:
    """Whether half of the runs have more than a trace of it: what few have separates few."""
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
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    halo = withStroke(linewidth=2.5, foreground=PAPER)
    drawing = Figure(figsize=(6.6, 4.8), layout="constrained")
    axis = drawing.subplots()
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
    for (x, y), words in _numbers(points, axis).items():
        axis.annotate(words, (x, y), (0, -6), textcoords="offset points", color=BLUE, ha="center",
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
    """Where to write which ranks: neighbours share a place."""
    span = np.array([np.ptp(axis.get_xlim()), np.ptp(axis.get_ylim())])
    groups: list[list[tuple[int, np.ndarray]]] = []
    for rank, found in enumerate(points.values(), start=1):
        if not found:
            continue
        place = np.mean(found, axis=0)
        near = (g for g in groups if np.all(np.abs(g[0][1] - place) < NEAR * span))
        group = next(near, None)
        if group is None:
            groups.append([(rank, place)])
        else:
            group.append((rank, place))
    return {
        (float(group[0][1][0]), float(min(place[1] for _, place in group))): _ranks(
            [rank for rank, _ in group]
        )
        for group in groups
    }


def _ranks(ranks: Sequence[int]) -> str:
    """`3`, `3, 5`, `7-12`."""
    words: list[str] = []
    for _, group in itertools.groupby(enumerate(ranks), key=lambda pair: pair[1] - pair[0]):
        run = [rank for _, rank in group]
        words += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run)
    return ", ".join(words)
