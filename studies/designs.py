"""Which cells of the product of axes are run. A cell is a position on each axis.

- `full`: all of them.
- `one_factor`: the base (the first value of each axis) and each other value on its own.
- `reversion`: the best cell, and each axis on its own set back to its base value.
- `fractional`: a few cells from which every main effect can still be told: D-optimal for the model
  of main effects (Fedorov 1972, exchange), found from several starts, the same every time. What is
  lost are interactions: an effect may be another axes' interaction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InputError

Cell = tuple[int, ...]
LARGEST = 20_000  # cells of a full product that are looked at
STARTS = 8
RIDGE = 1e-6  # keeps the determinant of an unfinished choice above zero


@dataclass(frozen=True)
class Design:
    """Cells in order, and what they are in words."""

    cells: tuple[Cell, ...]
    words: str


def design(kind: str, levels: Sequence[int], count: int | None, best: Cell) -> Design:
    """The design of this kind over axes with so many levels; InputError if it cannot be."""
    if math.prod(levels) > LARGEST:
        raise InputError(f"study.axes: {math.prod(levels):,} combinations; at most {LARGEST:,}")
    base = (0,) * len(levels)
    if kind == "one_factor":
        return Design((base, *_one_by_one(base, levels)), "One factor at a time from the base")
    if kind == "reversion":
        back = [_set(best, axis, 0) for axis in range(len(levels)) if best[axis] != 0]
        return Design((best, *back), "Each choice of the best set back on its own")
    every = list(itertools.product(*(range(n) for n in levels)))
    if kind == "full" or count is None:
        return Design(tuple(every), "Every combination")
    return fraction(every, levels, count)


def fraction(every: Sequence[Cell], levels: Sequence[int], count: int) -> Design:
    """`count` of the cells, D-optimal for the main effects."""
    X = model_matrix(every, levels)
    least = X.shape[1]
    if not least <= count < len(every):
        raise InputError(
            f"study.cells = {count}: the main effects of these axes need at least {least} cells, "
            f"and all of them are {len(every)}"
        )
    found = max(
        (_exchange(X, count, np.random.default_rng(start)) for start in range(STARTS)),
        key=lambda chosen: _gain(X, chosen),
    )
    whole = _gain(X, list(range(len(every)))) - least * math.log(len(every))
    efficiency = math.exp((_gain(X, found) - least * math.log(count) - whole) / least)
    cells = tuple(every[i] for i in sorted(found))
    words = (
        f"{count} of {len(every)} combinations, chosen for the main effects "
        f"(D-efficiency {min(efficiency, 1.0):.0%} of the full design); interactions are not told "
        f"apart from them"
    )
    return Design(cells, words)


def model_matrix(cells: Sequence[Cell], levels: Sequence[int]) -> np.ndarray:
    """Intercept and effect-coded main effects, (cells, 1 + sum of (levels - 1))."""
    columns = [np.ones(len(cells))]
    data = np.asarray(cells)
    for axis, n in enumerate(levels):
        last = data[:, axis] == n - 1
        columns += [(data[:, axis] == level) * 1.0 - last for level in range(n - 1)]
    return np.stack(columns, axis=1)


def _exchange(X: np.ndarray, count: int, rng: np.random.Generator) -> list[int]:
    """Swap cells in and out for as long as the determinant grows."""
    chosen = list(rng.choice(len(X), size=count, replace=False))
    best = _gain(X, chosen)
    improved = True
    while improved:
        improved = False
        for place in range(count):
            inverse = np.linalg.inv(_information(X, chosen[:place] + chosen[place + 1 :]))
            gains = np.einsum("ij,jk,ik->i", X, inverse, X)
            gains[chosen] = -1.0  # no cell twice
            candidate = [*chosen[:place], int(gains.argmax()), *chosen[place + 1 :]]
            value = _gain(X, candidate)
            if value > best + 1e-9:
                chosen, best, improved = candidate, value, True
    return chosen


def _information(X: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    rows = X[list(chosen)]
    return np.asarray(rows.T @ rows + RIDGE * np.eye(X.shape[1]))


def _gain(X: np.ndarray, chosen: Sequence[int]) -> float:
    return float(np.linalg.slogdet(_information(X, chosen))[1])


def _one_by_one(base: Cell, levels: Sequence[int]) -> list[Cell]:
    return [_set(base, axis, level) for axis, n in enumerate(levels) for level in range(1, n)]


def _set(cell: Cell, axis: int, level: int) -> Cell:
    return (*cell[:axis], level, *cell[axis + 1 :])
