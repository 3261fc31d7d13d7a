"""Tuning curves: how good the best of n trials is expected to be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

from core.statistics.aggregate import CONFIDENCE, RESAMPLES, Interval, resample


def expected_best(
    scores: Sequence[float],
    rng: np.random.Generator,
    *,
    higher_is_better: bool = True,
    resamples: int = 1000,
) -> list[Interval]:
    """Expected best of n trials drawn without replacement from all of them, n = 1, 2, ...

    The mean over all subsets of size n, which estimates the expectation without bias for trials
    that are independent draws (Tang et al. 2020; Dodge et al. 2019 draw with replacement, which
    is biased). Trials of a sampler that learns are not, then it is a description of these trials.
    The 95% band is a bootstrap over the trials; it is tight at the right end, where every resample
    has the same best, so it says nothing about trials that were not run.
    """
    data = np.asarray(scores, dtype=float)
    signed = data if higher_is_better else -data
    n = len(data)
    weights = _weights(n)
    value = weights @ np.sort(signed)
    draws = np.sort(signed[resample(n, rng, min(resamples, RESAMPLES))], axis=1) @ weights.T
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    rows = zip(value, low, high, strict=True)
    if higher_is_better:
        return [Interval(*map(float, row)) for row in rows]
    return [Interval(-float(v), -float(h), -float(lo)) for v, lo, h in rows]


def _weights(n: int) -> np.ndarray:
    """(n, n): in row m - 1 the chance that the i-th smallest is the best of a subset of m."""
    i, m = np.arange(1, n + 1)[None, :], np.arange(1, n + 1)[:, None]
    possible = i >= m
    smaller = np.where(possible, i - m, 0)
    logs = (
        gammaln(i) - gammaln(m) - gammaln(smaller + 1)  # subsets of m - 1 below the i-th
        - (gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1))
    )  # fmt: skip
    return np.asarray(np.where(possible, np.exp(logs), 0.0))
