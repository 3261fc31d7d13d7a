"""The contrasts of a branch study: two choices at a stage, as pairs of forks of one state."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from core.statistics import difference
from studies.analysis.contrasts import Effect, adjusted, judged
from studies.analysis.effects import contrast_section
from studies.leaderboard import statistics
from studies.sections import Reading, Section

SIDES = {0: 1.0, 1: -1.0}  # weights of two rows: the first minus the second


def within_trunks(reading: Reading) -> Iterator[Section]:
    """The contrasts of the study's file, or of every two choices, at each stage; none before two
    choices have a score.
    """
    table: Any = reading.table
    board = reading.board
    cells = {(row.cell.get("stage"), row.cell.get("choice")): row for row in board.rows}
    pairs = [(each.level, each.reference) for each in table.contrasts]
    pairs = pairs or list(itertools.combinations([each.label for each in table.choices], 2))
    found = []
    for stage, pair in itertools.product(map(str, table.stages), pairs):
        ours, theirs = (cells.get((stage, label)) for label in pair)
        if ours is None or theirs is None:
            continue
        trunks = sorted(ours.scores.keys() & theirs.scores.keys())
        both = [
            replace(row, scores={trunk: row.scores[trunk] for trunk in trunks}, failed=frozenset())
            for row in (ours, theirs)
        ]
        if trunks:  # of two rows without the effect of the trunk: Student's test of the pairs
            each = difference(statistics(both, paired=True), SIDES, len(trunks), paired=True)
            found.append(Effect("", ours.variant, theirs.variant, each, each.p, named=True))
    yield from contrast_section(reading, judged(adjusted(found), board), "branches")
