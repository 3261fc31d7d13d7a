"""Metrics of text files: one sentence a line, split on white space, nothing cleaned.

An `Evaluation` is the document that `textgan evaluate --json` prints. Its format is stable: names
may be added, none is renamed or removed, and no number is NaN (undefined is null).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from core.errors import InputError, nearest
from core.metrics.audit import audit
from core.metrics.bleu import PROTOCOLS
from core.metrics.catalogue import CATALOGUE, FLOORS, GROUPS, TEXT_GROUPS, Direction
from core.metrics.encoders import DEFAULT, Encoder
from core.metrics.floors import MOST, Floor
from core.metrics.intervals import Bounds, Measure
from core.metrics.judgements import Judgements
from core.metrics.ngrams import Sentence, Text
from core.metrics.signature import Signature, of_metric
from core.metrics.suite import Suite
from core.plural import count
from core.text.corpus import spaced
from core.text.hashing import hash_of
from core.text.oracles import LstmOracle, Oracle
from core.text.readers import read_texts

UNEQUAL = 0.02  # share of the samples by which the row of real text may have more or fewer
Number = float | None
Step = Callable[[str, float, float], None]  # name of the group, steps done, steps in all
SAMPLES, JUDGE = "samples", "jsd_bound"
BASELINES = ("real", "mle", *FLOORS, "ngram")


class Baseline(Protocol):
    """Text of a model of the training text."""

    def __call__(self) -> Text:
        """The sentences; InputError if there are none."""

    def about(self) -> str:
        """What the model is, once it has generated them."""


@dataclass(frozen=True)
class Inputs:
    """The texts of an evaluation; sentences as words."""

    samples: Text
    references: Text
    held_out: Text | None = None
    train: Text = ()
    mle: Baseline | None = None  # on `train`
    oracle: Oracle | None = None
    encoder: Encoder | None = None
    built_in: str = DEFAULT  # the encoder to fit if there is none
    protocol: str | None = None  # BLEU and Self-BLEU as published code computes them
    baselines: bool = True  # whether to score real text and models of the training text too
    judgements: Judgements | None = None  # of `jsd_bound`; None: computed here


class MetricRow(BaseModel):
    """A metric of the samples."""

    model_config = ConfigDict(extra="forbid")
    value: Number = Field(description="null if undefined, such as copied without --train")
    low: Number = Field(description="lower end of the 95% interval; null if there is none")
    high: Number = Field(description="upper end of the interval; null if low is")
    samples: int = Field(ge=0, description="number of sentences scored")
    references: int = Field(ge=0, description="number of sentences compared with")
    direction: Direction = Field(
        description="which way is better; near: near the value of real text"
    )
    signature: str = Field(description="how it was computed; see core.metrics.signature")
    reason: str | None = Field(description="why the value is null, where that is known")


class Evaluation(BaseModel):
    """The document of `textgan evaluate --json`."""

    model_config = ConfigDict(extra="forbid")
    metrics: dict[str, MetricRow] = Field(description="by name, all of the selected groups")
    baselines: dict[str, dict[str, Number] | None] = Field(
        description="of real, mle, unigram, bigram, trigram: values by metric; null if there is no "
        "such baseline. ngram, an earlier smoothed model, is always null"
    )
    baseline_intervals: dict[str, dict[str, Bounds] | None] = Field(
        description="the 95% intervals of these values, [low, high]; null if there is none"
    )
    about: dict[str, str | None] = Field(
        description="what each baseline is; of `mle` its budget and perplexity too"
    )
    warnings: list[str] = Field(description="sentences for people; empty if there is no problem")
    signature: str = Field(description="how the values were computed: that of each derives from it")
    baseline_signatures: dict[str, str | None] = Field(
        description="the same of the values of each baseline; null if there is no such baseline"
    )


def read_sentences(path: Path, column: str | None = None) -> list[list[str]]:
    """Sentences of a file as words; an empty line is an empty sentence. InputError if no text.

    Equal words share one object, so that a million sentences take tens of bytes a word.
    """
    known: dict[str, str] = {}
    texts = read_texts(path, column)
    sentences = [[known.setdefault(word, word) for word in text.split()] for text in texts]
    if not known:
        raise InputError(f"{path}: no sentence in it")
    return sentences


def chosen_groups(names: Sequence[str] | None) -> list[str]:
    """The given groups, or all that are not optional; InputError for an unknown one."""
    known = [group for group, info in GROUPS.items() if not info.generator]
    for name in names or ():
        if name not in known:
            raise InputError(f"--metrics: no group {name!r}{nearest(name, known)}")
    return [group for group in known
            if (group in names if names else not GROUPS[group].optional)]  # fmt: skip


def check_protocol(name: str | None, groups: Sequence[str] | None) -> None:
    """InputError for an unknown protocol, or if groups are given too."""
    if name is not None and name not in PROTOCOLS:
        raise InputError(f"--protocol: no protocol {name!r}{nearest(name, PROTOCOLS)}")
    if name is not None and groups:
        raise InputError("--protocol selects the metrics; leave out --metrics")


def evaluate(
    inputs: Inputs,
    groups: Sequence[str] = TEXT_GROUPS,
    step: Step = lambda group, done, total: None,
    suite: Suite | None = None,
    changes: dict[str, np.ndarray | None] | None = None,
) -> Evaluation:
    """Score the samples and the baselines: real text, n-gram floors, `mle`. `suite` is that of the
    inputs, if there is one already; `changes` receives `Measure.by_reference` of each metric.
    """
    suite = suite or suite_of(inputs)
    warnings = _warnings(inputs, groups)
    rows = {SAMPLES: Row(suite, inputs.samples, "")}
    if inputs.baselines:
        rows |= _baseline_rows(inputs, suite)
    scoring = _Scoring(inputs, len(rows), groups, step, keep_changes=changes is not None)
    scoring.score(rows)
    if inputs.mle is not None:  # last, because it is trained while the others are scored
        step("training the likelihood baseline", scoring.done, scoring.total)
        if (likelihood := _likelihood_row(inputs.mle, suite, warnings)) is not None:
            rows["mle"] = likelihood
            scoring.score({"mle": likelihood})
    measured = scoring.finish(rows)
    if changes is not None:
        changes |= {name: each.by_reference() for name, each in measured[SAMPLES].items()}
    found = _of_samples(inputs, suite, measured.pop(SAMPLES), warnings)
    for name, of_row in measured.items():
        signature = rows[name].scorer.signature(rows[name].sentences, **_parts(inputs))
        found.baselines[name] = {metric: each.value for metric, each in of_row.items()}
        found.baseline_intervals[name] = {
            metric: each.interval() for metric, each in of_row.items()
        }
        found.about[name] = rows[name].about
        found.baseline_signatures[name] = str(signature)
    return found


class _Scoring:
    """Scores rows and counts the steps. `jsd_bound` of several rows is computed in the processes of
    `inputs.judgements`, which start with `score`; `finish` waits for them.
    """

    def __init__(
        self, inputs: Inputs, rows: int, groups: Sequence[str], step: Step, *, keep_changes: bool
    ) -> None:
        self._inputs, self._step, self._keep_changes = inputs, step, keep_changes
        self.done, self.total = 0, len(groups) * (rows + (inputs.mle is not None))
        judged = inputs.protocol is None and rows > 1
        self._judgements = inputs.judgements if judged and JUDGE in groups else None
        self._late = [JUDGE] if self._judgements else []
        self._early = [group for group in groups if group not in self._late]
        self._measured: dict[str, dict[str, Measure]] = {}

    def score(self, rows: Mapping[str, Row]) -> None:
        """Score rows by all groups but that of the judgements, which start here."""
        if self._judgements is not None:
            for name, row in rows.items():
                row.scorer.judge_in(self._judgements, row.sentences, keep=name != SAMPLES)
        for name, row in rows.items():
            self._score(name, row, self._early)

    def finish(self, rows: Mapping[str, Row]) -> dict[str, dict[str, Measure]]:
        """The measures of all rows by metric, in the order of the catalogue."""
        if self._judgements is not None:
            self._judgements.finish()
            for name, row in rows.items():
                self._score(name, row, self._late)
        self._step("done", self.total, self.total)
        return {
            name: {metric: found[metric] for metric in CATALOGUE if metric in found}
            for name, found in self._measured.items()
        }

    def _score(self, name: str, row: Row, groups: Sequence[str]) -> None:
        found = self._measured.setdefault(name, {})
        if self._inputs.protocol is not None:
            found |= row.scorer.published(row.sentences, self._inputs.protocol)
            return
        for group in groups:
            self._step(group, self.done, self.total)
            for metric, measure in row.scorer.measures(row.sentences, [group]).items():
                found[metric] = _settled(measure, self._keep_changes and name == SAMPLES)
            self.done += 1


def _settled(measure: Measure, keep_changes: bool) -> Measure:
    """With its interval computed, and without the data that this needs: of a million sentences
    they are freed before the next group.
    """
    bounds = measure.interval()
    changes = measure.by_reference() if keep_changes else None
    return replace(measure, interval=lambda: bounds, by_reference=lambda: changes)


def _parts(inputs: Inputs) -> dict[str, str]:
    """The parts of signatures that a suite does not know."""
    return {"protocol": inputs.protocol} if inputs.protocol is not None else {}


def _of_samples(
    inputs: Inputs, suite: Suite, measured: Mapping[str, Measure], warnings: Sequence[str]
) -> Evaluation:
    """The evaluation without baselines."""
    signature = suite.signature(inputs.samples, **_parts(inputs))
    metrics = {
        name: _metric_row(name, measure, len(inputs.references), signature)
        for name, measure in measured.items()
    }
    few = [
        f"{name}: no interval from {count(fewer, 'sentence')} (needs {measure.least:,} of each)"
        for name, measure in measured.items()
        if (fewer := min(measure.samples, measure.references)) < measure.least
    ]
    return Evaluation(
        metrics=metrics,
        baselines=dict.fromkeys(BASELINES),
        baseline_intervals=dict.fromkeys(BASELINES),
        about=dict.fromkeys(BASELINES),
        warnings=[*warnings, *few, *_undefined(metrics, suite)],
        signature=str(signature),
        baseline_signatures=dict.fromkeys(BASELINES),
    )


def _metric_row(name: str, measure: Measure, references: int, document: Signature) -> MetricRow:
    low, high = measure.interval() or (None, None)
    info = CATALOGUE[name]
    return MetricRow(
        value=measure.value,
        low=low,
        high=high,
        samples=measure.samples,
        references=measure.references or references,
        direction=info.direction,
        signature=str(of_metric(name, document, GROUPS[info.group])),
        reason=measure.reason or None,
    )


def _undefined(metrics: Mapping[str, MetricRow], suite: Suite) -> list[str]:
    """A warning for each reason why metrics have no value, unless their input was not given."""
    failed = {
        name: row.reason
        for name, row in metrics.items()
        if row.reason is not None and not suite.missing(CATALOGUE[name].group)
    }
    return [
        f"no {', '.join(name for name, why in failed.items() if why == reason)}: {reason}"
        for reason in dict.fromkeys(failed.values())
    ]


def suite_of(inputs: Inputs) -> Suite:
    """The suite that scores any samples of these inputs."""
    return Suite(inputs.references, inputs.train, inputs.oracle, inputs.encoder, inputs.built_in)


@dataclass(frozen=True)
class Row:
    """A baseline: the suite that scores it, its sentences, its description."""

    scorer: Suite
    sentences: Text
    about: str


def _likelihood_row(mle: Baseline, suite: Suite, warnings: list[str]) -> Row | None:
    """The row of the likelihood baseline; None, with a warning, if its training failed."""
    try:
        sentences = mle()
    except InputError as error:
        warnings.append(f"no mle row: {error}")
        return None
    return Row(suite, sentences, f"{count(len(sentences), 'sentence')} of {mle.about()}")


def _baseline_rows(inputs: Inputs, suite: Suite) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    if inputs.held_out is not None:
        about = f"{count(len(inputs.held_out), 'sentence')} of --held-out, scored as if generated"
        rows["real"] = Row(suite, inputs.held_out, about)
    elif len(inputs.references) > 1:
        compared, scored = halves(inputs.references)
        about = f"{len(scored):,} of the references against the other {len(compared):,}"
        rows["real"] = Row(suite.against(compared), scored, about)
    if inputs.train:
        training = [inputs.train[index] for index in spaced(len(inputs.train), MOST)]
        length = inputs.oracle.length if isinstance(inputs.oracle, LstmOracle) else None
        for name in FLOORS:
            drawn = Floor(name, training).sample(len(inputs.samples), length)
            about = f"{count(len(drawn), 'sentence')} of an unsmoothed {name} model of --train"
            rows[name] = Row(suite, drawn, about)
    return rows


def halves(sentences: Text) -> tuple[list[Sentence], list[Sentence]]:
    """Two halves of a text as if split at random, whatever its order: lower and higher hashes. Each
    repetition of a sentence has its own: repetitions that stayed together would make them differ.
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
        protocol = PROTOCOLS[inputs.protocol]
        warnings.append(f"--protocol {inputs.protocol}: {protocol.defect}")
        for side, text in (("samples", inputs.samples), ("references", inputs.references)):
            if len(text) < protocol.needs:
                warnings.append(
                    f"--protocol {inputs.protocol} takes {protocol.needs:,} {side}, but there are "
                    f"{len(text):,}: not comparable with its published numbers"
                )
        return warnings
    if inputs.held_out is None:
        warnings.append(
            "no --held-out: the row of real text is one half of the references (by a hash of the "
            "sentence) against the other half, so with fewer references than the samples"
        )
    elif unequal := of_unequal_counts(len(inputs.samples), len(inputs.held_out), groups):
        warnings.append(unequal)
    if not inputs.train and inputs.encoder is None and {"fed", "mmd"} & set(groups):
        warnings.append(
            "no --train: the encoder was fitted on references and samples together, so fed and mmd "
            "of two sample files do not share a scale"
        )
    compared = [group for group in groups if GROUPS[group].references]
    for side, text, concerned in (
        ("samples", inputs.samples, groups),
        ("references", inputs.references, compared),
    ):
        size, short = len(text), dict[int, list[str]]()
        for group in concerned:
            if size < GROUPS[group].needs:
                short.setdefault(GROUPS[group].needs, []).append(group)
        parts = [f"{', '.join(names)} (needs {needs:,})" for needs, names in short.items()]
        if parts:
            warnings.append(f"{side}: {size:,} is too few for {'; '.join(parts)}")
    return warnings


def of_unequal_counts(samples: int, held_out: int, groups: Sequence[str]) -> str | None:
    """A warning if the row of real text has another number, and values of groups depend on it."""
    named = [group for group in groups if GROUPS[group].size_dependent]
    if not named or abs(samples - held_out) <= UNEQUAL * samples:
        return None
    return (
        f"{samples:,} samples, but the row of real text has {count(held_out, 'sentence')}: "
        f"values of {', '.join(named)} depend on the number and cannot be compared with it "
        f"(use {min(samples, held_out):,} of each)"
    )
