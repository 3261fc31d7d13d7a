"""A study as a pure function from results to runs.

A *kind* of study (one file below `studies/kinds/`, the file name is the kind's name) says which
runs are wanted, given what has ended. Nothing else is remembered: whoever asks again with the same
results gets the same plan, so resuming is planning once more and leaving out what is there. The
queue, the workers and the record are the same for all kinds (`studies/running/execute.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from core.config import Config, Resolver, Tables
from studies.table import StudyTable

if TYPE_CHECKING:
    from studies.arms import Arm
    from studies.sections import Reading, Section

Key = tuple[str, int]  # variant, seed


@dataclass(frozen=True)
class Variant:
    """A row of the leaderboard: its values on the axes, and the configuration they make."""

    name: str
    values: Mapping[str, str]  # axis -> label; what is shown of one that is whole
    config: Config
    whole: bool = False  # takes no part in contrasts of axes


@dataclass(frozen=True)
class Job:
    """One training run that a study wants.

    With an `arm` the job is a trial: the arm proposes settings on top of the variant's when the
    job starts. `tested` jobs are scored on the test split too, once, at their end.
    """

    variant: Variant
    seed: int
    arm: Arm | None = None
    place: int = 0  # of a trial among its arm's
    tested: bool = False

    @property
    def key(self) -> Key:
        """What the queue knows it by."""
        return self.variant.name, self.seed


@dataclass(frozen=True)
class Done:
    """A job that has ended, well or not."""

    variant: str
    seed: int
    outcome: str  # "failed" when it broke
    scores: Mapping[str, float | None] = field(default_factory=dict)  # the study's metrics
    settings: Mapping[str, Any] = field(default_factory=dict)  # what an arm proposed, dotted
    published: bool = False  # a proposal that was enqueued, not drawn

    @property
    def key(self) -> Key:
        """The job's."""
        return self.variant, self.seed


@dataclass(frozen=True)
class Plan:
    """The jobs known so far, in the order in which they are to run."""

    jobs: tuple[Job, ...]
    later: int = 0  # how many more will be known when these have ended


@dataclass(frozen=True)
class Limit:
    """A budget of the whole study, given when it is begun or resumed."""

    trials: int | None = None  # of each arm, in place of the file's; without arms: runs in all
    workers: int = 1
    closed: bool = False  # the time for searching is over: what has ended must do


NO_LIMIT = Limit()


@dataclass(frozen=True)
class Definition:
    """What a kind is made from: the file, with every system's file that it names in it."""

    tables: Tables  # all but [study]: the configuration that is shared
    systems: Mapping[str, Tables]  # row -> the tables of that system's file
    resolver: Resolver
    where: str  # for messages


class Kind(Protocol):
    """A kind of study."""

    Table: ClassVar[type[StudyTable]]

    def __init__(self, table: Any, definition: Definition) -> None:
        """Check everything that can be checked; InputError names file and key."""
        ...

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT) -> Plan:
        """The jobs that these results call for, those that have ended included."""
        ...

    def arms(self) -> Sequence[Arm]:
        """What searches for settings; none where all are given."""
        ...

    def describe(self) -> str:
        """What is compared, in Markdown, for the study's page."""
        ...

    @staticmethod
    def sections(reading: Reading) -> list[Section]:
        """What the kind's report says beyond the leaderboard, from the store alone."""
        ...
