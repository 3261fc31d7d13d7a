"""What a run will cost: from runs like it in the store, or from a short calibration.

Runs of the store are used where they had the same settings, seed aside, and ended. Otherwise a few
representative configurations are trained for some updates and evaluated once, without a record.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import Config, hash_of
from core.tracking.protocol import Tracker
from core.training.loop import Trainer
from experiments.single_run.evaluator import Evaluator
from experiments.single_run.run import open_corpus, set_up_process
from experiments.single_run.session import training_state
from studies.plan import Job

CALIBRATED = 4  # configurations, as unlike as can be
UPDATES, SECONDS = 1000, 1.0  # of training each, whichever is over first
WARM, WARM_SECONDS = 2, 10.0  # updates before those: the first ones of a machine compile
SHARE = 64  # of an evaluation's sentences one in so many is drawn first
LONG = 30.0  # seconds of an evaluation that is judged by that share
GRADIENTS = 2  # of G that are diagnosed; the others take as long
OVERHEAD = 1.5  # seconds of a run that are neither update nor evaluation: store, model, figures
RECORD = 600_000  # bytes of a run beside its weights: sentences, figures, journal


@dataclass(frozen=True)
class Estimate:
    """Of one run, typically."""

    seconds: float
    bytes: int
    source: str  # in words


def estimate(jobs: Sequence[Job], tracker: Tracker) -> Estimate:
    """The mean cost of these jobs."""
    configs = list({job.variant.config.config_hash(): job.variant.config for job in jobs}.values())
    known = _known(tracker, configs)
    if known and len(known) == len(configs):
        seconds = statistics.mean(statistics.mean(each) for each in known.values())
        count = sum(map(len, known.values()))
        size = _Prepared.of(configs[0], tracker).bytes()
        return Estimate(seconds, size, f"from {count} runs like these in the store")
    picked = unlike(configs, CALIBRATED)
    found = [_Prepared.of(config, tracker) for config in picked]
    return Estimate(
        statistics.mean(each.run_seconds() for each in found),
        round(statistics.mean(each.bytes() for each in found)),
        f"from a short calibration of {len(picked)} of {len(configs)} configurations",
    )


def unlike(configs: Sequence[Config], most: int) -> list[Config]:
    """At most so many, each in as many settings as can be unlike those before it: a cost hangs on
    every axis, and a regular choice might hold one still.
    """
    settings = [{(key, repr(value)) for key, value in each.flat().items()} for each in configs]
    picked = [0]
    while len(picked) < min(most, len(configs)):
        nearest = [min(len(each ^ settings[i]) for i in picked) for each in settings]
        picked.append(nearest.index(max(nearest)))
    return [configs[i] for i in picked]


def _known(tracker: Tracker, configs: Sequence[Config]) -> dict[str, list[float]]:
    """Hash of a configuration -> seconds of the runs of the store that ended."""
    wanted = {stored: each.config_hash() for each in configs for stored in each.stored_hashes()}
    found: dict[str, list[float]] = {}
    for run in tracker.runs():
        key = wanted.get(hash_of(run.tags) or "")
        if key and run.outcome in ("ok", "collapsed") and run.end is not None:
            found.setdefault(key, []).append((run.end - run.start) / 1000)
    return found


@dataclass(frozen=True)
class _Prepared:
    """A run that has begun: its optimisers hold what they will hold."""

    config: Config
    trainer: Trainer
    evaluator: Evaluator
    seconds: float  # until the first update

    @classmethod
    def of(cls, config: Config, tracker: Tracker) -> _Prepared:
        """A run of this configuration; nothing of it is kept."""
        began = time.monotonic()
        device = set_up_process(config)
        with tempfile.TemporaryDirectory() as folder:
            there = (tracker.store_dir / "corpora").exists()
            store_dir = tracker.store_dir if there else Path(folder)
            corpus = open_corpus(config.corpus, store_dir, config.model.length)
            state = training_state(config, corpus, device)
            trainer, evaluator = Trainer(state, _silent), Evaluator(corpus, state)
        seconds = time.monotonic() - began
        _train(trainer, config, WARM, WARM_SECONDS)
        return cls(config, trainer, evaluator, seconds)

    def run_seconds(self) -> float:
        """Of the whole run."""
        one = _train(self.trainer, self.config, UPDATES, SECONDS)
        evaluation = _evaluation(self.evaluator) + _diagnosis(self.evaluator)
        return _seconds(self.config, one, evaluation) + self.seconds + OVERHEAD

    def bytes(self) -> int:
        """Of what the run leaves."""
        state = sum(t.numel() * t.element_size() for t in self.trainer.state.tensors().values())
        return round((1.3 + _kept(self.config)) * state) + RECORD


def _evaluation(evaluator: Evaluator) -> float:
    """Seconds of an evaluation's sentences and scores, typically."""
    suite, writer, config = evaluator.suite, evaluator.writer(), evaluator.config

    def seconds(sentences: int) -> float:
        start = time.monotonic()
        suite.evaluate(writer.tokens(sentences, 1.0, config.seed, "calibration"))
        return time.monotonic() - start

    every = config.evaluation.sentences
    some = max(2, every // SHARE)
    expected = seconds(some) * every / some
    if expected > LONG:
        expected = seconds(some) * every / some  # the first has compiled and counted references
    return expected if expected > LONG else seconds(every)


def _diagnosis(evaluator: Evaluator) -> float:
    """Seconds of an evaluation's diagnoses: what a gradient of G takes is the estimator's own, and
    with rollouts it is most of an evaluation.
    """
    asked = evaluator.config.evaluation.gradients
    some = min(asked, GRADIENTS)
    start = time.monotonic()
    evaluator.diagnoses(some)
    return (time.monotonic() - start) * max(1, asked) / max(1, some)


def _train(trainer: Trainer, config: Config, updates: int, seconds: float) -> float:
    """Train so many updates or so long, whichever is over first; seconds an update took."""
    counters = trainer.state.counters
    update, spent = counters.update, counters.seconds
    limit = {"updates": update + updates, "minutes": (spent + seconds) / 60}
    limited = config.model_copy(update={"train": config.train.model_copy(update=limit)})
    trainer.config = trainer.state.config = limited
    trainer.train(_nothing, _nothing)
    return (counters.seconds - spent) / max(1, counters.update - update)


def _kept(config: Config) -> int:
    """Checkpoints that stay for good; of a run that ends by the clock none are foreseen."""
    every, updates = config.train.keep_every, config.train.updates
    return int(config.evaluation.keep_best is not None) + (updates or 0) // (every or 10**9)


def _seconds(config: Config, one: float, evaluation: float) -> float:
    """Updates, as many as the budget holds, and their evaluations."""
    train = config.train
    budgets = [60 * train.minutes / one] if train.minutes is not None else []
    budgets += [train.updates] if train.updates is not None else []
    updates = min(budgets)
    return updates * one + (2 + updates // config.evaluation.every) * evaluation


def _silent(values: Mapping[str, Any], step: int) -> None:
    return None


def _nothing() -> None:
    return None
