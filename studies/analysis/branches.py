"""The contrasts of a branch study: two choices at a stage, as pairs of forks of one state."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.statistics import difference
from studies.analysis.contrasts import (
    BETTER,
    EQUIVALENT,
    UNDECIDED,
    WORSE,
    Effect,
    adjusted,
    judged,
)
from studies.analysis.effects import contrast_section
from studies.leaderboard import statistics
from studies.sections import Reading, Section

VERDICTS = (BETTER, EQUIVALENT, WORSE, UNDECIDED)  # in the order of a sentence
SIDES = {0: 1.0, 1: -1.0}  # weights of two rows: the first minus the second


def within_trunks(reading: Reading) -> list[tuple[str, Effect]]:
    """The contrasts of the study's file, or of every two choices, each with its stage; none before
    two choices have a score.
    """
    table: Any = reading.table
    board = reading.board
    cells = {(row.cell.get("stage"), row.cell.get("choice")): row for row in board.rows}
    pairs = [(each.level, each.reference) for each in table.contrasts]
    pairs = pairs or list(itertools.combinations([each.label for each in table.choices], 2))
    found: list[tuple[str, Effect]] = []
    for stage, pair in itertools.product(map(str, table.stages), pairs):
        ours, theirs = (cells.get((stage, label)) for label in pair)
        if ours is None or theirs is None or None in (ours.score, theirs.score):
            continue
        trunks = sorted(ours.scores.keys() & theirs.scores.keys())
        both = [
            replace(row, scores={trunk: row.scores[trunk] for trunk in trunks}, failed=frozenset())
            for row in (ours, theirs)
        ]
        if trunks:  # of two rows without the effect of the trunk: Student's test of the pairs
            each = difference(statistics(both, paired=True), SIDES, len(trunks), paired=True)
            effect = Effect("", ours.variant, theirs.variant, each, each.p, named=True)
            found.append((stage, effect))
    effects = judged(adjusted([effect for _, effect in found]), board)
    return [(stage, each) for (stage, _), each in zip(found, effects, strict=True)]


def branch_sections(reading: Reading) -> Iterator[Section]:
    """The contrasts at each stage, and the choices by their verdict against each reference."""
    found = within_trunks(reading)
    choices = {row.variant: row.cell.get("choice", "") for row in reading.board.rows}
    for section in contrast_section(reading, [each for _, each in found], "branches"):
        yield replace(section, answers=_answers(found, choices))


def _answers(found: Sequence[tuple[str, Effect]], choices: Mapping[str, str]) -> list[str]:
    """For each stage and reference the choices by their verdict against it."""
    said: dict[tuple[str, str], dict[str, list[str]]] = {}
    for stage, each in found:
        verdicts = said.setdefault((stage, choices[each.reference]), {})
        verdicts.setdefault(each.verdict, []).append(f"`{choices[each.level]}`")
    return [
        f"After update {stage}, against `{reference}`: "
        + "; ".join(f"{verdict} {', '.join(by[verdict])}" for verdict in VERDICTS if verdict in by)
        + "."
        for (stage, reference), by in said.items()
    ]
