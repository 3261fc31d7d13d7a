"""Ablation: a base configuration, axes of choices, the same seeds for every variant.

A design says which cells of the product of axes are run. A cell is a position on each axis.

- `full`: all of them.
- `one_factor`: the base (the first value of each axis) and each other value on its own.
- `reversion`: the best cell, and each axis on its own set back to its base value.
- `fractional`: a few cells that still identify every main effect: D-optimal for the model of main
  effects (Fedorov 1972, exchange), the best of several starts, the same every time. Interactions
  are lost: an estimated effect may be the interaction of other axes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from core.errors import InputError, nearest
from core.plural import count
from core.tracking.rendering import plain
from studies.analysis.contrasts import row_weights
from studies.analysis.effects import choices, interaction_section
from studies.kinds import Kind, check_contrasts
from studies.plan import Variant
from studies.sections import Reading, Section
from studies.table import JOINER, Contrast, Definition, StudyTable

Cell = tuple[int, ...]
Labels = Mapping[str, Mapping[str, Any]]  # axis -> label -> value
LARGEST = 20_000  # cells of a full product
STARTS = 8
RIDGE = 1e-6  # keeps the determinant of an incomplete selection above zero


class Ablation(Kind):
    """Cells of a design over the axes, and whole systems for comparison."""

    class Table(StudyTable):
        """Axes and the design over them."""

        adapts = True
        axes: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]
        design: Literal["full", "fractional", "one_factor", "reversion"] = "full"
        cells: Annotated[int, Field(ge=2, le=10_000)] | None = None  # fractional: how many
        best: dict[str, Any] = Field(
            default={}
        )  # reversion: value on each axis; default: the axis's last

        @model_validator(mode="after")
        def _keys_fit_the_design(self) -> Ablation.Table:
            if self.design == "fractional" and self.cells is None:
                raise ValueError("design 'fractional' needs study.cells, the number of cells")
            if self.design != "fractional" and self.cells is not None:
                raise ValueError("study.cells goes with design = 'fractional' only; leave it out")
            if self.best and self.design != "reversion":
                raise ValueError("study.best goes with design = 'reversion' only; leave it out")
            return self

    def __init__(self, table: Table, definition: Definition) -> None:
        self.table, where = table, definition.where
        self.axes = axes = {
            axis: definition.labelled(axis, values, f"study.axes.{axis}")
            for axis, values in table.axes.items()
        }
        levels = [len(labels) for labels in axes.values()]
        self.design = design(table.design, levels, table.cells, self._best(axes, where))
        base = definition.budgeted(table.budget)
        self.variants = [_variant(cell, axes, base) for cell in self.design.cells]
        self.variants += self.whole_systems(definition)
        names = [variant.name for variant in self.variants]
        check_contrasts(table.contrasts, axes, names, where)
        for each in table.contrasts if table.looks else ():
            if not row_weights(self.cells(self.variants), each):
                raise InputError(f"{where}: study.contrasts: {each.title}: the design has no two "
                                 f"cells that differ in this alone")  # fmt: skip

    def contrasts(self, rows: Sequence[Variant]) -> Sequence[Contrast]:
        """Without named ones, each level of an axis against the axis's first."""
        against = [
            Contrast(axis=axis, level=level, reference=next(iter(labels)))
            for axis, labels in self.axes.items()
            for level in list(labels)[1:]
        ]
        found = [each for each in against if row_weights(self.cells(rows), each)]
        return self.table.contrasts or found

    def describe(self) -> str:
        """The axes, and the design over them."""
        axes = "\n".join(
            f"- **{plain(axis)}**: {plain(', '.join(map(_label, values)))}"
            for axis, values in self.table.axes.items()
        )
        seeds = self.table.seed_text
        return f"{axes}\n\n{self.design.words}; {count(len(self.variants), 'variant')} x {seeds}."

    @staticmethod
    def sections(reading: Reading) -> Iterator[Section]:
        """The effect of each choice, and interactions of choices."""
        yield from choices(reading)
        yield from interaction_section(reading)

    def _best(self, axes: Labels, where: str) -> Cell:
        """Position of the best value on each axis."""
        unknown = sorted(set(self.table.best) - set(axes))
        if unknown:
            raise InputError(
                f"{where}: study.best: no axis {unknown[0]!r}{nearest(unknown[0], axes)}"
            )
        found = []
        for axis, labels in axes.items():
            pairs = list(labels.items())
            wanted = self.table.best.get(axis, pairs[-1][1])
            named = [i for i, pair in enumerate(pairs) if wanted in pair]
            if not named:
                known = ", ".join(labels)
                raise InputError(f"{where}: study.best.{axis}: no value {wanted!r}; known: {known}")
            found.append(named[0])
        return tuple(found)


