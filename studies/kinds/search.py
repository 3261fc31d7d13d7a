"""Search: better settings of one system. The published ones run first and again at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from studies.analysis.contrasts import Effect
from studies.analysis.search import PUBLISHED, against_published, search_sections
from studies.kinds import NOTHING, Kind, Queued, check_contrasts
from studies.plan import NO_LIMIT, Done, Limit, Plan, Variant
from studies.sections import Reading, Section
from studies.space import Arm, space_of
from studies.table import Definition
from studies.tuning import TuningTable, final_row, finalists, trial_name, trials_of, with_trials


class Search(Kind):
    """Trials of one arm, then its best and the published settings with new seeds."""

    class Table(TuningTable):
        """Further settings to try first."""

        published: list[dict[str, Any]] = Field(default=[])  # in addition to the file's own
        finalists: int = Field(default=3, ge=1, le=100)

    unused = (("systems", "a search has one system; kind 'comparison' tunes several"),)

    def __init__(self, table: Table, definition: Definition) -> None:
        self.table, self.system = table, definition.budgeted(table.budget)
        config = self.system.config()
        self.base = Variant(PUBLISHED, {}, config, whole=True)
        space = space_of(config, table.space, self.system)
        own = config.flat()
        ours = {key: own.get(key, own.get(f"{key}.name")) for key in space}
        self.arm = table.arm("search", self.system, space, (ours, *table.published))
        for settings in table.published:
            self.arm.config(settings)
        names = [PUBLISHED, *(trial_name(place) for place in range(table.trials))]
        check_contrasts(table.contrasts, {}, names, definition.where)

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT, queued: Queued = NOTHING) -> Plan:
        """All trials; when they have ended, the finalists."""
        table = self.table
        trials = trials_of(self.arm, table, limit, done, "", queued.running)
        finals = self.of_unknown_rows(1 + table.finalists)
        if trials.complete:
            chosen = finalists(trials.over, table)
            best = [final_row(each.variant, each.settings, self.system) for each in chosen]
            finals = self.with_seeds((self.base, *best), done)
        return with_trials(finals, [trials])

    def arms(self) -> Sequence[Arm]:
        """The only one."""
        return (self.arm,)

    def describe(self) -> str:
        """The space."""
        table = self.table
        trials = table.trials_text(f"{table.sampler}, pruning: {table.pruner}")
        fields = "\n".join(f"- `{key}`: {each.text}" for key, each in self.arm.space.items())
        return (
            f"{trials} over\n\n{fields}\n\n"
            f"{table.constraints_text}The published settings run first. Then the best "
            f"{table.finalists} and the published ones run with {table.finals_text}, scored on "
            f"the test split."
        )

    @staticmethod
    def effects(reading: Reading) -> Sequence[Effect]:
        """Every finalist against the published settings, unless the file names contrasts."""
        return against_published(reading)

    @staticmethod
    def sections(reading: Reading) -> Iterator[Section]:
        """Finalists against the published settings, tuning curve, importance, Pareto front."""
        return search_sections(reading)
