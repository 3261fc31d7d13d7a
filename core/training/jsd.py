"""JSD: the Jensen-Shannon divergence between the corpus distribution P and the generator G, exact.

    JSD = 1/2 E_P log2(2 P / (P + G)) + 1/2 E_G log2(2 G / (P + G))   in bits, 0 to 1 (Lin 1991)

Both expectations are means over samples, of densities that are computed exactly, so the expected
value does not depend on the numbers of sentences. It is 0 only if G is P. Unlike overlaps with real
text it sees whole sentences: a sentence that P cannot produce counts 1, a memorised one that is too
likely nearly as much. Lower is better; real text has 0, the worst value is 1. An estimate near 0
can be slightly negative.

An event is a string of tokens up to the end token, or one of exactly S tokens where the corpus has
no end token (LSTM oracle). P is the oracle's distribution of the sentences that the corpus keeps
(length, vocabulary), renormalised. A string that P cannot produce has P = 0, such as one that is
cut off before its end token or has `<unk>`. G is the generator as evaluated: averaged weights,
temperature 1, dropout off, what follows the end token ignored. The sentences of P are drawn from
the oracle by a random stream of their own, because a split by hash is not distributed as P.

It is undefined without an oracle that has exact probabilities, and for implicit generators (noise
as input, argmax decoding, soft feedback), where nobody can compute G. Interval: t, of the two
independent means; log-ratios have light tails, since E_G (P / G) and E_P (G / P) are at most 1. One
sentence of value 0 is added to each side for the variance, because a sample without any sentence of
P does not show that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from core.interfaces import Generator, SamplingSpec
from core.metrics.intervals import Bounds, Measure, of_both
from core.metrics.ngrams import Sentence
from core.text.oracles import CorpusDistribution, LstmOracle
from core.text.vocabulary import Vocabulary
from core.training.nll_gen import explicit, sentence_nll
from core.types import END, PAD, START, visible

IMPLICIT = "the generator is implicit: the probability of a sentence cannot be computed"
NO_ORACLE = "the corpus has no exact sentence probabilities"
NOT_FINITE = "the generator's probabilities are not finite numbers"


def jsd(samples: np.ndarray, references: np.ndarray) -> Measure:
    """From log P - log G in nats at sentences of G (n,), -inf where P = 0, and of P (m,), inf where
    G = 0.
    """
    n, m = len(samples), len(references)
    if not n or not m or np.isnan(samples).any() or np.isnan(references).any():
        return Measure(None, n, m, reason=NOT_FINITE if n and m else "no sentences")
    ours, theirs = (1 - np.logaddexp(0.0, ratios) / np.log(2) for ratios in (samples, -references))
    value = float(ours.mean() + theirs.mean()) / 2

    def bounds() -> Bounds:
        parts = [np.append(terms, 0.0).var() / (4 * len(terms)) for terms in (ours, theirs)]
        return of_both(value, parts[0], n, parts[1], m)

    return Measure(value, n, m, bounds)


def generator_jsd(
    generator: Generator,
    spec: SamplingSpec,
    rows: np.ndarray,
    vocabulary: Vocabulary,
    distribution: CorpusDistribution | None,
    references: Sequence[Sentence],
) -> Measure:
    """Of a generator's sentences as drawn, ids (n, S), and `references`, sentences of P."""
    n, m = len(rows), len(references)
    if distribution is None or not explicit(generator, spec):
        return Measure(None, n, m, reason=NO_ORACLE if distribution is None else IMPLICIT)
    real = _encoded(references, vocabulary, rows.shape[1])
    text = [vocabulary.decode(row) for row in rows]
    p = np.where(
        _whole(rows, ends=not isinstance(distribution.oracle, LstmOracle)),
        distribution.log_prob(text),
        -np.inf,
    )
    ours = p + sentence_nll(generator, rows)[0]
    theirs = distribution.log_prob(references) + sentence_nll(generator, real)[0]
    return jsd(ours, theirs)


def _encoded(sentences: Sequence[Sentence], vocabulary: Vocabulary, length: int) -> np.ndarray:
    """Sentences as ids (n, S): an end token after each where there is room, then padding."""
    rows = np.full((len(sentences), length), PAD)
    for row, sentence in zip(rows, sentences, strict=True):
        row[: len(sentence)] = vocabulary.encode(sentence)
        row[len(sentence) : len(sentence) + 1] = END
    return rows


def _whole(rows: np.ndarray, *, ends: bool) -> np.ndarray:
    """Which rows (n,) have an end token, or none, as the corpus has, and no padding or start token
    before it.
    """
    special = visible(torch.from_numpy(rows)).numpy() & ((rows == PAD) | (rows == START))
    whole: np.ndarray = ((rows == END).any(1) == ends) & ~special.any(1)
    return whole
