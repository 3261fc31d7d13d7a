"""Learning curves: a panel for each variant with its seeds and their mean, others in grey."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.metrics.catalogue import metric_info
from core.statistics import Interval, means
from core.tracking.protocol import RunRecord, Tracker
from studies.analysis.ranking import is_near
from studies.figures import BLUE, EVERY_RUN, LINE, ORANGE, band, panels
from studies.leaderboard import Row
from studies.sections import Reading, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 12  # panels
ACROSS = 4
UNEVEN = 4  # ratio of longest to shortest curve from which the scale is logarithmic
Curve = Sequence[tuple[int, float]]
Curves = Mapping[str, Mapping[int, Curve]]  # variant -> seed -> points


def curves(reading: Reading) -> Iterator[Section]:
    """The metric of curves over updates; none if no run was evaluated."""
    board = reading.board
    shown = board.rows[:SHOWN]
    metric, runs = reading.table.curve_metric, {run.run_id: run for run in reading.seeds}
    found = {
        row.variant: {
            seed: points for seed, run in row.seed_runs.items()
            if (points := _points(reading.tracker, runs[run], metric))
        }
        for row in shown
    }  # fmt: skip
    if not any(found.values()):
        return
    of_real = f"real/{metric.partition('/')[2]}"
    real = next((run.metrics[of_real] for run in reading.seeds if of_real in run.metrics), None)
    others = len(board.rows) - len(shown)
    left_out = f" Only the best {SHOWN} are shown, {others} are not." if others else ""
    yield Section(
        "curves",
        figures={"curves": lambda: curves_figure(shown, found, real, metric)},
        values={"metric": metric, "few": EVERY_RUN, "left_out": left_out},
    )


def _points(tracker: Tracker, run: RunRecord, metric: str) -> Curve:
    """The curve of a run; that of a fork begins with the curve of the run it was forked from."""
    points, parent = tracker.history(run.run_id, metric), run.params.get("fork.run")
    if parent is None:
        return points
    at, own = int(run.params["fork.at"]), run.params["fork.count_from"] == "fork"
    before = [point for point in tracker.history(parent, metric) if point[0] < at]
    return before + [(step + at * own, value) for step, value in points]


def curves_figure(rows: Sequence[Row], found: Curves, real: float | None, metric: str) -> Figure:
    """A panel for each row."""
    across = min(ACROSS, len(rows))
    down = math.ceil(len(rows) / across)
    size = (0.8 + 2.5 * across, 0.5 + 2.1 * down)
    drawing, grid = panels(down, across, len(rows), size, sharex=True, sharey=True)
    bounds = metric_info(metric).bounds
    middles = {row.variant: middle(found[row.variant], bounds) for row in rows}
    seen = [value for seeds in found.values() for points in seeds.values() for _, value in points]
    near = real if real is not None and is_near(real, min(seen), max(seen)) else None
    for rank, (axis, row) in enumerate(zip(grid, rows, strict=True), start=1):
        for other, (steps, line) in middles.items():
            if other != row.variant:
                axis.plot(steps, [each.value for each in line], color=LINE, lw=0.8)
        for points in found[row.variant].values() if len(found[row.variant]) < EVERY_RUN else ():
            axis.plot(*zip(*points, strict=True), color=BLUE, lw=0.7, alpha=0.6)
        band(axis, *middles[row.variant])
        if near is not None:
            axis.axhline(near, color=ORANGE, ls="--", lw=1.2)
        title = textwrap.wrap(f"{rank}  {row.variant}", 30, max_lines=2, placeholder=" …")
        axis.set_title("\n".join(title), fontsize=8.5)
    every = [step for seeds in found.values() for points in seeds.values() for step, _ in points]
    ends = [points[-1][0] for seeds in found.values() for points in seeds.values()]
    least = min((step for step in every if step > 0), default=0)
    uneven = bool(least) and max(ends) > UNEVEN * max(1, min(ends))
    if uneven:
        _logarithmic(grid[0], least, max(ends))
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


def middle(
    seeds: Mapping[int, Curve], bounds: tuple[float, float]
) -> tuple[list[int], list[Interval]]:
    """The steps that every seed has, and the mean at each with its interval. One seed has no band.
    Each step has its own variance: the steps of one run are not independent.

    A run that diverged has no later values, so the mean ends where the first run does.
    """
    at: dict[int, list[float]] = {}
    for points in seeds.values():
        for step, value in points:
            at.setdefault(step, []).append(value)
    steps = sorted(step for step, values in at.items() if len(values) == len(seeds))
    found = [means([at[step]])[0] for step in steps]
    # The metric has no values outside its bounds.
    return steps, [Interval(e.value, *map(float, np.clip(e.ends, *bounds))) for e in found]
