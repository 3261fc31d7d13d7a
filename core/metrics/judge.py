"""`jsd_bound`: a lower bound of the Jensen-Shannon divergence by a classifier, the judge.

A classifier q is trained to tell samples from references. For any q that does not know the labels
of the sentences it is tested on, with equal numbers of both,

    1 - E[-log2 q(label | sentence)]  <=  JSD(P, G)   in bits

with equality at the best possible classifier (Nguyen et al. 2010; Goodfellow et al. 2014). So real
text against real text has an expectation at or slightly below 0, and the value is not clipped.
Nothing is known about how far the bound lies below the divergence: it grows with the number of
sentences and with the judge. Compare only values with equal signatures. Text that was copied from
the training text passes: read `copied` next to it.

The judge is the sum of two or three classifiers (`core/metrics/classifiers.py`): boosted trees on
what n-gram language models of both texts say, a logistic regression on the presence of n-grams, and
from NETWORK_FROM sentences on a network that reads tokens. All are trained FOLDS times, each time
on the other folds. An inner split of the training folds selects the number of trees, the network's
epoch, and then the weights of the logits, which calibrates them (Platt 1999); a classifier that
does not gain PRICE there has no weight. The sentences that are scored select nothing. Logits are
limited to -+LIMIT, so that one sentence costs at most 9 bits.

Near-duplicates, sentences that differ in at most one word, stay in one fold, because texts often
have several versions of one sentence, and recognising those is not evidence about the source. More
than LARGEST of them are treated as repetition by the source, which is evidence, and are split.

Interval: Student's t over groups of near-duplicates. The test error of a fold is independent given
its classifier; that of different folds is not, because each is part of the others' training text.
The standard errors of the folds are therefore averaged, as if they were perfectly correlated, which
is an upper limit of the true one (see docs/decisions/0025-the-judge.md).

With an oracle, the judge also reads what the oracle says: whether the sentence is valid, its
probability, its template.

One thread, seeded, the same bits on every call.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from scipy import optimize, special

from core.metrics.classifiers import Split, language_models, network, words
from core.metrics.intervals import Bounds, Measure, around
from core.metrics.ngrams import Sentence, Text, linked, numbered
from core.text.oracles import LstmOracle, Oracle

FEWEST = 100  # sentences of each text
NETWORK_FROM = 1000  # sentences of each text
FOLDS = 3
INNER = 8  # one in so many training sentences, and
LEAST_INNER = 100  # at least so many, but not more than a third
LARGEST = 8  # near-duplicates that are not repetition by the source
SHORTEST = 6  # words of a sentence that has near-duplicates besides equal ones
MOST_WEIGHT = 1.25  # of a classifier
PRICE = 1.0  # nats of inner cross-entropy that a weight of 1 must gain
LIMIT = 6.0  # of a logit


def jsd_bound(samples: Text, references: Text, oracle: Oracle | None = None) -> Measure:
    """The bound in bits from equal numbers of sentences, N of each; undefined below FEWEST."""
    n = len(samples)
    if n < FEWEST:
        return Measure(None, n, n, reason=f"needs {FEWEST} sentences of each text")
    return bound(*judged(samples, references, oracle))


def bound(bits: np.ndarray, fold: np.ndarray, group: np.ndarray) -> Measure:
    """The bound from what `judged` returns."""
    n = len(bits) // 2

    def by_reference() -> np.ndarray:
        """See `Measure`; the classifiers are held fixed."""
        return np.asarray((bits[n:] - bits[n:].mean()) / (2 * (n - 1)))

    interval = partial(bounds, bits, fold, group)
    return Measure(float(bits.mean()), n, n, interval, by_reference=by_reference)


def judged(
    samples: Text, references: Text, oracle: Oracle | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """1 + log2 q(label) of each sentence, samples first; its fold and its group: (2N,) each."""
    text = [*samples, *references]
    real = np.repeat([False, True], [len(samples), len(references)])
    group = _groups(text)
    rng = np.random.default_rng(0)
    fold = _folds(real, group, rng)
    splits = [_split(fold, k, rng) for k in range(FOLDS)]
    views = [text]
    if oracle is not None:
        marks = _marks(text, oracle)
        views.append(marks)
        text = [[*mark, *sentence] for mark, sentence in zip(marks, text, strict=True)]
    classifiers = [
        [language_models(views, real, group, split) for split in splits],
        words(text, real, splits),
    ]
    if len(samples) >= NETWORK_FROM:
        classifiers.append(network(text, real, splits))
    bits = np.empty(len(text))
    for split, *logits in zip(splits, *classifiers, strict=True):
        inner, held = np.split(np.stack(logits), [len(split.inner)], axis=1)
        summed = (_weights(inner, real[split.inner]) @ held).clip(-LIMIT, LIMIT)
        bits[split.held] = 1 - _losses(summed, real[split.held]) / math.log(2)
    return bits, fold, group


def _weights(logits: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Of the classifiers (classifiers,), in [0, MOST_WEIGHT], with the least cross-entropy of their
    summed logits (classifiers, n) plus the PRICE of the weights; 0 says nothing.
    """
    price = PRICE / len(real)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        summed = weights @ logits
        slope = logits @ (special.expit(summed) - real) / len(real) + price
        return float(_losses(summed, real).mean() + price * weights.sum()), slope

    bounds = [(0.0, MOST_WEIGHT)] * len(logits)
    found = optimize.minimize(loss, np.full(len(logits), 0.5), jac=True, bounds=bounds)
    return np.asarray(found.x)


