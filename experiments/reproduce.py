"""A run once more, from the store alone: the same configuration, corpus and seed, and a verdict.

On one machine with the same versions a run agrees with itself bit for bit, at every evaluation.
Elsewhere it may not; then the last evaluation is held against the interval in which a further run
of the same configuration lies with 95% (Student's t over the other seeds of its variant), and
everything that differs between then and now is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from core.config import Config, parse, read_toml
from core.errors import InputError
from core.statistics import Interval
from core.tracking.environment import difference
from core.tracking.protocol import RunLabels, RunRecord, Tracker
from experiments.single_run.run import run
from experiments.single_run.session import Result
from variants import registry

Verdict = Literal["identical", "within", "outside", "unknown"]
EXPERIMENT = "reproductions"
STACKED = "stacked"  # tag of stored runs: how many were trained as one program
SEEDS = 3  # from which an interval can be taken
WORDS: Mapping[Verdict, str] = {
    "identical": "The numbers agree bit for bit, at every evaluation.",
    "within": "The numbers differ, within what another run of this configuration gives.",
    "outside": "The numbers do not agree: outside of what another run of this configuration gives.",
    "unknown": "The numbers differ, and there are too few seeds of this configuration to say how "
    "much of that is chance.",
}


@dataclass(frozen=True)
class Compared:
    """One metric of the last evaluation."""

    metric: str
    then: float | None
    now: float | None
    low: float | None  # where a further run lies
    high: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Reproduction:
    """What came of it."""

    original: str
    run_id: str
    verdict: Verdict
    outcomes: tuple[str | None, str]  # then and now
    differs: Mapping[str, tuple[str, str]]  # what is not as it was: then and now
    metrics: Sequence[Compared]

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "agrees": self.verdict in ("identical", "within")}


def reproduce(
    tracker: Tracker,
    key: str,
    report: Callable[..., None] | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> Reproduction:
    """Run `key` again and compare; InputError where the store does not hold what that takes."""
    record = tracker.run(key)
    if int(record.tags.get(STACKED, "1")) > 1:
        others = int(record.tags[STACKED]) - 1
        raise InputError(
            f"run {record.run_id[:8]} was trained as one program with {others} other "
            f"run{'s' if others > 1 else ''} (--stack-seeds), which no longer exists; its record "
            f"and its model stay readable, but it cannot be repeated"
        )
    config = _config(tracker, record, say)
    order: dict[str, Any] = {
        "config": config,
        "labels": RunLabels(
            EXPERIMENT, f"again: {record.name}", None, {"level": "run", "reproduces": record.run_id}
        ),
        "report": report,
    }
    result = run(tracker=tracker, **order)
    again = tracker.run(result.run_id)
    rows = _compare(tracker, record, result)
    verdict = _verdict(rows, record.outcome == result.outcome)
    open_again = tracker.continue_run(result.run_id)
    open_again.set_tags({"agrees": verdict})
    open_again.finish(result.outcome)
    return Reproduction(
        record.run_id, result.run_id, verdict, (record.outcome, result.outcome),
        _differences(tracker, record, again), rows,
    )  # fmt: skip


def _config(tracker: Tracker, record: RunRecord, say: Callable[[str], None]) -> Config:
    if record.outcome not in ("ok", "diverged", "collapsed"):
        ending = record.outcome or record.status.lower()
        raise InputError(f"run {record.run_id[:8]} has no result to agree with (it is {ending})")
    file = tracker.artifact(record.run_id, "config.toml")
    try:
        config = parse(read_toml(file), registry(), "the run's config.toml")
    except InputError as error:
        commit = record.tags.get("git_commit", "unknown").removesuffix("+dirty")
        raise InputError(f"{error}\nthe run was made at commit {commit}: check that out") from None
    if config.train.minutes is None or "updates" not in record.tags:
        return config
    say(
        "the run was ended by the clock: it is run for as many updates, which is not the same "
        "where a schedule follows the time"
    )
    spent = {"minutes": None, "updates": int(record.tags["updates"])}
    return config.model_copy(update={"train": config.train.model_copy(update=spent)})


def _compare(tracker: Tracker, record: RunRecord, result: Result) -> list[Compared]:
    seeds = _seeds(tracker, record)
    rows = []
    for metric, now in sorted(result.metrics.items()):
        then = record.metrics.get(metric)
        values = [run.metrics[metric] for run in seeds if metric in run.metrics]
        where = further_run(values) if len(values) >= SEEDS else None
        same = _curve(tracker, record.run_id, metric) == _curve(tracker, result.run_id, metric)
        if same and _equal(then, now):
            verdict: Verdict = "identical"
        elif where is None or now is None:
            verdict = "unknown"
        else:
            verdict = "within" if where.low <= now <= where.high else "outside"
        low, high = (where.low, where.high) if where else (None, None)
        rows.append(Compared(metric, then, now, low, high, verdict))
    return rows


def further_run(values: Sequence[float]) -> Interval:
    """Where one more run lies with 95%: mean +- t s sqrt(1 + 1/n), for normal values."""
    n, mean = len(values), float(np.mean(values))
    reach = float(stats.t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / n)
    return Interval(mean, mean - reach, mean + reach)


def _seeds(tracker: Tracker, record: RunRecord) -> list[RunRecord]:
    """All seeds of the run's variant, itself among them; none for a run of its own."""
    variant = record.tags.get("variant")
    if variant is None:
        return []
    return tracker.runs(record.experiment, tags={"level": "seed", "variant": variant})


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
    """Commit, changes that were not committed, versions, device and data, where they differ."""
    pairs = {
        "commit": _pair(then, now, "git_commit"),
        "data": _pair(then, now, "corpus"),
        "device": _pair(then, now, "device"),
        "processor": _pair(then, now, "cpu"),
        "processes": (then.tags.get("processes", "1"), now.tags.get("processes", "1")),
        "kernels": (_kernels(then), _kernels(now)),
    }
    before, after = (_versions(run.tags.get("versions", "")) for run in (then, now))
    for package in sorted({*before, *after}):
        pairs[package] = before.get(package, "absent"), after.get(package, "absent")
    if "+dirty" in "".join(pairs["commit"]):
        pairs["uncommitted changes"] = _patch(tracker, then), difference() or "none"
    differing = {what: pair for what, pair in pairs.items() if pair[0] != pair[1]}
    if "uncommitted changes" in differing:
        old, new = differing["uncommitted changes"]
        words = "none" if old == "none" else "some (its uncommitted.patch)"
        differing["uncommitted changes"] = words, "none" if new == "none" else "others"
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
