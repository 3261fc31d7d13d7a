"""What each choice does: contrasts of the values of an axis, all else equal.

Two runs form a pair when they share the seed and every other axis. A contrast is the difference of
the study's score over all such pairs; its p-value is adjusted over all contrasts of the study.
Pairs are taken as independent: runs with one seed share the order of their data, nothing else.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.statistics import holm, paired_difference
from studies.leaderboard import Leaderboard, Row

Pair = tuple[float, float]


@dataclass(frozen=True)
class Effect:
    """One contrast of an axis: `level` minus `reference`."""

    axis: str
    level: str
    reference: str
    difference: float
    low: float
    high: float
    pairs: int
    p: float  # two-sided, Holm-adjusted over the study's contrasts


def effects(board: Leaderboard) -> list[Effect]:
    """Every contrast of every axis that has pairs, in alphabetical order."""
    found = []
    for axis in _axes(board.rows):
        levels = sorted({row.cell[axis] for row in board.rows if axis in row.cell})
        for reference, level in itertools.combinations(levels, 2):
            pairs = _pairs(board.rows, axis, level, reference)
            if pairs:
                found.append(_effect(axis, level, reference, pairs))
    adjusted = holm([effect.p for effect in found])
    return [replace(effect, p=p) for effect, p in zip(found, adjusted, strict=True)]


def _axes(rows: Sequence[Row]) -> list[str]:
    return sorted({axis for row in rows for axis in row.cell})


def _pairs(rows: Sequence[Row], axis: str, level: str, reference: str) -> list[Pair]:
    """(score with `level`, score with `reference`) for each seed and cell of the other axes."""
    scores: dict[tuple[frozenset[tuple[str, str]], int], dict[str, float]] = {}
    for row in rows:
        if axis not in row.cell:  # a whole system: it shares no other axis with anything
            continue
        others = frozenset(_without(row.cell, axis).items())
        for seed, score in row.scores.items():
            scores.setdefault((others, seed), {})[row.cell[axis]] = score
    return [
        (cell[level], cell[reference])
        for cell in scores.values()
        if level in cell and reference in cell
    ]


def _without(cell: Mapping[str, str], axis: str) -> dict[str, str]:
    return {key: value for key, value in cell.items() if key != axis}


def _effect(axis: str, level: str, reference: str, pairs: Sequence[Pair]) -> Effect:
    rng = np.random.default_rng(zlib.crc32(f"{axis} {level} {reference}".encode()))
    ours, theirs = zip(*pairs, strict=True)
    difference, p = paired_difference(ours, theirs, rng)
    return Effect(
        axis, level, reference, difference.value, difference.low, difference.high, len(pairs), p
    )
