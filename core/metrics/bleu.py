"""BLEU-n and Self-BLEU-n of many sentences, equal to NLTK.

BLEU-n is the mean over hypotheses of sentence BLEU with uniform weights over 1..n, all references,
NLTK's smoothing method 1 (a zero numerator becomes .1; Chen & Cherry 2014), and the brevity
penalty of the closest reference length (Papineni et al. 2002). Higher is closer to the references,
between 0 and 1; it says nothing of diversity, and grows with the number of references. Interval:
over hypotheses, the references held fixed.

Self-BLEU-n (Zhu et al. 2018) is BLEU-n of each sentence against all the others. Lower is more
diverse, between 0 and 1; it grows with the sample size, so compare equal sizes only. Interval:
jackknife with the brevity penalty held fixed, asymmetric like its scatter (`intervals.clumped`).

A clipped count needs only the largest count of an n-gram in any reference. Leaving one reference
out needs the second largest, and which sentence has the largest; leaving two out, the third.

`PROTOCOLS` computes both as published code does, to compare with old tables. The protocols take the
same sentence BLEU and differ in the sentences on each side. The published tables do not state this,
and values of two protocols cannot be compared. docs/howto/metrics.md lists the defects of each.

| protocol | BLEU | Self-BLEU |
|---|---|---|
| texygen (Zhu et al. 2018) | all against the first 500 references | the first 500, each against the other 499 |
| textgan (TextGAN-PyTorch) | the first 200 against all | 200 apart against all other samples |
| relgan (Nie et al. 2019) | the first 200 against all | the first 200 against all samples, itself included |
| scratchgan (de Masson d'Autume et al. 2019) | 10,000 against 10,000 | 10,000, each against all others |
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core.metrics.catalogue import BLEU_ORDERS
from core.metrics.intervals import Bounds, Measure, clumped, interacting, jackknife, mean_of
from core.metrics.ngrams import Counts, NgramTable, Text, three_largest

SMOOTHING = 0.1
CHUNK = 50_000  # hypotheses counted at a time
Found = dict[str, Measure]


class ReferenceIndex:
    """References, indexed once, for any number of evaluations."""

    def __init__(self, references: Text) -> None:
        self.ngrams = NgramTable(references, max(BLEU_ORDERS))
        self.lengths = np.array([len(reference) for reference in references], dtype=np.int64)
        # The largest count of each n-gram in a reference.
        self.best = [counts[0] for _, counts, _ in _indexed(self.ngrams, references)]


def bleu(hypotheses: Text, index: ReferenceIndex) -> dict[int, np.ndarray]:
    """N -> sentence BLEU-n of each hypothesis, (hypotheses,)."""
    parts = [
        _bleu(hypotheses[start : start + CHUNK], index)
        for start in range(0, max(len(hypotheses), 1), CHUNK)
    ]
    return {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}


def _bleu(hypotheses: Text, index: ReferenceIndex) -> dict[int, np.ndarray]:
    lengths = np.array([len(h) for h in hypotheses], dtype=np.int64)
    clipped = []
    for counts, best in zip(index.ngrams.count(hypotheses), index.best, strict=True):
        allowed = np.minimum(counts.count, best[counts.gram])
        clipped.append(np.bincount(counts.sentence, allowed, minlength=len(lengths)))
    return _scores(clipped, lengths, _closest(lengths, index.lengths))


@dataclass(frozen=True)
class SelfBleu:
    """Sentence Self-BLEU, and what the jackknife needs: how sentences depend on each other."""

    scores: dict[int, np.ndarray]  # n -> (sentences,)
    clipped: list[np.ndarray]  # of each level (sentences,)
    lengths: np.ndarray  # (sentences,)
    closest: np.ndarray  # (sentences,)
    # Of each level: a sentence, another one, matches the first loses without the other.
    leans: list[tuple[np.ndarray, np.ndarray, np.ndarray]]

    def measure(self, order: int) -> Measure:
        """Self-BLEU of an order with its interval."""
        value, n = float(self.scores[order].mean()), len(self.lengths)

        def bounds() -> Bounds:
            # A repeated sentence adds 2 (1 - value) / n; what two sentences share is a quarter.
            return clumped(value, self.variances[order], (1 - value) / (2 * n), n)

        return Measure(value, n, n - 1, bounds)

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


def self_bleu(sentences: Text) -> SelfBleu:
    """BLEU of each sentence against all the others."""
    lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
    table, clipped, leans = NgramTable(sentences, max(BLEU_ORDERS)), [], []
    for counts, (first, second, third), (owner, runner) in _indexed(table, sentences):
        others = np.where(
            owner[counts.gram] == counts.sentence, second[counts.gram], first[counts.gram]
        )
        allowed = np.minimum(counts.count, others)
        clipped.append(np.bincount(counts.sentence, allowed, minlength=len(lengths)))
        # The two sentences with the largest counts need each other for what the third lacks.
        held = np.flatnonzero(second > third)
        a, b, lost = owner[held], runner[held], (second - third)[held]
        leans.append((np.r_[a, b], np.r_[b, a], np.r_[lost, lost]))
    closest = _closest_other(lengths)
    return SelfBleu(_scores(clipped, lengths, closest), clipped, lengths, closest, leans)


def _indexed(table: NgramTable, sentences: Text) -> Iterator[tuple[Counts, np.ndarray, np.ndarray]]:
    """For each level the counts, the three largest counts of each n-gram in a sentence
    (3, n-grams), and the sentences of the first two (2, n-grams).
    """
    for n, counts in enumerate(table.count(sentences), start=1):
        yield counts, *three_largest(counts, table.size(n))


def _closest(lengths: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The reference length nearest to each length, ties to the shorter."""
    known = np.unique(references)
    above = np.minimum(np.searchsorted(known, lengths), len(known) - 1)
    below = np.maximum(above - 1, 0)
    nearer_below = np.abs(known[below] - lengths) <= np.abs(known[above] - lengths)
    return np.where(nearer_below, known[below], known[above])


