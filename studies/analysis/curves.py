"""Learning curves: a panel for each variant with its seeds and their mean, others in grey."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.metrics.catalogue import metric_info
from core.statistics import interval
from studies.analysis.ranking import is_near
from studies.figures import BLUE, LINE, ORANGE, panels
from studies.leaderboard import Row
from studies.sections import Reading, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 12  # panels
ACROSS = 4
UNEVEN = 4  # ratio of longest to shortest curve from which the scale is logarithmic
EVERY_RUN = 8  # seeds below which each is drawn
Curve = Sequence[tuple[int, float]]
Curves = Mapping[str, Mapping[int, Curve]]  # variant -> seed -> points


def curves(reading: Reading) -> list[Section]:
    """The study's metric over updates; none if no run was evaluated."""
    board = reading.board
    shown = board.rows[:SHOWN]
    metric = f"eval/{board.metric.partition('/')[2]}"  # the test split is evaluated once
    found = {
        row.variant: {
            seed: points for seed, run in row.seed_runs.items()
            if (points := reading.tracker.history(run, metric))
        }
        for row in shown
    }  # fmt: skip
    if not any(found.values()):
        return []
    real = board.baselines.get("real")
    others = len(board.rows) - len(shown)
    left_out = f" Only the best {SHOWN} are shown, {others} are not." if others else ""
    return [
        Section(
            "curves",
            figures={"curves": lambda: curves_figure(shown, found, real, metric)},
            values={"metric": metric, "few": EVERY_RUN, "left_out": left_out},
        )
    ]


def curves_figure(rows: Sequence[Row], found: Curves, real: float | None, metric: str) -> Figure:
    """A panel for each row."""
    across = min(ACROSS, len(rows))
    down = math.ceil(len(rows) / across)
    size = (0.8 + 2.5 * across, 0.5 + 2.1 * down)
    drawing, grid = panels(down, across, len(rows), size, sharex=True, sharey=True)
    bounds = metric_info(metric).bounds
    middles = {row.variant: middle(row.variant, found[row.variant], bounds) for row in rows}
    seen = [value for seeds in found.values() for points in seeds.values() for _, value in points]
    near = real if real is not None and is_near(real, min(seen), max(seen)) else None
    for rank, (axis, row) in enumerate(zip(grid, rows, strict=True), start=1):
        for other, line in middles.items():
            if other != row.variant and len(line):
                axis.plot(line[:, 0], line[:, 1], color=LINE, lw=0.8)
        _panel(axis, found[row.variant], middles[row.variant])
        if near is not None:
            axis.axhline(near, color=ORANGE, ls="--", lw=1.2)
        axis.set_title(_wrapped(f"{rank}  {row.variant}"), fontsize=8.5)
    ends = [points[-1][0] for seeds in found.values() for points in seeds.values()]
    steps = [s for seeds in found.values() for points in seeds.values() for s, _ in points if s > 0]
    uneven = bool(steps) and max(ends) > UNEVEN * max(1, min(ends))
    if uneven:
        _logarithmic(grid[0], min(steps), max(ends))
    drawing.supxlabel("updates, on a logarithmic scale" if uneven else "updates", fontsize=9)
    drawing.supylabel(metric, fontsize=9)
    return drawing


def _logarithmic(axis: Axes, least: int, most: int) -> None:
    """From 0, logarithmic after the first evaluation; all panels share it."""
    axis.set_xscale("symlog", linthresh=least)
    tens = [10**k for k in range(9) if least <= 10**k <= most]
    axis.set_xticks([0, *tens], ["0", *map(str, tens)])
    axis.set_xticks([], minor=True)
    axis.set_xlim(-0.1 * least, 1.1 * most)


def _panel(axis: Axes, seeds: Mapping[int, Curve], line: np.ndarray) -> None:
    if len(seeds) < EVERY_RUN:
        for points in seeds.values():
            steps, values = zip(*points, strict=True)
            axis.plot(steps, values, color=BLUE, lw=0.7, alpha=0.6)
    if len(line):
        axis.fill_between(line[:, 0], line[:, 2], line[:, 3], color=BLUE, alpha=0.18, lw=0)
        axis.plot(line[:, 0], line[:, 1], color=BLUE, lw=2, solid_capstyle="round")


def middle(variant: str, seeds: Mapping[int, Curve], bounds: tuple[float, float]) -> np.ndarray:
    """(steps, 4): step, interquartile mean, low, high, at the steps that every seed has.

    A run that diverged has no later values, so the mean ends where the first run does.
    """
    at: dict[int, list[float]] = {}
    for points in seeds.values():
        for step, value in points:
            at.setdefault(step, []).append(value)
    rng = np.random.default_rng(zlib.crc32(variant.encode()))
    rows = []
    for step, values in sorted(at.items()):
        if len(values) == len(seeds):
            found = interval(values, rng)
            low, high = np.clip((found.low, found.high), *bounds)  # the metric has no other values
            rows.append((step, found.value, low, high))
    return np.array(rows, dtype=float).reshape(-1, 4)


def _wrapped(title: str) -> str:
    """At most two lines of a panel's width."""
    import textwrap

    return "\n".join(textwrap.wrap(title, 30, max_lines=2, placeholder=" …"))
