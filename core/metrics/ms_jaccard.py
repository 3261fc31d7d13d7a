"""MS-Jaccard-n: overlap of the n-gram multisets of two texts (Alihosseini et al. 2019).

With c(g) the count of n-gram g over the number of sentences,

    J_n = sum_g min(c_sample(g), c_real(g)) / sum_g max(c_sample(g), c_real(g)),

and MS-Jaccard-n the geometric mean of J_1..J_n. Higher is closer in quality and diversity at once,
between 0 and 1: samples that repeat a good sentence lose, and so do diverse wrong ones. It grows
with both sample sizes, so compare equal sizes; real text against real text is the ceiling.
Interval: jackknife over the samples, the references held fixed;
none where a level has too few shared n-grams for one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.metrics import intervals
from core.metrics.catalogue import BLEU_ORDERS
from core.metrics.intervals import Bounds, Measure
from core.metrics.ngrams import NgramTable, Text


@dataclass(frozen=True)
class Overlap:
    """J_1..J_5 of the whole sample, and of the sample without each of its sentences."""

    samples: int
    references: int
    whole: list[float]
    shared: list[int]  # a level: n-grams of the sample that the references have
    without: list[np.ndarray]  # a level: (samples,)
    twice: list[float]  # a level: what pairs of sentences share of the variance

    def value(self, n: int) -> float:
        """MS-Jaccard-n."""
        return float(np.prod(self.whole[:n]) ** (1 / n))

    def measure(self, n: int) -> Measure:
        """MS-Jaccard-n with its interval; none where a level shares fewer than RARE n-grams."""

        def bounds() -> Bounds:
            if min(self.shared[:n]) < intervals.RARE:
                return None
            return intervals.around(self.value(n), self.variance(n), self.samples)

        return Measure(self.value(n), self.samples, self.references, bounds)

    def variance(self, n: int) -> float:
        """Variance of MS-Jaccard-n: see `intervals.interacting`."""
        without = np.prod(self.without[:n], axis=0) ** (1 / n)
        slopes = [self.value(n) / (n * j) if j else 0.0 for j in self.whole[:n]]
        twice = sum(slope**2 * part for slope, part in zip(slopes, self.twice, strict=False))
        return intervals.interacting(intervals.jackknife(without - self.value(n)), twice)


def ms_jaccard(samples: Text, references: Text) -> Overlap | None:
    """The overlap of two texts; None where a side has no sentences."""
    if not samples or not references:
        return None
    table = NgramTable([*samples, *references], max(BLEU_ORDERS))
    whole, without, twice, shared = [], [], [], []
    levels = zip(table.count(samples), table.count(references), strict=True)
    for n, (ours, theirs) in enumerate(levels, start=1):
        size = max(table.size(n), 1)
        mine = np.bincount(ours.gram, ours.count, minlength=size)
        real = np.bincount(theirs.gram, theirs.count, minlength=size) / len(references)
        union = float(np.maximum(mine / len(samples), real).sum())
        common = float(np.minimum(mine / len(samples), real).sum())
        whole.append(common / union if union else 0.0)
        shared.append(int(np.minimum(mine, real > 0).sum()))
        fewer = max(len(samples) - 1, 1)
        # All n-grams at the new number of sentences, then put right where the sentence had them.
        had, kept = mine[ours.gram] / fewer, (mine[ours.gram] - ours.count) / fewer
        at = real[ours.gram]
        sums = []
        for bound in (np.minimum, np.maximum):
            change = bound(kept, at) - bound(had, at)
            moved = np.bincount(ours.sentence, change, minlength=len(samples))
            sums.append(bound(mine / fewer, real).sum() + moved)
        bends = [
            bound(mine / len(samples), real)
            - 2 * bound((mine - 1) / len(samples), real)
            + bound((mine - 2) / len(samples), real)
            for bound in (np.minimum, np.maximum)
        ]
        bend = (bends[0] - whole[-1] * bends[1]) / max(union, 1e-300)
        twice.append(intervals.pairwise(ours.sentence, ours.gram, bend, len(samples)))
        without.append(np.divide(sums[0], sums[1], out=np.zeros(len(samples)), where=sums[1] > 0))
    return Overlap(len(samples), len(references), whole, shared, without, twice)
