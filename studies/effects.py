"""What each choice does: contrasts of the values of an axis, all else equal, or of two rows.

Two runs form a pair when they share the seed and every other axis. A contrast is the mean over the
cells of the other axes of the difference of scores. Its interval and its p are one computation; p
is adjusted (Holm) over the contrasts that the study's file names or, apart from those, over all
that it does not name. Whether seeds are treated as pairs is decided once for a study, by the
correlation that sharing them achieved. In a fraction of a design nothing pairs: there the main
effects of a linear model stand in.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.statistics import Difference, difference, holm, seed_correlation
from studies.cells import bare
from studies.leaderboard import Leaderboard, Row
from studies.main_effects import main_effect
from studies.table import Contrast

LEVEL = 0.05
Stratum = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Effect:
    """One contrast: `level` minus `reference`, of an axis or of two rows (axis "")."""

    axis: str
    level: str
    reference: str
    difference: float
    low: float
    high: float
    pairs: int
    p: float  # two-sided, of this contrast alone: below .05 where the interval leaves zero out
    adjusted: float  # the same by Holm, over its family
    named: bool = False  # in the study's file, before the run
    paired: bool = True
    modelled: bool = False  # by the linear model of a fraction of a design

    @property
    def values(self) -> tuple[str, str]:
        """Level and reference beside their axis: without its name, which a row's label needs."""
        return bare(self.axis, self.level), bare(self.axis, self.reference)

    @property
    def title(self) -> str:
        """In words."""
        subject = f"{self.axis}: " if self.axis else ""
        return f"{subject}{' - '.join(self.values)}"

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out; of a single pair nothing does."""
        return self.p <= LEVEL and not self.low <= 0 <= self.high


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
        there = [effect for effect in made if effect is not None]
        adjusted = holm([effect.p for effect in there])
        found += [replace(effect, adjusted=p) for effect, p in zip(there, adjusted, strict=True)]
    return found


def apart(board: Leaderboard, variant: str, other: str, *, paired: bool) -> Difference | None:
    """One row minus another, as `effects` has it; None where they cannot be compared."""
    strata = _strata(board.rows, ("", variant, other), paired)
    return compared(strata, paired) if strata else None


def pairing(board: Leaderboard) -> tuple[float, bool]:
    """The correlation that shared seeds achieved over all rows, and whether to pair on them."""
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


def _effect(
    rows: Sequence[Row], contrast: tuple[str, str, str], paired: bool, named: bool
) -> Effect | None:
    axis, level, reference = contrast
    strata = _strata(rows, contrast, paired)
    found: Difference | None
    if strata:
        found = compared(strata, paired)
    else:
        cells = [row for row in rows if row.cell]
        found = main_effect(cells, axis, level, reference, blocked=paired) if axis else None
    if found is None:
        return None
    return Effect(axis, level, reference, found.value, found.low, found.high, found.pairs,
                  found.p, found.p, named, found.paired, not strata)  # fmt: skip


def compared(strata: Sequence[Stratum], paired: bool) -> Difference:
    """`difference` with draws that depend on the scores alone, whatever the contrast is called and
    wherever it is shown; turned round, the same with the other sign.
    """
    asked = list(strata)
    turned = [(theirs, ours) for ours, theirs in asked]
    first = min(asked, turned)
    rng = np.random.default_rng(zlib.crc32(json.dumps(first).encode()))
    found = difference(first, rng, paired=paired)
    if first == asked:
        return found
    return replace(found, value=-found.value, low=-found.high, high=-found.low)


def _strata(rows: Sequence[Row], contrast: tuple[str, str, str], paired: bool) -> list[Stratum]:
    """For each cell of the other axes the scores with `level` and with `reference`."""
    axis, level, reference = contrast
    value: Callable[[Row], str | None]
    if axis:
        value, used = (lambda row: row.cell.get(axis)), [row for row in rows if axis in row.cell]
    else:
        value, used = (lambda row: row.variant), list(rows)
    cells: dict[frozenset[tuple[str, str]], dict[str | None, Mapping[int, float]]] = {}
    for row in used:
        others = frozenset(_without(row.cell, axis).items()) if axis else frozenset()
        cells.setdefault(others, {})[value(row)] = row.scores
    both = [(c[level], c[reference]) for c in cells.values() if level in c and reference in c]
    if not paired and all(len(ours) > 1 and len(theirs) > 1 for ours, theirs in both):
        return [(list(ours.values()), list(theirs.values())) for ours, theirs in both]
    shared = [(ours, theirs, sorted(set(ours) & set(theirs))) for ours, theirs in both]
    return [([a[s] for s in seeds], [b[s] for s in seeds]) for a, b, seeds in shared if seeds]


def _without(cell: Mapping[str, str], axis: str) -> dict[str, str]:
    return {key: value for key, value in cell.items() if key != axis}
