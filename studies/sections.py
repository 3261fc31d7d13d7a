"""A section of a study's report: what it asks, how to read the answer, numbers and figures.

Whoever writes a page (HTML, Markdown, a terminal) needs nothing else, whatever the kind of study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from core.tracking.protocol import RunRecord, Tracker
from studies.leaderboard import Leaderboard
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
    findings: Sequence[str] = ()  # Markdown sentences for the report's summary, most telling first


@dataclass(frozen=True)
class Reading:
    """A study as the store has it."""

    tracker: Tracker
    board: Leaderboard
    table: StudyTable

    @cached_property
    def seeds(self) -> list[RunRecord]:
        """The runs of the variants' seeds, oldest first."""
        return self.tracker.runs(self.board.study, tags={"level": "seed"})

    def trials(self) -> list[RunRecord]:
        """The runs that searched for settings, oldest first."""
        return self.tracker.runs(self.board.study, tags={"level": "trial"})
