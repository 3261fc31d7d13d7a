"""Counts of words, n-grams and sentences: diversity, copies of the training text, length.

- `distinct_n`: distinct n-grams / n-grams, between 0 and 1; higher is more diverse. Li et al.
  (2016), who proposed it, divide by the number of words.
- `unique`: distinct sentences / sentences, between 0 and 1; higher is more diverse.
- `ngram_entropy_n`: Shannon entropy in nats of the sample's n-gram frequencies, log L - sum_g c(g)
  log c(g) / L over L n-grams (the plug-in estimate); best near that of as much real text.
- `copied`: share of sentences that occur in the training text, between 0 and 1.
- `longest_copy`: mean over sentences of the longest run of words that occurs in the training text,
  in words. A longer sentence has room for a longer run.
- `length`: mean number of words, empty sentences included; best near that of real text. A generator
  that stops early or never stops shows here first, and most other metrics depend on it (BLEU has a
  brevity penalty, a longer sentence has more n-grams to repeat). Interval: Student's t.

`distinct_n` and `unique` fall with the sample size and the entropy grows, so compare equal sizes
only; all three reward noise. For both copy metrics lower is more novel, but read them next to their
values for held-out real text, which copies too where the training text repeats itself, and only on
splits that share no sentence.

If most sentences have no words (`silent`), metrics that would reward this are undefined.

A sample has *collapsed* if hardly any of its sentences differ, if most have no words, or if bigrams
repeat far more than in real text, within sentences (1 - seq-rep-2 of Welleck et al. 2020, over all
sentences) or over the whole sample (the inverse Simpson index, the effective number of bigrams).
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import numpy as np

from core.metrics import intervals
from core.metrics.catalogue import NGRAM_ORDERS
from core.metrics.intervals import Bounds, Measure
from core.metrics.ngrams import UNSEEN, Counts, NgramTable, Text, numbered
from core.text.hashing import SentenceSet

FEW = 0.1  # share of repeats below which repeats are counted, above it what is distinct
TYPICAL = 0.7  # share of a sentence's n-grams in a clump of repeats: fitted by simulation
MISSED = 3.0  # rare n-grams that a sample without any may have missed: rule of three
LONGEST = 64  # words; a longer copy counts as this long
FEWEST_UNIQUE = 0.1  # of the sentences; with fewer a sample has collapsed
FEWEST_NEW = 0.5  # of real text's share of bigrams that are new in their sentence
FEWEST_BIGRAMS = 0.05  # of real text's effective number of bigrams
LEVELS = 8  # of n-grams indexed at first, and added each time a copy is longer
Training = AbstractSet[tuple[str, ...]] | SentenceSet


def distinct(counts: Counts, n: int) -> Measure:
    """Distinct-n of n sentences out of the counts of one level; undefined without n-grams."""
    total, size = int(counts.count.sum()), len(np.unique(counts.gram))
    if total == 0:
        return Measure(None, n, 0)

    def bounds() -> Bounds:
        lost = lost_without(counts, n)
        lengths = np.bincount(counts.sentence, counts.count, minlength=n)
        changes = (size - lost) / np.maximum(total - lengths, 1) - size / total
        ones = np.ones(int(counts.gram.max()) + 1)
        shared = intervals.covered(counts.sentence, counts.gram, ones, n)
        # An alternating series of few rare n-grams may be negative; their number is not.
        shared = max(shared, -float((lost**2).sum()))
        variance = intervals.jackknife(changes) + shared / total**2
        if total - size < FEW * total:
            clump = max(TYPICAL * total / n, 1.0)
            return intervals.of_repeats(total - size, total, variance * total**2, clump)
        found = intervals.between(size / total, variance, n)
        if found is None or lost.any():
            return found
        return found[0], max(found[1], min((size + MISSED) / total, 1.0))

    return Measure(size / total, n, 0, bounds)


def lost_without(counts: Counts, n: int) -> np.ndarray:
    """How many distinct n-grams the sample loses without each of its n sentences (n,): those that
    no other sentence has, however often this one repeats them.
    """
    alone = np.bincount(counts.gram)[counts.gram] == 1  # each pair of both is in the counts once
    return np.bincount(counts.sentence, alone, minlength=n)


def unique(sentences: Text) -> Measure:
    """Distinct sentences over sentences; undefined without sentences."""
    n = len(sentences)
    if n == 0:
        return Measure(None, 0, 0)
    which, numbers = numbered(map(tuple, sentences))
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
        twice = intervals.pairwise(counts.sentence, counts.gram, bend / total, n)
        once = intervals.jackknife(np.log(fewer) - moved / fewer - value)
        return intervals.around(value, intervals.interacting(once, twice), n)

    return Measure(value, n, 0, bounds)


def levels(sentences: Text) -> Iterator[Counts]:
    """Counts of the n-grams of the sentences, for n in NGRAM_ORDERS."""
    return NgramTable(sentences, max(NGRAM_ORDERS)).count(sentences)


def length(sentences: Text, references: int) -> Measure:
    """Mean words of a non-empty sample; `references` is only recorded."""
    lengths = np.array([len(sentence) for sentence in sentences], dtype=float)
    return intervals.mean_of(lengths, references)


def silent(sentences: Text) -> str:
    """What is wrong if most sentences have no words; else empty."""
    number, empty = len(sentences), sum(not sentence for sentence in sentences)
    return f"{empty:,} of {number:,} sentences have no words" if 2 * empty > number else ""


def bigrams(sentences: Text) -> tuple[float, float]:
    """Share of the bigrams that are new in their sentence, and the effective number of bigrams;
    both 0 without bigrams.
    """
    counts = list(NgramTable(sentences, 2).count(sentences))[1]
    total = int(counts.count.sum())
    if total == 0:
        return 0.0, 0.0
    of_gram = np.bincount(counts.gram, counts.count)
    return len(counts.count) / total, float(total**2 / (of_gram**2).sum())


def collapse(sentences: Text, real: tuple[float, float] | None) -> str:
    """Why the sample has collapsed; empty if it has not. `real`: `bigrams` of as much real text;
    None: repetition is not looked at.
    """
    different = len(set(map(tuple, sentences)))
    if different < FEWEST_UNIQUE * len(sentences):
        return f"only {different:,} of {len(sentences):,} sentences are different"
    if reason := silent(sentences):
        return reason
    new, effective = bigrams(sentences) if real else (0.0, 0.0)
    if real is None or not effective:  # sentences of one word
        return ""
    if new < FEWEST_NEW * real[0]:
        return f"{1 - new:.0%} of bigrams repeat within their sentence (real: {1 - real[0]:.0%})"
    if effective < FEWEST_BIGRAMS * real[1]:
        return f"{effective:.0f} effective bigrams (real text: {real[1]:.0f})"
    return ""


def copied(sentences: Text, training: Training) -> np.ndarray:
    """Whether each sentence occurs in the training text: bool (sentences,)."""
    if isinstance(training, SentenceSet):
        return training.contains(sentences)
    return np.array([tuple(sentence) in training for sentence in sentences], dtype=bool)


class CopyIndex:
    """The n-grams of the training text, indexed once, up to the length of the longest copy."""

    def __init__(self, training: Text) -> None:
        self._training = training
        self._table = NgramTable(training, LEVELS)

    def longest(self, sentences: Text) -> np.ndarray:
        """Words of each sentence's longest n-gram in the training text: (sentences,)."""
        longest = np.zeros(len(sentences), dtype=np.int64)
        lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
        owner = np.repeat(np.arange(len(sentences)), lengths)
        while True:
            for n, grams in enumerate(self._table.ids(sentences), start=1):
                np.maximum.at(longest, owner[grams != UNSEEN], n)
                if not (longest >= n).any():
                    return longest
            if self._table.order == LONGEST:
                return longest
            order = min(self._table.order + LEVELS, LONGEST)
            self._table = NgramTable(self._training, order)


def _c_log_c(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts * np.log(np.maximum(counts, 1)))
