"""Systems: whole systems side by side as their files say, with the same seeds; nothing is tuned."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from studies.analysis.choices import contrast_section
from studies.analysis.wording import count
from studies.arms import Arm
from studies.cells import check_contrasts
from studies.plan import NO_LIMIT, Definition, Done, Job, Limit, Plan
from studies.sections import Reading, Section
from studies.systems import whole_systems
from studies.table import Contrast, StudyTable, System


class Systems:
    """A row a system, each seed scored on the test split once, at its end."""

    class Table(StudyTable):
        """The systems."""

        systems: Annotated[list[System], Field(min_length=1)]

        @property
        def ranked_by(self) -> str:
            """The metric on the test split."""
            return self.metric.replace("eval/", "test/", 1)

    def __init__(self, table: Table, definition: Definition) -> None:
        self.table = table
        self.variants = whole_systems(table, definition)
        names = [variant.name for variant in self.variants]
        check_contrasts(table.contrasts, {}, names, definition.where)

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT) -> Plan:
        """Seeds outermost, so that every system has a first run early."""
        seeds = self.table.seed_list()
        jobs = (Job(variant, seed, tested=True) for seed in seeds for variant in self.variants)
        return Plan(tuple(jobs))

    def arms(self) -> Sequence[Arm]:
        """None: every setting is given."""
        return ()

    def describe(self) -> str:
        """How many runs, and what each may spend."""
        table = self.table
        size = f"{count(len(self.variants), 'system')} x {count(len(table.seed_list()), 'seed')}"
        spent = table.budget.words if table.budget else "what its file says"
        return f"{size}; each run spends {spent}."

    @staticmethod
    def sections(reading: Reading) -> list[Section]:
        """Every system against every other."""
        rows = [row.variant for row in reading.board.rows]
        every = [Contrast(level=a, reference=b) for a, b in itertools.combinations(rows, 2)]
        named = reading.table.contrasts or every
        return contrast_section(reading, named, "pairs", "System against system")
