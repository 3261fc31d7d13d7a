"""Search: better settings of one system. The published ones run first and again at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from core.config import parse
from studies.analysis.search import search_sections
from studies.arms import Arm
from studies.plan import NO_LIMIT, Definition, Done, Job, Limit, Plan, Variant
from studies.sections import Reading, Section
from studies.space import space_of
from studies.systems import spend
from studies.tuning import TuningTable, finalists, results_of, shown, trial_jobs

PUBLISHED = "published"
ARM = "search"


class Search:
    """Trials of one arm, then its best and the published settings with fresh seeds."""

    class Table(TuningTable):
        """Further settings to try first."""

        published: list[dict[str, Any]] = Field(default=[])  # beside the file's own
        finalists: int = Field(default=3, ge=1, le=100)

    def __init__(self, table: Table, definition: Definition) -> None:
        self.table, where, resolver = table, definition.where, definition.resolver
        base = spend(definition.tables, table.budget) if table.budget else definition.tables
        config = parse(base, resolver, where)
        self.base = Variant(PUBLISHED, {}, config, whole=True)
        space = space_of(config, base, table.space, resolver, where)
        own = config.flat()
        ours = {key: own.get(key, own.get(f"{key}.name")) for key in space}
        self.arm = Arm(
            ARM, base, space, table.metrics, table.directions, table.trials, resolver,
            table.sampler, table.pruner, (ours, *table.published), table.warm_start,
        )  # fmt: skip
        for settings in table.published:
            self.arm.config(settings)

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT) -> Plan:
        """All trials; when they have ended, the finalists."""
        table = self.table
        trials = trial_jobs(self.arm, self.base, table, limit, done, alone=True)
        results = results_of(trials, done)
        seeds = table.seed_list()
        if results is None:
            return Plan(tuple(trials), later=(1 + table.finalists) * len(seeds))
        rows = [self.base]
        for best in finalists(results, table):
            settings = dict(best.settings)
            rows.append(
                Variant(best.variant, shown(settings), self.arm.config(settings), whole=True)
            )
        finals = [Job(row, seed, tested=True) for seed in seeds for row in rows]
        return Plan((*trials, *finals))

    def arms(self) -> Sequence[Arm]:
        """The one."""
        return (self.arm,)

    def describe(self) -> str:
        """The space."""
        table = self.table
        fields = "\n".join(f"- `{key}`: {each.words()}" for key, each in self.arm.space.items())
        return (
            f"{table.trials} trials ({table.sampler}, pruning: {table.pruner}) over\n\n{fields}\n\n"
            f"the published settings first; then the best {table.finalists} and the published "
            f"ones with {len(table.seed_list())} fresh seeds, scored on the test split."
        )

    @staticmethod
    def sections(reading: Reading) -> list[Section]:
        """Finalists against the published settings, tuning curve, importance, front."""
        return search_sections(reading)
