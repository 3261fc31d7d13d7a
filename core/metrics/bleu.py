"""BLEU-n and Self-BLEU-n of many sentences, equal to NLTK, linear in tokens.

BLEU-n is the mean over hypotheses of sentence BLEU with uniform weights over 1..n, all references,
NLTK's smoothing method 1 (a zero numerator becomes .1; Chen & Cherry 2014), and the brevity
penalty of the closest reference length (Papineni et al. 2002). Higher is closer to the references,
between 0 and 1; it says nothing of diversity, and grows with the number of references.

Self-BLEU-n (Zhu et al. 2018) takes each sentence against all the others, itself left out. Lower is
more diverse, between 0 and 1; it grows with the sample size, so compare equal sizes only.

A clipped count needs only the largest count that any reference has of an n-gram; leaving one
reference out needs the second largest, and who owns the largest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.metrics.ngrams import NgramTable, Sentence

ORDERS = (2, 3, 4, 5)
SMOOTHING = 0.1


class ReferenceIndex:
    """References, indexed once, for any number of evaluations."""

    def __init__(self, references: Sequence[Sentence], order: int = max(ORDERS)) -> None:
        self.table = NgramTable(references, order)
        self.lengths = np.array([len(reference) for reference in references], dtype=np.int64)
        self.best: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.counts = self.table.count(references)
        for n, counts in enumerate(self.counts, start=1):
            size = self.table.size(n)
            first, second, owner = (np.zeros(size, dtype=np.int64) for _ in range(3))
            ranked = np.lexsort((-counts.count, counts.gram))
            gram, count, sentence = (
                a[ranked] for a in (counts.gram, counts.count, counts.sentence)
            )
            begins = np.flatnonzero(np.r_[True, gram[1:] != gram[:-1]]) if len(gram) else ranked
            first[gram[begins]] = count[begins]
            owner[gram[begins]] = sentence[begins]
            runners = begins + 1
            runners = runners[runners < len(gram)]
            runners = runners[gram[runners] == gram[runners - 1]]
            second[gram[runners]] = count[runners]
            self.best.append((first, second, owner))


def bleu(hypotheses: Sequence[Sentence], index: ReferenceIndex) -> dict[int, np.ndarray]:
    """N -> sentence BLEU-n of each hypothesis, (hypotheses,)."""
    lengths = np.array([len(h) for h in hypotheses], dtype=np.int64)
    clipped = []
    for counts, (first, _, _) in zip(index.table.count(hypotheses), index.best, strict=True):
        allowed = np.minimum(counts.count, first[counts.gram])
        clipped.append(np.bincount(counts.sentence, allowed, minlength=len(lengths)))
    return _scores(clipped, lengths, _closest(lengths, index.lengths))


def self_bleu(sentences: Sequence[Sentence]) -> dict[int, np.ndarray]:
    """N -> sentence BLEU-n of each sentence against all the others, (sentences,)."""
    index = ReferenceIndex(sentences)
    clipped = []
    for counts, (first, second, owner) in zip(index.counts, index.best, strict=True):
        others = np.where(
            owner[counts.gram] == counts.sentence, second[counts.gram], first[counts.gram]
        )
        allowed = np.minimum(counts.count, others)
        clipped.append(np.bincount(counts.sentence, allowed, minlength=len(sentences)))
    return _scores(clipped, index.lengths, _closest_other(index.lengths))


def _closest(lengths: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The reference length nearest to each length, ties to the shorter."""
    known = np.unique(references)
    above = np.minimum(np.searchsorted(known, lengths), len(known) - 1)
    below = np.maximum(above - 1, 0)
    nearer_below = np.abs(known[below] - lengths) <= np.abs(known[above] - lengths)
    return np.where(nearer_below, known[below], known[above])


def _closest_other(lengths: np.ndarray) -> np.ndarray:
    """The same among all other sentences: the own length where a second sentence has it."""
    known, count = np.unique(lengths, return_counts=True)
    closest = lengths.copy()
    for length in known[count == 1]:
        others = known[known != length]
        nearest = others[np.lexsort((others, np.abs(others - length)))[0]] if len(others) else 0
        closest[lengths == length] = nearest
    return closest


def _scores(
    clipped: list[np.ndarray], lengths: np.ndarray, closest: np.ndarray
) -> dict[int, np.ndarray]:
    logs = []
    for n, numerator in enumerate(clipped, start=1):
        denominator = np.maximum(lengths - n + 1, 1)
        logs.append(np.log(np.where(numerator == 0, SMOOTHING, numerator) / denominator))
    safe = np.maximum(lengths, 1)
    brevity = np.where(lengths > closest, 1.0, np.exp(1 - closest / safe))
    silent = clipped[0] == 0
    return {
        n: np.where(silent, 0.0, brevity * np.exp(sum(logs[:n]) / n))
        for n in ORDERS
        if n <= len(clipped)
    }
