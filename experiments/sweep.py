"""Quality against diversity over temperature, for one trained generator.

At each temperature the same number of sentences is drawn with the same seed. Quality is BLEU-4
against held-out references, diversity is 1 - Self-BLEU-4, both of the same sentences: a curve that
takes them at different temperatures is not the curve of one model (Caccia et al. 2020). For an
explicit generator (its sampling has a likelihood) the temperature divides the logits, for an
implicit one it multiplies the noise. With `bound`, the judge's lower bound of the divergence
(`jsd_bound`) of the same sentences is added at each temperature. Where the corpus distribution is
known, its references are fresh sentences, those of the run's own evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from core.config import Config
from core.errors import InputError
from core.metrics.catalogue import FLOORS
from core.metrics.files import of_unequal_counts
from core.metrics.floors import MOST, Floor
from core.metrics.intervals import Measure
from core.metrics.judge import FEWEST
from core.metrics.ngrams import Text
from core.metrics.suite import Suite
from core.numbers import MAX_TEMPERATURE, MIN_TEMPERATURE, is_temperature
from core.text.corpus import Corpus, Split
from core.text.oracles import oracle_of
from core.tracking.protocol import RunRecord, Tracker, study_run
from experiments.baselines import mle_baseline
from experiments.console import stdout, table
from experiments.corpora import config_of, corpus_of
from experiments.generate import SentenceSampler
from experiments.single_run.evaluator import bound, distribution_of, fresh_references
from studies.analysis.plane import Point, Sweep, area
from studies.leaderboard import seed_runs

TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5)
QUALITY, SAMENESS, BOUND = "bleu_4", "self_bleu_4", "jsd_bound"


@dataclass(frozen=True)
class Draws:
    """What is drawn at each temperature, and what it is compared with."""

    temperatures: Sequence[float]
    count: int  # sentences
    seed: int = 0
    bound: bool = False  # also jsd_bound
    split: str = "validation"  # of the corpus; "test" for a temperature that was chosen before


def temperatures_of(given: Sequence[str]) -> tuple[float, ...]:
    """The temperatures of `--temperatures`, ascending; InputError for anything else."""
    if not given:
        return TEMPERATURES
    text = ",".join(given)
    try:
        found = tuple(sorted(map(float, given)))
    except ValueError:
        raise InputError(f"--temperatures {text}: numbers with commas, such as .5,1,1.5") from None
    if not all(map(is_temperature, found)):
        raise InputError(
            f"--temperatures {text}: each must be {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}"
        )
    return found


def check_bound(count: int) -> None:
    """InputError for fewer sentences than the judge needs."""
    if count < FEWEST:
        raise InputError(f"-n {count} --bound: {BOUND} needs at least {FEWEST} sentences")


def runs_of(tracker: Tracker, keys: Sequence[str], study: str | None) -> list[RunRecord]:
    """The named runs and the successful runs of the study; InputError if there are none."""
    found = [tracker.run(key) for key in keys]
    if study is not None:
        seeds = seed_runs(tracker, study_run(tracker, study).experiment)
        found += [run for run in seeds if run.outcome == "ok"]
    if not found:
        reason = f"study {study!r} has no run with outcome ok" if study else "no run is named"
        raise InputError(f"{reason}: textgan sweep RUN..., or --study NAME")
    return found


def sweep_run(
    tracker: Tracker,
    run_id: str,
    sampler: SentenceSampler,
    draws: Draws,
    step: Callable[[float], None],
) -> Sweep:
    """Sweep a run's `sampler` on a split of the run's corpus, with the baselines that the corpus
    allows; real text is the other of the validation and the test split.
    """
    config, corpus = config_of(tracker, run_id), corpus_of(tracker, run_id)
    training = corpus.train.sentences()
    count, seed = draws.count, draws.seed
    mle = mle_baseline(training, count, tracker.store_dir)  # trains in the background
    oracle = oracle_of(config.corpus, config.model.length) if draws.bound else None
    ours, other, stream = corpus.validation, corpus.test, "eval"
    if draws.split == "test":
        ours, other, stream = other, ours, "test"
    suite = Suite(ours.sentences(count), training, oracle)
    fresh = _fresh(config, corpus, count, stream) if draws.bound else []
    baselines: dict[str, Callable[[], Text]] = {
        "real": lambda: other.sentences(count),
        **{name: partial(_of_floor, name, corpus.train, count, seed) for name in FLOORS},
    }
    if mle is not None:
        baselines["mle"] = mle
    found = sweep(sampler, suite, draws, baselines, step, fresh)
    notes = [*found.notes]
    if few := of_unequal_counts(count, min(len(other), count), ["self_bleu"]):
        notes.append(few)
    if mle is not None and "mle" in found.baselines:
        notes.append(f"mle: {count:,} sentences of {mle.about()}")
    return replace(found, notes=tuple(notes))


def _fresh(config: Config, corpus: Corpus, count: int, stream: str) -> Text:
    """Fresh references of the run's corpus; none where its distribution is not known."""
    return fresh_references(distribution_of(config, corpus), count, stream, config.seed)


