"""The leaderboard of a study and the conclusions from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from core.metrics.catalogue import FLOORS, GROUPS, LIKELIHOOD, metric_info
from core.metrics.signature import Signature
from core.plural import count
from core.tracking.protocol import NONE, WORST
from studies.analysis.contrasts import (
    EQUIVALENT,
    UNDECIDED,
    WORSE,
    Effect,
    against_first,
    row_pairs,
)
from studies.analysis.effects import conclusion
from studies.figures import BLUE, EVERY_RUN, GREY, ORANGE, forest
from studies.leaderboard import HIGH, Leaderboard, Row
from studies.sections import (
    TEXTS,
    Reading,
    Section,
    between,
    names,
    number,
    scored,
    why_no_interval,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOARD_COLUMNS = ["", "variant", "score", "95% interval", "failed", "score without failures",
                 "seeds", "outcomes", "against the first"]  # fmt: skip
FURTHER = ("valid", "bleu_4", "self_bleu_4", "unique")
TITLES = {"real": "real held-out text", LIKELIHOOD: "mle_tuned, stopped early"}  # others: models
FAR = 1.5  # the scale of a figure includes real text within so many spans of the data


def ranking(reading: Reading) -> Section:
    """Every variant with its interval, then real text, the language model and the n-gram floors."""
    board, rule = reading.board, reading.table.selection[0]
    split, _, ranks = board.metric.partition("/")
    further = [
        name for name in FURTHER
        if name != ranks and any(f"{split}/{name}" in run.metrics for run in reading.seeds)
    ]  # fmt: skip
    rows = [
        [*cells, *(_mean(reading, f"{split}/{name}", row) for name in further)]
        for cells, row in zip(board_cells(board), board.rows, strict=True)
    ]
    for text, cells in baseline_cells(board).items():
        rows.append([*cells, *(_mean(reading, f"{text}/{name}") for name in further)])
    on_test = split.startswith("test")
    where = "test split, evaluated once, at the end" if on_test else "last evaluation"
    where += "" if rule == "last" else f" of the checkpoint `{rule}`"
    return Section(
        "leaderboard",
        [*board_columns(board), *further],
        rows,
        {"leaderboard": lambda: leaderboard_figure(board)},
        findings=findings(board),
        values={
            "split": where,
            "signature": signature(board),
            "ladder": "".join(_on_ladder(board, TEXTS["leaderboard"]["ladder"])),
        },
    )


def board_columns(board: Leaderboard) -> list[str]:
    """BOARD_COLUMNS, and the ladder if the study has n-gram floors."""
    return [*BOARD_COLUMNS, *_on_ladder(board, "ladder")]


def board_cells(board: Leaderboard) -> list[list[str]]:
    """A row of `board_columns` for each variant."""
    verdicts = {name: effect.shown for name, effect in against_first(board).items()}
    return [
        [str(rank) if board.ranked else "", row.variant,
         "-" if row.score is None else f"{row.score:.4f}",
         between(row.interval, why=why_no_interval(row)), failed(row), survivors(row),
         str(row.seeds), outcomes(row), verdicts.get(row.variant, ""),
         *_on_ladder(board, row.ladder or "-")]
        for rank, row in enumerate(board.rows, start=1)
    ]  # fmt: skip


def failed(row: Row) -> str:
    """`1 of 5`, and the interval of the failure rate."""
    rate = row.failure_rate
    shown = "" if rate is None else f" ({rate.low:.0%} to {rate.high:.0%})"
    return f"{len(row.failed)} of {row.seeds}{shown}"


def survivors(row: Row) -> str:
    """The score of the runs that did not fail, and its interval."""
    if row.survivors is None:
        return "-"
    ends = row.survivors_interval
    return f"{row.survivors:.4f}" + (f" ({between(ends)})" if ends else "")


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
            blank = [""] * (len(BOARD_COLUMNS) - 3)
            rows[text] = ["", title, f"{value:.4f}", *blank, *_on_ladder(board, note)]
    return rows


def _on_ladder(board: Leaderboard, cell: str) -> list[str]:
    """The cell of the ladder's column, which only a study with n-gram floors has."""
    return [cell] if any(board.baselines.get(floor) is not None for floor in FLOORS) else []


