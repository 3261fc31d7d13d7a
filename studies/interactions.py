"""Whether what a choice does hangs on another choice: differences of differences, all else equal.

For axes A and B the interaction of levels a, a' and b, b' is the difference a - a' at b less the
same difference at b', in the mean over the cells of the other axes. Computed as one difference: per
seed the sum of the scores of (a, b) and (a', b') against that of (a', b) and (a, b').
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from core.statistics import Difference, holm
from studies.effects import LEVEL, Stratum, axes, compared, levels, pairing
from studies.leaderboard import Leaderboard, Row

Two = tuple[str, str]
Scores = Mapping[int, float]  # of each seed


@dataclass(frozen=True)
class Interaction:
    """`of[0]` minus `of[1]` of one axis, at `at[0]` of the other, less the same at `at[1]`."""

    axes: Two
    of: Two
    at: Two
    difference: Difference  # of the two differences
    adjusted: float  # p by Holm, over all interactions of the study

    @property
    def clear(self) -> bool:
        """Whether chance is no explanation, however many were looked at."""
        return self.adjusted <= LEVEL and not self.difference.low <= 0 <= self.difference.high


def interactions(board: Leaderboard) -> list[Interaction]:
    """Every two levels of every two axes, the smallest p first; none without two axes."""
    rows, paired = board.rows, pairing(board)[1]
    found = []
    for one, other in itertools.combinations(axes(rows), 2):
        of_one = itertools.combinations(levels(rows, one), 2)
        of_other = list(itertools.combinations(levels(rows, other), 2))
        for of, at in itertools.product(of_one, of_other):
            strata = _strata(rows, (one, other), of, at)
            if strata:
                each = compared(strata, paired)
                found.append(Interaction((one, other), of, at, each, each.p))
    adjusted = holm([each.adjusted for each in found])
    found = [replace(each, adjusted=p) for each, p in zip(found, adjusted, strict=True)]
    return sorted(found, key=lambda each: (each.difference.p, each.axes, each.of, each.at))


def _strata(rows: Sequence[Row], both: Two, of: Two, at: Two) -> list[Stratum]:
    """For each cell of the other axes, over the seeds that all four cells have: the two sums."""
    cells: dict[frozenset[tuple[str, str]], dict[Two, Scores]] = {}
    for row in rows:
        if all(axis in row.cell for axis in both):
            others = frozenset(item for item in row.cell.items() if item[0] not in both)
            cells.setdefault(others, {})[row.cell[both[0]], row.cell[both[1]]] = row.scores
    (a, b), (c, d) = of, at
    made = []
    for cell in cells.values():
        four = [cell.get(where) for where in ((a, c), (b, d), (b, c), (a, d))]
        there = [scores for scores in four if scores is not None]
        if len(there) == len(four):
            plus, also, minus, less = there
            seeds = sorted(set(plus) & set(also) & set(minus) & set(less))
            if seeds:
                ours = [plus[s] + also[s] for s in seeds]
                made.append((ours, [minus[s] + less[s] for s in seeds]))
    return made
