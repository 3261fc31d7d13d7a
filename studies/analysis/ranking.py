"""The leaderboard of a study and the conclusions from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.metrics.catalogue import FLOORS, GROUPS, LIKELIHOOD, metric_info
from core.metrics.signature import Signature
from core.plural import count
from core.statistics import holm
from core.tracking.protocol import NONE, WORST
from studies.analysis.contrasts import LEVEL, apart, pairing
from studies.figures import BLUE, GREY, ORANGE, forest
from studies.leaderboard import HIGH, Leaderboard, Row
from studies.sections import TEXTS, Reading, Section, between, contrast, names, number, scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOARD_COLUMNS = ["", "variant", "score", "95% interval", "seeds", "outcomes"]
FURTHER = ("eval/valid", "eval/bleu_4", "eval/self_bleu_4", "eval/unique")
TITLES = {"real": "real held-out text", LIKELIHOOD: "mle_tuned, stopped early"}  # others: models
EVERY_DOT = 8  # seeds from which on intervals are reliable
FAR = 1.5  # the scale of a figure includes real text within so many spans of the data


def ranking(reading: Reading) -> Section:
    """Every variant with its interval, then real text, the language model and the n-gram floors."""
    board = reading.board
    further = [
        key for key in FURTHER
        if key != board.metric and any(key in run.metrics for run in reading.seeds)
    ]  # fmt: skip
    rows = [
        [*cells, *(_mean(reading, key, row) for key in further)]
        for cells, row in zip(board_cells(board), board.rows, strict=True)
    ]
    for text, cells in baseline_cells(board).items():
        rows.append(
            [*cells, *(_mean(reading, key.replace("eval/", f"{text}/")) for key in further)]
        )
    on_test = board.metric.startswith("test/")
    split = "test split, evaluated once, at the end" if on_test else "last evaluation"
    return Section(
        "leaderboard",
        [*board_columns(board), *(key.partition("/")[2] for key in further)],
        rows,
        {"leaderboard": lambda: leaderboard_figure(board)},
        findings=findings(board),
        values={
            "split": split,
            "signature": signature(board),
            "ladder": "".join(_on_ladder(board, TEXTS["leaderboard"]["ladder"])),
        },
    )


def board_columns(board: Leaderboard) -> list[str]:
    """BOARD_COLUMNS, and the ladder if the study has n-gram floors."""
    return [*BOARD_COLUMNS, *_on_ladder(board, "ladder")]


def board_cells(board: Leaderboard) -> list[list[str]]:
    """A row of `board_columns` for each variant."""
    return [
        [str(rank), row.variant, f"{row.score:.4f}", between(row.interval), str(row.seeds),
         outcomes(row), *_on_ladder(board, row.ladder or "-")]
        for rank, row in enumerate(board.rows, start=1)
    ]  # fmt: skip


def signature(board: Leaderboard) -> str:
    """How the scores were computed, as a further sentence; empty for runs of older versions."""
    return f" Signature of the scores: `{board.signature}`." if board.signature else ""


def baseline_cells(board: Leaderboard) -> dict[str, list[str]]:
    """A row of `board_columns` for real text and each baseline, by the text's name."""
    rows = {}
    for text, value in board.baselines.items():
        copied = board.copied.get(text) or 0.0
        note = f"copies {copied:.0%}" if text in FLOORS and copied >= HIGH else ""
        if value is not None:
            title = TITLES.get(text, f"{text} model")
            rows[text] = ["", title, f"{value:.4f}", "", "", "", *_on_ladder(board, note)]
    return rows


def _on_ladder(board: Leaderboard, cell: str) -> list[str]:
    """The cell of the ladder's column, which only a study with n-gram floors has."""
    return [cell] if any(board.baselines.get(floor) is not None for floor in FLOORS) else []


def findings(board: Leaderboard) -> list[str]:
    """The conclusions that the leaderboard supports."""
    if not board.rows:
        return ["No run has ended: there is nothing to conclude."]
    best, *others = board.rows
    real = board.baselines.get("real")
    place = "highest" if board.higher_is_better else "lowest (best)"
    subject = f"`{best.variant}` has the {place} score" if others else f"Score of `{best.variant}`"
    said = [
        f"{subject} on `{board.metric}`: {scored(best)} (n = {count(best.seeds, 'seed')})"
        f"{'' if real is None else f'; real held-out text: {number(real)}'}."
    ]
    if best.seeds == 1:
        said.append(
            "One seed per variant: the order of the variants is not a result."
            if others
            else "One seed: the variation between seeds is unknown."
        )
    elif others:
        said += _against(best, others, board)
    return said


def unfinished(reading: Reading) -> Iterator[str]:
    """How many of the planned runs have a result, if not all."""
    board = reading.board
    variants = reading.tracker.runs(board.study, tags={"level": "variant"}, columns=NONE)
    planned = len(variants) * len(reading.table.seed_list())
    ended = sum(row.seeds for row in board.rows)
    if 0 < ended < planned:
        yield f"{ended} of {planned} planned runs have a result so far; conclusions may change."


