"""The time and disk that a study needs: from finished runs in the store, or from a calibration.

Finished runs with the same settings (except the seed) are used if there are any. Otherwise a few
different configurations are trained for some updates and evaluated once, without a record, until
that has used its share of CPU time.
"""

from __future__ import annotations

import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.markdown import Markdown

from core.config import Config
from core.config.renamed import hash_of
from core.plural import count
from core.tracking.protocol import Tracker
from core.training.loop import Trainer
from experiments.console import print_json, stdout, table
from experiments.loading import open_corpus
from experiments.single_run.evaluator import Evaluator
from experiments.single_run.run import set_up_process
from experiments.single_run.session import training_state
from studies.adaptive import FIRST, expected_runs, most_runs
from studies.analysis.runs import duration
from studies.definition import Study
from studies.plan import Job, Limit
from studies.tuning import TuningTable
from variants import registry

CPU_SECONDS = 30.0  # of this process, after which no more is measured
CALIBRATED = 4  # configurations, as different as possible
UPDATES, SECONDS = 1000, 1.0  # of training each, whichever ends first
WARM, WARM_SECONDS = 2, 2.0  # updates before those: the first ones compile
SHARE = 64  # one in so many of an evaluation's sentences is drawn first
LONG = 5.0  # seconds of an evaluation above which that share is extrapolated
SLOW = 2.0  # seconds of that share of which the constant part is small
GRADIENTS = 2  # of the generator that are diagnosed; the time per gradient is extrapolated
OVERHEAD = 1.5  # seconds of a run besides updates and evaluations: store, model, figures
RECORD = 600_000  # bytes of a run besides its weights: sentences, figures, journal


@dataclass(frozen=True)
class Estimate:
    """The mean cost of one run; None where it is not known."""

    seconds: float | None
    bytes: int | None
    source: str  # what it is estimated from


class _OverLimit(BaseException):
    """The CPU time is used up. Not an Exception: what is measured must not catch it."""


@contextmanager
def _cpu_limit(seconds: float) -> Iterator[None]:
    """Raise `_OverLimit` in the body once this process has used so much CPU time. A timer does,
    because a single update or evaluation can take minutes.
    """

    def over(*_: object) -> None:
        raise _OverLimit

    before = signal.signal(signal.SIGPROF, over)
    try:
        # Again every second, because Python drops what is raised in a finaliser.
        signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def estimate(jobs: Sequence[Job], tracker: Tracker) -> Estimate:
    """The mean cost of these jobs, found in `CPU_SECONDS`."""
    configs = list({job.variant.config.config_hash(): job.variant.config for job in jobs}.values())
    picked, costs = unlike(configs, CALIBRATED), list[tuple[float, int]]()
    found, stopped = None, True
    with tempfile.TemporaryDirectory() as folder, suppress(_OverLimit), _cpu_limit(CPU_SECONDS):
        there = (tracker.store_dir / "corpora").exists()
        store_dir = tracker.store_dir if there else Path(folder)
        known = _known(tracker, configs)
        if len(known) == len(configs):
            seconds = statistics.mean(statistics.mean(each) for each in known.values())
            runs = sum(map(len, known.values()))
            found = Estimate(seconds, None, f"from {count(runs, 'run')} like these in the store")
            return replace(found, bytes=_bytes(configs[0], _prepared(configs[0], store_dir)[0]))
        for config in picked:
            trainer, evaluator, seconds = _prepared(config, store_dir)
            seconds += _run_seconds(config, trainer, evaluator)
            costs.append((seconds, _bytes(config, trainer)))
        stopped = False
    if not costs:
        nothing = f"no configuration was measured in {CPU_SECONDS:g} CPU seconds"
        return found or Estimate(None, None, nothing)
    limit = f", stopped after {CPU_SECONDS:g} CPU seconds" if stopped else ""
    return Estimate(
        statistics.mean(seconds for seconds, _ in costs),
        round(statistics.mean(size for _, size in costs)),
        f"from a short calibration of {len(costs)} of {len(configs)} configurations{limit}",
    )


