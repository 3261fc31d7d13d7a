"""All metrics of a sample, against references that are indexed once.

Training runs, `textgan evaluate` and baseline rows all use a `Suite`. A training run computes the
values of a few cheap groups (`METRICS`); an evaluation all groups, with intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from core.errors import first_line
from core.metrics import diversity
from core.metrics.bleu import PROTOCOLS, Found, ReferenceIndex, bleu_measures, self_bleu_measures
from core.metrics.catalogue import BLEU_ORDERS, GROUPS, METRICS, TEXT_GROUPS, names_of
from core.metrics.encoders import BUILT_IN, DEFAULT, FITTED_ON, Encoder
from core.metrics.fed import SMALLEST, fed
from core.metrics.intervals import Measure, mean_of, share_of
from core.metrics.judgements import Judgement, Judgements
from core.metrics.kneser_ney import KneserNey
from core.metrics.lm import lm, reverse_lm
from core.metrics.mauve import mauve
from core.metrics.mmd import mmd
from core.metrics.ms_jaccard import ms_jaccard
from core.metrics.ngrams import Sentence, Text
from core.metrics.oracle import oracle
from core.metrics.plugins import PLUGINS, Need
from core.metrics.signature import Signature, of_document, text_signature
from core.metrics.two_sample import c2st, nearest_neighbour
from core.text.corpus import Split, spaced
from core.text.oracles import Oracle

MAX_PAIRED = 10_000  # sentences on each side for metrics of quadratic cost
IN_RUNS = tuple(
    group for group in TEXT_GROUPS if GROUPS[group].in_runs and not GROUPS[group].last_only
)


class Suite:
    """References, training text and oracle of one corpus, to score samples.

    Without an `encoder` the `built_in` one is fitted on the training text; without that, on
    references and samples together, and then values of two samples do not share a scale.
    """

    def __init__(
        self,
        references: Text,
        training: Iterable[Sentence] = (),
        oracle: Oracle | None = None,
        encoder: Encoder | None = None,
        built_in: str = DEFAULT,
    ) -> None:
        self.references = references
        self.oracle = oracle
        self._training = training
        self._encoder = encoder
        self._built_in = BUILT_IN[built_in]
        self._fitted_on: tuple[Text, Encoder] | None = None
        # By the identities of samples and references, which are held so that they stay theirs.
        self._judgements: dict[tuple[int, int], tuple[Judgement, Text, Text]] = {}

    def against(self, references: Text) -> Suite:
        """The same corpus, encoder and language model, with other references."""
        other = copy(self)
        other.references = references
        for name in ("index", "_embedded", "_fingerprints"):
            other.__dict__.pop(name, None)
        return other

    @cached_property
    def index(self) -> ReferenceIndex:
        """The references' n-grams."""
        return ReferenceIndex(self.references)

    @cached_property
    def training(self) -> diversity.Training:
        """The distinct sentences of the training text. Those of subwords are looked up as words."""
        if isinstance(self._training, Split) and self._training.vocabulary.level != "subword":
            return self._training.sentence_set()
        return {tuple(sentence) for sentence in self._training}

    @cached_property
    def training_text(self) -> list[Sentence]:
        """The training text, with its repetitions."""
        return list(self._training)

    @cached_property
    def copy_index(self) -> diversity.CopyIndex:
        """The n-grams of the training text, for the longest copy in each sentence."""
        return diversity.CopyIndex(self.training_text)

    @cached_property
    def model(self) -> KneserNey:
        """The n-gram language model of the training text."""
        return KneserNey(self.training_text)

    @cached_property
    def _fitted(self) -> Encoder | None:
        if self._encoder is None and self.training:
            if isinstance(self._training, Split):  # its words are never all in memory
                return self._built_in(self._training.sentences(FITTED_ON))
            return self._built_in(self.training_text)
        return self._encoder

    def encoder(self, samples: Text) -> Encoder:
        """The encoder that scores `samples`."""
        if self._fitted is not None:
            return self._fitted
        if self._fitted_on is None or self._fitted_on[0] is not samples:
            self._fitted_on = samples, self._built_in([*self.references, *samples])
        return self._fitted_on[1]

    @cached_property
    def _embedded(self) -> np.ndarray | None:
        return self._fitted(self.references) if self._fitted else None

    @cached_property
    def _fingerprints(self) -> dict[str, str]:
        """Number and fingerprint of the references, and of a training text that is in memory."""
        texts = {"refs": self.references}
        if not isinstance(self._training, Split):
            texts["train"] = self.training_text
        return {key: text_signature(text) for key, text in texts.items() if text}

    def signature(self, samples: Text, **parts: str) -> Signature:
        """The signature of all values of `samples`; `parts` are what the suite does not know."""
        found = {"n": str(len(samples)), **self._fingerprints, "tok": "words", **parts}
        if self.oracle is not None:
            found["oracle"] = self.oracle.name
        if self._encoder is not None:
            found["enc"] = self._encoder.name
        else:
            fitted_on = found.get("train") or text_signature([*self.references, *samples])
            found["enc"] = f"{self._built_in.KIND}:{fitted_on}"
        return of_document(found)

    def measures(self, samples: Text, groups: Sequence[str] = TEXT_GROUPS) -> Found:
        """Every metric of the groups by name; an undefined one has the value None."""
        measured: Found = {}
        for group in groups if samples else ():
            if self.missing(group):
                continue
            if group in PLUGINS:
                measured[group] = self._plugin(group, samples)
            else:
                measured |= MEASURES[group](self, samples)
        return self._with_undefined(measured, samples, groups)

    def judge_in(self, judgements: Judgements, samples: Text, *, keep: bool) -> None:
        """Start the judgement of `samples` that `jsd_bound` of the same object will wait for."""
        texts = equal_counts(samples, self.references)
        if (started := judgements.start(*texts, self.oracle, keep=keep)) is not None:
            key = id(samples), id(self.references)
            self._judgements[key] = started, samples, self.references

    def missing(self, group: str) -> str:
        """What the group needs and the suite has not; empty if that is nothing."""
        if GROUPS[group].training and not self.training:
            return "needs the training text"
        if GROUPS[group].oracle and self.oracle is None:
            return "needs an oracle"
        return ""

    def _plugin(self, name: str, samples: Text) -> Measure:
        metric = PLUGINS[name]
        there: dict[Need, Callable[[], Any]] = {
            "training": lambda: self.training_text,
            "oracle": lambda: self.oracle,
            "encoder": lambda: self.encoder(samples),
        }
        needed = {need: there[need]() for need in metric.needs}
        try:
            return metric.apply(samples, self.references, needed)
        except Exception as error:  # noqa: BLE001 - any error of a foreign function
            reason = f"{type(error).__name__}: {first_line(error)}"
            return Measure(None, len(samples), len(self.references), reason=reason)

    def published(self, samples: Text, protocol: str) -> Found:
        """BLEU and Self-BLEU as a published protocol computes them."""
        measured = PROTOCOLS[protocol].measure(samples, self.references)
        return self._with_undefined(measured, samples, ("bleu", "self_bleu"))

    def _with_undefined(self, measured: Found, samples: Text, groups: Sequence[str]) -> Found:
        sizes, silent = (len(samples), len(self.references)), diversity.silent(samples)
        reasons = {
            group: self.missing(group) or (silent if GROUPS[group].needs_words else "")
            for group in groups
        }
        return {
            name: (not reason and measured.get(name)) or Measure(None, *sizes, reason=reason)
            for group, reason in reasons.items()
            for name in names_of(group)
        }

    def evaluate(self, samples: Text) -> dict[str, float | None]:
        """Values of `METRICS` by name; None if undefined, as those that need the generator are."""
        with threadpool_limits(1):  # like `textgan evaluate`: small matrices
            found = self.measures(samples, IN_RUNS)
        values = {name: found[name].value if name in found else None for name in METRICS}
        values["entropy"] = self.oracle.entropy if self.oracle else None
        return values