def _variant(cell: Cell, axes: Labels, base: Definition) -> Variant:
    places = zip(axes.items(), cell, strict=True)
    picked = {axis: list(labels.items())[i] for (axis, labels), i in places}
    labels = {axis: label for axis, (label, _) in picked.items()}
    values = {axis: value for axis, (_, value) in picked.items()}
    name = JOINER.join(labels.values())
    return Variant(name, labels, base.config(values, f"variant {name}"))


def _label(value: Any) -> str:
    return str(value.get("name")) if isinstance(value, dict) else str(value)


@dataclass(frozen=True)
class Design:
    """Cells in order, and a description of them."""

    cells: tuple[Cell, ...]
    words: str


def design(kind: str, levels: Sequence[int], cells: int | None, best: Cell) -> Design:
    """The design of this kind over axes with so many levels; InputError if there is none."""
    if math.prod(levels) > LARGEST:
        raise InputError(f"study.axes: {math.prod(levels):,} combinations; at most {LARGEST:,}")
    base = (0,) * len(levels)
    if kind == "one_factor":
        others = [_set(base, axis, i) for axis, n in enumerate(levels) for i in range(1, n)]
        return Design((base, *others), "One factor at a time from the base")
    if kind == "reversion":
        back = [_set(best, axis, 0) for axis in range(len(levels)) if best[axis] != 0]
        return Design((best, *back), "Each choice of the best set back on its own")
    every = list(itertools.product(*(range(n) for n in levels)))
    if kind == "full" or cells is None:
        return Design(tuple(every), "Every combination")
    return fraction(every, levels, cells)


def fraction(every: Sequence[Cell], levels: Sequence[int], size: int) -> Design:
    """`size` of the cells, D-optimal for the main effects."""
    X = model_matrix(every, levels)
    least = X.shape[1]
    if not least <= size < len(every):
        raise InputError(
            f"study.cells = {size}: the main effects of these axes need at least {least} cells, "
            f"and all of them are {len(every)}"
        )
    found = max(
        (_exchange(X, size, np.random.default_rng(start)) for start in range(STARTS)),
        key=lambda chosen: _gain(X, chosen),
    )
    whole = _gain(X, range(len(every))) - least * math.log(len(every))
    efficiency = math.exp((_gain(X, found) - least * math.log(size) - whole) / least)
    words = (
        f"{size} of {len(every)} combinations, chosen for the main effects "
        f"(D-efficiency {min(efficiency, 1.0):.0%} of the full design); interactions are "
        f"confounded with them"
    )
    return Design(tuple(every[i] for i in sorted(found)), words)


def model_matrix(cells: Sequence[Cell], levels: Sequence[int]) -> np.ndarray:
    """Intercept and effect-coded main effects, (cells, 1 + sum of (levels - 1))."""
    columns = [np.ones(len(cells))]
    data = np.asarray(cells)
    for axis, n in enumerate(levels):
        last = data[:, axis] == n - 1
        columns += [(data[:, axis] == level) * 1.0 - last for level in range(n - 1)]
    return np.stack(columns, axis=1)


def _exchange(X: np.ndarray, size: int, rng: np.random.Generator) -> list[int]:
    """Swap cells in and out for as long as the determinant grows."""
    chosen = list(rng.choice(len(X), size=size, replace=False))
    best = _gain(X, chosen)
    improved = True
    while improved:
        improved = False
        for place in range(size):
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


def _set(cell: Cell, axis: int, level: int) -> Cell:
    return (*cell[:axis], level, *cell[axis + 1 :])
