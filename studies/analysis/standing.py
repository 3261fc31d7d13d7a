"""The leaderboard of a study, and what it lets one conclude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.statistics import Difference, detectable_difference, holm
from core.tracking.protocol import NONE, WORST
from studies.analysis.wording import between, contrast, count, names, number, scored
from studies.effects import LEVEL, apart, pairing
from studies.figures import leaderboard_figure
from studies.leaderboard import Leaderboard, Row
from studies.sections import Reading, Section

BESIDE = ("eval/valid", "eval/bleu_4", "eval/self_bleu_4", "eval/unique")
EVERY_DOT = 8  # seeds below which no box or bar stands for them
READING = (
    "The score of a variant is the interquartile mean over its seeds (the mean below four) of the "
    "{split}, with its 95% bootstrap interval over the seeds. Diverged and collapsed runs "
    "count as the worst score of the study. In the figure a grey dot is a run. Other columns are "
    "means over seeds. An order of rows is no finding: two rows differ when the sentences above "
    "say so."
)


def standing(reading: Reading) -> Section:
    """Every variant with its interval, real text below."""
    board = reading.board
    beside = [key for key in BESIDE if key != board.metric and _known(reading, key)]
    rows = [
        [str(rank), row.variant, f"{row.score:.4f}", between(row.interval),
         str(row.seeds), outcomes(row), *(_mean(reading, row, key) for key in beside)]
        for rank, row in enumerate(board.rows, start=1)
    ]  # fmt: skip
    real = board.baselines.get("real")
    if real is not None:
        rows.append(["", "real held-out text", f"{real:.4f}", "", "", "",
                     *(_real(reading, key) for key in beside)])  # fmt: skip
    columns = ["", "variant", "score", "95% interval", "seeds", "outcomes"]
    return Section(
        "leaderboard",
        "Leaderboard",
        READING.format(split=_split(board.metric)),
        [*columns, *(key.partition("/")[2] for key in beside)],
        rows,
        {"leaderboard": lambda: leaderboard_figure(board)},
        findings=findings(board),
    )


def _split(metric: str) -> str:
    if metric.startswith("test/"):
        return "test split, looked at once, at the end"
    return "last evaluation"


def findings(board: Leaderboard) -> list[str]:
    """What the leaderboard lets one say, and what not."""
    if not board.rows:
        return ["No run has ended: nothing can be concluded."]
    best, *others = board.rows
    place = ("highest " if board.higher_is_better else "lowest, which is best, ") if others else ""
    real = board.baselines.get("real")
    beside = "" if real is None else f"; real held-out text scores {number(real)}"
    said = [
        f"`{best.variant}` scores {place}on `{board.metric}`: "
        f"{scored(best)} over {count(best.seeds, 'seed')}{beside}."
    ]
    if best.seeds == 1:
        said.append(
            "With one seed a variant nothing is known of chance: no order here is a result."
            if others
            else "One seed: nothing is known of chance."
        )
    elif others:
        said += _against(best, others, board)
    return said


def unfinished(reading: Reading) -> list[str]:
    """How much of what was planned has a result, where that is not all of it."""
    board = reading.board
    variants = reading.tracker.runs(board.study, tags={"level": "variant"}, columns=NONE)
    planned = len(variants) * len(reading.table.seed_list())
    ended = sum(row.seeds for row in board.rows)
    if not 0 < ended < planned:
        return []
    return [
        f"So far {ended} of {planned} planned runs gave a result: what follows may change with the "
        f"others."
    ]


def caveats(board: Leaderboard) -> list[str]:
    """What to keep in mind with any finding of this study."""
    return _broken(board) if board.rows else []


def added_seeds(reading: Reading) -> list[str]:
    """Whether the number of seeds was decided beforehand."""
    parent = reading.tracker.run(reading.board.parent_run_id)
    added = parent.tags.get("seeds_added")
    if added is None:
        return []
    return [
        f"Seeds were added after runs had ended ({added}): if the results called for them, p is "
        f"smaller than it should be."
    ]


def trained_together(reading: Reading) -> list[str]:
    """Whether stored runs were trained as one program, which changed their clocks."""
    stacked = [run for run in reading.seeds if "stacked" in run.tags]
    if not stacked:
        return []
    return [
        f"{len(stacked)} of {count(len(reading.seeds), 'run')} were trained together by an older "
        f"version (--stack-seeds): their seconds and updates per second are those of the group."
    ]


def outcomes(row: Row) -> str:
    """`4 ok, 1 collapsed`."""
    return ", ".join(f"{n} {outcome}" for outcome, n in sorted(row.outcomes.items()))


@dataclass(frozen=True)
class _Compared:
    """The best variant against another."""

    other: str
    found: Difference
    invisible: float | None


def _against(best: Row, others: Sequence[Row], board: Leaderboard) -> list[str]:
    """The best variant against each other one."""
    paired = pairing(board)[1]
    compared = [c for row in others if (c := _compare(board, row, paired)) is not None]
    if not compared:
        return ["No two variants have two seeds each: they cannot be compared."]
    if len(compared) == 1:
        found = compared[0].found
        return [contrast(best.variant, compared[0].other, found.value, found.low, found.high,
                         found.pairs, higher_is_better=board.higher_is_better,
                         invisible=compared[0].invisible,
                         unit="pair" if paired else "pair of runs")]  # fmt: skip
    unclear = [c for c in compared if c.found.p > LEVEL]
    clear = [c.other for c in compared if c not in unclear]
    how = "paired" if paired else "unpaired"
    said = []
    if clear:
        its = f"each {how}" if len(clear) > 1 else f"the {how}"
        said.append(f"It is ahead of {names(clear)}: {its} 95% interval is clear of zero.")
    if unclear:
        sizes = [c.invisible for c in unclear if c.invisible is not None]
        tail = f"; true differences below {number(max(sizes))} are invisible" if sizes else ""
        said.append(
            f"It cannot be told apart from {names([c.other for c in unclear])} with "
            f"{count(best.seeds, 'seed')}{tail}."
        )
    sure = sum(p <= LEVEL for p in holm([c.found.p for c in compared]))
    said.append(
        f"Which variant is best was seen before it was compared: after Holm's adjustment over its "
        f"{count(len(compared), 'comparison')}, {sure or 'none'} "
        f"{'is' if sure == 1 else 'are'} significant at 5%. To be sure of it, run it again "
        f"with fresh seeds."
    )
    return said


def _compare(board: Leaderboard, row: Row, paired: bool) -> _Compared | None:
    best = board.rows[0]
    found = apart(board, best.variant, row.variant, paired=paired)
    if found is None or found.pairs < 2:
        return None
    seeds = sorted(set(best.scores) & set(row.scores)) if found.paired else []
    ours = [best.scores[s] for s in seeds] if seeds else list(best.scores.values())
    theirs = [row.scores[s] for s in seeds] if seeds else list(row.scores.values())
    return _Compared(row.variant, found, invisible(ours, theirs, paired=found.paired))


def invisible(ours: Sequence[float], theirs: Sequence[float], *, paired: bool) -> float | None:
    """The true difference that so many seeds find four times in five; None without a spread."""
    if paired:
        spread = float(np.std(np.subtract(ours, theirs), ddof=1))
    else:
        spread = float(np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / 2))
    size = detectable_difference(spread, min(len(ours), len(theirs)), paired=paired)
    return size if 0 < size < math.inf else None


def _broken(board: Leaderboard) -> list[str]:
    total = sum(row.seeds for row in board.rows)
    worst = {outcome: sum(row.outcomes.get(outcome, 0) for row in board.rows) for outcome in WORST}
    said = []
    if any(worst.values()):
        words = " and ".join(f"{n} {outcome}" for outcome, n in worst.items() if n)
        said.append(f"Of {count(total, 'run')}, {words}: they count as the worst score, by name.")
    if board.failed:
        said.append(f"{count(board.failed, 'run')} broke and stand in no score; see Failures.")
    few = [row for row in board.rows if row.seeds < EVERY_DOT]
    if few and board.rows[0].seeds > 1:
        said.append(
            f"Fewer than {EVERY_DOT} seeds a variant: intervals over so few are rough, so the "
            f"figures show every run as a dot."
        )
    return said


def _values(reading: Reading, row: Row, key: str) -> list[float]:
    wanted = set(row.seed_runs.values())
    return [
        run.metrics[key] for run in reading.seeds if run.run_id in wanted and key in run.metrics
    ]


def _mean(reading: Reading, row: Row, key: str) -> str:
    values = _values(reading, row, key)
    return f"{np.mean(values):.3f}" if values else "-"


def _real(reading: Reading, key: str) -> str:
    name = key.replace("eval/", "real/")
    values = [run.metrics[name] for run in reading.seeds if name in run.metrics]
    return f"{np.mean(values):.3f}" if values else "-"


def _known(reading: Reading, key: str) -> bool:
    return any(key in run.metrics for run in reading.seeds)