def _closest_other(lengths: np.ndarray) -> np.ndarray:
    """The same among all other sentences: its own length if another sentence has it too."""
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
    return {n: np.where(silent, 0.0, brevity * np.exp(sum(logs[:n]) / n)) for n in BLEU_ORDERS}


def bleu_measures(name: str, hypotheses: Text, index: ReferenceIndex) -> Found:
    """`name`_2.. of hypotheses against indexed references; undefined if either side is empty."""
    if not hypotheses or not len(index.lengths):
        return {}
    return {
        f"{name}_{n}": mean_of(scores, len(index.lengths))
        for n, scores in bleu(hypotheses, index).items()
    }


def self_bleu_measures(samples: Text) -> Found:
    """self_bleu_2.. of each sentence against all the others; undefined below two sentences."""
    if len(samples) < 2:
        return {}
    found = self_bleu(samples)
    return {f"self_bleu_{order}": found.measure(order) for order in found.scores}


@dataclass(frozen=True)
class Protocol:
    """How published code computes BLEU and Self-BLEU: both of samples, BLEU against references."""

    needs: int  # sentences of each, to be comparable with the published numbers
    defect: str
    hypotheses: int | None = None  # samples that BLEU scores; None: all
    references: int | None = None  # that BLEU compares with; None: all
    # Samples whose Self-BLEU is measured: among themselves, or against some of the samples.
    own: int = 200
    against: slice | None = None

    def measure(self, samples: Text, references: Text) -> Found:
        """BLEU and Self-BLEU by name."""
        index = ReferenceIndex(references[: self.references])
        found = bleu_measures("bleu", samples[: self.hypotheses], index)
        if self.against is None:
            return found | self_bleu_measures(samples[: self.own])
        others = ReferenceIndex(samples[self.against])
        return found | bleu_measures("self_bleu", samples[: self.own], others)


PROTOCOLS: Mapping[str, Protocol] = {
    "texygen": Protocol(
        500, "only 500 references, so BLEU is far below that against all; during training its code "
        "keeps comparing with the first evaluation's sentences", references=500, own=500,
    ),
    "textgan": Protocol(
        201, "only 200 hypotheses, so the interval of BLEU is several .01 wide",
        hypotheses=200, against=slice(200, None),
    ),
    "relgan": Protocol(
        200, "each sentence is one of its own references, so Self-BLEU-n is 1 for every sentence "
        "of n words or more; only 200 hypotheses", hypotheses=200, against=slice(None),
    ),
    "scratchgan": Protocol(
        10_000, "comparable only at exactly 10,000 against 10,000",
        hypotheses=10_000, references=10_000, own=10_000,
    ),
}  # fmt: skip
