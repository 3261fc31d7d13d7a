"""Samples from elsewhere: a text file as a row of a study's leaderboard, marked as imported.

The row is a variant of its own with one run; the marks are the tags `imported` and `source`, and
the name ends in "(imported)". What the study ranks by must be among what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.errors import InputError
from core.metrics.files import MetricRow
from core.tracking.protocol import Sample, Tracker

SHOWN = 10


def ranking_metric(tracker: Tracker, study: str, measured: Sequence[str]) -> str:
    """The study's metric without `eval/`; InputError where there is no such study, or where it is
    not among the names measured.
    """
    parents = tracker.runs(study, tags={"level": "study"})
    if not parents:
        known = sorted(run.name for run in tracker.runs(tags={"level": "study"}))
        raise InputError(f"--log: no study {study!r}; known: {', '.join(known) or 'none yet'}")
    metric = parents[0].params["metric"].removeprefix("eval/")
    if metric not in measured:
        raise InputError(f"--log {study}: it ranks by {metric}, which --metrics leaves out")
    return metric


def log_imported(
    tracker: Tracker,
    study: str,
    source: str,
    metrics: Mapping[str, MetricRow],
    sentences: Sequence[Sequence[str]],
) -> str:
    """Record an evaluation as a row; its name. A name that is taken gets a number."""
    parent = tracker.runs(study, tags={"level": "study"})[0]
    taken = {run.name for run in tracker.runs(study, tags={"level": "variant"})}
    names = [f"{source} (imported)", *(f"{source} {k} (imported)" for k in range(2, 1000))]
    name = next(each for each in names if each not in taken)
    marks = {"study": study, "variant": name, "imported": "true", "source": source}
    row = tracker.start_run(
        study,
        name,
        params={},
        tags={**marks, "level": "variant", "whole_system": "true"},
        parent_id=parent.run_id,
    )
    run = tracker.start_run(
        study,
        name,
        params={},
        tags={**marks, "level": "seed", "seed": "0"},
        parent_id=row.run_id,
    )
    values = {f"eval/{metric}": found.value for metric, found in metrics.items()}
    for metric, found in metrics.items():
        if found.low is not None:
            values[f"interval/{metric}_low"] = found.low
            values[f"interval/{metric}_high"] = found.high
    run.log_metrics(values, 0)
    run.log_samples([Sample(0, i, " ".join(words)) for i, words in enumerate(sentences[:SHOWN])])
    run.describe(f"Imported from `{source}`: {len(sentences):,} sentences, scored as they stand.")
    run.finish("ok")
    row.finish("ok")
    return name
