"""Statistics of the runs of a row: probability of improvement, profiles and tuning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, special
from scipy.special import gammaln

from core.statistics import TAIL, Interval, share

RESAMPLES = 1000
EDGE = 1e-12  # a probability this close to 0 or 1 is 0 or 1


def resample(n: int, rng: np.random.Generator) -> np.ndarray:
    """Positions drawn with replacement, (RESAMPLES, n)."""
    return rng.integers(0, n, size=(RESAMPLES, n))


def probability_of_improvement(a: Sequence[float], b: Sequence[float]) -> Interval:
    """P(a run of A scores above a run of B), ties count half (Agarwal et al. 2021), with a 95%
    interval that is not of width zero if all runs of A are better: the theta whose distance from
    the value is z times its standard error (Newcombe 2006, part 2, method 5).
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    value = float(((x[:, None] > y) + 0.5 * (x[:, None] == y)).mean())
    z, more = float(special.ndtri(1 - TAIL)), (len(x) + len(y)) / 2 - 1

    def beyond(theta: float) -> float:
        spread = 1 + more * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        error = math.sqrt(theta * (1 - theta) * spread / (len(x) * len(y)))
        return abs(theta - value) - z * error

    least, most = EDGE, 1 - EDGE
    middle = min(max(value, least), most)
    low = optimize.brentq(beyond, least, middle) if value > EDGE else 0.0
    high = optimize.brentq(beyond, middle, most) if value < 1 - EDGE else 1.0
    return Interval(value, float(low), float(high))


def performance_profile(
    scores: Sequence[float], thresholds: Sequence[float], *, higher_is_better: bool = True
) -> list[Interval]:
    """The share of runs at least as good as each threshold (Dolan & More 2002), with Jeffreys'
    pointwise 95% interval. A bootstrap over few runs has a band of width zero where all agree.
    """
    data, at = np.asarray(scores, dtype=float), np.asarray(thresholds, dtype=float)
    better = data[:, None] >= at if higher_is_better else data[:, None] <= at  # (runs, thresholds)
    found = share(better.sum(axis=0), (~better).sum(axis=0))
    return [Interval(*map(float, row)) for row in zip(*found, strict=True)]


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
    draws = np.sort(signed[resample(n, rng)], axis=1) @ weights.T
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
