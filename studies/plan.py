"""What a study is planned with: rows, the runs they need, their results, the plan and its limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from core.config import Config
from studies.adaptive import Contrasts
from studies.space import Arm

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

    A job with an `arm` is a run of a trial: the arm proposes settings on top of the variant's when
    the `first` run of the trial starts. `tested` jobs are also scored on the test split, once, at
    their end.
    """

    variant: Variant
    seed: int
    arm: Arm | None = None
    place: int = 0  # index of a trial in its arm
    first: Done | None = None  # of a trial's further tuning seed: its first run
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
    published: bool = False  # the system's own settings
    run_id: str = ""
    proposal: int = -1  # number of the arm's Optuna trial; -1: none
    runs: int = 1  # of a trial: number of tuning seeds of which the scores are means

    @property
    def key(self) -> Key:
        """The job's key."""
        return self.variant, self.seed


@dataclass(frozen=True)
class Plan:
    """The jobs known so far, in the order in which they run."""

    jobs: tuple[Job, ...]
    later: int = 0  # number of further jobs that become known when these have ended
    # Jobs that follow, with adaptive seeds probably, for workers that find no other.
    ahead: tuple[Job, ...] = ()
    over: tuple[Done, ...] = ()  # trials that get no further tuning seeds, with their mean scores
    # Of adaptive seeds: the contrasts, and the titles of those that are not settled.
    contrasts: Contrasts | None = None
    open: tuple[str, ...] = ()

    @property
    def ready(self) -> list[Job]:
        """The jobs that can run now."""
        return [job for job in self.jobs if job.ready]

    @property
    def must_follow(self) -> int:
        """Number of jobs that cannot run yet."""
        return self.later + len(self.jobs) - len(self.ready)


@dataclass(frozen=True)
class Limit:
    """A budget of the whole study, given when it begins or resumes."""

    trials: int | None = None  # of each arm, instead of the file's; without arms: runs in total
    workers: int = 1
    closed: bool = False  # the time for searching is over: no further trials


NO_LIMIT = Limit()