def caveats(reading: Reading) -> Iterator[str]:
    """What limits every finding of this study."""
    yield from broken(reading.board)
    for variant, other in reading.board.other_signatures.items():
        size_dependent = GROUPS[metric_info(reading.board.metric).group].size_dependent
        ours = Signature.parse(reading.board.signature or "")
        why = ours.differences(Signature.parse(other), size_dependent=size_dependent)
        if why:
            yield (
                f"The score of `{variant}` cannot be compared with the others: its signature "
                f"differs in {', '.join(why)}."
            )
    added = reading.tracker.run(reading.board.parent_run_id).tags.get("seeds_added")
    if added is not None:
        yield (
            f"Seeds were added after runs had ended ({added}): if they were added because of the "
            f"results, p is too small."
        )
    together = sum("stacked" in run.tags for run in reading.seeds)
    if together:
        yield (
            f"{together} of {count(len(reading.seeds), 'run')} were trained together by an older "
            f"version (--stack-seeds): their seconds and updates per second are those of the group."
        )


def outcomes(row: Row) -> str:
    """`4 ok, 1 collapsed`."""
    return ", ".join(f"{n} {outcome}" for outcome, n in sorted(row.outcomes.items()))


def _against(best: Row, others: Sequence[Row], board: Leaderboard) -> list[str]:
    """The best variant against each other one."""
    paired = pairing(board)[1]
    compared = {
        row.variant: known
        for row in others
        if (known := apart(board, best.variant, row.variant, paired=paired))
    }
    if not compared:
        return ["No two variants have two seeds each: they cannot be compared."]
    if len(compared) == 1:
        ((other, (found, size)),) = compared.items()
        return [contrast(best.variant, other, found, higher_is_better=board.higher_is_better,
                         detectable=size)]  # fmt: skip
    clear = [other for other, (found, _) in compared.items() if found.p <= LEVEL]
    unclear = [other for other in compared if other not in clear]
    said = []
    if clear:
        its = f"{'each' if len(clear) > 1 else 'the'} {'paired' if paired else 'unpaired'}"
        said.append(f"It is better than {names(clear)}: {its} 95% interval excludes zero.")
    if unclear:
        sizes = [size for other in unclear if (size := compared[other][1]) is not None]
        tail = f"; minimum detectable difference {number(max(sizes))}" if sizes else ""
        seeds = count(best.seeds, "seed")
        said.append(f"No significant difference from {names(unclear)} (n = {seeds}){tail}.")
    sure = sum(p <= LEVEL for p in holm([found.p for found, _ in compared.values()]))
    said.append(
        f"The winner was picked after seeing the scores: after Holm's adjustment over its "
        f"{count(len(compared), 'comparison')}, {sure or 'none'} "
        f"{'is' if sure == 1 else 'are'} significant at 5%. To confirm it, run it again with new "
        f"seeds."
    )
    return said


def broken(board: Leaderboard) -> Iterator[str]:
    """Runs without a good end, and how far to trust intervals of few seeds."""
    if not board.rows:
        return
    total = sum(row.seeds for row in board.rows)
    worst = {outcome: sum(row.outcomes.get(outcome, 0) for row in board.rows) for outcome in WORST}
    if any(worst.values()):
        words = " and ".join(f"{n} {outcome}" for outcome, n in worst.items() if n)
        yield (
            f"Of {count(total, 'run')}, {words}: scored as failed runs (worst score); listed below."
        )
    if board.failed:
        yield f"{count(board.failed, 'run')} failed with an error: no score; listed below."
    if board.rows[0].seeds > 1 and any(row.seeds < EVERY_DOT for row in board.rows):
        yield (
            f"Fewer than {EVERY_DOT} seeds per variant: the intervals are rough, so the figures "
            f"show every run as a dot."
        )


def _mean(reading: Reading, key: str, row: Row | None = None) -> str:
    """Mean of a metric over the runs of a row, or over all runs."""
    runs = reading.seeds if row is None else reading.runs_of(row)
    values = [run.metrics[key] for run in runs if key in run.metrics]
    return f"{np.mean(values):.3f}" if values else "-"


def leaderboard_figure(board: Leaderboard) -> Figure:
    """The score with its interval, every seed a dot, best on top, real text as a line."""
    drawing, axis = forest(
        [row.variant for row in board.rows],
        [row.score for row in board.rows],
        [row.interval for row in board.rows],
        [BLUE] * len(board.rows),
    )
    for y, row in enumerate(board.rows[::-1]):
        dots = list(row.scores.values())
        axis.plot(dots, [y - 0.24] * len(dots), "o", color=GREY, ms=4, mew=0)
    real = board.baselines.get("real")
    if real is not None:
        _real_text(axis, real)
    direction = "higher" if board.higher_is_better else "lower"
    axis.set_xlabel(f"{board.metric} ({direction} is better)")
    return drawing


def is_near(real: float, low: float, high: float) -> bool:
    """Whether a scale from `low` to `high` can include real text without flattening the rest."""
    reach = FAR * max(high - low, 1e-12)
    return low - reach <= real <= high + reach


def _real_text(axis: Axes, real: float) -> None:
    """Real text as a dashed line, or a note at the edge if it is far from the data."""
    low, high = axis.dataLim.intervalx
    text = f"real text: {real:.3g}, {'above' if real > high else 'below'} this scale"
    if is_near(real, low, high):
        axis.axvline(real, color=ORANGE, ls="--", lw=1.2)
        text = "real text"
    axis.annotate(text, (1, 1), (0, 2), "axes fraction", "offset points", color=ORANGE,
                  fontsize=8.5, ha="right", va="bottom")  # fmt: skip
