"""Figures of a study. Every one says what it shows in its title, every dot is a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from studies.analysis.wording import chance
from studies.effects import Effect
from studies.leaderboard import Leaderboard

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart by colour-blind people too.
BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
AMBER, SKY, GREY = "#e69f00", "#56b4e9", "#8a94a0"
PAPER = "#fefefe"
FAR = 1.5  # spans of the data that real text may lie outside of them and still be on the scale
COLOURS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY)


def leaderboard_figure(board: Leaderboard) -> Figure:
    """Every seed a dot, the score with its interval, best on top, real text as a line."""
    from matplotlib.figure import Figure

    rows = board.rows[::-1]
    drawing = Figure(figsize=(8, 1.4 + 0.38 * len(rows)), layout="constrained")
    axis = drawing.subplots()
    for y, row in enumerate(rows):
        values = list(row.scores.values())
        if row.interval is not None:
            axis.plot(row.interval, [y, y], color=BLUE, lw=2.2, solid_capstyle="round")
        axis.plot(row.score, y, "D", color=BLUE, ms=6)
        axis.plot(values, [y - 0.24] * len(values), "o", color=GREY, ms=4, mew=0)
    real = board.baselines.get("real")
    if real is not None:
        _real_text(axis, real)
    _rows(axis, [row.variant for row in rows])
    axis.set_xlabel(_label(board))
    return drawing


def effects_figure(board: Leaderboard, found: Sequence[Effect]) -> Figure:
    """A forest plot: every contrast with its interval, what is clear of zero in blue."""
    from matplotlib.figure import Figure

    shown = list(found)[::-1]
    drawing = Figure(figsize=(8, 1.4 + 0.38 * len(shown)), layout="constrained")
    axis = drawing.subplots()
    axis.axvline(0, color=GREY, lw=1)
    for y, effect in enumerate(shown):
        colour = BLUE if effect.clear else GREY
        axis.plot([effect.low, effect.high], [y, y], color=colour, lw=2.2, solid_capstyle="round")
        axis.plot(effect.difference, y, "D", color=colour, ms=6)
        axis.annotate(f"p {chance(effect.adjusted)}", (1, y), (4, 0), ("axes fraction", "data"),
                      "offset points", va="center", color=GREY, fontsize=8)  # fmt: skip
    _rows(axis, [e.title for e in shown])
    equal = ", all else equal" if any(effect.axis for effect in found) else ""
    axis.set_xlabel(f"difference of {board.metric}{equal} (p adjusted by Holm)")
    return drawing


def preference_figure(preferred: Mapping[str, tuple[float, float, float]]) -> Figure:
    """Source -> share of its comparisons that it won, low, high; as often as not as a line."""
    from matplotlib.figure import Figure

    rows = list(preferred.items())[::-1]
    drawing = Figure(figsize=(8, 1.4 + 0.38 * len(rows)), layout="constrained")
    axis = drawing.subplots()
    axis.axvline(0.5, color=GREY, lw=1)
    for y, (_, (value, low, high)) in enumerate(rows):
        colour = BLUE if low > 0.5 or high < 0.5 else GREY
        axis.plot([low, high], [y, y], color=colour, lw=2.2, solid_capstyle="round")
        axis.plot(value, y, "D", color=colour, ms=6)
    _rows(axis, [name for name, _ in rows])
    axis.set_xlim(0, 1)
    axis.set_xlabel("preferred, share of comparisons, with 95% intervals")
    return drawing


def is_near(real: float, low: float, high: float) -> bool:
    """Whether a scale from `low` to `high` can hold real text without flattening all else."""
    reach = FAR * max(high - low, 1e-12)
    return low - reach <= real <= high + reach


def _real_text(axis: Axes, real: float) -> None:
    """Real text as a dashed line; a note at the edge where it is far from all else."""
    low, high = axis.dataLim.intervalx
    words = f"real text: {real:.3g}, {'beyond' if real > high else 'below'} this scale"
    if is_near(real, low, high):
        axis.axvline(real, color=ORANGE, ls="--", lw=1.2)
        words = "real text"
    axis.annotate(words, (1, 1), (0, 2), "axes fraction", "offset points", color=ORANGE,
                  fontsize=8.5, ha="right", va="bottom")  # fmt: skip


def _rows(axis: Axes, labels: Sequence[str]) -> None:
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(-0.7, len(labels) - 0.1)
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _label(board: Leaderboard) -> str:
    return f"{board.metric} ({'higher' if board.higher_is_better else 'lower'} is better)"