def equal_counts(samples: Text, references: Text) -> tuple[list[Sentence], list[Sentence]]:
    """Equal numbers of both, at most MAX_PAIRED: evenly spaced sentences of the larger text."""
    n = min(len(samples), len(references), MAX_PAIRED)
    ours, theirs = ([text[i] for i in spaced(len(text), n)] for text in (samples, references))
    return ours, theirs


def _jsd_bound(suite: Suite, samples: Text) -> Found:
    from core.metrics.judge import bound, jsd_bound  # imports torch, which takes seconds

    if judgement := suite._judgements.get((id(samples), id(suite.references))):
        return {"jsd_bound": bound(*judgement[0]())}
    ours, theirs = equal_counts(samples, suite.references)
    return {"jsd_bound": jsd_bound(ours, theirs, suite.oracle)}


def _ms_jaccard(suite: Suite, samples: Text) -> Found:
    overlap = ms_jaccard(samples, suite.references)
    if overlap is None:
        return {}
    return {f"ms_jaccard_{n}": overlap.measure(n) for n in BLEU_ORDERS}


def _levels(name: str, measure: Callable[..., Measure]) -> Callable[[Suite, Text], Found]:
    def found(suite: Suite, samples: Text) -> Found:
        counts = enumerate(diversity.levels(samples), start=1)
        return {f"{name}_{n}": measure(level, len(samples)) for n, level in counts}

    return found