def _of_floor(name: str, train: Split, count: int, seed: int) -> Text:
    """Sentences of an n-gram model of the training text."""
    length = len(train.sentence(0)) if train.fixed_length else None
    return Floor(name, train.sentences(MOST)).sample(count, length, np.random.default_rng(seed))


def sweep(
    sampler: SentenceSampler,
    suite: Suite,
    draws: Draws,
    baselines: Mapping[str, Callable[[], Text]],
    step: Callable[[float], None] = lambda done: None,
    fresh: Text = (),
) -> Sweep:
    """Draw and score sentences at each temperature, then those of the baselines, which get no
    bound. That is against `fresh` references, or those of the suite if there are none.
    """
    points = []
    for number, temperature in enumerate(draws.temperatures):
        step(number)
        drawn = sampler.tokens(draws.count, temperature, draws.seed, "sweep")
        judged = bound(suite, drawn, fresh) if draws.bound else None
        points.append(_point(suite, drawn, temperature, judged))
    found, notes = {}, []
    for name, write in baselines.items():
        try:
            found[name] = _point(suite, write(), None)
        except InputError as error:
            notes.append(f"no {name} row: {error}")
    shape = [(point.diversity, point.quality) for point in points]
    swept = "softmax temperature" if sampler.spec.has_likelihood else "scale of the noise"
    return Sweep(swept, tuple(points), found, area(shape), len(suite.references), tuple(notes))


def _point(
    suite: Suite, sentences: Text, temperature: float | None, judged: Measure | None = None
) -> Point:
    found = suite.measures(sentences, ("bleu", "self_bleu"))
    quality, sameness = found[QUALITY], found[SAMENESS]
    repeated = sameness.interval()
    return Point(
        temperature,
        quality.value or 0.0,
        1 - (sameness.value if sameness.value is not None else 1.0),
        quality.interval(),
        (1 - repeated[1], 1 - repeated[0]) if repeated else None,
        len(sentences),
        judged.value if judged else None,
        judged.interval() if judged else None,
    )


def show(found: Mapping[str, Sweep], count: int) -> None:
    """Print one table per run."""
    for name, one in found.items():
        bounds = [BOUND] if any(p.bound is not None for p in one.points) else []
        rows = [
            [f"{p.temperature:g}" if p.temperature is not None else label,
             _cell(p.quality, p.quality_interval), _cell(p.diversity, p.diversity_interval),
             *(_cell(p.bound, p.bound_interval) for _ in bounds)]
            for label, p in [*(("", p) for p in one.points), *one.baselines.items()]
        ]  # fmt: skip
        title = f"{name}: area {one.area:.4f}; {count:,} sentences, {one.references:,} references"
        stdout.print(table([one.swept, "BLEU-4", "1 - Self-BLEU-4", *bounds], rows, title))


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" + (f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else "")