def _losses(logits: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Cross-entropy of each sentence in nats (n,)."""
    return np.logaddexp(0, np.where(real, -logits, logits))


def _split(fold: np.ndarray, k: int, rng: np.random.Generator) -> Split:
    """The sentences of fold k to score, the others to train on, apart from an inner split."""
    others = rng.permutation(np.flatnonzero(fold != k))
    size = max(len(others) // INNER, min(LEAST_INNER, len(others) // 3))
    inner, rows = np.split(others, [size])
    return Split(rows, inner, np.flatnonzero(fold == k))


def _marks(text: Text, oracle: Oracle) -> list[Sentence]:
    """What the oracle says of each sentence: its template and -log P in nats, as words."""
    if isinstance(oracle, LstmOracle):
        valid = oracle.valid(text)
        nll = np.full(len(text), np.inf)
        nll[valid] = oracle.nll([each for each, whole in zip(text, valid, strict=True) if whole])
        return [[f"nll {4 * value:.0f}"] for value in nll]
    return [
        [f"template {oracle.template(each)}", f"nll {-oracle.log_prob(each):.0f}"] for each in text
    ]


def _groups(text: Text) -> np.ndarray:
    """The group of near-duplicates of each sentence, (2N,): equal, or equal but for one word that
    is other, missing or added.
    """
    sentences, keys = [], []
    for i, sentence in enumerate(map(tuple, text)):
        spared = range(len(sentence) if len(sentence) >= SHORTEST else 0)
        without = [sentence[:j] + sentence[j + 1 :] for j in spared]
        keys += [sentence, *without]
        sentences += [i] * (1 + len(without))
    which, numbers = numbered(keys)
    found = linked(np.array(sentences), len(text) + which, len(text) + len(numbers))
    group: np.ndarray = np.unique(found[: len(text)], return_inverse=True)[1]
    split = np.bincount(group)[group] > LARGEST
    group[split] = len(text) + np.arange(int(split.sum()))
    return np.asarray(np.unique(group, return_inverse=True)[1])


def _folds(real: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The fold of each sentence, (2N,): groups at random, those with equal surplus of real
    sentences in turn, so that the folds are balanced.
    """
    surplus = np.bincount(group, np.where(real, 1, -1))
    order = np.lexsort((rng.random(len(surplus)), surplus))
    fold: np.ndarray = np.empty(len(surplus), dtype=np.int64)
    fold[order] = np.arange(len(surplus)) % FOLDS
    return np.asarray(fold[group])


def bounds(bits: np.ndarray, fold: np.ndarray, group: np.ndarray) -> Bounds:
    """The 95% interval of the mean of `bits`, all (2N,)."""
    error = 0.0
    for k in range(FOLDS):
        at = fold == k
        _, which = np.unique(group[at], return_inverse=True)
        sums = np.bincount(which, bits[at] - bits[at].mean())
        m = len(sums)
        error += math.sqrt(m / (m - 1) * float((sums**2).sum())) / len(bits)
    return around(float(bits.mean()), error**2, int(group.max()) + 1)