def _copied(suite: Suite, samples: Text) -> Found:
    hits = diversity.copied(samples, suite.training)
    return {"copied": share_of(hits, len(suite.references))}


def _novelty(suite: Suite, samples: Text) -> Found:
    runs = suite.copy_index.longest(samples).astype(float)
    return {"longest_copy": mean_of(runs, len(suite.references))}


def _oracle(suite: Suite, samples: Text) -> Found:
    assert suite.oracle is not None  # see `missing`
    constant = Measure(suite.oracle.entropy, len(samples), len(suite.references))
    return {"entropy": constant, **oracle(samples, suite.oracle)}


def _fed(suite: Suite, samples: Text) -> Found:
    sizes = len(samples), len(suite.references)
    if min(sizes) < SMALLEST:  # undefined, so that no encoder has to be fitted
        return {"fed": Measure(None, *sizes)}
    encoder = suite.encoder(samples)
    theirs = suite._embedded if suite._embedded is not None else encoder(suite.references)
    return {"fed": fed(encoder(samples), theirs)}


def _mmd(suite: Suite, samples: Text) -> Found:
    ours, theirs = equal_counts(samples, suite.references)
    encoder = suite.encoder(samples)
    return {"mmd": mmd(encoder(ours), encoder(theirs))}


def _mauve(suite: Suite, samples: Text) -> Found:
    encoder = suite.encoder(samples)
    return {"mauve": mauve(encoder(samples), encoder(suite.references))}


def _nearest(suite: Suite, samples: Text) -> Found:
    ours, theirs = equal_counts(samples, suite.references)
    return {"nearest_neighbour": nearest_neighbour(ours, theirs, suite.encoder(samples))}


MEASURES: Mapping[str, Callable[[Suite, Text], Found]] = {
    "jsd_bound": _jsd_bound,
    "oracle": _oracle,
    "unique": lambda suite, samples: {"unique": diversity.unique(samples)},
    "copied": _copied,
    "novelty": _novelty,
    "length": lambda suite, samples: {"length": diversity.length(samples, len(suite.references))},
    "distinct": _levels("distinct", diversity.distinct),
    "ngram_entropy": _levels("ngram_entropy", diversity.ngram_entropy),
    "bleu": lambda suite, samples: bleu_measures("bleu", samples, suite.index),
    "self_bleu": lambda suite, samples: self_bleu_measures(samples),
    "ms_jaccard": _ms_jaccard,
    "lm": lambda suite, samples: {"lm": lm(samples, suite.model, len(suite.training_text))},
    "reverse_lm": lambda suite, samples: {"reverse_lm": reverse_lm(samples, suite.references)},
    "fed": _fed,
    "mmd": _mmd,
    "c2st": lambda suite, samples: c2st(*equal_counts(samples, suite.references)),
    "nearest_neighbour": _nearest,
    "mauve": _mauve,
}
