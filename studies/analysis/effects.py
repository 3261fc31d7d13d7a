"""Sections on effects: contrasts of choices or rows, and interactions of choices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from core.plural import count
from core.statistics import LEVEL
from studies.adaptive import FIRST
from studies.analysis.contrasts import (
    EQUIVALENT,
    Comparison,
    Effect,
    Interaction,
    axes,
    effects,
    interactions,
    levels,
    pairing,
    row_pairs,
)
from studies.figures import BLUE, COLOURS, GREY, forest, panels
from studies.leaderboard import Leaderboard
from studies.sections import (
    TEXTS,
    Reading,
    Section,
    bracket,
    contrast,
    contrast_cells,
    number,
    p_value,
)
from studies.table import Contrast, bare

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 3  # panels of interactions side by side
OFFSET = 0.06  # of a step between two levels: lines of one panel do not hide each other's intervals
SPELLED = 2  # interactions that are described in a sentence
COLUMNS = ("difference", "95% interval", "pairs", "p", "p adjusted")  # of `contrast_cells`


def effects_or_pairs(board: Leaderboard, named: Sequence[Contrast]) -> list[Effect]:
    """The named contrasts and those of axes or, without any, all pairs of rows."""
    return effects(board, named) or row_pairs(board)


def choices(reading: Reading) -> Iterator[Section]:
    """The effect of each choice; none if there is no contrast."""
    return contrast_section(reading, effects(reading.board, reading.table.contrasts), "effects")


def all_pairs(reading: Reading, key: str) -> Iterator[Section]:
    """The contrasts of the study's file, or of every two rows."""
    return contrast_section(reading, effects_or_pairs(reading.board, reading.table.contrasts), key)


def contrast_section(reading: Reading, found: Sequence[Effect], key: str) -> Iterator[Section]:
    """Contrasts as one section, the named ones first; none if there is no contrast."""
    board = reading.board
    if not found:
        return
    correlation, paired = pairing(board)
    adaptive = any(each.seeds for each in found)
    yield Section(
        key,
        ("contrast", *COLUMNS, "verdict", *(["seeds"] if adaptive else [])),
        [
            [each.title, *contrast_cells(each.difference, each.adjusted), each.shown,
             *([each.seeds] if adaptive else [])]
            for each in found
        ],
        {key: lambda: effects_figure(board, found)},
        [*_settled(found), *_findings(found, higher_is_better=board.higher_is_better)],
        {"contrasts": explained(found, correlation, paired, board)},
    )  # fmt: skip


def _settled(found: Sequence[Effect]) -> Iterator[str]:
    """How many contrasts of adaptive seeds are settled, if the study has them."""
    states = [each.state for each in found if each.seeds]
    if states:
        yield f"Settled: {states.count('settled')} of {count(len(states), 'contrast')}."


def explained(found: Sequence[Effect], correlation: float, paired: bool, board: Leaderboard) -> str:
    """What the rows are, and what they cannot show."""
    texts, margin, looks = TEXTS["contrasts"], board.margin, board.looks
    what = texts["rows"]
    if any(effect.axis for effect in found):
        how = "modelled" if any(effect.modelled for effect in found) else "mean"
        what = texts["choices"].format(how=texts[how])
    named = sum(effect.named for effect in found)
    families = "mixed" if 0 < named < len(found) else "planned" if named else "exploratory"
    return texts["explanation"].format(
        what=what,
        seeds=texts["paired" if paired else "unpaired"].format(correlation=correlation),
        families=texts[families].format(named=named),
        verdicts=texts["margin" if margin else "no_margin"].format(margin=margin),
        looks=texts["looks"].format(first=FIRST, most=looks.most) if looks else "",
    )


def _findings(found: Sequence[Effect], *, higher_is_better: bool) -> list[str]:
    """Planned contrasts first, then significant ones by size, then the rest."""
    ranked = sorted(
        found, key=lambda e: (not e.named, not e.clear, -abs(e.difference.value) * e.clear)
    )
    return [conclusion(effect, found, higher_is_better=higher_is_better) for effect in ranked]


def conclusion(effect: Effect, found: Sequence[Effect], *, higher_is_better: bool) -> str:
    """What a contrast shows, in a sentence, and if that differs from its verdict why; `found` are
    all contrasts.
    """
    text = contrast(*effect.values, effect.difference, higher_is_better=higher_is_better)
    if effect.seeds and effect.sign and not effect.clear:
        level, reference = effect.values
        text = (
            f"`{level}` is {effect.sign} than `{reference}`, as an earlier look showed; now: {text}"
        )
    elif effect.clear and effect.adjusted > LEVEL:
        family = count(sum(each.named == effect.named for each in found), "contrast")
        text += f" Not significant after adjustment for {family} (p {number(effect.adjusted)})."
    if effect.verdict == EQUIVALENT:
        text += " Equivalent: the difference is within the study's margin."
    return f"**{effect.axis}**: {text}" if effect.axis else text