def unlike(configs: Sequence[Config], most: int) -> list[Config]:
    """At most `most` configurations, each as different as possible from those before it: the cost
    depends on every axis, and a regular selection might keep one of them constant.
    """
    settings = [{(key, repr(value)) for key, value in each.flat().items()} for each in configs]
    picked = [0]
    while len(picked) < min(most, len(configs)):
        nearest = [min(len(each ^ settings[i]) for i in picked) for each in settings]
        picked.append(nearest.index(max(nearest)))
    return [configs[i] for i in picked]


def _known(tracker: Tracker, configs: Sequence[Config]) -> dict[str, list[float]]:
    """Seconds of the finished runs in the store, by the hash of their configuration."""
    wanted = {stored: each.config_hash() for each in configs for stored in each.stored_hashes()}
    found: dict[str, list[float]] = {}
    for run in tracker.runs():
        key = wanted.get(hash_of(run.tags) or "")
        if key and run.outcome in ("ok", "collapsed") and run.end is not None:
            found.setdefault(key, []).append((run.end - run.start) / 1000)
    return found


def _prepared(config: Config, store_dir: Path) -> tuple[Trainer, Evaluator, float]:
    """A run of which nothing is kept, after its first updates, when the optimisers hold their
    state; and the seconds until the first one.
    """
    began = time.monotonic()
    device = set_up_process(config)
    corpus = open_corpus(config.corpus, store_dir, config.model.length)
    state = training_state(config, corpus, device)
    trainer, evaluator = Trainer(state, lambda values, step: None), Evaluator(corpus, state)
    seconds = time.monotonic() - began
    _train(trainer, config, WARM, WARM_SECONDS)
    return trainer, evaluator, seconds


def _run_seconds(config: Config, trainer: Trainer, evaluator: Evaluator) -> float:
    """Seconds of all updates in the budget, and of their evaluations."""
    train, one = config.train, _train(trainer, config, UPDATES, SECONDS)
    evaluation = _evaluation(evaluator) + _diagnosis(evaluator)
    budgets = [60 * train.minutes / one] if train.minutes is not None else []
    budgets += [train.updates] if train.updates is not None else []
    updates = min(budgets)
    evaluations = 1 + updates // config.evaluation.every + len(config.rules)
    return updates * one + evaluations * evaluation + OVERHEAD


def _bytes(config: Config, trainer: Trainer) -> int:
    """Bytes that the run leaves on disk: its record, its weights and the kept checkpoints; of a run
    without a limit of updates only the best one.
    """
    every, updates = config.train.keep_every, config.train.updates
    kept = int(config.evaluation.keep_best is not None) + (updates or 0) // (every or 10**9)
    state = sum(t.numel() * t.element_size() for t in trainer.state.tensors().values())
    return round((1.3 + kept) * state) + RECORD


