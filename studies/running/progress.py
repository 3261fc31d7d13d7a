"""How far a study has come: read from its queue, shown while it runs, logged to its run."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from studies.running import queue as jobs
from studies.table import StudyTable


@dataclass(frozen=True)
class Progress:
    """Jobs of a study by state; what is best so far, and how long the rest may take."""

    done: int
    failed: int
    running: int
    waiting: int
    later: int = 0  # jobs that will be known later
    best: float | None = None
    best_variant: str = ""
    seconds: float | None = None  # of a run, typically

    @property
    def total(self) -> int:
        """All jobs."""
        return self.done + self.failed + self.running + self.waiting + self.later

    def seconds_left(self, workers: int) -> float | None:
        """Time for what is not done, with so many workers; None while nothing is known."""
        left = self.running / 2 + self.waiting + self.later  # half of a running one is over
        return None if self.seconds is None else left * self.seconds / max(1, workers)


def progress(queue: optuna.Study, table: StudyTable) -> Progress:
    """How far the queue has come, each job once."""
    latest = list(jobs.latest(queue).values())
    states = [trial.state for trial in latest]
    ended = [t for t in latest if t.state == TrialState.COMPLETE and t.value is not None]
    finite = [t for t in ended if abs(t.value or 0.0) < float("inf")]
    pick = max if table.higher_is_better else min
    best = pick(finite, key=lambda t: t.value or 0.0) if finite else None
    return Progress(
        states.count(TrialState.COMPLETE),
        states.count(TrialState.FAIL),
        states.count(TrialState.RUNNING),
        states.count(TrialState.WAITING),
        jobs.later(queue),
        best.value if best else None,
        best.user_attrs["variant"] if best else "",
        typical_seconds(ended),
    )


def typical_seconds(ended: list[FrozenTrial]) -> float | None:
    """Median time of a run; None when none has ended."""
    known = [t.duration.total_seconds() for t in ended if t.duration is not None]
    return statistics.median(known) if known else None
