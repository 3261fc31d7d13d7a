"""Metrics of text files: one sentence a line, split on white space, nothing cleaned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.errors import InputError, nearest
from core.metrics.audit import audit
from core.metrics.catalogue import AGAINST, BY_COUNT, CATALOGUE, GROUPS, LEAST
from core.metrics.encoders import Encoder
from core.metrics.intervals import Bounds, Measure
from core.metrics.kneser_ney import ORDER
from core.metrics.ngrams import Sentence
from core.metrics.published import DEFECTS, NEEDS, PROTOCOLS
from core.metrics.suite import Suite
from core.text.hashing import hash_of
from core.text.oracles import Oracle
from core.text.readers import lines

NGRAM_SEED = 0
UNEQUAL = 0.02  # of the samples, that the row of real text may have more or fewer
Step = Callable[[str, float, float], None]
Text = list[list[str]]
Measured = tuple[str, Measure, Bounds]


class Baseline(Protocol):
    """Text that something fitted on the training text has written."""

    def __call__(self) -> Sequence[Sentence]:
        """The sentences; InputError where there are none to be had."""
        ...

    def about(self) -> str:
        """What wrote them, once they are there."""
        ...


@dataclass(frozen=True)
class Inputs:
    """What an evaluation is given; sentences as words."""

    samples: Sequence[Sentence]
    references: Sequence[Sentence]
    held_out: Sequence[Sentence] | None = None
    train: Sequence[Sentence] = ()
    mle: Baseline | None = None  # on `train`
    grammar: Oracle | None = None
    encoder: Encoder | None = None
    protocol: str | None = None  # BLEU and Self-BLEU as published code has them


@dataclass
class Evaluation:
    """What an evaluation found; `document` is what `textgan evaluate --json` prints."""

    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    baselines: dict[str, dict[str, float | None] | None] = field(default_factory=dict)
    baseline_intervals: dict[str, dict[str, Bounds] | None] = field(default_factory=dict)
    about: dict[str, str | None] = field(default_factory=dict)  # what each baseline is
    warnings: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Metrics, baselines, their intervals (low, high) and what they are, warnings."""
        return {
            "metrics": self.metrics,
            "baselines": self.baselines,
            "baseline_intervals": self.baseline_intervals,
            "about": self.about,
            "warnings": self.warnings,
        }


def read_sentences(path: Path) -> Text:
    """Sentences of a file as words; an empty line is an empty sentence. InputError if no text.

    Equal words are one object, so that a million sentences take tens of bytes a word.
    """
    known: dict[str, str] = {}
    sentences = [[known.setdefault(w, w) for w in text.split()] for _, text in lines(path)]
    if not known:
        raise InputError(f"{path}: no sentence in it")
    return sentences


def chosen_groups(names: Sequence[str] | None) -> list[str]:
    """The groups asked for, all of them when none is; InputError for an unknown one."""
    for name in names or ():
        if name not in GROUPS:
            raise InputError(f"--metrics: no group {name!r}{nearest(name, GROUPS)}")
    return [group for group in GROUPS if group in (names or GROUPS)]


def chosen_protocol(name: str | None, groups: Sequence[str] | None) -> str | None:
    """The protocol; InputError for an unknown one, or for groups beside it."""
    if name is not None and name not in PROTOCOLS:
        raise InputError(f"--protocol: no protocol {name!r}{nearest(name, PROTOCOLS)}")
    if name is not None and groups:
        raise InputError("--protocol says what is measured; leave out --metrics")
    return name


def evaluate(
    inputs: Inputs,
    groups: Sequence[str] = GROUPS,
    step: Step = lambda words, done, total: None,
) -> Evaluation:
    """Score the samples and the baselines: real text, an n-gram model, MLE."""
    suite = Suite(inputs.references, inputs.train, inputs.grammar, inputs.encoder)
    rows = _baseline_rows(inputs, suite)
    total = len(groups) * (1 + len(rows) + (inputs.mle is not None))

    def measures(scorer: Suite, text: Sequence[Sentence], row: int) -> Iterator[Measured]:
        """Name, metric and interval, group by group: what an interval needs of a million sentences
        is forgotten before the next group.
        """
        if inputs.protocol is not None:
            for name, measure in scorer.published(text, inputs.protocol).items():
                yield name, measure, _interval(measure)
            return
        for number, group in enumerate(groups):
            step(group, len(groups) * row + number, total)
            for name, measure in scorer.measures(text, [group]).items():
                yield name, measure, _interval(measure)

    found = Evaluation(warnings=_warnings(inputs, groups))
    for name, measure, bounds in measures(suite, inputs.samples, 0):
        low, high = bounds or (None, None)
        found.metrics[name] = {
            "value": measure.value,
            "low": low,
            "high": high,
            "samples": measure.samples,
            "references": measure.references or len(inputs.references),
            "direction": CATALOGUE[name].direction,
        }
        if (count := min(measure.samples, measure.references)) < measure.least:
            found.warnings.append(
                f"{name}: no interval from {count:,} sentences ({measure.least:,} of each would do)"
            )
    found.baselines = dict.fromkeys(("real", "mle", "ngram"))
    found.baseline_intervals = dict.fromkeys(found.baselines)
    found.about = dict.fromkeys(found.baselines)
    if inputs.mle is not None:  # last, since it may have to be waited for
        step("training the MLE baseline", len(groups) * (1 + len(rows)), total)
        try:
            written = inputs.mle()
            about = f"{len(written):,} sentences of {inputs.mle.about()}"
            rows["mle"] = Row(suite, written, about)
        except InputError as error:
            found.warnings.append(f"no mle row: {error}")
    for number, (name, row) in enumerate(rows.items(), start=1):
        values: dict[str, float | None] = {}
        intervals: dict[str, Bounds] = {}
        for metric, measure, bounds in measures(row.scorer, row.sentences, number):
            values[metric], intervals[metric] = measure.value, bounds
        found.baselines[name], found.baseline_intervals[name] = values, intervals
        found.about[name] = row.about
    step("done", total, total)
    return found


