"""Figures of a study. Every one says what it shows in its title, every dot is a run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from studies.cells import JOINER
from studies.effects import Effect
from studies.leaderboard import Leaderboard, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart by colour-blind people too.
BLUE, GREY, ORANGE = "#0072b2", "#8a94a0", "#d55e00"
COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLES = ("-", "--", ":", "-.")
History = Callable[[str], Sequence[tuple[int, float]]]  # run id -> (update, value)...


def leaderboard_figure(board: Leaderboard) -> Figure:
    """Every seed a dot, the score with its interval, best on top, real text as a line."""
    from matplotlib.figure import Figure

    rows = board.rows[::-1]
    drawing = Figure(figsize=(8, 1.4 + 0.38 * len(rows)), layout="constrained")
    axis = drawing.subplots()
    for y, row in enumerate(rows):
        values = list(row.scores.values())
        axis.plot([row.low, row.high], [y, y], color=BLUE, lw=2.2, solid_capstyle="round")
        axis.plot(row.score, y, "D", color=BLUE, ms=6)
        axis.plot(values, [y - 0.24] * len(values), "o", color=GREY, ms=4, mew=0)
    real = board.baselines.get("real")
    if real is not None:
        axis.axvline(real, color=ORANGE, ls="--", lw=1.2)
        axis.text(real, len(rows) - 0.4, "real text  ", color=ORANGE, fontsize=9, va="bottom",
                  ha="right")  # fmt: skip
    _rows(axis, [row.variant for row in rows])
    axis.set_xlabel(_label(board))
    axis.set_title(f"{board.study}: grey each seed, blue their mean and 95% interval", fontsize=10)
    return drawing


def effects_figure(board: Leaderboard, found: Sequence[Effect]) -> Figure:
    """A forest plot: every contrast with its interval, what is clear of zero in blue."""
    from matplotlib.figure import Figure

    shown = list(found)[::-1]
    drawing = Figure(figsize=(8, 1.4 + 0.38 * len(shown)), layout="constrained")
    axis = drawing.subplots()
    axis.axvline(0, color=GREY, lw=1)
    for y, effect in enumerate(shown):
        colour = BLUE if effect.low > 0 or effect.high < 0 else GREY
        axis.plot([effect.low, effect.high], [y, y], color=colour, lw=2.2, solid_capstyle="round")
        axis.plot(effect.difference, y, "D", color=colour, ms=6)
        axis.annotate(f"p {effect.p:.3f}", (1, y), (4, 0), ("axes fraction", "data"),
                      "offset points", va="center", color=GREY, fontsize=8)  # fmt: skip
    _rows(axis, [f"{e.axis}: {e.level} - {e.reference}" for e in shown])
    axis.set_xlabel(f"difference of {board.metric}, all else equal")
    axis.set_title(f"{board.study}: what each choice does, with 95% intervals", fontsize=10)
    return drawing


def curves_figure(board: Leaderboard, history: History) -> Figure:
    """The study's metric over updates: a panel a value of the axis with most, thin lines seeds."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    axes = sorted({axis for row in board.rows for axis in row.cell})
    split = max(axes, key=lambda axis: len({row.cell[axis] for row in board.rows}))
    panels = sorted({row.cell[split] for row in board.rows})
    others = {row.variant: _others(row, split) for row in board.rows}
    looks = dict(
        zip(sorted(set(others.values())), itertools.product(STYLES, COLOURS), strict=False)
    )
    drawing = Figure(figsize=(1 + 3.4 * len(panels), 4), layout="constrained")
    grid = drawing.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(grid, panels, strict=True):
        for row in (row for row in board.rows if row.cell[split] == panel):
            _curves(axis, row, history, looks.get(others[row.variant], ("-", GREY)))
        axis.set_title(f"{split} = {panel}", fontsize=10)
        axis.set_xlabel("updates")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    grid[0].set_ylabel(_label(board))
    if any(looks):
        lines = [Line2D([], [], ls=style, color=colour, lw=2) for style, colour in looks.values()]
        drawing.legend(lines, list(looks), loc="outside lower center", frameon=False, fontsize=8,
                       ncols=4)  # fmt: skip
    drawing.suptitle(f"{board.study}: thin each seed, thick their mean", fontsize=10)
    return drawing


def _others(row: Row, split: str) -> str:
    return JOINER.join(label for axis, label in row.cell.items() if axis != split)


def _curves(axis: Axes, row: Row, history: History, look: tuple[str, str]) -> None:
    style, colour = look
    at: dict[int, list[float]] = {}
    for run_id in row.seed_runs.values():
        points = history(run_id)
        for step, value in points:
            at.setdefault(step, []).append(value)
        axis.plot([s for s, _ in points], [v for _, v in points], style, color=colour, lw=0.6,
                  alpha=0.5)  # fmt: skip
    # A run that diverged has no later values: the mean ends where the first run does.
    steps = sorted(step for step, found in at.items() if len(found) == len(row.seed_runs))
    axis.plot(steps, [sum(at[step]) / len(at[step]) for step in steps], style, color=colour, lw=2)


def _rows(axis: Axes, labels: Sequence[str]) -> None:
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(-0.7, len(labels) - 0.1)
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _label(board: Leaderboard) -> str:
    return f"{board.metric} ({'higher' if board.higher_is_better else 'lower'} is better)"
