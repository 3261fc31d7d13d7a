"""A study as the store has it, and a section of its report.

A section needs nothing else to become a part of a page (HTML, Markdown, a terminal), whatever the
kind of study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from core.tracking.protocol import RunRecord, Tracker
from studies.leaderboard import Leaderboard, Row
from studies.table import StudyTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Section:
    """One question and its answer."""

    key: str  # short, unique in a report: anchor and file name
    title: str
    reading: str  # how to read it and what it cannot show, in Markdown
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)  # name -> maker
    document: Mapping[str, Any] = field(default_factory=dict)  # the numbers, for JSON
    findings: Sequence[str] = ()  # Markdown sentences for the summary, most important first


@dataclass(frozen=True)
class Reading:
    """A study read from the store."""

    tracker: Tracker
    board: Leaderboard
    table: StudyTable

    @cached_property
    def seeds(self) -> list[RunRecord]:
        """The runs of the variants' seeds, oldest first."""
        return self.tracker.runs(self.board.study, tags={"level": "seed"})

    @cached_property
    def trials(self) -> list[RunRecord]:
        """The runs of searches for settings, oldest first."""
        return self.tracker.runs(self.board.study, tags={"level": "trial"})

    def runs_of(self, row: Row) -> list[RunRecord]:
        """The runs of a row that have a score, oldest first."""
        wanted = set(row.seed_runs.values())
        return [run for run in self.seeds if run.run_id in wanted]
