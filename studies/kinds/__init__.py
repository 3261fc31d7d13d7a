"""A study as a pure function from results to runs.

A *kind* of study (one file in `studies/kinds/`; the file name is the kind's name) says which runs
are needed, given the runs that have ended. It keeps no other state: the same results give the same
plan. To resume a study, plan again and leave out the runs that exist. The queue, the workers and
the record are the same for all kinds (`studies/running/execute.py`).
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from core.config import Config
from core.errors import InputError, nearest
from studies.sections import Reading, Section
from studies.space import Arm
from studies.table import Definition, StudyTable

Key = tuple[str, int]  # variant, seed
# What a run is: a seed of a row, a trial of a search, or a trunk, which others are forked from.
Level = Literal["seed", "trial", "trunk"]


@dataclass(frozen=True)
class Variant:
    """A row of the leaderboard: its values on the axes and the resulting configuration."""

    name: str
    values: Mapping[str, str]  # axis -> label; of a whole row, what the leaderboard shows
    config: Config
    whole: bool = False  # takes no part in contrasts of axes


@dataclass(frozen=True)
class Job:
    """One training run that a study needs.

    A job with an `arm` is a trial: the arm proposes settings on top of the variant's when the job
    starts. `tested` jobs are also scored on the test split, once, at their end.
    """

    variant: Variant
    seed: int
    arm: Arm | None = None
    place: int = 0  # index of a trial in its arm
    tested: bool = False
    config: Config | None = None  # of this run; None: that of the variant, with the seed
    trunk: int | None = None  # of a fork: the seed of the trunk that it starts from
    ready: bool = True  # False: that trunk has not ended
    level: Level = "seed"

    @property
    def key(self) -> Key:
        """Identifies the job in the queue."""
        return self.variant.name, self.seed


@dataclass(frozen=True)
class Done:
    """A job that has ended, successfully or not."""

    variant: str
    seed: int
    outcome: str  # "failed" if it raised an error
    scores: Mapping[str, float | None] = field(default_factory=dict)  # the study's metrics
    settings: Mapping[str, Any] = field(default_factory=dict)  # proposed by an arm, dotted
    published: bool = False  # a proposal that was enqueued, not drawn
    run_id: str = ""

    @property
    def key(self) -> Key:
        """The job's key."""
        return self.variant, self.seed


@dataclass(frozen=True)
class Plan:
    """The jobs known so far, in the order in which they run."""

    jobs: tuple[Job, ...]
    later: int = 0  # number of further jobs that become known when these have ended

    @property
    def ready(self) -> list[Job]:
        """The jobs that can run now."""
        return [job for job in self.jobs if job.ready]


@dataclass(frozen=True)
class Limit:
    """A budget of the whole study, given when it begins or resumes."""

    trials: int | None = None  # of each arm, instead of the file's; without arms: runs in total
    workers: int = 1
    closed: bool = False  # the time for searching is over: no further trials


NO_LIMIT = Limit()


class Kind(ABC):
    """A kind of study. `variants` are the rows that every seed runs."""

    Table: ClassVar[type[StudyTable]]
    variants: list[Variant]

    @abstractmethod
    def __init__(self, table: Any, definition: Definition) -> None:
        """Check everything that can be checked; InputError names file and key."""
        self.table = table

    def whole_systems(self, definition: Definition) -> list[Variant]:
        """The rows of `study.systems`."""
        rows = [system.name for system in self.table.systems]
        return [Variant(r, {}, definition.system(r, self.table).config(), whole=True) for r in rows]

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT) -> Plan:
        """The jobs that these results call for, ended ones included: here every variant with
        every seed, seeds outermost, so that every variant has a first run early.
        """
        return Plan(tuple(
            Job(variant, seed, tested=self.table.tested)
            for seed in self.table.seed_list() for variant in self.variants
        ))  # fmt: skip

    def forks(self) -> Iterable[tuple[Config, Config]]:
        """Pairs of configurations, of which the first starts from a state of the second."""
        return ()

    def arms(self) -> Sequence[Arm]:
        """The searches for settings; none if all settings are given."""
        return ()

    @abstractmethod
    def describe(self) -> str:
        """What the study compares, in Markdown, for its page."""

    @staticmethod
    @abstractmethod
    def sections(reading: Reading) -> Iterator[Section]:
        """Sections of the kind's report in addition to the leaderboard, from the store alone."""


class OnCorpora(Kind):
    """A study on several corpora, each of which has a study of its own: it has no runs itself."""

    def __init__(self, kind: Kind) -> None:
        self.table, self.variants, self.kind = kind.table, [], kind

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT) -> Plan:
        """No jobs, and the study of each corpus to come."""
        return Plan((), later=len(self.table.corpora))

    def describe(self) -> str:
        """What is compared, and on what."""
        corpora = ", ".join(f"`{corpus.name}`" for corpus in self.table.corpora)
        return f"{self.kind.describe()}\n\nOn each of the corpora {corpora}."

    @staticmethod
    def sections(reading: Reading) -> Iterator[Section]:
        """None of its own."""
        return iter(())


def kinds() -> list[str]:
    """Names of all kinds, sorted."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem[0] != "_")


def find_kind(name: object) -> type[Kind]:
    """The class of a kind; InputError with the nearest name when there is none."""
    if not isinstance(name, str) or name not in kinds():
        raise InputError(f"no kind {name!r}{nearest(str(name), kinds())}")
    module = importlib.import_module(f"{__name__}.{name}")
    found: type[Kind] = getattr(module, name.title().replace("_", ""))
    return found
