"""Statistics that resample runs: probability of improvement, profiles and tuning curves.

Every function takes a numpy Generator; equal generators give equal results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special
from scipy.special import gammaln

from core.statistics import TAIL, Interval

RESAMPLES, BEST_RESAMPLES = 10_000, 1000


def resample(n: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """Positions drawn with replacement, (resamples, n)."""
    return rng.integers(0, n, size=(resamples, n))


def stretched(value: float, draws: np.ndarray, *counts: int) -> Interval:
    """The percentile interval of bootstrap draws, widened about the value for few observations.

    A percentile interval is too short at small n for two known reasons: the bootstrap variance is
    (n-1)/n of the sample variance, and it uses normal instead of t quantiles (Hesterberg 2015,
    section 4). One factor on the distances of the ends from the value corrects both. `counts` are
    the sizes of the resampled groups; where each has one value, the spread is unknown and nothing
    is widened.
    """
    low, high = np.quantile(draws, [TAIL, 1 - TAIL])
    freedom, factor = sum(n - 1 for n in counts), 1.0
    if freedom > 0:
        lost = sum(1 / n for n in counts) / sum((n - 1) / n**2 for n in counts)
        quantiles = special.stdtrit(freedom, 1 - TAIL) / special.ndtri(1 - TAIL)
        factor = math.sqrt(lost) * float(quantiles)
    ends = (value + factor * (float(end) - value) for end in (low, high))
    return Interval(value, *ends)


def probability_of_improvement(
    a: Sequence[float], b: Sequence[float], rng: np.random.Generator
) -> Interval:
    """P(a run of A scores above a run of B), ties count half, with a bootstrap interval over seeds
    (Agarwal et al. 2021), within [0, 1].
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    wins = (x[:, None] > y).astype(float) + 0.5 * (x[:, None] == y)
    i, j = resample(len(x), rng), resample(len(y), rng)
    draws = wins[i[:, :, None], j[:, None, :]].mean(axis=(1, 2))
    found = stretched(float(wins.mean()), draws, len(x), len(y))
    return Interval(found.value, max(0.0, found.low), min(1.0, found.high))


def performance_profile(
    scores: Sequence[float],
    thresholds: Sequence[float],
    rng: np.random.Generator,
    *,
    higher_is_better: bool = True,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """The share of runs at least as good as each threshold, with a pointwise 95% bootstrap band
    over runs (Agarwal et al. 2021, section 4.2; Dolan & More 2002).
    """
    data, at = np.asarray(scores, dtype=float), np.asarray(thresholds, dtype=float)
    better = data[:, None] >= at if higher_is_better else data[:, None] <= at  # (runs, thresholds)
    picked = resample(len(data), rng, resamples)
    weights = np.stack([np.bincount(row, minlength=len(data)) for row in picked]) / len(data)
    low, high = np.quantile(weights @ better, [TAIL, 1 - TAIL], axis=0)
    share = better.mean(axis=0)
    return [Interval(*map(float, row)) for row in zip(share, low, high, strict=True)]


def expected_best(
    scores: Sequence[float], rng: np.random.Generator, *, higher_is_better: bool
) -> list[Interval]:
    """Expected best of n trials drawn without replacement from all of them, n = 1, 2, ...

    The mean over all subsets of size n, an unbiased estimate for trials that are independent draws
    (Tang et al. 2020; Dodge et al. 2019 draw with replacement, which is biased). For a sampler that
    learns it only describes these trials. The 95% band is a bootstrap over trials. It is narrow at
    the right end, where every resample has the same best: it says nothing about further trials.
    """
    data = np.asarray(scores, dtype=float)
    signed = data if higher_is_better else -data
    n = len(data)
    weights = _weights(n)
    value = weights @ np.sort(signed)
    draws = np.sort(signed[resample(n, rng, BEST_RESAMPLES)], axis=1) @ weights.T
    low, high = np.quantile(draws, [TAIL, 1 - TAIL], axis=0)
    rows = zip(value, low, high, strict=True)
    if higher_is_better:
        return [Interval(*map(float, row)) for row in rows]
    return [Interval(-float(v), -float(h), -float(lo)) for v, lo, h in rows]


def _weights(n: int) -> np.ndarray:
    """(n, n): row m - 1 has the probabilities that the i-th smallest is the best of m."""
    i, m = np.arange(1, n + 1)[None, :], np.arange(1, n + 1)[:, None]
    possible = i >= m
    smaller = np.where(possible, i - m, 0)
    logs = (
        gammaln(i) - gammaln(m) - gammaln(smaller + 1)  # subsets of m - 1 below the i-th
        - (gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1))
    )  # fmt: skip
    return np.asarray(np.where(possible, np.exp(logs), 0.0))
