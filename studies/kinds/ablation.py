"""Ablation: a base configuration, axes of choices, the same seeds for every variant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from core.config import parse
from core.errors import InputError
from core.tracking.rendering import plain
from studies import designs
from studies.analysis.choices import choices
from studies.analysis.interactions import interaction_section
from studies.analysis.wording import count
from studies.arms import Arm
from studies.cells import JOINER, changed, check_contrasts, labelled
from studies.plan import NO_LIMIT, Definition, Done, Job, Limit, Plan, Variant
from studies.sections import Reading, Section
from studies.systems import spend, whole_systems
from studies.table import StudyTable

Design = Literal["full", "fractional", "one_factor", "reversion"]


class Ablation:
    """Cells of a design over the axes, and whole systems beside them."""

    class Table(StudyTable):
        """Axes and the design over them."""

        axes: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]
        design: Design = "full"
        cells: Annotated[int, Field(ge=2, le=10_000)] | None = None  # fractional: how many
        best: dict[str, Any] = Field(
            default={}
        )  # reversion: value on each axis; left out: the axis's last

        @model_validator(mode="after")
        def _keys_fit_the_design(self) -> Ablation.Table:
            if (self.design == "fractional") != (self.cells is not None):
                raise ValueError("study.cells says how many cells a fractional design has, and "
                                 "has no meaning in another")  # fmt: skip
            if self.best and self.design != "reversion":
                raise ValueError("study.best has a meaning with design = 'reversion' only")
            return self

    def __init__(self, table: Table, definition: Definition) -> None:
        self.table, where = table, definition.where
        axes = {axis: labelled(axis, values, where) for axis, values in table.axes.items()}
        levels = [len(labels) for labels in axes.values()]
        self.design = designs.design(table.design, levels, table.cells, self._best(axes, where))
        base = spend(definition.tables, table.budget) if table.budget else definition.tables
        self.variants = [
            self._variant(cell, axes, base, definition) for cell in self.design.cells
        ] + whole_systems(table, definition)
        names = [variant.name for variant in self.variants]
        check_contrasts(table.contrasts, axes, names, where)

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT) -> Plan:
        """Seeds outermost, so that every variant has a first run early."""
        seeds = self.table.seed_list()
        return Plan(tuple(Job(variant, seed) for seed in seeds for variant in self.variants))

    def arms(self) -> Sequence[Arm]:
        """None: every setting is given."""
        return ()

    def describe(self) -> str:
        """The axes, and the design over them."""
        axes = "\n".join(
            f"- **{plain(axis)}**: {plain(', '.join(map(_label, values)))}"
            for axis, values in self.table.axes.items()
        )
        seeds = count(len(self.table.seed_list()), "seed")
        return f"{axes}\n\n{self.design.words}; {len(self.variants)} variants x {seeds}."

    @staticmethod
    def sections(reading: Reading) -> list[Section]:
        """What each choice does, alone and in the company of others."""
        return [*choices(reading), *interaction_section(reading)]

    def _best(self, axes: dict[str, dict[str, Any]], where: str) -> tuple[int, ...]:
        """Position of the best value on each axis."""
        unknown = sorted(set(self.table.best) - set(axes))
        if unknown:
            raise InputError(f"{where}: study.best.{unknown[0]}: no such axis")
        found = []
        for axis, labels in axes.items():
            values = self.table.axes[axis]
            wanted = self.table.best.get(axis, values[-1])
            named = [i for i, (label, value) in enumerate(zip(labels, values, strict=True))
                     if wanted in (label, value)]  # fmt: skip
            if not named:
                raise InputError(f"{where}: study.best.{axis}: {wanted!r} is not on the axis")
            found.append(named[0])
        return tuple(found)

    def _variant(
        self,
        cell: tuple[int, ...],
        axes: dict[str, dict[str, Any]],
        base: Any,
        definition: Definition,
    ) -> Variant:
        picked = {
            axis: list(labels.items())[i]
            for (axis, labels), i in zip(axes.items(), cell, strict=True)
        }
        labels = {axis: label for axis, (label, _) in picked.items()}
        name = JOINER.join(labels.values())
        where = f"{definition.where}, variant {name}"
        values = {f"{axis}": value for axis, (_, value) in picked.items()}
        try:
            tables = changed(base, values, f"{definition.where}: study.axes")
        except InputError as error:
            raise InputError(str(error).replace("study.axes: ", "study.axes.")) from None
        return Variant(name, labels, parse(tables, definition.resolver, where))


def _label(value: Any) -> str:
    return str(value.get("name")) if isinstance(value, dict) else str(value)
