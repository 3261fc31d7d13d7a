"""Comparing two variants: difference, probability of improvement, power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, stats

from core.statistics.aggregate import (
    LEVEL,
    RESAMPLES,
    Interval,
    interquartile_mean,
    p_of_zero,
    resample,
    stretched,
)

ROUNDING = 1e-13  # of the largest score; a smaller difference counts as zero
POWER = 0.8
GRID = 4000  # points of the integral of `power`

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

    The value is the mean over strata of IQM(A) - IQM(B): the difference of the scores of a
    leaderboard. If paired, the seeds of a stratum are resampled together for A and B. Interval and
    p are one computation (`stretched`, `p_of_zero`): p <= .05 if and only if the interval excludes
    zero. Strata of one seed each are pooled into one, whose pairs are the observations, so that the
    interval is over the strata too. A single pair has p = 1.

    Raises ValueError if paired strata have unequal counts.
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
    p = p_of_zero(value, draws, *counts)
    count = sum(min(len(a), len(b)) for a, b in arrays)
    return Difference(value, found.low, found.high, p, count, paired)


def probability_of_improvement(
    a: Sequence[float], b: Sequence[float], rng: np.random.Generator, resamples: int = RESAMPLES
) -> Interval:
    """P(a run of A scores above a run of B), ties count half, with a bootstrap interval over seeds
    (Agarwal et al. 2021), within [0, 1].
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    wins = (x[:, None] > y).astype(float) + 0.5 * (x[:, None] == y)
    i, j = resample(len(x), rng, resamples), resample(len(y), rng, resamples)
    draws = wins[i[:, :, None], j[:, None, :]].mean(axis=(1, 2))
    found = stretched(float(wins.mean()), draws, len(x), len(y))
    return Interval(found.value, max(0.0, found.low), min(1.0, found.high))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given (Holm 1979)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def power(effect: float, spread: float, seeds: int, *, paired: bool, level: float = LEVEL) -> float:
    """Probability that a two-sided t-test at `level` detects a true difference `effect`.

    `spread` is the standard deviation of the differences over pairs (paired), or of one variant
    over seeds (unpaired, two variants of `seeds` each). Exact for normal scores (Cohen 1988).
    """
    freedom = seeds - 1 if paired else 2 * seeds - 2
    if freedom < 1:
        return 0.0
    if spread == 0:
        return 1.0 if effect else level
    shift = abs(effect) / spread * math.sqrt(seeds if paired else seeds / 2)
    critical = float(stats.t.ppf(1 - level / 2, freedom))
    # The noncentral t as a mean over the estimated spread: scipy's is undefined for few seeds.
    chances = (np.arange(GRID) + 0.5) / GRID
    scale = np.sqrt(stats.chi2.ppf(chances, freedom) / freedom)
    beyond = stats.norm.sf(critical * scale - shift) + stats.norm.cdf(-critical * scale - shift)
    return float(beyond.mean())


def detectable_difference(
    spread: float, seeds: int, *, paired: bool, level: float = LEVEL, wanted: float = POWER
) -> float:
    """The minimum detectable difference at power `wanted`; infinite with one seed."""
    if seeds < 2:
        return math.inf
    return spread and _in_spreads(seeds, paired, level, wanted) * spread


@cache
def _in_spreads(seeds: int, paired: bool, level: float, wanted: float) -> float:
    """The same in units of the spread, which depends on the number of seeds only."""

    def missing(size: float) -> float:
        return power(size, 1.0, seeds, paired=paired, level=level) - wanted

    high = 1.0
    while missing(high) < 0:
        high *= 2
    return float(optimize.brentq(missing, 0.0, high))