def effects_figure(board: Leaderboard, found: Sequence[Effect]) -> Figure:
    """Every contrast with its interval, significant ones in blue."""
    drawing, axis = forest(
        [effect.title for effect in found],
        [effect.difference.value for effect in found],
        [effect.difference.ends for effect in found],
        [BLUE if effect.clear else GREY for effect in found],
    )
    axis.axvline(0, color=GREY, lw=1, zorder=1)
    for y, effect in enumerate(found[::-1]):
        if math.isfinite(effect.difference.low):  # otherwise there is no test
            axis.annotate(f"p {p_value(effect.adjusted)}", (1, y), (4, 0),
                          ("axes fraction", "data"), "offset points", va="center", color=GREY,
                          fontsize=8)  # fmt: skip
    equal = ", all else equal" if any(effect.axis for effect in found) else ""
    axis.set_xlabel(f"difference of {board.metric}{equal} (p adjusted)")
    return drawing


def interaction_section(reading: Reading) -> Iterator[Section]:
    """The interactions of every two axes; none without two axes that have all four cells."""
    board = reading.board
    found = interactions(board)
    if found:
        yield Section(
            "interactions",
            ("interaction", "difference of differences", *COLUMNS[1:]),
            [[_title(each), *contrast_cells(each.difference, each.adjusted)] for each in found],
            {"interactions": lambda: interactions_figure(board)},
            _interaction_findings(found),
        )


def _title(each: Interaction) -> str:
    (one, other), of, at = each.axes, *_labels(each)
    return f"{one}: {of[0]} - {of[1]}, at {other}: {at[0]} - {at[1]}"


def _interaction_findings(found: Sequence[Interaction]) -> list[str]:
    clear = [each for each in found if each.clear]
    if not clear:
        tests = count(len(found), "interaction")
        return [f"No interaction is significant ({tests}, Holm's adjustment)."]
    said = []
    for each in clear[:SPELLED]:
        (one, other), of, at = each.axes, *_labels(each)
        value, (low, high) = each.difference.value, each.difference.ends
        if value < 0:
            at, low, high = at[::-1], -high, -low
        said.append(
            f"**{one} and {other}**: `{of[0]}` minus `{of[1]}` is larger by "
            f"{number(abs(value))} {bracket(low, high)} with `{at[0]}` than with `{at[1]}`."
        )
    return said


def _labels(each: Interaction) -> tuple[list[str], list[str]]:
    """Levels without the names of their axes."""
    (one, other) = each.axes
    return [bare(one, label) for label in each.of], [bare(other, label) for label in each.at]


def interactions_figure(board: Leaderboard) -> Figure:
    """A panel for every two axes: levels of one on the x axis, a line for each of the other's."""
    pairs = list(itertools.combinations(axes(board.rows), 2))
    across = min(ACROSS, len(pairs))
    down = math.ceil(len(pairs) / across)
    size = (0.6 + 3.0 * across, 0.4 + 2.6 * down)
    drawing, grid = panels(down, across, len(pairs), size, sharey=True)
    for panel, (one, other) in zip(grid, pairs, strict=True):
        _panel(panel, board, one, other)
    drawing.supylabel(board.metric, fontsize=9)
    return drawing


def _panel(panel: Axes, board: Leaderboard, one: str, other: str) -> None:
    along, lines = levels(board.rows, one), levels(board.rows, other)
    for place, (level, colour) in enumerate(zip(lines, itertools.cycle(COLOURS), strict=False)):
        shift = OFFSET * (place - (len(lines) - 1) / 2)
        found = [_mean(board, {one: each, other: level}) for each in along]
        points = [(x + shift, *mean) for x, mean in enumerate(found) if mean is not None]
        if not points:
            continue
        panel.plot([x for x, *_ in points], [y for _, y, *_ in points], "o-", color=colour, ms=4,
                   lw=1.4, label=bare(other, level))  # fmt: skip
        for x, _, low, high in points:
            panel.plot([x, x], [low, high], color=colour, lw=1.2)
    panel.set_xticks(range(len(along)), [bare(one, each) for each in along], fontsize=8)
    panel.margins(x=0.2)
    panel.set_xlabel(one, fontsize=8.5)
    panel.legend(fontsize=7.5, title=other, title_fontsize=7.5, ncols=len(lines),
                 loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=1)  # fmt: skip
    panel.grid(visible=False, axis="x")


def _mean(board: Leaderboard, cell: Mapping[str, str]) -> tuple[float, float, float] | None:
    """Mean over the cells that have these levels, with its interval; None if there are none."""
    alike = [
        row.variant
        for row in board.rows
        if row.score is not None and cell.items() <= row.cell.items()
    ]
    if not alike:
        return None
    found = Comparison(board, may_pair=False).of(dict.fromkeys(alike, 1 / len(alike)))
    return found.value, *found.ends
