"""A study as the store has it, and a section of its report.

A section needs nothing else to become a part of a page (HTML, Markdown, a terminal), whatever the
kind of study.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.tracking.protocol import RunRecord, Tracker
from studies.leaderboard import Leaderboard, Row
from studies.table import StudyTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


TEXTS: Mapping[str, Mapping[str, str]] = tomllib.loads(
    (Path(__file__).parent / "templates" / "sections.toml").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Section:
    """One question and its answer. Title and explanation are in `templates/sections.toml`."""

    key: str  # short, unique in a report: anchor and file name
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)  # name -> maker
    findings: Sequence[str] = ()  # Markdown sentences for the summary, most important first
    values: Mapping[str, Any] = field(default_factory=dict)  # of the placeholders in the texts

    @property
    def title(self) -> str:
        """A few words."""
        return TEXTS[self.key]["title"].format(**self.values)

    @property
    def explanation(self) -> str:
        """How to read it and what it cannot show, in Markdown."""
        return TEXTS[self.key]["explanation"].format(**self.values)


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
