"""Repeat a run from the store: the same configuration, corpus and seed, and a verdict.

On one machine with the same versions a run repeats bit for bit, at every evaluation. Elsewhere it
may not. Then each metric of the last evaluation is compared with the prediction interval of another
run of the same configuration (Student's t over the seeds of its variant that have ended), and
everything that differs between then and now is listed. The intervals hold for all metrics together
in 95% of cases (Bonferroni): of 40 metrics with a 95% interval each, two are outside on average. A
metric that the run had and has no longer does not agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import special

from core.config import Config, parse, read_toml
from core.errors import InputError
from core.statistics import TAIL, Interval
from core.tracking.protocol import ENDED, RunLabels, RunRecord, Tracker, read_tag
from experiments.console import interval, number, stderr, stdout, table
from experiments.environment import uncommitted_changes
from experiments.single_run.run import run
from experiments.single_run.session import Result
from variants import registry

Verdict = Literal["identical", "within", "outside", "unknown"]
EXPERIMENT = "reproductions"
STACKED = "stacked"  # tag of stored runs: how many were trained as one program
SEEDS = 3  # at least, for an interval
MEANING: Mapping[Verdict, str] = {
    "identical": "The numbers agree bit for bit, at every evaluation.",
    "within": "The numbers differ by no more than those of another seed may (95% intervals for all "
    "metrics together).",
    "outside": "The numbers do not agree: at least one is missing, or differs by more than that of "
    "another seed may (95% intervals for all metrics together).",
    "unknown": "The numbers differ. Where they do, the seeds of the configuration are too few or "
    "have equal values, so there is no interval.",
}


@dataclass(frozen=True)
class Compared:
    """One metric of the last evaluation; a value is None if it is undefined or missing."""

    metric: str
    then: float | None
    now: float | None
    low: float | None  # of the interval of another run, of all metrics together
    high: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Reproduction:
    """The result of repeating a run."""

    original: str
    run_id: str
    verdict: Verdict
    outcomes: tuple[str | None, str]  # then and now
    differs: Mapping[str, tuple[str, str]]  # what differs, then and now
    metrics: Sequence[Compared]

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "agrees": self.verdict in ("identical", "within")}


def reproduce(
    tracker: Tracker,
    key: str,
    report: Callable[..., None] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Reproduction:
    """Run `key` again and compare; InputError if the store lacks what that needs."""
    record = tracker.run(key)
    others = read_tag(record, STACKED, int) - 1 if STACKED in record.tags else 0
    if others:
        raise InputError(
            f"run {record.run_id[:8]} was trained as one program with {others} other "
            f"run{'s' if others > 1 else ''} (--stack-seeds), which no longer exists; its record "
            f"and its model stay readable, but it cannot be repeated"
        )
    config = _config(tracker, record, note)
    tags = {"level": "run", "reproduces": record.run_id}
    labels = RunLabels(EXPERIMENT, f"again: {record.name}", None, tags)
    result = run(config, tracker=tracker, labels=labels, report=report)
    again = tracker.run(result.run_id)
    rows = _compare(tracker, record, result)
    verdict = _verdict(rows, record.outcome == result.outcome)
    reopened = tracker.continue_run(result.run_id)
    reopened.set_tags({"agrees": verdict})
    reopened.finish(result.outcome)
    return Reproduction(
        record.run_id, result.run_id, verdict, (record.outcome, result.outcome),
        _differences(tracker, record, again), rows,
    )  # fmt: skip


def _config(tracker: Tracker, record: RunRecord, note: Callable[[str], None]) -> Config:
    if record.outcome not in ENDED:
        ending = record.outcome or record.status.lower()
        raise InputError(f"run {record.run_id[:8]} has no result to compare with (it is {ending})")
    file = tracker.artifact(record.run_id, "config.toml")
    try:
        config = parse(read_toml(file), registry(), "the run's config.toml")
    except InputError as error:
        commit = record.tags.get("git_commit", "unknown").removesuffix("+dirty")
        raise InputError(f"{error}\nthe run was made at commit {commit}: check it out") from None
    if config.train.minutes is None or "updates" not in record.tags:
        return config
    note(
        "the run ended after a time limit; it is repeated for the same number of updates, which "
        "is not the same if a schedule depends on time"
    )
    spent = {"minutes": None, "updates": read_tag(record, "updates", int)}
    return config.model_copy(update={"train": config.train.model_copy(update=spent)})


def _compare(tracker: Tracker, record: RunRecord, result: Result) -> list[Compared]:
    variant = record.tags.get("variant")
    of_variant = {"level": "seed", "variant": variant} if variant is not None else None
    seeds = tracker.runs(record.experiment, tags=of_variant) if of_variant else []
    ended = [run.metrics for run in seeds if run.outcome in ENDED]
    evaluated = {key for key in record.metrics if key.startswith(("eval/", "eval_"))}
    names = sorted({*result.metrics, *evaluated})
    values = {name: [each[name] for each in ended if name in each] for name in names}
    # Seeds that all have the same value do not say how much another run may differ.
    vary = {name for name in names if len(values[name]) >= SEEDS and len({*values[name]}) > 1}
    rows = []
    for metric in names:
        then, now = record.metrics.get(metric), result.metrics.get(metric)
        expected = prediction_interval(values[metric], len(vary)) if metric in vary else None
        same = _curve(tracker, record.run_id, metric) == _curve(tracker, result.run_id, metric)
        if same and _equal(then, now):
            verdict: Verdict = "identical"
        elif now is None and then is not None:
            verdict = "outside"
        elif expected is None or now is None:
            constant = len(values[metric]) >= SEEDS and metric not in vary
            verdict = "within" if constant and now in values[metric] else "unknown"
        else:
            verdict = "within" if expected.low <= now <= expected.high else "outside"
        low, high = (expected.low, expected.high) if expected else (None, None)
        rows.append(Compared(metric, then, now, low, high, verdict))
    return rows


def prediction_interval(values: Sequence[float], metrics: int = 1) -> Interval:
    """95% prediction interval of one more run: mean +- t s sqrt(1 + 1/n), for normal values. Of so
    many `metrics` it misses each so rarely that all intervals together miss none in 95% of cases.
    """
    n, mean = len(values), float(np.mean(values))
    quantile = float(special.stdtrit(n - 1, 1 - TAIL / metrics))
    reach = quantile * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / n)
    return Interval(mean, mean - reach, mean + reach)


def _curve(tracker: Tracker, run_id: str, metric: str) -> list[tuple[int, str]]:
    return [(step, value.hex()) for step, value in tracker.history(run_id, metric)]


def _equal(then: float | None, now: float | None) -> bool:
    return then == now or (then is not None and now is not None and then.hex() == now.hex())


def _verdict(rows: Sequence[Compared], same_outcome: bool) -> Verdict:
    found = {row.verdict for row in rows}
    if found <= {"identical"} and same_outcome:
        return "identical"
    if "outside" in found or not same_outcome:
        return "outside"
    return "unknown" if "unknown" in found else "within"


def _differences(tracker: Tracker, then: RunRecord, now: RunRecord) -> dict[str, tuple[str, str]]:
    """Commit, uncommitted changes, versions, device and data that differ, then and now."""
    pairs = {
        "commit": _pair(then, now, "git_commit"),
        "data": _pair(then, now, "corpus"),
        "device": _pair(then, now, "device"),
        "processor": _pair(then, now, "cpu"),
        "processes": (then.tags.get("processes", "1"), now.tags.get("processes", "1")),
        "kernels": (_kernels(then), _kernels(now)),
    }
    old, new = (_versions(run.tags.get("versions", "")) for run in (then, now))
    for package in sorted({*old, *new}):
        pairs[package] = old.get(package, "absent"), new.get(package, "absent")
    if "+dirty" in "".join(pairs["commit"]):
        pairs["uncommitted changes"] = _patch(tracker, then), uncommitted_changes() or "none"
    differing = {what: pair for what, pair in pairs.items() if pair[0] != pair[1]}
    if "uncommitted changes" in differing:
        patches = differing["uncommitted changes"]
        before = "none" if patches[0] == "none" else "some (its uncommitted.patch)"
        differing["uncommitted changes"] = before, "none" if patches[1] == "none" else "others"
    return differing


def _kernels(record: RunRecord) -> str:
    """The kernels that a run was computed with. Runs of version 0.1 on a CPU had some that were
    removed since: attention, its second derivatives, steps of LSTM and GRU. They rounded otherwise.
    """
    if "kernels" in record.tags:
        return record.tags["kernels"]
    cpu = record.tags.get("device", "cpu").startswith("cpu")
    return "cpu, version 0.1 (some were removed)" if cpu else "torch"


def _pair(then: RunRecord, now: RunRecord, tag: str) -> tuple[str, str]:
    return then.tags.get(tag, "unknown"), now.tags.get(tag, "unknown")


def _versions(tag: str) -> dict[str, str]:
    """`python=3.11.7 torch=2.13.0` by package."""
    return dict(part.split("=", 1) for part in tag.split() if "=" in part)


def _patch(tracker: Tracker, record: RunRecord) -> str:
    try:
        return tracker.artifact(record.run_id, "uncommitted.patch").read_text(encoding="utf-8")
    except InputError:
        return "none"


def show(found: Reproduction) -> None:
    """Print the comparison, what differs, and the verdict."""
    rows = [
        [row.metric, number(row.then, ".6g"), number(row.now, ".6g"),
         interval(row.low, row.high, ".6g"), row.verdict]
        for row in found.metrics
    ]  # fmt: skip
    stdout.print(table(["metric", "then", "now", "another run (95%, all metrics)", ""], rows))
    then, now = found.outcomes
    if then != now:
        stderr.print(f"outcome: {then} then, {now} now", markup=False)
    for name, (before, after) in found.differs.items():
        stderr.print(f"differs: {name}: {before} then, {after} now", markup=False)
    if not found.differs:
        stderr.print("commit, versions, device and data are the same")
    stderr.print(MEANING[found.verdict])
    stderr.print(f"run {found.run_id} repeats {found.original}")
