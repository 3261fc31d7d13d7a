"""What a choice does in the company of another: a section with a panel for every two axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from studies.analysis.wording import bracket, chance, count, number
from studies.cells import bare
from studies.effects import axes, compared, levels
from studies.figures import COLOURS
from studies.interactions import Interaction, interactions
from studies.leaderboard import Leaderboard, Row
from studies.sections import Reading, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 3  # panels side by side
APART = 0.06  # of a step between two levels: lines of one panel do not hide each other's intervals
SAID = 2  # interactions that are spelled out
READING = (
    "Whether what a choice does hangs on another one. A row is the difference between two levels "
    "of an axis at one level of another axis, less the same difference at that other's second "
    "level, all else equal, with its 95% interval (bootstrap over seeds within cells); *p, Holm* "
    "is adjusted for the number of rows. None was named before the run: all are exploratory. In "
    "the figure a point is the mean score over the cells of the axes that are not in its panel, "
    "with its 95% interval: where the lines are parallel there is no interaction."
)


def interaction_section(reading: Reading) -> list[Section]:
    """The interactions of every two axes; none without two axes whose cells are all there."""
    board = reading.board
    found = interactions(board)
    if not found:
        return []
    return [
        Section(
            "interactions",
            "What the choices do in each other's company",
            READING,
            ("interaction", "difference of differences", "95% interval", "pairs", "p", "p, Holm"),
            [_row(each) for each in found],
            {"interactions": lambda: interactions_figure(board)},
            {"interactions": [asdict(each) for each in found]},
            _findings(found),
        )
    ]


def _row(each: Interaction) -> list[str]:
    one, other = each.axes
    of, at = _plain(one, each.of), _plain(other, each.at)
    title = f"{one}: {of[0]} - {of[1]}, at {other}: {at[0]} - {at[1]}"
    found = each.difference
    if found.pairs == 1:  # nothing is known of chance
        return [title, f"{found.value:+.4f}", "one pair", "1", "", ""]
    return [title, f"{found.value:+.4f}", f"{found.low:+.4f} to {found.high:+.4f}",
            str(found.pairs), chance(found.p), chance(each.adjusted)]  # fmt: skip


def _findings(found: Sequence[Interaction]) -> list[str]:
    clear = [each for each in found if each.clear]
    if not clear:
        return [
            f"No choice's effect can be told to hang on another choice, of "
            f"{count(len(found), 'interaction')} after Holm's adjustment."
        ]
    return [_said(each) for each in clear[:SAID]]


def _said(each: Interaction) -> str:
    one, other = each.axes
    of, at = _plain(one, each.of), _plain(other, each.at)
    value, low, high = each.difference.value, each.difference.low, each.difference.high
    if value < 0:
        at, low, high = at[::-1], -high, -low
    return (
        f"**{one} and {other}**: `{of[0]}` minus `{of[1]}` is larger by "
        f"{number(abs(value))} {bracket(low, high)} with `{at[0]}` than with `{at[1]}`."
    )


def _plain(axis: str, labels: Sequence[str]) -> Sequence[str]:
    """Labels beside their axis, without its name."""
    return [bare(axis, label) for label in labels]


def interactions_figure(board: Leaderboard) -> Figure:
    """A panel for every two axes: levels of one along x, a line for each of the other's."""
    from matplotlib.figure import Figure

    pairs = list(itertools.combinations(axes(board.rows), 2))
    across = min(ACROSS, len(pairs))
    down = math.ceil(len(pairs) / across)
    drawing = Figure(figsize=(0.6 + 3.0 * across, 0.4 + 2.6 * down), layout="constrained")
    grid = drawing.subplots(down, across, sharey=True, squeeze=False).ravel()
    for panel, (one, other) in zip(grid, pairs, strict=False):
        _panel(panel, board.rows, one, other)
    for panel in grid[len(pairs) :]:
        panel.remove()
    drawing.supylabel(board.metric, fontsize=9)
    return drawing


def _panel(panel: Axes, rows: Sequence[Row], one: str, other: str) -> None:
    along, lines = levels(rows, one), levels(rows, other)
    for place, (level, colour) in enumerate(zip(lines, itertools.cycle(COLOURS), strict=False)):
        shift = APART * (place - (len(lines) - 1) / 2)
        found = [_mean(rows, {one: each, other: level}) for each in along]
        points = [(x + shift, *mean) for x, mean in enumerate(found) if mean is not None]
        if not points:
            continue
        panel.plot([x for x, *_ in points], [y for _, y, *_ in points], "o-", color=colour, ms=4,
                   lw=1.4, label=bare(other, level))  # fmt: skip
        for x, _, low, high in points:
            panel.plot([x, x], [low, high], color=colour, lw=1.2)
    panel.set_xticks(range(len(along)), _plain(one, along), fontsize=8)
    panel.margins(x=0.2)
    panel.set_xlabel(one, fontsize=8.5)
    panel.legend(frameon=False, fontsize=7.5, title=other, title_fontsize=7.5, ncols=len(lines),
                 loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=1)  # fmt: skip
    panel.grid(axis="y", alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def _mean(rows: Sequence[Row], cell: Mapping[str, str]) -> tuple[float, float, float] | None:
    """Mean over the cells that have these levels, with its interval; None where there are none."""
    strata = [
        (scores, [0.0] * len(scores))
        for row in rows
        if row.scores and cell.items() <= row.cell.items()
        for scores in [list(row.scores.values())]
    ]
    if not strata:
        return None
    found = compared(strata, paired=True)
    return found.value, found.low, found.high
