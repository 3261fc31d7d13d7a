"""Diversity of a sample: distinct n-grams, distinct sentences, entropy of its n-grams.

`distinct_n`: distinct n-grams over all n-grams (Li et al. 2016), between 0 and 1; higher is more
diverse. `unique`: distinct sentences over sentences, between 0 and 1; higher is more diverse.
`ngram_entropy_n`: Shannon entropy in nats of the sample's own n-gram frequencies, log L - sum_g
c(g) log c(g) / L over L n-grams (the plug-in estimate); near to that of as much real text is
better. All three depend on the sample size (the first two fall, the entropy grows), so compare
equal sizes only, and all three reward noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from core.metrics.intervals import (
    Bounds,
    Measure,
    around,
    between,
    covered,
    interacting,
    jackknife,
    of_repeats,
    pairwise,
)
from core.metrics.ngrams import Counts, NgramTable, Sentence

ORDERS = (1, 2, 3, 4)
FEW = 0.1  # share of repeats below which they are counted, above it what is distinct
TYPICAL = 0.7  # of a sentence's n-grams, that a clump of repeats has: fitted by simulation
UNSEEN = 3.0  # things that a sample without a single rare one may still have missed: rule of three


def distinct(counts: Counts, n: int) -> Measure:
    """Distinct-n of n sentences out of the counts of one level; undefined without n-grams."""
    total, size = int(counts.count.sum()), len(np.unique(counts.gram))
    if total == 0:
        return Measure(None, n, 0)

    def bounds() -> Bounds:
        alone = np.bincount(counts.gram)[counts.gram] == counts.count
        lost = np.bincount(counts.sentence, alone, minlength=n)
        lengths = np.bincount(counts.sentence, counts.count, minlength=n)
        changes = (size - lost) / np.maximum(total - lengths, 1) - size / total
        ones = np.ones(int(counts.gram.max()) + 1)
        shared = covered(counts.sentence, counts.gram, ones, n)
        # An alternating series of few rare things may come out below zero; their number does not.
        shared = max(shared, -float((lost**2).sum()))
        variance = jackknife(changes) + shared / total**2
        if total - size < FEW * total:
            clump = max(TYPICAL * total / n, 1.0)
            return of_repeats(total - size, total, variance * total**2, clump)
        found = between(size / total, variance, n)
        if found is None or lost.any():
            return found
        return found[0], max(found[1], min((size + UNSEEN) / total, 1.0))

    return Measure(size / total, n, 0, bounds)


def unique(sentences: Sequence[Sentence]) -> Measure:
    """Distinct sentences over sentences; undefined without sentences."""
    n = len(sentences)
    if n == 0:
        return Measure(None, 0, 0)
    numbers: dict[tuple[str, ...], int] = {}
    which = np.array([numbers.setdefault(tuple(s), len(numbers)) for s in sentences])
    counts = Counts(np.arange(n), which, np.ones(n, dtype=np.int64))
    found = distinct(counts, n)
    return Measure(len(numbers) / n, n, 0, found.interval)


def ngram_entropy(counts: Counts, n: int) -> Measure:
    """Entropy in nats of one level's n-grams; undefined without n-grams."""
    of_gram = np.bincount(counts.gram, counts.count).astype(float)
    total = of_gram.sum()
    if total == 0:
        return Measure(None, n, 0)
    summed = _c_log_c(of_gram).sum()
    value = float(np.log(total) - summed / total)

    def bounds() -> Bounds:
        kept = of_gram[counts.gram] - counts.count
        change = _c_log_c(kept) - _c_log_c(of_gram[counts.gram])
        moved = summed + np.bincount(counts.sentence, change, minlength=n)
        fewer = np.maximum(total - np.bincount(counts.sentence, counts.count, minlength=n), 1)
        bend = _c_log_c(of_gram) - 2 * _c_log_c(of_gram - 1) + _c_log_c(of_gram - 2)
        twice = pairwise(counts.sentence, counts.gram, bend / total, n)
        once = jackknife(np.log(fewer) - moved / fewer - value)
        return around(value, interacting(once, twice), n)

    return Measure(value, n, 0, bounds)


def levels(sentences: Sequence[Sentence]) -> Iterator[Counts]:
    """Counts of the n-grams of the sentences, for n in ORDERS."""
    return NgramTable(sentences, max(ORDERS)).levels(sentences)


def _c_log_c(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts * np.log(np.maximum(counts, 1)))
