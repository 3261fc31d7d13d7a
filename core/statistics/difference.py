"""Two variants against each other: by how much, how often, how sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from core.statistics.aggregate import (
    RESAMPLES,
    Interval,
    chance_of_zero,
    interquartile_mean,
    resample,
    stretched,
)

TIE = 1e-15
ROUNDING = 1e-13  # of the largest score; a smaller difference is none
NIL = 0.05  # share of the variance; below it a shared seed is worth nothing
NIL_P = 0.2  # and so is one whose effect could be chance this easily

Strata = Sequence[tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Difference:
    """A minus B with its 95% interval and a two-sided p-value."""

    value: float
    low: float
    high: float
    p: float
    pairs: int
    paired: bool


def difference(
    strata: Strata, rng: np.random.Generator, *, paired: bool, resamples: int = RESAMPLES
) -> Difference:
    """A minus B over strata, each with the scores of A and of B, seed by seed.

    The value is the mean over strata of IQM(A) - IQM(B): the difference of the scores that a
    leaderboard shows. Paired, the seeds of a stratum are drawn together for A and B; unpaired,
    apart. Interval and p are one computation (`stretched`, `chance_of_zero`): p <= .05 where the
    interval leaves zero out. Strata of one seed each are pooled into one, whose pairs are the
    observations: then the interval is over the strata too. A single pair has p 1.

    Raises ValueError where paired strata have unequal counts.
    """
    arrays = [(np.asarray(a, dtype=float), np.asarray(b, dtype=float)) for a, b in strata]
    if paired and any(len(a) != len(b) for a, b in arrays):
        raise ValueError("paired strata need as many scores of A as of B")
    if all(len(a) == len(b) == 1 for a, b in arrays) and len(arrays) > 1:
        pooled = tuple(np.concatenate(side) for side in zip(*arrays, strict=True))
        arrays, paired = [(pooled[0], pooled[1])], True
    value = float(np.mean([interquartile_mean(a) - interquartile_mean(b) for a, b in arrays]))
    draws = np.zeros(resamples)
    for a, b in arrays:
        i = resample(len(a), rng, resamples)
        j = i if paired else resample(len(b), rng, resamples)
        draws += (interquartile_mean(a[i]) - interquartile_mean(b[j])) / len(arrays)
    rounding = ROUNDING * max(float(np.abs(side).max()) for pair in arrays for side in pair)
    value = value if abs(value) > rounding else 0.0
    draws[np.abs(draws) <= rounding] = 0.0
    counts = [n for a, b in arrays for n in ((len(a),) if paired else (len(a), len(b)))]
    found = stretched(value, draws, *counts)
    p = chance_of_zero(value, draws, *counts)
    count = sum(min(len(a), len(b)) for a, b in arrays)
    return Difference(value, found.low, found.high, p, count, paired)


def probability_of_improvement(
    a: Sequence[float], b: Sequence[float], rng: np.random.Generator, resamples: int = RESAMPLES
) -> Interval:
    """P(a run of A scores above a run of B), ties half, with a bootstrap interval over seeds
    (Agarwal et al. 2021); inside [0, 1].
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    wins = (x[:, None] > y).astype(float) + 0.5 * (x[:, None] == y)
    i, j = resample(len(x), rng, resamples), resample(len(y), rng, resamples)
    draws = wins[i[:, :, None], j[:, None, :]].mean(axis=(1, 2))
    found = stretched(float(wins.mean()), draws, len(x), len(y))
    return Interval(found.value, max(0.0, found.low), min(1.0, found.high))


def seed_correlation(scores: np.ndarray) -> tuple[float, bool]:
    """What sharing seeds achieves: the intraclass correlation of variants over seeds.

    `scores` (variants, seeds). Two-way layout without interaction: (MS_seed - MS_rest) /
    (MS_seed + (k - 1) MS_rest) for k variants, the mean correlation of two variants over seeds
    (Shrout & Fleiss 1979, ICC(3,1)). The flag says whether it is worth pairing on: it is nil where
    the correlation is below .05, or the F test of the seeds does not reach p = .2. Estimated from
    all variants at once, so that choosing by it does not favour any one contrast.
    """
    k, n = scores.shape
    if k < 2 or n < 2:
        return 0.0, False
    means = scores.mean(axis=0)
    rest = scores - means - scores.mean(axis=1, keepdims=True) + scores.mean()
    ms_seed = k * float(np.square(means - scores.mean()).sum()) / (n - 1)
    ms_rest = float(np.square(rest).sum()) / ((n - 1) * (k - 1))
    total = ms_seed + (k - 1) * ms_rest
    if total <= TIE:
        return 0.0, False
    correlation = (ms_seed - ms_rest) / total
    p = float(stats.f.sf(ms_seed / ms_rest, n - 1, (n - 1) * (k - 1))) if ms_rest > TIE else 0.0
    return correlation, correlation >= NIL and p <= NIL_P


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given (Holm 1979)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]
