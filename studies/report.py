"""What a study leaves behind for people: its report, and the variants' aggregates.

The report is a function of the store. Published, it is an artifact of the study's own run, the
variants' runs hold their aggregates, so that the run table of the UI is already the leaderboard,
and descriptions link what belongs together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.errors import InputError
from core.metrics.catalogue import metric_info
from core.tracking.protocol import Columns, Tracker
from studies.analysis.again import again
from studies.analysis.certainty import certainty
from studies.analysis.cost import cost, counted_apart
from studies.analysis.curves import curves
from studies.analysis.failures import failures
from studies.analysis.people import people
from studies.analysis.plane import plane
from studies.analysis.sentences import sentences
from studies.analysis.standing import (
    added_seeds,
    caveats,
    outcomes,
    standing,
    trained_together,
    unfinished,
)
from studies.analysis.wording import count, number, scored
from studies.leaderboard import Leaderboard, Row
from studies.page.report import HTML, Report
from studies.reading import read, sections
from studies.sections import Reading
from studies.table import Budget

RULE = "\n\n---\n\n"  # in a study's description: links above, what was asked below
COLUMNS = ("score", "score_low", "score_high")  # the page sorts others, by name, before them
MANY_FINDINGS = 12


def build(reading: Reading) -> Report:
    """The report: leaderboard, what the kind of study adds, and what every study has."""
    first, own = standing(reading), sections(reading)
    every = (certainty, people, plane, curves, sentences, failures, cost)
    found = [first, *own, *(s for make in every for s in make(reading))]
    found.append(again(reading))
    findings = _each_once([sentence for section in found for sentence in section.findings])
    return Report(
        reading.board.study,
        reading.table.question,
        _facts(reading),
        [
            *unfinished(reading),
            *findings[:MANY_FINDINGS],
            *caveats(reading.board),
            *added_seeds(reading),
            *trained_together(reading),
        ],
        [each for section in (first, *own[:1]) for each in section.findings[:1]],
        found,
    )


def _each_once(findings: Sequence[str]) -> list[str]:
    """Without sentences that an earlier one holds already: two sections may see one contrast."""
    kept: list[str] = []
    for sentence in findings:
        if not any(earlier.startswith(sentence.rstrip(".")) for earlier in kept):
            kept.append(sentence)
    return kept


def write(tracker: Tracker, study: str, folder: Path) -> list[Path]:
    """Write a study's report below `folder`; the files. InputError for an unknown study."""
    return build(read(tracker, study)).write(folder)


def publish(tracker: Tracker, study: str) -> tuple[Leaderboard, str]:
    """Log a study's aggregates and report; the leaderboard and a link to it."""
    reading = read(tracker, study)
    board = reading.board
    axes = sorted({axis for row in board.rows for axis in row.cell})
    columns = Columns(params=tuple(axes), metrics=COLUMNS)
    link = tracker.store_view(study, columns, "score", not board.higher_is_better)
    for rank, row in enumerate(board.rows, start=1):
        _publish_variant(reading, row, rank, link)
    report = build(reading)
    about = tracker.run(board.parent_run_id).tags.get("mlflow.note.content", "")
    parent = tracker.continue_run(board.parent_run_id)
    with tempfile.TemporaryDirectory() as folder:
        report.write(Path(folder))
        parent.log_files(Path(folder))
    pages = {
        "Report": tracker.link(study, board.parent_run_id, HTML),
        "leaderboard": link,
        "sentences of all runs side by side": tracker.sentences_link(
            study, board.metric, not board.higher_is_better
        ),
    }
    links = " · ".join(f"[{words}]({to})" for words, to in pages.items())
    said = "\n".join(f"- {sentence}" for sentence in report.findings)
    parent.describe(f"{links}\n\n{said}{RULE}{about.rpartition(RULE)[2]}")
    parent.finish("ok")
    return board, link


def register(tracker: Tracker, board: Leaderboard, name: str) -> tuple[str, str]:
    """Register the winner's model, of its best seed; the run and the version.

    InputError where no run of the best variant ended well.
    """
    runs = {run.run_id: run for run in tracker.runs(board.study, tags={"level": "seed"})}
    good = [
        (row.scores[seed], seed, run_id)
        for row in board.rows[:1]
        for seed, run_id in row.seed_runs.items()
        if runs[run_id].outcome == "ok"
    ]
    if not good:
        raise InputError(f"study {board.study!r}: no run of its best variant ended well")
    best = board.rows[0]
    score, seed, run_id = (max if board.higher_is_better else min)(good, key=lambda each: each[0])
    words = (
        f"`{best.variant}`, the best of {count(len(board.rows), 'variant')} of study "
        f"{board.study}: {scored(best)} on `{board.metric}` "
        f"over {count(best.seeds, 'seed')}. These are the weights of seed {seed}, its best, with "
        f"{number(score)}: expect the variant's score, not this one."
    )
    tags = {"study": board.study, "variant": best.variant, "seed": str(seed)}
    return run_id, tracker.register(run_id, name, words, tags)


def _publish_variant(reading: Reading, row: Row, rank: int, leaderboard: str) -> None:
    tracker, board = reading.tracker, reading.board
    record = tracker.continue_run(row.run_id)
    bounds = dict(zip(COLUMNS[1:], row.interval or (), strict=False))  # one run has none
    metrics = {COLUMNS[0]: row.score, **bounds}
    # More runs, a later point: what a run has at a step stays.
    ended = sum(each.seeds for each in board.rows)
    record.log_metrics({**metrics, **_means(reading, row)}, ended)
    record.set_tags({"outcomes": outcomes(row), "rank": f"{rank:03d}"})
    seeds = " · ".join(
        f"[seed {seed}]({tracker.link(board.study, run)})" for seed, run in row.seed_runs.items()
    )
    report = tracker.link(board.study, board.parent_run_id, HTML)
    record.describe(
        f"Number {rank} of {count(len(board.rows), 'variant')} on `{board.metric}`: "
        f"{scored(row)} over {count(row.seeds, 'seed')} "
        f"({outcomes(row)}).\n\n[Report]({report}) · [leaderboard]({leaderboard}) · {seeds}"
    )
    record.finish("ok")


def _facts(reading: Reading) -> Mapping[str, str]:
    board, table = reading.board, reading.table
    info = metric_info(board.metric)
    runs = f"{count(len(board.rows), 'variant')}, {count(board.runs, 'run')}"
    trials = len(reading.trials())
    return {
        "kind": table.kind,
        "runs": f"{runs} and {count(trials, 'trial')}" if trials else runs,
        "score": f"{board.metric}, {info.direction} is better: {info.summary}",
        **({"budget": _budget(reading, table.budget)} if table.budget else {}),
        "data": ", ".join(sorted({r.params["corpus.source"] for r in reading.seeds
                                  if "corpus.source" in r.params})) or "unknown",
    }  # fmt: skip


def _budget(reading: Reading, budget: Budget) -> str:
    timed = budget.seconds is not None or budget.cpu_seconds is not None
    older = timed and not counted_apart(reading.seeds)
    return f"{budget.words} a run" + (", evaluations in them" if older else "")


def _means(reading: Reading, row: Row) -> dict[str, float]:
    """Mean over seeds of every last evaluation metric of a variant."""
    wanted = set(row.seed_runs.values())
    values: dict[str, list[float]] = {}
    for run in reading.seeds:
        for key, value in run.metrics.items() if run.run_id in wanted else ():
            if key.startswith("eval/"):
                values.setdefault(key, []).append(value)
    return {key: sum(found) / len(found) for key, found in values.items()}
