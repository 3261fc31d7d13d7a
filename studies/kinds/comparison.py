"""Comparison: whole systems, each tuned with the same budget, then run again and tested once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field, model_validator

from core.config import Config
from core.errors import InputError, nearest
from studies.adaptive import FIRST
from studies.analysis.effects import all_pairs
from studies.analysis.search import tuning_sections
from studies.kinds import NOTHING, Kind, Queued, check_contrasts
from studies.plan import NO_LIMIT, Done, Job, Limit, Plan, Variant
from studies.sections import Reading, Section
from studies.space import Arm, Range, ranges, space_of
from studies.table import Definition, System
from studies.tuning import Trials, TuningTable, final_row, finalists, trials_of, with_trials

RATES = ("train.generator_lr", "train.discriminator_lr")
# The first of these that a system uses is tuned with its learning rates.
REGULARISERS = (
    "penalty.weight",
    "penalty.gamma",
    "discriminator.dropout",
    "train.entropy",
    "generator.dropout",
)


class Comparison(Kind):
    """One search per system; one row per system: its best settings with seeds not used for tuning,
    on the test split.
    """

    class Table(TuningTable):
        """The systems."""

        systems: Annotated[list[System], Field(min_length=2)]
        trials: Annotated[int, Field(ge=1, le=100_000)] = 10

        @model_validator(mode="after")
        def _budgets_are_equal(self) -> Comparison.Table:
            if self.budget is None:
                raise ValueError(
                    "a comparison needs a budget that every run gets: study.budget = "
                    "{ seconds = 60 }, or updates, or tokens"
                )
            return self

    unused = (("finalists", "a comparison runs the best settings of each system again"),)

    def __init__(self, table: Table, definition: Definition) -> None:
        self.table = table
        self.rows: list[tuple[Arm, Definition, Variant]] = []
        for name in (each.name for each in table.systems):
            system = definition.system(name, table)
            config = system.config()
            declared = dict(ranges(config))
            named = {key: given for key, given in table.space.items() if key in declared}
            space = space_of(config, named, system)
            space = space if named else _usual(config, space)
            own = config.flat()
            arm = table.arm(name, system, space, [{key: own.get(key) for key in space}])
            self.rows.append((arm, system, Variant(name, {}, config, whole=True)))
        self.variants = [base for *_, base in self.rows]
        names = [base.name for base in self.variants]
        check_contrasts(table.contrasts, {}, names, definition.where)

    def check_file(self, where: str) -> None:
        """As for every kind, and InputError for a field of the space that no system has."""
        super().check_file(where)
        declared = {key for base in self.variants for key, _ in ranges(base.config)}
        for key in (key for key in self.table.space if key not in declared):
            known = nearest(key, declared)
            raise InputError(f"{where}: study.space.{key}: no system has such a range{known}")

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT, queued: Queued = NOTHING) -> Plan:
        """Trials of all systems in turn; a system's best settings when its trials have ended. A row
        that has runs keeps its settings.
        """
        table = self.table
        trials, rows = [], []
        for arm, system, base in self.rows:
            own = self._trials(arm, done, limit, queued)
            trials.append(own)
            settings = queued.chosen.get(base.name)
            if settings is None and own.complete:
                best = self._best(own)
                settings = best.settings if best else {}
            if settings is not None:
                rows.append(final_row(base.name, settings, system))
        if len(rows) == len(self.rows):
            return with_trials(self.with_seeds(rows, done), trials)
        seeds = table.seed_list()[: FIRST if table.looks else None]
        first = [Job(row, seed, tested=True) for seed in seeds for row in rows]
        unknown = self.of_unknown_rows(len(self.rows))
        later = unknown.later - len(first)
        return with_trials(replace(unknown, jobs=tuple(first), later=later), trials)

    def outdone(
        self, done: Sequence[Done], limit: Limit = NO_LIMIT, queued: Queued = NOTHING
    ) -> list[str]:
        """As for every kind: its trial ended after the row's first run was queued."""
        said = []
        for arm, _, base in self.rows:
            best = self._best(self._trials(arm, done, limit, queued))
            kept = queued.chosen.get(base.name)
            if kept is not None and best is not None and dict(best.settings) != dict(kept):
                said.append(
                    f"{base.name} keeps the settings of its runs, although {best.variant} is "
                    f"better; begin a new study to run that one with new seeds"
                )
        return said

    def _trials(self, arm: Arm, done: Sequence[Done], limit: Limit, queued: Queued) -> Trials:
        return trials_of(arm, self.table, limit, done, f"{arm.name} · ", queued.running)

    def _best(self, trials: Trials) -> Done | None:
        """The best trial; None if that has the published settings, or none ended well."""
        known = [each for each in trials.over if each.published and each.outcome == "ok"]
        best = finalists(trials.over, self.table)
        worse = best and known and not _better(best[0], known[0], self.table)
        return best[0] if best and not worse else None

    def arms(self) -> Sequence[Arm]:
        """One per system."""
        return [arm for arm, *_ in self.rows]

    def describe(self) -> str:
        """What is equal, and what is tuned."""
        table = self.table
        tuned = "\n".join(
            f"- **{arm.name}**: {', '.join(f'`{key}`' for key in arm.space)}"
            for arm, *_ in self.rows
        )
        return (
            f"Every system: {table.trials_text(table.sampler)}, the published settings first, "
            f"over\n\n{tuned}\n\n"
            f"{table.constraints_text}Then the best settings of each with {table.finals_text}, "
            f"scored once on the test split."
        )

    @staticmethod
    def sections(reading: Reading) -> Iterator[Section]:
        """Every system against every other, tuning curves."""
        yield from all_pairs(reading, "finalists")
        yield from tuning_sections(reading)


def _usual(config: Config, space: Mapping[str, Range]) -> dict[str, Range]:
    """What is tuned if the study names no field: learning rates and one regulariser."""
    rates = RATES if config.discriminator or config.system else RATES[:1]
    regulariser = [key for key in REGULARISERS if key in space][:1]
    return {key: space[key] for key in (*rates, *regulariser) if key in space}


def _better(a: Done, b: Done, table: TuningTable) -> bool:
    """Whether it keeps the constraints and the other does not or, if both do alike, has more
    tuning seeds, then less violation, then the better score, as `finalists` ranks.
    """

    def rank(each: Done) -> tuple[float, ...]:
        score = each.scores.get(table.metric)
        value = -math.inf if score is None else score if table.higher_is_better else -score
        return table.keeps(each.scores), each.runs, -table.violation(each.scores), value

    return rank(a) > rank(b)
