"""Branch: choices that are compared from the same states of training.

A trunk is a run that the study trains first, or that the store has. Each trunk is forked, at each
stage, to every choice. Forks of one state differ in the choice alone, so choices are compared as
pairs within a trunk. The trunk is the unit of replication: further forks of one state to one choice
(`repeats`) are averaged.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, model_validator

from core.config import Config
from core.config.schema import Frozen
from core.plural import count
from core.tracking.rendering import plain
from studies.analysis.branches import branch_sections, within_trunks
from studies.analysis.contrasts import Effect
from studies.kinds import NOTHING, Kind, Queued, check_contrasts
from studies.plan import NO_LIMIT, Done, Job, Limit, Plan, Variant
from studies.sections import Reading, Section
from studies.table import JOINER, Budget, Definition, StudyTable

TRUNK = "trunk"
FURTHER = 10_000  # between the seeds of the forks of one state to one choice
Update = Annotated[int, Field(ge=1)]


class Choice(Frozen):
    """What a fork changes; without `set` it continues the trunk."""

    label: Annotated[str, Field(min_length=1)]
    set: dict[str, Any] = Field(default={})  # slots and dotted settings, on top of the trunk's


class Branch(Kind):
    """Trunks, then forks of each to every choice, compared as pairs within a trunk."""

    class Table(StudyTable):
        """The trunks, the stages and the choices. There are as many trunks as `seeds`."""

        choices: Annotated[list[Choice], Field(min_length=2)]
        stages: Annotated[list[Update], Field(min_length=1)]  # updates of a trunk: it is forked
        trunks: list[str] = Field(default=[])  # runs of the store; none: the study trains its own
        repeats: Annotated[int, Field(ge=1, le=1000)] = 1  # forks of one state to one choice

        @model_validator(mode="after")
        def _parts_go_together(self) -> Branch.Table:
            labels = [choice.label for choice in self.choices]
            for given in (labels, self.stages, self.trunks):
                if len({*given}) < len(given):
                    raise ValueError(f"{given} must not have the same one twice")
            if self.budget is None:
                raise ValueError("a branch study needs a budget that every fork gets, counted "
                                 "from the fork: study.budget = { updates = 500 }")  # fmt: skip
            if self.trunks and self.seed_list() != [*range(len(self.trunks))]:
                raise ValueError(f"seeds must be the number of trunks, {len(self.trunks)}")
            if max(self.seed_list()) >= FURTHER:
                raise ValueError(f"seeds of trunks must be below {FURTHER:,}")
            return self

    unused = (("systems", "a branch has choices, which may set a whole system"),)

    def __init__(self, table: Table, definition: Definition) -> None:
        self.table = table
        labels = {choice.label: choice.set for choice in table.choices}
        check_contrasts(table.contrasts, {}, list(labels), definition.where)
        sources = [definition.system(run, table) for run in table.trunks]
        trunks = [replace(definition, tables=definition.systems[run]) for run in table.trunks]
        if not table.trunks:
            sources = [definition.budgeted(table.budget)]
            trunks = [definition.budgeted(Budget(updates=max(table.stages)))]
        whole = {"train.keep_at": table.stages, "train.stop": None, "evaluation.selection": None}
        self.trunks = [each.config(whole, TRUNK) for each in trunks]  # not stopped early
        self.trunk = None if table.trunks else Variant(TRUNK, {}, self.trunks[0], whole=True)
        fork = {"fork.run": TRUNK, "fork.count_from": "fork"}
        self.configs = {  # of each choice, from every trunk
            label: [each.config(fork | settings, f"choice {label}") for each in sources]
            for label, settings in labels.items()
        }

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT, queued: Queued = NOTHING) -> Plan:
        """All trunks, then the forks of each, except of those that did not end well."""
        ended, seeds = {each.key: each for each in done}, self.table.seed_list()
        jobs = [Job(self.trunk, seed, level="trunk") for seed in seeds] if self.trunk else []
        for place, seed in enumerate(seeds):
            trunk = ended.get((TRUNK, seed), Done(TRUNK, seed, "ok"))
            run = self.table.trunks[place] if self.table.trunks else trunk.run_id
            if trunk.outcome == "ok":
                jobs += self._of_trunk(seed, place if self.table.trunks else 0, run)
        return Plan(tuple(jobs))

    def _of_trunk(self, seed: int, place: int, run: str) -> Iterator[Job]:
        """The forks of a trunk; `run` is empty until it has ended."""
        repeats = range(0, FURTHER * self.table.repeats, FURTHER)
        for stage, label, further in itertools.product(self.table.stages, self.configs, repeats):
            config = self.configs[label][place]
            cell = {"choice": label, "stage": str(stage)}
            row = Variant(f"{label}{JOINER}update {stage}", cell, config)
            assert config.fork is not None
            fork = config.fork.model_copy(update={"run": run, "at": stage})
            its_seed = (config.seed if self.table.trunks else seed) + further
            config = config.model_copy(update={"seed": its_seed, "fork": fork})
            yield Job(row, seed + further, config=config, trunk=seed, ready=bool(run))

    def forks(self) -> Iterator[tuple[Config, Config]]:
        """Every choice from every trunk."""
        for configs in self.configs.values():
            yield from zip(configs, self.trunks, strict=True)

    def describe(self) -> str:
        """The trunks, the stages and the choices."""
        table = self.table
        stages = ", ".join(map(str, table.stages))
        choices = ", ".join(plain(each.label) for each in table.choices)
        return (
            f"{count(len(table.seed_list()), 'trunk')} x {count(table.repeats, 'fork')} at each of "
            f"the updates {stages} to each of {choices}; budget of each fork: {table.spent}."
        )

    @staticmethod
    def effects(reading: Reading) -> Sequence[Effect]:
        """The contrasts of the choices at each stage."""
        return [each for _, each in within_trunks(reading)]

    @staticmethod
    def sections(reading: Reading) -> Iterator[Section]:
        """The contrasts of the choices at each stage."""
        return branch_sections(reading)
