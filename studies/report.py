"""What a study leaves behind for people: a table, a figure, and the variants' aggregates.

Logged to the study's own run and to the variants' runs, so the run table of the UI is already the
leaderboard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.tracking.protocol import Tracker
from studies.effects import Effect, effects
from studies.figures import curves_figure, effects_figure, leaderboard_figure
from studies.leaderboard import Leaderboard, leaderboard

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    parent.log_text(markdown(board, effects(board)), "leaderboard.md")
    for name, figure in figures(tracker, board).items():
        parent.log_figure(figure, f"figures/{name}.png")
    parent.finish("ok")
    columns = ["score", "score_low", "score_high", "eval/valid", "eval/bleu_4", "eval/unique"]
    return board, tracker.store_view(study, columns, "score", not board.higher_is_better)


def figures(tracker: Tracker, board: Leaderboard) -> dict[str, Figure]:
    """Every figure of a study by name; none where no run has ended."""
    if not board.rows:
        return {}
    found = effects(board)
    made = {
        "leaderboard": leaderboard_figure(board),
        "curves": curves_figure(board, lambda run: tracker.history(run, board.metric)),
    }
    return made | ({"effects": effects_figure(board, found)} if found else {})


def markdown(board: Leaderboard, found: Sequence[Effect]) -> str:
    """The leaderboard and the effects as Markdown, with a sentence on how to read each."""
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
    if found:
        lines += [
            "",
            "## What each choice does",
            "",
            "Difference of the score between two values of an axis, all else equal: interquartile "
            "mean over the pairs of runs that share seed and every other choice, 95% bootstrap "
            "interval over the pairs, sign-flip p adjusted over all rows here (Holm).",
            "",
            "| axis | contrast | difference | 95% interval | pairs | p |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {e.axis} | {e.level} - {e.reference} | {e.difference:+.4f} "
            f"| {e.low:+.4f} to {e.high:+.4f} | {e.pairs} | {e.p:.3f} |"
            for e in found
        ]
    return "\n".join([*lines, ""])


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
