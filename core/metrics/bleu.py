"""BLEU-n and Self-BLEU-n of many sentences, equal to NLTK, linear in tokens.

BLEU-n is the mean over hypotheses of sentence BLEU with uniform weights over 1..n, all references,
NLTK's smoothing method 1 (a zero numerator becomes .1; Chen & Cherry 2014), and the brevity
penalty of the closest reference length (Papineni et al. 2002). Higher is closer to the references,
between 0 and 1; it says nothing of diversity, and grows with the number of references. Interval:
over hypotheses, the references held fixed.

Self-BLEU-n (Zhu et al. 2018) takes each sentence against all the others, itself left out. Lower is
more diverse, between 0 and 1; it grows with the sample size, so compare equal sizes only. Interval:
jackknife, the brevity penalty held, lopsided as the scatter is (`intervals.clumped`).

A clipped count needs only the largest count that any reference has of an n-gram; leaving one
reference out needs the second largest, and who owns the largest; leaving two out, the third.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core.metrics.counting import Index, three_largest
from core.metrics.intervals import interacting, jackknife
from core.metrics.ngrams import Counts, Sentence

ORDERS = (2, 3, 4, 5)
SMOOTHING = 0.1
CHUNK = 50_000  # hypotheses counted at a time


class ReferenceIndex:
    """References, indexed once, for any number of evaluations."""

    def __init__(self, references: Sequence[Sentence], order: int = max(ORDERS)) -> None:
        self.ngrams = Index(order)
        self.lengths = np.array([len(reference) for reference in references], dtype=np.int64)
        # The largest count that a reference has of each n-gram.
        self.best = [counts[0] for _, counts, _ in _indexed(self.ngrams, references)]


def bleu(hypotheses: Sequence[Sentence], index: ReferenceIndex) -> dict[int, np.ndarray]:
    """N -> sentence BLEU-n of each hypothesis, (hypotheses,)."""
    parts = [
        _bleu(hypotheses[start : start + CHUNK], index)
        for start in range(0, max(len(hypotheses), 1), CHUNK)
    ]
    return {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}


def _bleu(hypotheses: Sequence[Sentence], index: ReferenceIndex) -> dict[int, np.ndarray]:
    lengths = np.array([len(h) for h in hypotheses], dtype=np.int64)
    clipped = []
    for counts, best in zip(index.ngrams.look(hypotheses), index.best, strict=True):
        allowed = np.minimum(counts.count, best[counts.gram])
        clipped.append(np.bincount(counts.sentence, allowed, minlength=len(lengths)))
    return _scores(clipped, lengths, _closest(lengths, index.lengths))


@dataclass(frozen=True)
class SelfBleu:
    """Sentence Self-BLEU and what the jackknife needs of how the sentences lean on each other."""

    scores: dict[int, np.ndarray]  # n -> (sentences,)
    clipped: list[np.ndarray]  # of each level (sentences,)
    lengths: np.ndarray  # (sentences,)
    closest: np.ndarray  # (sentences,)
    leans: list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # a level: who, on whom, matches lost

    @cached_property
    def variances(self) -> dict[int, float]:
        """N -> variance of Self-BLEU-n: see `intervals.interacting`."""
        n = len(self.lengths)
        keys = np.concatenate([on * np.int64(n) + who for who, on, _ in self.leans])
        pairs, where = np.unique(keys, return_inverse=True)
        who, on = pairs % n, pairs // n
        ends = np.cumsum([len(lost) for _, _, lost in self.leans])
        without = []
        for clipped, end, (_, _, lost) in zip(self.clipped, ends, self.leans, strict=True):
            less = np.bincount(where[end - len(lost) : end], lost, minlength=len(pairs))
            without.append(clipped[who] - less)
        weaker = _scores(without, self.lengths[who], self.closest[who])
        _, pair = np.unique(np.minimum(who, on) * n + np.maximum(who, on), return_inverse=True)
        found = {}
        for order, scores in self.scores.items():
            lost = scores[who] - weaker[order]
            without = (scores.sum() - scores - np.bincount(on, lost, minlength=n)) / max(n - 1, 1)
            shared = np.bincount(pair, lost) / max(n - 1, 1)
            once = jackknife(without - scores.mean())
            found[order] = interacting(once, float((shared**2).sum()))
        return found


def self_bleu(sentences: Sequence[Sentence]) -> SelfBleu:
    """BLEU of each sentence against all the others."""
    lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
    clipped, leans = [], []
    for counts, (first, second, third), (owner, runner) in _indexed(Index(max(ORDERS)), sentences):
        others = np.where(
            owner[counts.gram] == counts.sentence, second[counts.gram], first[counts.gram]
        )
        allowed = np.minimum(counts.count, others)
        clipped.append(np.bincount(counts.sentence, allowed, minlength=len(lengths)))
        # The two that have most of an n-gram lean on each other for what the third has not.
        held = np.flatnonzero(second > third)
        a, b, lost = owner[held], runner[held], (second - third)[held]
        leans.append((np.r_[a, b], np.r_[b, a], np.r_[lost, lost]))
    closest = _closest_other(lengths)
    return SelfBleu(_scores(clipped, lengths, closest), clipped, lengths, closest, leans)


def _indexed(
    index: Index, sentences: Sequence[Sentence]
) -> Iterator[tuple[Counts, np.ndarray, np.ndarray]]:
    """Level by level the counts, and of each n-gram the three largest in a sentence (3, n-grams)
    and who has the first two (2, n-grams).
    """
    for n, counts in enumerate(index.learn(sentences), start=1):
        entries = counts.sentence, counts.gram, counts.count
        yield counts, *three_largest(*entries, index.size(n))


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