def _evaluation(evaluator: Evaluator) -> float:
    """Seconds to draw and score an evaluation's sentences."""
    suite, sampler, config = evaluator.suite, evaluator.sampler(), evaluator.config

    def seconds(sentences: int) -> float:
        start = time.monotonic()
        suite.evaluate(sampler.tokens(sentences, 1.0, config.seed, "calibration"))
        return time.monotonic() - start

    every = config.evaluation.sentences
    some = max(2, every // SHARE)
    expected = seconds(some) * every / some
    if expected > LONG:  # perhaps only because the first call compiles
        once = seconds(some)
        expected = once * every / some
        if LONG < expected < SHARE * SLOW:  # much may not depend on the number of sentences
            expected = once + max(0.0, seconds(2 * some) - once) * (every / some - 1)
    return expected if expected > LONG else seconds(every)


def _diagnosis(evaluator: Evaluator) -> float:
    """Seconds of an evaluation's diagnoses. A gradient's cost depends on the estimator; with
    rollouts the diagnoses are most of an evaluation.
    """
    gradients = evaluator.config.evaluation.gradients
    some = min(gradients, GRADIENTS)
    start = time.monotonic()
    evaluator.diagnoses(some)
    return (time.monotonic() - start) * max(1, gradients) / max(1, some)


def _train(trainer: Trainer, config: Config, updates: int, seconds: float) -> float:
    """Train until the first limit; seconds per update."""
    counters = trainer.state.counters
    update, spent = counters.update, counters.seconds
    limit = {"updates": update + updates, "minutes": (spent + seconds) / 60}
    limited = config.model_copy(update={"train": config.train.model_copy(update=limit)})
    trainer.config = trainer.state.config = limited
    trainer.train(lambda: None, lambda: None)
    return (counters.seconds - spent) / max(1, counters.update - update)


def show_plan(
    study: Study, limit: Limit, tracker: Tracker, *, as_json: bool, estimated: bool = True
) -> None:
    """Print a study's plan: variants, seeds and number of runs; then, if it is to be `estimated`,
    time and disk space.
    """
    corpora = study.on_corpora(registry(), study.table.name)
    plans = [each.kind.plan((), limit) for each in corpora.values()]
    jobs = [job for plan in plans for job in (*plan.jobs, *plan.ahead)]
    later = finals = sum(plan.later for plan in plans)
    runs = most = len(jobs) + later
    if looks := study.table.looks:
        compared = [plan.contrasts for plan in plans if plan.contrasts is not None]
        trials = runs - sum(each.rows * FIRST for each in compared)
        finals = sum(expected_runs(each, looks) for each in compared)
        runs = trials + finals
        most = trials + sum(most_runs(each, looks) for each in compared)
    further, dearer = (0, 0), 0.0
    arms = sum(len(each.kind.arms()) for each in corpora.values())
    if isinstance(study.table, TuningTable):
        dearer = finals * ((study.table.budget_ratio or 1.0) - 1.0)  # than trials, in trials
        further = study.table.further_runs(limit.trials or study.table.trials)
        runs, most = runs + arms * further[0], most + arms * further[1]
    if limit.trials is not None and not arms:
        runs = min(runs, limit.trials * len(corpora))
    if not as_json:
        seeds: dict[str, list[str]] = {}
        if not arms:  # trials have numbers for names and one seed
            for job in plans[0].jobs:
                seeds.setdefault(job.variant.name, []).append(str(job.seed))
        cells = [[name, ", ".join(used)] for name, used in seeds.items()]
        if study.table.question:
            stdout.print(study.table.question, markup=False)
        if cells:
            stdout.print(table(["variant", "seeds"], cells))
        stdout.print(Markdown(study.kind.describe()))
        chosen = f" ({later} of them chosen by the results of the others)" if later else ""
        assumed = ["no row differs and the standard deviation over seeds is half of the margin"]
        assumed = assumed if looks else []
        if further[1]:
            assumed.append("later trials are as good as earlier ones")
        if assumed:
            chosen = f" expected, if {' and '.join(assumed)} (at most {most})"
        stdout.print(f"{count(runs, 'run')}{chosen}, ranked by {study.table.ranked_by}")
    found = estimate(jobs, tracker) if estimated else Estimate(None, None, "not estimated")
    seconds = None if found.seconds is None else found.seconds * (runs + dearer) / limit.workers
    size = None if found.bytes is None else found.bytes * runs
    if as_json:
        print_json({
            "study": study.table.name,
            "variants": list({job.variant.name: None for job in jobs}),
            "seeds": study.table.seed_list(),
            "corpora": [corpus for corpus in corpora if corpus],
            "runs": runs,
            "most_runs": most,
            "seconds": seconds,
            "seconds_a_run": found.seconds,
            "estimated_from": found.source,
            "bytes": size,
        })  # fmt: skip
    elif estimated:
        cost = f"unknown: {found.source}"
        if seconds is not None:
            workers = count(limit.workers, "worker")
            each = "trial" if dearer else "run"
            cost = f"about {duration(seconds)} with {workers}, {found.seconds:.1f} s per {each}, "
            cost += found.source
        stdout.print(f"time: {cost}")
        stdout.print(f"disk: {'unknown' if size is None else f'about {size / 1e6:.0f} MB'}")
