"""Systems: whole systems side by side as their files say, with the same seeds; no tuning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from core.plural import count
from studies.analysis.effects import all_pairs
from studies.kinds import Kind, check_contrasts
from studies.sections import Reading, Section
from studies.table import Definition, StudyTable, System


class Systems(Kind):
    """One row per system; each seed is scored on the test split once, at its end."""

    class Table(StudyTable):
        """The systems."""

        tested = adapts = True
        systems: Annotated[list[System], Field(min_length=1)]

    def __init__(self, table: Table, definition: Definition) -> None:
        self.table = table
        self.variants = self.whole_systems(definition)
        names = [variant.name for variant in self.variants]
        check_contrasts(table.contrasts, {}, names, definition.where)

    def describe(self) -> str:
        """The number of runs, and the budget of each."""
        table = self.table
        size = f"{count(len(self.variants), 'system')} x {table.seed_text}"
        return f"{size}; budget of each run: {table.spent}."

    @staticmethod
    def sections(reading: Reading) -> Iterator[Section]:
        """Every system against every other."""
        return all_pairs(reading, "pairs")