def findings(board: Leaderboard) -> list[str]:
    """The conclusions that the leaderboard supports."""
    if not board.rows:
        return ["No run has a result: there is nothing to conclude."]
    if not board.ranked:
        return [
            f"`{board.metric}` has no worst value for runs without samples, so it cannot rank a "
            f"study in which runs failed. Compare failure rates and scores without failures."
        ]
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
        said += _against(best, board)
    return said


def unfinished(reading: Reading) -> Iterator[str]:
    """How many of the planned runs have a result, if not all. With adaptive seeds their number is
    not known; the contrasts say what is open.
    """
    board = reading.board
    if board.looks:
        return
    variants = reading.tracker.runs(board.study, tags={"level": "variant"}, columns=NONE)
    planned = len(variants) * len(reading.table.seed_list())
    ended = sum(row.seeds for row in board.rows)
    if 0 < ended < planned:
        yield f"{ended} of {planned} planned runs have a result so far; conclusions may change."


def under_way(reading: Reading) -> str:
    """How far a study that has not ended has come; empty if it has ended."""
    parent, board = reading.parent, reading.board
    if parent.status == "FINISHED":
        return ""
    counted, planned = (parent.metrics.get(f"study/runs_{state}") for state in ("ended", "planned"))
    if counted is None or planned is None:
        return "the study has not ended"
    found = sum(len(row.seed_runs) for row in board.rows) + board.failed  # may be more by now
    return f"{max(int(counted), found)} of {count(int(planned), 'run')} have ended"


