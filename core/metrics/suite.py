"""All metrics of a sample at once, against references that are indexed once.

A training run, `textgan evaluate` and the baseline rows all come through here. A training run asks
for the values of a few cheap groups (`METRICS`); an evaluation for all groups, with intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from core.metrics import diversity
from core.metrics.bleu import ReferenceIndex
from core.metrics.c2st import c2st
from core.metrics.catalogue import (
    BLEU,
    CATALOGUE,
    GROUPS,
    METRICS,
    TRAINED,
)
from core.metrics.encoders import Encoder, LatentSemantic
from core.metrics.fed import fed
from core.metrics.intervals import Measure, mean, share
from core.metrics.kneser_ney import KneserNey
from core.metrics.length import length
from core.metrics.lm import lm, reverse_lm
from core.metrics.mmd import mmd
from core.metrics.ms_jaccard import ms_jaccard
from core.metrics.nearest_neighbour import nearest_neighbour
from core.metrics.ngrams import Sentence
from core.metrics.novelty import CopyIndex, Training, copied
from core.metrics.oracle import oracle
from core.metrics.published import PROTOCOLS, of_index, self_bleu_measures
from core.text.corpus import Split
from core.text.oracles import Oracle

MOST = 10_000  # sentences of each side for what costs the square of their number
Found = dict[str, Measure]
Step = Callable[[str, float, float], None]


class Suite:
    """References, training text and oracle of one corpus, ready to score samples.

    Without an `encoder` the built-in one is fitted on the training text; without that too, on
    references and samples together, and then values of two samples do not share a scale.
    """

    def __init__(
        self,
        references: Sequence[Sentence],
        training: Iterable[Sentence] = (),
        grammar: Oracle | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self.references = references
        self.grammar = grammar
        self._training = training
        self._encoder = encoder
        self._fitted_on: tuple[Sequence[Sentence], Encoder] | None = None

    def against(self, references: Sequence[Sentence]) -> Suite:
        """The same corpus, encoder and language model, with other references."""
        other = Suite(references, self._training, self.grammar, self._fitted)
        for name in ("training", "training_text", "copy_index", "model"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    @cached_property
    def index(self) -> ReferenceIndex:
        """The references' n-grams."""
        return ReferenceIndex(self.references)

    @cached_property
    def training(self) -> Training:
        """The different sentences of the training text."""
        if isinstance(self._training, Split):
            return self._training.sentence_set()
        return {tuple(sentence) for sentence in self._training}

    @cached_property
    def training_text(self) -> list[Sentence]:
        """The training text, with its repetitions."""
        return list(self._training)

    @cached_property
    def copy_index(self) -> CopyIndex:
        """The training text's n-grams, for the longest copy of each sentence."""
        return CopyIndex(self.training_text)

    @cached_property
    def model(self) -> KneserNey:
        """The n-gram language model of the training text."""
        return KneserNey(self.training_text)

    @cached_property
    def _fitted(self) -> Encoder | None:
        if self._encoder is None and self.training:
            return LatentSemantic(self.training_text)
        return self._encoder

    def encoder(self, samples: Sequence[Sentence]) -> Encoder:
        """The encoder that scores `samples`."""
        if self._fitted is not None:
            return self._fitted
        if self._fitted_on is None or self._fitted_on[0] is not samples:
            self._fitted_on = samples, LatentSemantic([*self.references, *samples])
        return self._fitted_on[1]

    @cached_property
    def _embedded(self) -> np.ndarray | None:
        return self._fitted(self.references) if self._fitted else None

    def measures(
        self,
        samples: Sequence[Sentence],
        groups: Sequence[str] = GROUPS,
        step: Step = lambda group, done, total: None,
    ) -> Found:
        """Every metric of the groups by name; one without a value is undefined here.

        `step` hears of each group before it begins.
        """
        found: Found = {}
        for number, group in enumerate(groups):
            step(group, number, len(groups))
            measured = MEASURES[group](self, samples) if samples else {}
            for name, info in CATALOGUE.items():
                if info.group == group:
                    undefined = Measure(None, len(samples), len(self.references))
                    found[name] = measured.get(name, undefined)
        return found

    def published(self, samples: Sequence[Sentence], protocol: str) -> Found:
        """BLEU and Self-BLEU as a published protocol of this name has them."""
        measured = PROTOCOLS[protocol](samples, self.references)
        undefined = Measure(None, len(samples), len(self.references))
        names = [n for n, info in CATALOGUE.items() if info.group in ("bleu", "self_bleu")]
        return {name: measured.get(name, undefined) for name in names}

    def evaluate(self, samples: Sequence[Sentence]) -> dict[str, float | None]:
        """Values of `METRICS` by name; None where one is undefined, as of text without its
        generator those of generators are.
        """
        found = self.measures(samples, TRAINED)
        values = {name: found[name].value if name in found else None for name in METRICS}
        values["entropy"] = self.grammar.entropy if self.grammar else None
        return values


