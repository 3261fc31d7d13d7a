"""The leaderboard of a study, read from the store alone.

Score = interquartile mean over seeds of the study's metric at the last evaluation (the mean below
four seeds) with a 95% bootstrap interval. Diverged and collapsed runs count as the worst score
seen in the study and are named; runs that broke are counted apart.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import InputError
from core.metrics.catalogue import metric_info
from core.statistics import interval, with_worst
from core.tracking.protocol import ENDED, NONE, WORST, Columns, RunRecord, Tracker

SHOWN_TAGS = ("level", "variant", "seed", "outcome")


@dataclass(frozen=True)
class Row:
    """One variant."""

    variant: str
    score: float
    interval: tuple[float, float] | None  # the score's, 95%; one run has none
    seeds: int
    scores: Mapping[int, float]  # of each seed
    outcomes: Mapping[str, int]
    cell: Mapping[str, str]  # axis -> label
    run_id: str  # the variant's own run
    seed_runs: Mapping[int, str]  # seed -> run


@dataclass(frozen=True)
class Leaderboard:
    """A study's variants, best first."""

    study: str
    metric: str
    higher_is_better: bool
    parent_run_id: str
    rows: tuple[Row, ...]
    runs: int  # of seeds, begun
    failed: int
    baselines: Mapping[str, float | None] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        rows = [
            {"variant": row.variant, "score": row.score, "low": low, "high": high,
             "seeds": row.seeds}
            for row in self.rows
            for low, high in [row.interval or (None, None)]
        ]  # fmt: skip
        return {
            "study": self.study,
            "parent_run_id": self.parent_run_id,
            "runs": self.runs,
            "failed": self.failed,
            "metric": self.metric,
            "leaderboard": rows,
            "baselines": dict(self.baselines),
        }


def leaderboard(tracker: Tracker, study: str) -> Leaderboard:
    """Read a study's runs and rank its variants; InputError for an unknown study."""
    parents = tracker.runs(study, tags={"level": "study"})
    if not parents:
        known = sorted(r.name for r in tracker.runs(tags={"level": "study"}, columns=NONE))
        raise InputError(f"no study {study!r}; known: {', '.join(known) or 'none yet'}")
    metric = parents[0].params["metric"]
    info = metric_info(metric)
    higher = info.direction == "higher"
    real_metric = f"real/{metric.partition('/')[2]}"
    columns = Columns(tags=SHOWN_TAGS, params=(), metrics=(metric, real_metric))
    seeds = tracker.runs(study, tags={"level": "seed"}, columns=columns)
    ended = [run for run in seeds if run.outcome in ENDED]
    scored = with_worst(
        [None if run.outcome in WORST else run.metrics.get(metric) for run in ended],
        higher_is_better=higher,
    )
    score_of = {run.run_id: score for run, score in zip(ended, scored, strict=True)}
    rows = [
        _row(variant, runs, score_of, info.bounds)
        for variant in tracker.runs(study, tags={"level": "variant"})
        if (runs := [run for run in ended if run.tags["variant"] == variant.name])
    ]
    rows.sort(key=lambda row: -row.score if higher else row.score)
    real = [run.metrics[real_metric] for run in ended if real_metric in run.metrics]
    return Leaderboard(
        study,
        metric,
        higher,
        parents[0].run_id,
        tuple(rows),
        len(seeds),
        sum(run.outcome == "failed" for run in seeds),
        {"real": float(np.mean(real)) if real else None},
    )


def rng_of(name: str) -> np.random.Generator:
    """A generator with the same draws for the same name, whatever else the store holds."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def _row(
    variant: RunRecord,
    runs: list[RunRecord],
    score_of: Mapping[str, float],
    bounds: tuple[float, float],
) -> Row:
    runs = sorted(runs, key=lambda run: int(run.tags["seed"]))
    seed_runs = {int(run.tags["seed"]): run.run_id for run in runs}
    scores = {seed: score_of[run_id] for seed, run_id in seed_runs.items()}
    found = interval(list(scores.values()), rng_of(variant.name))
    return Row(
        variant.name,
        found.value,
        # An interval for few seeds is wide, the metric may not be.
        (max(found.low, bounds[0]), min(found.high, bounds[1])) if len(scores) > 1 else None,
        len(runs),
        scores,
        Counter(str(run.outcome) for run in runs),
        {} if variant.tags.get("whole") else variant.params,
        variant.run_id,
        seed_runs,
    )
