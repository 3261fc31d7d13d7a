"""Effects of choices: contrasts of the values of an axis, contrasts of rows, and interactions.

A contrast is a weighted sum of the overall scores of rows. For two levels of an axis it is the
mean, over the cells of the other axes, of the difference of scores. Its interval and its p are one
computation (`core.statistics.contrast`). p is adjusted (Holm) over the contrasts that the study's
file names and, separately, over all others. Whether the effect of a seed on all rows is removed is
decided once per study, by the correlation over shared seeds. If rows have one run each, or a
fraction of a design has no pairs of cells, main effects of a linear model are used instead.

For axes A and B the interaction of levels a, a' and b, b' is the difference a - a' at b minus the
same difference at b', in the mean over the cells of the other axes.

A verdict says what a contrast shows: the first row or level is better, worse, equivalent (within
the study's margin), or undecided.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from core.statistics import (
    LEVEL,
    Difference,
    Rows,
    difference,
    holm,
    seed_correlation,
)
from studies.adaptive import Contrasts, Course, Looks, course, results_of
from studies.leaderboard import Leaderboard, Row, statistics
from studies.table import Contrast, bare

BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"
Two = tuple[str, str]
Wanted = tuple[str, str, str]  # axis ("" for two rows), level, reference
Cells = Mapping[str, Mapping[str, str]]  # row -> its level on each axis
Weights = Mapping[str, float]  # row -> weight of its score in a contrast
T = TypeVar("T", "Effect", "Interaction")


@dataclass(frozen=True)
class Effect:
    """One contrast: `level` minus `reference`, of an axis or of two rows (axis "")."""

    axis: str
    level: str
    reference: str
    difference: Difference
    adjusted: float  # p, over its family
    named: bool = False  # in the study's file, before the run
    modelled: bool = False  # by the linear model of a fraction of a design
    sign: str = ""  # BETTER or WORSE if the adjusted p is at most LEVEL
    within: bool = False  # whether the difference is within the margin, by a test
    seeds: str = ""  # of adaptive seeds: how many the rows on either side had at the last look

    @property
    def values(self) -> Two:
        """Level and reference without the axis's name, which a row's label contains."""
        return bare(self.axis, self.level), bare(self.axis, self.reference)

    @property
    def title(self) -> str:
        """For tables and figures."""
        subject = f"{self.axis}: " if self.axis else ""
        return f"{subject}{' - '.join(self.values)}"

    @property
    def verdict(self) -> str:
        """Of `level` against `reference`."""
        return EQUIVALENT if self.within else self.sign or UNDECIDED

    @property
    def shown(self) -> str:
        """The verdict; a significant difference within the margin has its sign."""
        shown = f"{EQUIVALENT} ({self.sign})" if self.within and self.sign else self.verdict
        return f"{shown}, {self.state}" if self.seeds else shown

    @property
    def state(self) -> str:
        """Of a contrast of adaptive seeds."""
        return "open" if self.verdict == UNDECIDED else "settled"

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.difference.p <= LEVEL

    def document(self) -> dict[str, Any]:
        """For `--json`; unknown ends are null."""
        ends = [end if math.isfinite(end) else None for end in self.difference.ends]
        return {
            "axis": self.axis, "a": self.level, "b": self.reference,
            "difference": self.difference.value, "low": ends[0], "high": ends[1],
            "p": self.difference.p, "p_adjusted": self.adjusted, "named": self.named,
            "verdict": self.verdict, **({"state": self.state} if self.seeds else {}),
        }  # fmt: skip


@dataclass(frozen=True)
class Interaction:
    """`of[0]` minus `of[1]` of one axis, at `at[0]` of the other, minus the same at `at[1]`."""

    axes: Two
    of: Two
    at: Two
    difference: Difference  # of the two differences
    adjusted: float  # p by Holm, over all interactions of the study

    @property
    def clear(self) -> bool:
        """Whether it is significant after the adjustment."""
        return self.adjusted <= LEVEL


@dataclass(frozen=True)
class Comparison:
    """The rows of a study, ready to be compared."""

    board: Leaderboard
    may_pair: bool = True

    @cached_property
    def place(self) -> Mapping[str, int]:
        """Where a row is, by its name."""
        return {row.variant: place for place, row in enumerate(self.board.rows)}

    @cached_property
    def paired(self) -> bool:
        """Whether the effect of a seed on all rows is removed."""
        return self.may_pair and pairing(self.board)[1]

    @cached_property
    def rows(self) -> Rows:
        """Statistics of the rows."""
        return statistics(self.board.rows, paired=self.paired)

    def of(self, weights: Weights, sums: int = 1) -> Difference:
        """The sum of weights times scores, without an interval if a row has a single run. `sums`:
        how many runs a side of a pair consists of.
        """
        runs = [
            (weight, self.board.rows[self.place[name]].seeds) for name, weight in weights.items()
        ]
        sides = (sum(n for w, n in runs if w > 0), sum(n for w, n in runs if w < 0))
        pairs = min(side for side in sides if side) // sums
        placed = {self.place[name]: weight for name, weight in weights.items()}
        found = difference(self.rows, placed, pairs, paired=self.paired)
        looks = self.board.looks
        return found.at_every_look(looks.ratio) if looks else found


def effects(board: Leaderboard, contrasts: Sequence[Contrast] = ()) -> list[Effect]:
    """The named contrasts in their order, then every other one of every axis, alphabetically."""
    compare = Comparison(board)
    named = [(each.axis or "", each.level, each.reference) for each in contrasts]
    others = [
        (axis, level, reference)
        for axis in axes(board.rows)
        for reference, level in itertools.combinations(levels(board.rows, axis), 2)
        if not {(axis, level, reference), (axis, reference, level)} & set(named)
    ]
    found: list[Effect] = []
    for family, is_named in ((named, True), (others, False)):
        made = {each: _effect(compare, each, is_named) for each in family}
        known = [effect for effect in made.values() if effect is not None]
        settles = board.looks and is_named and known
        found += _settled(contrasts, made, board) if settles else judged(adjusted(known), board)
    return found


def _settled(
    named: Sequence[Contrast], made: Mapping[Wanted, Effect | None], board: Leaderboard
) -> list[Effect]:
    """The named contrasts of adaptive seeds, with the verdicts of all looks, and none of a contrast
    whose rows have no score. That one counts all the same: the plan of the study had it, too.
    """
    rows = [*board.rows, *board.lost]
    cells = {row.variant: row.cell for row in rows}
    named = [each for each in named if each.axis or {each.level, each.reference} <= cells.keys()]
    weights = [row_weights(cells, each) for each in named]
    effects = [made[each.axis or "", each.level, each.reference] for each in named]
    now = _course(rows, weights, board.looks)
    if now is None:
        return [replace(each, adjusted=1.0, seeds="-") for each in effects if each is not None]
    used, found = dict(zip(cells, now.used[0], strict=True)), []
    for each, of, p, within in zip(effects, weights, now.different[0], now.within[0], strict=True):
        if each is not None:
            sides = [sum(used[row] for row, w in of.items() if w * sign > 0) for sign in (1, -1)]
            said = replace(each, adjusted=float(p), seeds=" and ".join(map(str, sides)))
            found.append(_judged(said, board, float(within)))
    return found


def _course(rows: Sequence[Row], weights: Sequence[Weights], looks: Looks | None) -> Course | None:
    """The course of a study with adaptive seeds; None before the first look."""
    runs = [
        {seed: (row.scores.get(seed, math.nan), seed in row.failed)
         for seed in (*row.seed_runs, *row.errored)}
        for row in rows
    ]  # fmt: skip
    results = results_of(runs, looks) if looks else None
    if results is None or looks is None or not all(weights):
        return None
    return course(results, Contrasts(weights, [row.variant for row in rows]), looks)


def row_pairs(board: Leaderboard, *, turned: bool = False) -> list[Effect]:
    """Every row minus every row below it or, if `turned`, every lower row minus the higher one."""
    compare, names = Comparison(board), [row.variant for row in board.rows]
    pairs = itertools.combinations(names, 2)
    made = [_effect(compare, ("", *(pair[::-1] if turned else pair)), False) for pair in pairs]
    return judged(adjusted([each for each in made if each is not None]), board)


def against_first(board: Leaderboard) -> dict[str, Effect]:
    """Each row minus the first, by its name. They are adjusted for all pairs of rows, since the
    scores selected the first. None without a ranking.
    """
    if not board.rows or not board.ranked:
        return {}
    first = board.rows[0].variant
    return {each.level: each for each in row_pairs(board, turned=True) if each.reference == first}


def with_contrasts(board: Leaderboard, contrasts: Sequence[Effect]) -> dict[str, Any]:
    """For `--json`: the leaderboard with verdicts against its first row, and these contrasts."""
    found, against = board.document(), against_first(board)
    for row in found["leaderboard"]:
        effect = against.get(row["variant"])
        row["verdict"] = effect and effect.verdict
    return {**found, "contrasts": [each.document() for each in contrasts]}


def adjusted(family: Sequence[T]) -> list[T]:
    """The effects, or interactions, with their p adjusted for their number."""
    p_values = holm([each.difference.p for each in family])
    return [replace(each, adjusted=p) for each, p in zip(family, p_values, strict=True)]


def judged(family: Sequence[Effect], board: Leaderboard) -> list[Effect]:
    """The effects with what their verdicts need: the sign of a significant difference, and whether
    two one-sided tests, adjusted by Holm, say that it is within the study's margin.
    """
    margin = board.margin
    within = holm([e.difference.equivalent(margin) if margin else 1.0 for e in family])
    return [_judged(each, board, p) for each, p in zip(family, within, strict=True)]


def _judged(each: Effect, board: Leaderboard, within: float) -> Effect:
    sign = BETTER if (each.difference.value > 0) == board.higher_is_better else WORSE
    significant = each.adjusted <= LEVEL
    return replace(each, sign=sign if significant else "", within=within <= LEVEL)


def interactions(board: Leaderboard) -> list[Interaction]:
    """Every two levels of every two axes, the smallest p first; none without two axes."""
    rows, compare = board.rows, Comparison(board)
    found = []
    for one, other in itertools.combinations(axes(rows), 2):
        of_one = itertools.combinations(levels(rows, one), 2)
        of_other = list(itertools.combinations(levels(rows, other), 2))
        for of, at in itertools.product(of_one, of_other):
            corners = ((of[0], at[0]), (of[1], at[1]), (of[1], at[0]), (of[0], at[1]))
            weights = _weights(compare, (one, other), corners)
            if weights:
                each = compare.of(weights, sums=2)
                found.append(Interaction((one, other), of, at, each, each.p))
    return sorted(
        adjusted(found), key=lambda each: (each.difference.p, each.axes, each.of, each.at)
    )


def pairing(board: Leaderboard) -> tuple[float, bool]:
    """The correlation over shared seeds of all rows, and whether to remove the effect of seeds: not
    if runs are missing or failed.
    """
    scores = matrix(board)
    if not scores.size:
        return 0.0, False
    correlation, worthwhile = seed_correlation(scores)
    complete = all(not row.failed and row.seeds == scores.shape[1] for row in board.rows)
    complete = complete and board.looks is None  # rows of adaptive seeds differ in their number
    return correlation, worthwhile and complete


def matrix(board: Leaderboard) -> np.ndarray:
    """Scores (rows, seeds) over the seeds that every row has; rows that have none are left out."""
    rows = [row for row in board.rows if row.scores]
    if not rows:
        return np.empty((0, 0))
    seeds = sorted(set.intersection(*(set(row.scores) for row in rows)))
    return np.array([[row.scores[seed] for seed in seeds] for row in rows])


def axes(rows: Sequence[Row]) -> list[str]:
    """The axes of the rows, alphabetically."""
    return sorted({axis for row in rows for axis in row.cell})


def levels(rows: Sequence[Row], axis: str) -> list[str]:
    """The values of an axis, alphabetically."""
    return sorted({row.cell[axis] for row in rows if axis in row.cell})


def main_effect(
    rows: Sequence[Row], axis: str, level: str, reference: str, *, blocked: bool
) -> Difference | None:
    """`level` minus `reference` of an axis in the linear model of all axes' main effects.

    Observations are runs; `blocked` gives each seed its own level. Student's interval and p;
    interactions are part of the residual. None if the model leaves no degree of freedom, or the
    design does not identify this contrast.
    """
    runs = [(row, seed, score) for row in rows for seed, score in row.scores.items()]
    columns = [np.ones(len(runs))]
    weights = [0.0]
    for name in sorted({key for row in rows for key in row.cell}):
        for each in sorted({row.cell[name] for row in rows})[1:]:
            columns.append(np.array([float(row.cell[name] == each) for row, _, _ in runs]))
            weights.append(float(name == axis) * ((each == level) - float(each == reference)))
    for seed in sorted({seed for _, seed, _ in runs})[1:] if blocked else ():
        columns.append(np.array([float(s == seed) for _, s, _ in runs]))
        weights.append(0.0)
    X, y, c = np.stack(columns, axis=1), np.array([run[2] for run in runs]), np.array(weights)
    estimates, _, rank, _ = np.linalg.lstsq(X, y)
    freedom = len(y) - int(rank)
    identified = np.allclose(np.linalg.pinv(X) @ (X @ c), c)
    if freedom < 1 or not identified or not c.any():
        return None
    value = float(c @ estimates)
    residual = float(np.square(y - X @ estimates).sum()) / freedom
    error = float(np.sqrt(residual * (c @ np.linalg.pinv(X.T @ X) @ c)))
    pairs = min(sum(row.cell[axis] == each for row, _, _ in runs) for each in (level, reference))
    return Difference.student(value, error, freedom, pairs, paired=blocked)


def _effect(compare: Comparison, wanted: Wanted, named: bool) -> Effect | None:
    axis, level, reference = wanted
    rows = compare.board.rows
    if axis:
        weights = _weights(compare, (axis,), ((level,), (reference,)))
    elif {level, reference} <= compare.place.keys():
        weights = {level: 1.0, reference: -1.0}
        if any(rows[compare.place[name]].score is None for name in weights):
            return None
    else:
        return None
    found = compare.of(weights) if weights else None
    if found is None:
        cells = [row for row in rows if row.cell]
        if any(row.score is None for row in cells):  # without the failed runs the rest looks good
            return None
        found = main_effect(cells, axis, level, reference, blocked=compare.paired)
    if found is None:
        return None
    return Effect(axis, level, reference, found, found.p, named, modelled=not weights)


def _weights(
    compare: Comparison, names: Sequence[str], corners: Sequence[tuple[str, ...]]
) -> dict[str, float]:
    """Weights of the first half of the corners minus the second half, in the mean over the cells of
    the other axes that have all corners.
    """
    rows = [row for row in compare.board.rows if row.score is not None and row.seeds > 1]
    return _corner_weights({row.variant: row.cell for row in rows}, names, corners)


def row_weights(cells: Cells, of: Effect | Contrast) -> dict[str, float]:
    """Weights of the rows in a contrast of two rows or, with an axis, of two of its levels; none
    if no two of these cells differ in the axis alone.
    """
    if not of.axis:
        return {of.level: 1.0, of.reference: -1.0}
    return _corner_weights(cells, (of.axis,), ((of.level,), (of.reference,)))


def _corner_weights(
    cells: Cells, names: Sequence[str], corners: Sequence[tuple[str, ...]]
) -> dict[str, float]:
    found: dict[frozenset[Two], dict[tuple[str, ...], str]] = {}  # other axes -> levels -> row
    for row, cell in cells.items():
        if set(names) <= set(cell):
            others = frozenset(item for item in cell.items() if item[0] not in names)
            found.setdefault(others, {})[tuple(cell[name] for name in names)] = row
    complete = [rows for rows in found.values() if {*corners} <= rows.keys()]
    half = len(corners) // 2
    return {
        rows[corner]: (1 if place < half else -1) / len(complete)
        for rows in complete
        for place, corner in enumerate(corners)
    }