def caveats(reading: Reading) -> Iterator[str]:
    """What limits every finding of this study."""
    yield from caveats_of_runs(reading.board)
    for variant, other in reading.board.other_signatures.items():
        size_dependent = GROUPS[metric_info(reading.board.metric).group].size_dependent
        ours = Signature.parse(reading.board.signature or "")
        why = ours.differences(Signature.parse(other), size_dependent=size_dependent)
        if why:
            yield (
                f"The score of `{variant}` cannot be compared with the others: its signature "
                f"differs in {', '.join(why)}."
            )
    added = reading.parent.tags.get("seeds_added")
    if added is not None:
        yield (
            f"Seeds were added after runs had ended ({added}): if they were added because of the "
            f"results, p is too small."
        )
    rows = reading.parent.tags.get("rows_added")
    if rows is not None:
        yield (
            f"Rows were added after runs had ended (`{rows}`): if they were chosen because of the "
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


def _against(best: Row, board: Leaderboard) -> list[str]:
    """The best variant against each other one."""
    compared = {
        name: effect
        for name, effect in against_first(board).items()
        if math.isfinite(effect.difference.low)
    }
    if not compared:
        return ["No two variants have two runs each that can be compared."]
    if len(compared) == 1:
        (other,) = compared
        pairs, pair = row_pairs(board), (best.variant, other)
        effect = next(each for each in pairs if (each.level, each.reference) == pair)
        return [conclusion(effect, pairs, higher_is_better=board.higher_is_better)]
    said = []
    if worse := [name for name, effect in compared.items() if effect.verdict == WORSE]:
        said.append(f"It is better than {names(worse)}.")
    said += equivalent(board)
    unclear = [name for name, effect in compared.items() if effect.verdict == UNDECIDED]
    failed_all = {row.variant for row in board.rows if len(row.failed) == row.seeds}
    if lost := [name for name in unclear if name in failed_all]:
        said.append(f"All runs of {names(lost)} failed, so there is no interval and no verdict.")
    if unclear := [name for name in unclear if name not in failed_all]:
        said.append(_undecided({name: compared[name] for name in unclear}, board))
    return [*said, why_adjusted(board)]


def _undecided(effects: Mapping[str, Effect], board: Leaderboard) -> str:
    """The rows that do not differ significantly from the first, and those of them that would
    without the adjustment.
    """
    n = {row.seeds for row in board.rows if row.variant in {*effects, board.rows[0].variant}}
    seeds = count(max(n), "seed") if len(n) == 1 else f"{min(n)} to {count(max(n), 'seed')}"
    clear = [name for name, effect in effects.items() if effect.clear]
    said = f"No significant difference from {names([*effects])} (n = {seeds})."
    if not clear:
        return said
    differs = "differs" if len(clear) == 1 else "differ"
    return f"{said} Without the adjustment for all pairs, {names(clear)} {differs} significantly."


def why_adjusted(board: Leaderboard) -> str:
    """Why the verdicts against the first row are adjusted."""
    return (
        f"The winner was picked after seeing the scores, so these verdicts are adjusted for all "
        f"pairs of {count(len(board.rows), 'row')}. To confirm it, run it again with new seeds."
    )


def equivalent(board: Leaderboard) -> list[str]:
    """Which rows are equivalent to the first, if there are any."""
    which = [name for name, each in against_first(board).items() if each.verdict == EQUIVALENT]
    if not which:
        return []
    margin = number(board.margin or 0.0)
    return [f"`{board.rows[0].variant}` is equivalent to {names(which)} (margin {margin})."]


def caveats_of_runs(board: Leaderboard) -> Iterator[str]:
    """Runs without a good end, and how far to trust intervals of few seeds."""
    if not board.rows:
        return
    total = sum(sum(row.outcomes.values()) for row in board.rows)
    worst = {outcome: sum(row.outcomes.get(outcome, 0) for row in board.rows) for outcome in WORST}
    if any(worst.values()):
        words = " and ".join(f"{n} {outcome}" for outcome, n in worst.items() if n)
        yield (
            f"Of {count(total, 'run')}, {words}. They keep their own score; a run without one gets "
            f"the metric's worst value. They are listed below."
        )
    for same in _same_scores(board):
        yield (
            f"{names(same)} have the same score in every run: they may be one model, such as a "
            f"checkpoint of the same pretraining."
        )
    if board.failed:
        yield f"{count(board.failed, 'run')} ended with an error: no score; listed below."
    if board.rows[0].seeds > 1 and any(row.seeds < EVERY_RUN for row in board.rows):
        yield (
            f"Fewer than {EVERY_RUN} seeds per variant: the intervals are rough, so the figures "
            f"show every run as a dot."
        )


def _same_scores(board: Leaderboard) -> list[list[str]]:
    """The rows whose runs that did not fail have equal scores for every seed."""
    found: dict[tuple[tuple[int, float], ...], list[str]] = {}
    for row in board.rows:
        if row.scores and not row.failed:
            found.setdefault(tuple(sorted(row.scores.items())), []).append(row.variant)
    return [each for each in found.values() if len(each) > 1]


def _mean(reading: Reading, key: str, row: Row | None = None) -> str:
    """Mean of a metric over the runs of a row, or over all runs."""
    runs = reading.seeds if row is None else reading.runs_of(row)
    values = [run.metrics[key] for run in runs if key in run.metrics]
    return f"{np.mean(values):.3f}" if values else "-"


def leaderboard_figure(board: Leaderboard) -> Figure:
    """The score with its interval (thin) and that of the runs that did not fail (thick), every run
    a dot, failed ones a cross, best on top, real text as a line.
    """
    drawing, axis = forest(
        [row.variant for row in board.rows],
        [math.nan if row.score is None else row.score for row in board.rows],
        [row.survivors_interval for row in board.rows],
        [BLUE] * len(board.rows),
    )
    for y, row in enumerate(board.rows[::-1]):
        if row.interval is not None:
            axis.plot(row.interval, [y, y], color=BLUE, lw=0.8, label="95% interval")
        for seed, score in row.scores.items():
            mark, run = ("x", "failed run") if seed in row.failed else ("o", "run")
            axis.plot(score, y - 0.24, mark, color=GREY, ms=4, mew=mark == "x", label=run)
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
