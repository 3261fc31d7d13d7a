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

import torch

from core.batches import Batches
from core.config import Config
from core.metrics.suite import Suite
from core.nn.precision import settle
from core.players import build
from core.text.grammar import grammar
from core.tracking.protocol import Tracker
from core.train import Trainer
from experiments.generate import Writer, make_writer
from experiments.parts import open_corpus
from experiments.wanted import pick_device
from studies.plan import Job
from variants import registry

CALIBRATED = 3  # configurations, spread over the plan
SECONDS = 1.0  # of training each
WARM, WARM_SECONDS = 2, 10.0  # updates before those: the first ones of a machine compile
SHARE = 64  # of an evaluation's sentences one in so many is drawn first
LONG = 30.0  # seconds of an evaluation that is judged by that share
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
    configs = list({job.variant.config.likeness(): job.variant.config for job in jobs}.values())
    known = _known(tracker, {config.likeness() for config in configs})
    if known and len(known) == len(configs):
        seconds = statistics.mean(statistics.mean(each) for each in known.values())
        count = sum(map(len, known.values()))
        _, size = _calibrate(configs[0], tracker, updates=1)
        return Estimate(seconds, size, f"from {count} runs like these in the store")
    picked = _spread(configs)
    found = [_calibrate(config, tracker) for config in picked]
    return Estimate(
        statistics.mean(seconds for seconds, _ in found),
        round(statistics.mean(size for _, size in found)),
        f"from a short calibration of {len(picked)} of {len(configs)} configurations",
    )


def _known(tracker: Tracker, wanted: set[str]) -> dict[str, list[float]]:
    """Likeness -> seconds of the runs of the store that ended."""
    found: dict[str, list[float]] = {}
    for run in tracker.runs():
        like = run.tags.get("likeness")
        if like in wanted and run.outcome in ("ok", "collapsed") and run.end is not None:
            found.setdefault(like, []).append((run.end - run.start) / 1000)
    return found


def _spread(configs: Sequence[Config]) -> list[Config]:
    step = max(1, -(-len(configs) // CALIBRATED))
    return list(configs[::step])


def _calibrate(config: Config, tracker: Tracker, updates: int = 1000) -> tuple[float, int]:
    """Seconds and bytes of a run of this configuration."""
    began = time.monotonic()
    torch.set_num_threads(config.train.threads)
    device = pick_device(config)
    settle(config.precision, device)
    with tempfile.TemporaryDirectory() as folder:
        there = (tracker.world / "corpora").exists()
        world = tracker.world if there else Path(folder)
        corpus = open_corpus(config.corpus, world, config.model.length)
        batches = Batches(corpus.train, config.train.batch_size, config.model.length, config.seed)
        players = build(config, registry(), len(corpus.vocabulary), device)
        trainer = Trainer(config, players, batches, device, _silent)
        suite = Suite(
            corpus.validation.sentences(config.evaluation.references),
            corpus.train,
            grammar(config.corpus.difficulty) if config.corpus.source == "grammar" else None,
        )
    begun = time.monotonic() - began
    one = _update(trainer, config, updates)
    writer = make_writer(config, players.averaged, corpus.vocabulary)
    evaluation = _evaluation(suite, writer, config) if updates > 1 else 0.0
    state = sum(t.numel() * t.element_size() for t in trainer.state().values())
    size = round((1.3 + _kept(config)) * state) + RECORD
    return _seconds(config, one, evaluation) + begun + OVERHEAD, size


def _evaluation(suite: Suite, writer: Writer, config: Config) -> float:
    """Seconds of an evaluation, typically."""

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


def _update(trainer: Trainer, config: Config, updates: int) -> float:
    """Seconds of an update, typically."""
    counters, before = trainer.counters, (0, 0.0)
    for count, more in ((WARM, WARM_SECONDS), (updates, SECONDS)):
        before = (counters.update, counters.seconds)
        minutes = (counters.seconds + more) / 60
        limit = config.train.model_copy(update={"updates": count, "minutes": minutes})
        trainer.config = config.model_copy(update={"train": limit})
        trainer.train(_nothing, _nothing)
    return (counters.seconds - before[1]) / max(1, counters.update - before[0])


def _kept(config: Config) -> int:
    """Checkpoints that stay for good; of a run that ends by the clock none are foreseen."""
    every, updates = config.train.keep_every, config.train.updates
    return int(config.evaluation.keep_best is not None) + (updates or 0) // (every or 10**9)


def _seconds(config: Config, one: float, evaluation: float) -> float:
    """Updates and evaluations; a budget in minutes includes the evaluations in it."""
    train = config.train
    times = [60 * train.minutes] if train.minutes is not None else []
    if train.updates is not None:
        count = 2 + train.updates // config.evaluation.every
        times.append(train.updates * one + count * evaluation)
    return min(times)


def _silent(values: Mapping[str, Any], step: int) -> None:
    return None


def _nothing() -> None:
    return None
