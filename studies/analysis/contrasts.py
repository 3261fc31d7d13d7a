"""Effects of choices: contrasts of the values of an axis, contrasts of rows, and interactions.

Two runs form a pair if they share the seed and every other axis. A contrast is the mean over the
cells of the other axes of the difference of scores. Its interval and its p are one computation; p
is adjusted (Holm) over the contrasts that the study's file names and, separately, over all others.
Whether seeds are treated as pairs is decided once per study, by the correlation over shared seeds.
In a fraction of a design there are no pairs: main effects of a linear model are used instead.

For axes A and B the interaction of levels a, a' and b, b' is the difference a - a' at b minus the
same difference at b', in the mean over the cells of the other axes. It is computed as one
difference: per seed the sum of the scores of (a, b) and (a', b') against that of (a', b), (a, b').
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy import stats

from core.statistics import Difference, detectable_difference, difference, holm, seed_correlation
from studies.leaderboard import Leaderboard, Row, rng_of
from studies.table import Contrast, bare

LEVEL = 0.05
UPPER = 0.975
Stratum = tuple[list[float], list[float]]
Two = tuple[str, str]
Cell = dict[tuple[str, ...], Mapping[int, float]]  # levels -> score of each seed
T = TypeVar("T", "Effect", "Interaction")


@dataclass(frozen=True)
class Effect:
    """One contrast: `level` minus `reference`, of an axis or of two rows (axis "")."""

    axis: str
    level: str
    reference: str
    difference: Difference
    adjusted: float  # p by Holm, over its family
    named: bool = False  # in the study's file, before the run
    modelled: bool = False  # by the linear model of a fraction of a design

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
    def clear(self) -> bool:
        """Whether the interval excludes zero; that of a single pair never does."""
        return significant(self.difference, self.difference.p)


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
        return significant(self.difference, self.adjusted)


def significant(found: Difference, p: float) -> bool:
    """Whether p is at most LEVEL and the interval excludes zero."""
    return p <= LEVEL and not found.low <= 0 <= found.high


def effects(board: Leaderboard, contrasts: Sequence[Contrast] = ()) -> list[Effect]:
    """The named contrasts in their order, then every other one of every axis, alphabetically."""
    paired = pairing(board)[1]
    named = [(each.axis or "", each.level, each.reference) for each in contrasts]
    others = [
        (axis, level, reference)
        for axis in axes(board.rows)
        for reference, level in itertools.combinations(levels(board.rows, axis), 2)
        if not {(axis, level, reference), (axis, reference, level)} & set(named)
    ]
    found = []
    for family, is_named in ((named, True), (others, False)):
        made = [_effect(board.rows, each, paired, is_named) for each in family]
        found += adjusted([effect for effect in made if effect is not None])
    return found


def adjusted(family: Sequence[T]) -> list[T]:
    """The effects, or interactions, with their p adjusted for their number."""
    p_values = holm([each.difference.p for each in family])
    return [replace(each, adjusted=p) for each, p in zip(family, p_values, strict=True)]


def interactions(board: Leaderboard) -> list[Interaction]:
    """Every two levels of every two axes, the smallest p first; none without two axes."""
    rows, paired = board.rows, pairing(board)[1]
    found = []
    for one, other in itertools.combinations(axes(rows), 2):
        of_one = itertools.combinations(levels(rows, one), 2)
        of_other = list(itertools.combinations(levels(rows, other), 2))
        for of, at in itertools.product(of_one, of_other):
            strata = _interaction_strata(rows, (one, other), of, at)
            if strata:
                each = compared(strata, paired)
                found.append(Interaction((one, other), of, at, each, each.p))
    return sorted(
        adjusted(found), key=lambda each: (each.difference.p, each.axes, each.of, each.at)
    )


def apart(
    board: Leaderboard, variant: str, other: str, *, paired: bool
) -> tuple[Difference, float | None] | None:
    """One row minus another, as `effects` has it, and their minimum detectable difference; None
    without two pairs.
    """
    strata = _strata(board.rows, ("", variant, other), paired)
    found = compared(strata, paired) if strata else None
    if found is None or found.pairs < 2:
        return None
    return found, detectable(*strata[0], paired=found.paired)


def detectable(ours: Sequence[float], theirs: Sequence[float], *, paired: bool) -> float | None:
    """The minimum detectable difference (80% power) of two rows; None without a spread."""
    if paired:
        spread = float(np.std(np.subtract(ours, theirs), ddof=1))
    else:
        spread = float(np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / 2))
    size = detectable_difference(spread, min(len(ours), len(theirs)), paired=paired)
    return size if 0 < size < math.inf else None


def pairing(board: Leaderboard) -> tuple[float, bool]:
    """The correlation over shared seeds of all rows, and whether to pair on them."""
    scores = matrix(board)
    return seed_correlation(scores) if scores.size else (0.0, False)


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


def compared(strata: Sequence[Stratum], paired: bool) -> Difference:
    """`difference` with draws that depend on the scores alone, so that a contrast has the same
    interval wherever it is shown; with the sides exchanged, the same with the other sign.
    """
    given = list(strata)
    exchanged = [(theirs, ours) for ours, theirs in given]
    first = min(given, exchanged)
    found = difference(first, rng_of(json.dumps(first)), paired=paired)
    if first == given:
        return found
    return replace(found, value=-found.value, low=-found.high, high=-found.low)


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
    reach = float(stats.t.ppf(UPPER, freedom)) * error
    p = float(2 * stats.t.sf(abs(value) / error, freedom)) if error > 0 else float(value == 0)
    return Difference(value, value - reach, value + reach, p, len(runs), blocked)


def _effect(
    rows: Sequence[Row], contrast: tuple[str, str, str], paired: bool, named: bool
) -> Effect | None:
    axis, level, reference = contrast
    strata = _strata(rows, contrast, paired)
    found = compared(strata, paired) if strata else None
    if found is None and axis:
        cells = [row for row in rows if row.cell]
        found = main_effect(cells, axis, level, reference, blocked=paired)
    if found is None:
        return None
    return Effect(axis, level, reference, found, found.p, named, modelled=not strata)


def _strata(rows: Sequence[Row], contrast: tuple[str, str, str], paired: bool) -> list[Stratum]:
    """For each cell of the other axes the scores with `level` and with `reference`."""
    axis, level, reference = contrast
    cells = _cells(rows, [axis]) if axis else [{(row.variant,): row.scores for row in rows}]
    pair = (level,), (reference,)
    both = [(cell[pair[0]], cell[pair[1]]) for cell in cells if set(pair) <= cell.keys()]
    if not paired and all(len(ours) > 1 and len(theirs) > 1 for ours, theirs in both):
        return [(list(ours.values()), list(theirs.values())) for ours, theirs in both]
    shared = [(ours, theirs, sorted(set(ours) & set(theirs))) for ours, theirs in both]
    return [([a[s] for s in seeds], [b[s] for s in seeds]) for a, b, seeds in shared if seeds]


def _interaction_strata(rows: Sequence[Row], both: Two, of: Two, at: Two) -> list[Stratum]:
    """For each cell of the other axes, over the seeds that all four cells have: the two sums."""
    (a, b), (c, d) = of, at
    corners = ((a, c), (b, d), (b, c), (a, d))
    made = []
    for cell in (cell for cell in _cells(rows, both) if set(corners) <= cell.keys()):
        plus, also, minus, less = (cell[place] for place in corners)
        seeds = sorted(set(plus) & set(also) & set(minus) & set(less))
        if seeds:
            sums = [plus[s] + also[s] for s in seeds], [minus[s] + less[s] for s in seeds]
            made.append(sums)
    return made


def _cells(rows: Sequence[Row], names: Sequence[str]) -> list[Cell]:
    """For each cell of the other axes, the scores by the levels of these."""
    cells: dict[frozenset[Two], Cell] = {}
    for row in (row for row in rows if set(names) <= set(row.cell)):
        others = frozenset(item for item in row.cell.items() if item[0] not in names)
        cells.setdefault(others, {})[tuple(row.cell[name] for name in names)] = row.scores
    return list(cells.values())
