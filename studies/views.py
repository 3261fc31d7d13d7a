"""What MLflow's pages show of a study: its leaderboard as table and bars, and its curves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from core.metrics.catalogue import metric_info
from core.tracking.protocol import View
from studies.sections import Reading, means

COLUMNS = ("score", "score_low", "score_high", "failure_rate", "survivors_score")
OF_SCORE = 3  # so many of them; the others are worth a column if a run failed
RANKED = "tags.`rank` LIKE '%'"  # the variants with a score, and real text
OWN = "Model metrics"  # MLflow's section of metrics without a prefix
DIGITS = 4  # the UI shows all that a number has


def leaderboard_view(reading: Reading) -> str:
    """Store the leaderboard as a view of the UI, a table and bars; its link."""
    board = reading.board
    shown = COLUMNS if any(row.failed for row in board.rows) else COLUMNS[:OF_SCORE]
    axes = sorted({axis for row in board.rows for axis in row.cell})
    metrics, params = [f"metrics.`{key}`" for key in shown], [f"params.`{key}`" for key in axes]
    columns = (*metrics, "tags.`verdict`", *params)
    split = split_of(board.metric)
    charts = {OWN: shown, split.strip("/"): sorted(means(reading.seeds, split))}
    view = View("leaderboard", RANKED, "score", not board.higher_is_better, columns, charts)
    return reading.tracker.store_view(board.study, view)


def curves_view(reading: Reading) -> str:
    """Store the curves of all runs as a view of the UI, the study's metric first; its link."""
    board, curve = reading.board, reading.table.curve_metric
    charts = {"score": [curve], "eval": [], "train": [], "diagnosis": []}
    columns = (f"metrics.`{curve}`",)
    ascending = metric_info(curve).direction != "higher"
    view = View("curves", "tags.`level` = 'seed'", curve, ascending, columns, charts, curves=True)
    return reading.tracker.store_view(board.study, view)


def publish_real_text(reading: Reading) -> None:
    """Log a run with the scores of held-out text, a row of the leaderboard in the UI."""
    tracker, board = reading.tracker, reading.board
    if (score := board.baselines.get("real")) is None:
        return
    tags = {"study": board.study, "level": "baseline", "rank": "real text"}
    identity = hashlib.sha256(f"{board.parent_run_id}/real".encode()).hexdigest()[:32]
    record = tracker.start_run(board.study, "real held-out text", params={}, tags=tags,
                               parent_id=board.parent_run_id, identity=identity)  # fmt: skip
    own, real = split_of(board.metric), means(reading.seeds, "real/")
    of_real = {key: f"real/{key[len(own) :]}" for key in means(reading.seeds, own)}
    scores = {key: real[name] for key, name in of_real.items() if name in real}
    ended = sum(row.seeds for row in board.rows)  # a run keeps what it has at a step
    record.log_metrics(rounded({"score": score, **scores}), ended)
    record.describe("Scores of held-out text, to compare the variants with. Nothing was trained.")
    record.finish("ok")


def split_of(metric: str) -> str:
    """The beginning of the names of all metrics of the same evaluation: `test/`, `eval_best/`."""
    return metric.partition("/")[0] + "/"


def rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    """The values with as many digits as the UI should show."""
    return {key: float(f"{value:.{DIGITS}g}") for key, value in values.items()}
