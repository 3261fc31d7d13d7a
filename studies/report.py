"""What a study leaves behind for people: a table, a figure, and the variants' aggregates.

Logged to the study's own run and to the variants' runs, so the run table of the UI is already the
leaderboard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.tracking.protocol import Tracker
from studies.leaderboard import Leaderboard, leaderboard

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, GREY, ORANGE = "#0072b2", "#8a94a0", "#d55e00"  # Okabe & Ito 2008: colour-blind-safe


def publish(tracker: Tracker, study: str) -> tuple[Leaderboard, str]:
    """Log aggregates, table and figure of a study; the leaderboard and a link to it."""
    board = leaderboard(tracker, study)
    for row in board.rows:
        record = tracker.continue_run(row.run_id)
        metrics = {"score": row.score, "score_low": row.low, "score_high": row.high}
        record.log_metrics({**metrics, **_means(tracker, study, row.variant)}, row.seeds)
        record.set_tags({"outcomes": _outcomes(row.outcomes)})
        record.finish("ok")
    parent = tracker.continue_run(board.parent_run_id)
    parent.log_text(markdown(board), "leaderboard.md")
    if board.rows:
        parent.log_figure(figure(board), "figures/leaderboard.png")
    parent.finish("ok")
    columns = ["score", "score_low", "score_high", "eval/valid", "eval/bleu_4", "eval/unique"]
    return board, tracker.store_view(study, columns, "score", not board.higher_is_better)


def markdown(board: Leaderboard) -> str:
    """The leaderboard as a Markdown table with a sentence on how to read it."""
    lines = [
        f"# {board.study}",
        "",
        f"{board.metric}, {'higher' if board.higher_is_better else 'lower'} is better; "
        f"interquartile mean over seeds (the mean below four) with its 95% bootstrap interval.",
        "",
        "| | variant | score | 95% interval | seeds | outcomes |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {rank} | {row.variant} | {row.score:.4f} | {row.low:.4f} to {row.high:.4f} "
        f"| {row.seeds} | {_outcomes(row.outcomes)} |"
        for rank, row in enumerate(board.rows, start=1)
    ]
    real = board.baselines.get("real")
    if real is not None:
        lines.append(f"| | real held-out text | {real:.4f} | | | |")
    return "\n".join([*lines, ""])


def figure(board: Leaderboard) -> Figure:
    """Every seed a dot, the score with its interval, best on top, real text as a line."""
    from matplotlib.figure import Figure

    rows = board.rows[::-1]
    drawing = Figure(figsize=(8, 1.4 + 0.38 * len(rows)), layout="constrained")
    axis = drawing.subplots()
    for y, row in enumerate(rows):
        axis.plot(row.values, [y] * len(row.values), "o", color=GREY, alpha=0.6, ms=4, mew=0)
        axis.plot([row.low, row.high], [y, y], color=BLUE, lw=2.2, solid_capstyle="round")
        axis.plot(row.score, y, "D", color=BLUE, ms=6)
    real = board.baselines.get("real")
    if real is not None:
        axis.axvline(real, color=ORANGE, ls="--", lw=1.2)
        axis.text(real, len(rows) - 0.4, " real text", color=ORANGE, fontsize=9, va="bottom",
                  ha="right")  # fmt: skip
    axis.set_yticks(range(len(rows)), [row.variant for row in rows])
    axis.set_xlabel(f"{board.metric} ({'higher' if board.higher_is_better else 'lower'} is better)")
    axis.set_ylim(-0.7, len(rows) - 0.1)
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.set_title(f"{board.study}: grey each seed, blue their mean and 95% interval", fontsize=10)
    return drawing


def _means(tracker: Tracker, study: str, variant: str) -> dict[str, float]:
    """Mean over seeds of every last evaluation metric of a variant."""
    runs = tracker.runs(study, tags={"level": "seed", "variant": variant})
    values: dict[str, list[float]] = {}
    for run in runs:
        for key, value in run.metrics.items():
            if key.startswith("eval/"):
                values.setdefault(key, []).append(value)
    return {key: sum(found) / len(found) for key, found in values.items()}


def _outcomes(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
