"""Reads a study from the store, and makes the sections of its kind."""

from __future__ import annotations

import json

from core.config.renamed import current_tables, current_text
from core.tracking.protocol import Tracker
from studies.kinds import find_kind
from studies.leaderboard import leaderboard
from studies.sections import Reading, Section


def read(tracker: Tracker, study: str) -> Reading:
    """Read a study from the store, under today's names; InputError for an unknown one."""
    board = leaderboard(tracker, study)
    file = tracker.artifact(board.parent_run_id, "study.json")
    given = current_tables(json.loads(file.read_text(encoding="utf-8")))["study"]
    given["question"] = current_text(given.get("question", ""))
    kind = find_kind(given.get("kind", "ablation"))
    return Reading(tracker, board, kind.Table(**{"name": study, **given}))


def sections(reading: Reading) -> list[Section]:
    """Every section of the study's kind; none if no run has ended."""
    return find_kind(reading.table.kind).sections(reading) if reading.board.rows else []