def equal_counts(
    samples: Sequence[Sentence], references: Sequence[Sentence], most: int = MOST
) -> tuple[list[Sentence], list[Sentence]]:
    """The same number of both, `most` at the most: evenly spaced ones of the larger text."""
    n = min(len(samples), len(references), most)
    return _spread(samples, n), _spread(references, n)


def _spread(sentences: Sequence[Sentence], n: int) -> list[Sentence]:
    return [sentences[i * len(sentences) // n] for i in range(n)]


def _bleu(suite: Suite, samples: Sequence[Sentence]) -> Found:
    return of_index("bleu", samples, suite.index)


def _ms_jaccard(suite: Suite, samples: Sequence[Sentence]) -> Found:
    overlap = ms_jaccard(samples, suite.references)
    if overlap is None:
        return {}
    return {f"ms_jaccard_{n}": overlap.measure(n) for n in BLEU}


def _levels(
    name: str, measure: Callable[..., Measure]
) -> Callable[[Suite, Sequence[Sentence]], Found]:
    def found(suite: Suite, samples: Sequence[Sentence]) -> Found:
        counts = enumerate(diversity.levels(samples), start=1)
        return {f"{name}_{n}": measure(level, len(samples)) for n, level in counts}

    return found


def _copied(suite: Suite, samples: Sequence[Sentence]) -> Found:
    if not suite.training:
        return {}
    hits = copied(samples, suite.training)
    return {"copied": Measure(float(hits.mean()), len(samples), len(suite.references), share(hits))}


def _novelty(suite: Suite, samples: Sequence[Sentence]) -> Found:
    if not suite.training:
        return {}
    runs = suite.copy_index.longest(samples).astype(float)
    found = Measure(float(runs.mean()), len(samples), len(suite.references), mean(runs))
    return {"longest_copy": found}


def _length(suite: Suite, samples: Sequence[Sentence]) -> Found:
    return {"length": length(samples, len(suite.references))}


def _oracle(suite: Suite, samples: Sequence[Sentence]) -> Found:
    if suite.grammar is None:
        return {}
    constant = Measure(suite.grammar.entropy, len(samples), len(suite.references))
    return {"entropy": constant, **oracle(samples, suite.grammar)}


def _lm(suite: Suite, samples: Sequence[Sentence]) -> Found:
    if not suite.training:
        return {}
    return {"lm": lm(samples, suite.model, len(suite.training_text))}


def _reverse_lm(suite: Suite, samples: Sequence[Sentence]) -> Found:
    return {"reverse_lm": reverse_lm(samples, suite.references)}


def _fed(suite: Suite, samples: Sequence[Sentence]) -> Found:
    encoder = suite.encoder(samples)
    theirs = suite._embedded if suite._embedded is not None else encoder(suite.references)
    return {"fed": fed(encoder(samples), theirs)}


def _mmd(suite: Suite, samples: Sequence[Sentence]) -> Found:
    ours, theirs = equal_counts(samples, suite.references)
    encoder = suite.encoder(samples)
    return {"mmd": mmd(encoder(ours), encoder(theirs))}


def _c2st(suite: Suite, samples: Sequence[Sentence]) -> Found:
    return c2st(*equal_counts(samples, suite.references))


def _nearest(suite: Suite, samples: Sequence[Sentence]) -> Found:
    ours, theirs = equal_counts(samples, suite.references)
    return {"nearest_neighbour": nearest_neighbour(ours, theirs, suite.encoder(samples))}


MEASURES: Mapping[str, Callable[[Suite, Sequence[Sentence]], Found]] = {
    "oracle": _oracle,
    "unique": lambda suite, samples: {"unique": diversity.unique(samples)},
    "copied": _copied,
    "novelty": _novelty,
    "length": _length,
    "distinct": _levels("distinct", diversity.distinct),
    "ngram_entropy": _levels("ngram_entropy", diversity.ngram_entropy),
    "bleu": _bleu,
    "self_bleu": lambda suite, samples: self_bleu_measures(samples),
    "ms_jaccard": _ms_jaccard,
    "lm": _lm,
    "reverse_lm": _reverse_lm,
    "fed": _fed,
    "mmd": _mmd,
    "c2st": _c2st,
    "nearest_neighbour": _nearest,
}