def _interval(measure: Measure) -> Bounds:
    return measure.interval() if measure.value is not None else None


@dataclass(frozen=True)
class Row:
    """A baseline: its sentences, what scores them, and what they are in words."""

    scorer: Suite
    sentences: Sequence[Sentence]
    about: str


def _baseline_rows(inputs: Inputs, suite: Suite) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    if inputs.held_out is not None:
        about = f"{len(inputs.held_out):,} sentences of --held-out, scored as if generated"
        rows["real"] = Row(suite, inputs.held_out, about)
    elif len(inputs.references) > 1:
        compared, scored = halves(inputs.references)
        about = f"{len(scored):,} of the references against the other {len(compared):,}"
        rows["real"] = Row(suite.against(compared), scored, about)
    if inputs.train:
        drawn = suite.model.sample(len(inputs.samples), np.random.default_rng(NGRAM_SEED))
        about = f"{len(drawn):,} sentences of a Kneser-Ney model of order {ORDER} of --train"
        rows["ngram"] = Row(suite, drawn, about)
    return rows


def halves(sentences: Sequence[Sentence]) -> tuple[list[Sentence], list[Sentence]]:
    """Two halves of a text as if split at random, whatever its order: the lower and the higher
    hashes. The second sentence of the same words has a hash of its own, as the third has; copies
    that stayed together would make the halves differ.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    hashes = []
    for sentence in sentences:
        words = tuple(sentence)
        hashes.append(hash_of([*words, "\n", str(seen[words])]))
        seen[words] += 1
    order = np.argsort(np.array(hashes, dtype=np.uint64), kind="stable")
    middle = len(sentences) // 2
    return [sentences[i] for i in order[:middle]], [sentences[i] for i in order[middle:]]


def _warnings(inputs: Inputs, groups: Sequence[str]) -> list[str]:
    warnings = []
    splits = {"the training text": inputs.train, "the references": inputs.references}
    splits |= {"the held-out text": inputs.held_out or ()}
    for pair in audit({name: text for name, text in splits.items() if text}):
        warnings += pair.warnings()
    if inputs.protocol is not None:
        warnings.append(f"--protocol {inputs.protocol}: {DEFECTS[inputs.protocol]}")
        least = NEEDS[inputs.protocol]
        for side, text in (("samples", inputs.samples), ("references", inputs.references)):
            if len(text) < least:
                warnings.append(
                    f"--protocol {inputs.protocol} takes {least:,} {side}, here are {len(text):,}: "
                    f"not comparable with its published numbers"
                )
        return warnings
    if inputs.held_out is None:
        warnings.append(
            "no --held-out: the row of real text is one half of the references, by a hash of the "
            "sentence, against the other half, fewer references than the samples had"
        )
    elif unequal := _of_unequal_counts(len(inputs.samples), len(inputs.held_out), groups):
        warnings.append(unequal)
    if not inputs.train and inputs.encoder is None and {"fed", "mmd"} & set(groups):
        warnings.append(
            "no --train: the encoder was fitted on references and samples together, so fed and mmd "
            "of two files of samples do not share a scale"
        )
    compared = [group for group in groups if group in AGAINST]
    for side, text, concerned in (
        ("samples", inputs.samples, groups),
        ("references", inputs.references, compared),
    ):
        count, short = len(text), dict[int, list[str]]()
        for group in concerned:
            if count < LEAST[group]:
                short.setdefault(LEAST[group], []).append(group)
        parts = [f"{', '.join(names)} ({least:,} would do)" for least, names in short.items()]
        if parts:
            warnings.append(f"{count:,} {side} are too few for {'; '.join(parts)}")
    return warnings


def _of_unequal_counts(samples: int, held_out: int, groups: Sequence[str]) -> str | None:
    named = [group for group in groups if group in BY_COUNT]
    if not named or abs(samples - held_out) <= UNEQUAL * samples:
        return None
    return (
        f"{samples:,} samples, but the row of real text has {held_out:,} sentences: "
        f"{', '.join(named)} depend on the number and may not be compared with it "
        f"({min(samples, held_out):,} of each would do)"
    )
