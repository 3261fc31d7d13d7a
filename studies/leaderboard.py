"""The leaderboard of a study, read from the store alone.

Score = interquartile mean over seeds of the study's metric at the last evaluation (the mean below
four seeds) with a 95% bootstrap interval. Diverged and collapsed runs count as the worst score
seen in the study and are named; runs that broke are counted apart.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import InputError
from core.metrics.catalogue import GROUPS, metric_info
from core.metrics.signature import Signature, of_metric
from core.statistics import interval, with_worst
from core.tracking.protocol import (
    ALL,
    ENDED,
    WORST,
    Columns,
    RunRecord,
    Tracker,
    read_tag,
    study_run,
)

SIGNATURE, TEST_SIGNATURE = "signature", "signature_test"  # tags: of eval/..., of test/...
SHOWN_TAGS = ("level", "variant", "seed", "outcome", SIGNATURE, TEST_SIGNATURE)
TIED = 12  # digits after the point; scores that differ by less are a tie


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
    run_id: str | None  # the variant's own run; None if it is deleted
    seed_runs: Mapping[int, str]  # seed -> run

    @property
    def spoiled(self) -> float:
        """The part of the seeds that did not end well."""
        return 1 - self.outcomes.get("ok", 0) / self.seeds


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
    signature: str | None = None  # of the scores; None if no run has one
    other_signatures: Mapping[str, str] = field(default_factory=dict)  # of rows with another

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
            "signature": self.signature,
            "other_signatures": dict(self.other_signatures),
        }


def leaderboard(tracker: Tracker, study: str) -> Leaderboard:
    """Read a study's runs and rank its variants; InputError for an unknown study."""
    parent = study_run(tracker, study)
    study = parent.experiment
    if "metric" not in parent.params:
        raise InputError(f"run {parent.run_id[:8]}: its tag level says study, but it is none")
    metric = parent.params["metric"]
    info = metric_info(metric)
    higher = info.direction == "higher"
    real_metric = f"real/{metric.partition('/')[2]}"
    columns = Columns(tags=SHOWN_TAGS, params=(), metrics=(metric, real_metric))
    seeds = seed_runs(tracker, study, columns)
    ended = [run for run in seeds if run.outcome in ENDED]
    scored = with_worst(
        [None if run.outcome in WORST else run.metrics.get(metric) for run in ended],
        higher_is_better=higher,
    )
    score_of = {run.run_id: score for run, score in zip(ended, scored, strict=True)}
    own = variant_runs(tracker, study)
    found = dict.fromkeys((*own, *(run.variant for run in ended)))
    rows = [
        _row(variant, own.get(variant), runs, score_of, info.bounds)
        for variant in found
        if (runs := [run for run in ended if run.variant == variant])
    ]
    rows.sort(key=lambda row: (round(-row.score if higher else row.score, TIED), row.spoiled))
    real = [run.metrics[real_metric] for run in ended if real_metric in run.metrics]
    return Leaderboard(
        study,
        metric,
        higher,
        parent.run_id,
        tuple(rows),
        len(seeds),
        sum(run.outcome == "failed" for run in seeds),
        {"real": float(np.mean(real)) if real else None},
        *_signatures(metric, ended),
    )


def _signatures(metric: str, runs: Sequence[RunRecord]) -> tuple[str | None, dict[str, str]]:
    """The signature of most runs' scores, and that of each variant with another one."""
    split, _, name = metric.partition("/")
    tag = TEST_SIGNATURE if split == "test" else SIGNATURE
    group = GROUPS[metric_info(metric).group]
    found = {
        run.variant: str(of_metric(name, Signature.parse(run.tags[tag]), group))
        for run in runs
        if tag in run.tags
    }
    most = Counter(found.values()).most_common(1)[0][0] if found else None
    return most, {variant: other for variant, other in found.items() if other != most}


def rng_of(name: str) -> np.random.Generator:
    """A generator with the same draws for the same name, whatever else the store holds."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def seed_runs(tracker: Tracker, experiment: str, columns: Columns = ALL) -> list[RunRecord]:
    """The runs of a study's seeds, oldest first; InputError if one has lost its tags.

    A seed that was deleted, trained again and restored has two runs: the last that ended counts.
    """
    found: dict[tuple[str, int], RunRecord] = {}
    key: tuple[str, int]
    for run in tracker.runs(experiment, tags={"level": "seed"}, columns=columns):
        key = read_tag(run, "variant"), read_tag(run, "seed", int)
        if key not in found or run.outcome in ENDED or found[key].outcome not in ENDED:
            found.pop(key, None)
            found[key] = run
    return list(found.values())


def variant_runs(tracker: Tracker, experiment: str) -> dict[str, RunRecord]:
    """The own run of each variant by the variant's name, which is its tag: people rename runs. Also
    deleted ones, because they hold the levels of their variants.
    """
    runs = tracker.runs(experiment, tags={"level": "variant"}, deleted=True)
    runs.sort(key=lambda run: not run.deleted)  # the last of a name counts
    return {run.variant: run for run in runs}


def _row(
    variant: str,
    own: RunRecord | None,
    runs: list[RunRecord],
    score_of: Mapping[str, float],
    bounds: tuple[float, float],
) -> Row:
    runs = sorted(runs, key=lambda run: int(run.tags["seed"]))
    seed_runs = {int(run.tags["seed"]): run.run_id for run in runs}
    scores = {seed: score_of[run_id] for seed, run_id in seed_runs.items()}
    found = interval(list(scores.values()), rng_of(variant))
    return Row(
        variant,
        found.value,
        # An interval for few seeds is wide, the metric may not be.
        (max(found.low, bounds[0]), min(found.high, bounds[1])) if len(scores) > 1 else None,
        len(runs),
        scores,
        Counter(str(run.outcome) for run in runs),
        {} if own is None or own.tags.get("whole") else own.params,
        None if own is None or own.deleted else own.run_id,
        seed_runs,
    )
