"""Statistics of comparisons over seeds (Agarwal et al. 2021).

Every function that resamples takes a numpy Generator; equal generators give equal results. Runs
without a score (diverged, collapsed) rank below all others: `with_worst` gives them the worst score
of any run, so that they are never dropped and never decide the size of a difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, special, stats
from scipy.special import gammaln

RESAMPLES, BEST_RESAMPLES = 10_000, 1000
CONFIDENCE, LEVEL = 0.95, 0.05  # stated apart: in floating point .05 is not 1 - .95
TAIL = (1 - CONFIDENCE) / 2
TRIM = 0.25
MAX_P = 1 - 1e-9  # an interval of confidence 0 has no width
PRECISION = 1e-9  # of the logarithm of p
ROUNDING = 1e-13  # of the largest score; a smaller difference counts as zero
POWER = 0.8
GRID = 4000  # points of the integral of `power`
Strata = Sequence[tuple[Sequence[float], Sequence[float]]]
TIE = 1e-15  # variance below which scores are equal
SMALL = 0.05  # share of the variance below which a shared seed is not worth pairing on
SMALL_P = 0.2  # p of the seeds' effect above which it is not either


# One variant: the interquartile mean, its bootstrap interval and its p-value.


@dataclass(frozen=True)
class Interval:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends, the lower one first."""
        return self.low, self.high


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the middle half along the last axis: 25% trimmed on each side, rounded down to whole
    values. With fewer than four values it is the mean.
    """
    return np.asarray(stats.trim_mean(values, TRIM, axis=-1))


def interval(
    values: Sequence[float], rng: np.random.Generator, resamples: int = RESAMPLES
) -> Interval:
    """Interquartile mean of one variant over seeds, with a bootstrap interval over the seeds.

    The percentile interval is widened for few seeds, see `stretched`. With one value the interval
    is that value, because its spread is unknown.
    """
    data = np.asarray(values, dtype=float)
    draws = interquartile_mean(data[resample(len(data), rng, resamples)])
    return stretched(float(interquartile_mean(data)), draws, len(data))


def with_worst(scores: Sequence[float | None], *, higher_is_better: bool) -> list[float]:
    """Scores with missing ones replaced by the worst of these; 0 if all are missing."""
    known = [score for score in scores if score is not None and np.isfinite(score)]
    worst = (min(known) if higher_is_better else max(known)) if known else 0.0
    return [worst if s is None or not np.isfinite(s) else s for s in scores]


def resample(n: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """Positions drawn with replacement, (resamples, n)."""
    return rng.integers(0, n, size=(resamples, n))


def stretched(
    value: float, draws: np.ndarray, *counts: int, confidence: float = CONFIDENCE
) -> Interval:
    """The percentile interval of bootstrap draws, widened about the value for few observations.

    A percentile interval is too short at small n for two known reasons: the bootstrap variance is
    (n-1)/n of the sample variance, and it uses normal instead of t quantiles (Hesterberg 2015,
    section 4). One factor on the distances of the ends from the value corrects both; for the mean
    of n normal values that is Student's interval, and the interval stays asymmetric for skewed
    values. `counts` are the sizes of the resampled groups.
    """
    return _between(value, np.sort(draws), counts, confidence)


def p_of_zero(value: float, draws: np.ndarray, *counts: int) -> float:
    """The two-sided p-value of `stretched`: one minus the confidence at which it reaches zero.

    So p <= .05 if and only if the 95% interval excludes zero. A p below .05 is at least one over
    the number of different resamples, the resolution of few seeds. 1 if the spread is unknown.
    """
    if sum(n - 1 for n in counts) < 1:
        return 1.0
    ordered = np.sort(draws)

    def excludes_zero(p: float) -> bool:
        found = _between(value, ordered, counts, 1 - p)
        return found.low > 0 or found.high < 0

    different = math.prod(math.comb(2 * n - 1, n) for n in counts)
    least = max(1 / (len(draws) + 1), min(LEVEL, 1 / different))
    if excludes_zero(least):
        return least
    if not excludes_zero(MAX_P):
        return 1.0
    low, high = math.log(least), math.log(MAX_P)
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if excludes_zero(math.exp(middle)) else (middle, high)
    return math.exp(high)


def _between(
    value: float, ordered: np.ndarray, counts: Sequence[int], confidence: float
) -> Interval:
    tail, factor = (1 - confidence) / 2, stretch(counts, confidence)
    low, high = _quantile(ordered, tail), _quantile(ordered, 1 - tail)
    return Interval(value, value + factor * (low - value), value + factor * (high - value))


def _quantile(ordered: np.ndarray, share: float) -> float:
    """Of sorted values, linear interpolation as in numpy."""
    place = share * (len(ordered) - 1)
    below = int(place)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return low + (place - below) * (high - low)


def stretch(counts: Sequence[int], confidence: float = CONFIDENCE) -> float:
    """The factor of `stretched`; 1 if the spread is unknown."""
    freedom = sum(n - 1 for n in counts)
    if freedom < 1:
        return 1.0
    lost = sum(1 / n for n in counts) / sum((n - 1) / n**2 for n in counts)
    upper = (1 + confidence) / 2
    return math.sqrt(lost) * float(special.stdtrit(freedom, upper) / special.ndtri(upper))


# Curves with bands.


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


# Two variants.


@dataclass(frozen=True)
class Difference(Interval):
    """A minus B with its 95% interval and a two-sided p-value."""

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


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given (Holm 1979)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def power(effect: float, spread: float, seeds: int, *, paired: bool) -> float:
    """Probability that a two-sided t-test at LEVEL detects a true difference `effect`.

    `spread` is the standard deviation of the differences over pairs (paired), or of one variant
    over seeds (unpaired, two variants of `seeds` each). Exact for normal scores (Cohen 1988).
    """
    freedom = seeds - 1 if paired else 2 * seeds - 2
    if freedom < 1:
        return 0.0
    if spread == 0:
        return 1.0 if effect else LEVEL
    shift = abs(effect) / spread * math.sqrt(seeds if paired else seeds / 2)
    critical = float(stats.t.ppf(1 - LEVEL / 2, freedom))
    # The noncentral t as a mean over the estimated spread: scipy's is undefined for few seeds.
    chances = (np.arange(GRID) + 0.5) / GRID
    scale = np.sqrt(stats.chi2.ppf(chances, freedom) / freedom)
    beyond = stats.norm.sf(critical * scale - shift) + stats.norm.cdf(-critical * scale - shift)
    return float(beyond.mean())


def detectable_difference(spread: float, seeds: int, *, paired: bool) -> float:
    """The minimum detectable difference at power POWER; infinite with one seed."""
    if seeds < 2:
        return math.inf
    return spread and _in_spreads(seeds, paired) * spread


@cache
def _in_spreads(seeds: int, paired: bool) -> float:
    """The same in units of the spread, which depends on the number of seeds only."""

    def missing(size: float) -> float:
        return power(size, 1.0, seeds, paired=paired) - POWER

    high = 1.0
    while missing(high) < 0:
        high *= 2
    return float(optimize.brentq(missing, 0.0, high))


# Analysis of variance of the scores (variants, seeds) of a study, a two-way layout.


@dataclass(frozen=True)
class Shares:
    """Shares of the variance, each with its interval over seeds; the values add up to 1."""

    configuration: Interval  # effect of the variant
    seed: Interval  # effect of the seed on all variants alike
    rest: Interval  # effect of the seed on one variant


def variance_shares(
    scores: np.ndarray, rng: np.random.Generator, resamples: int = 2000
) -> Shares | None:
    """Variance components of `scores` (variants, seeds), two-way random layout, by moments.

    Negative components, which moments allow, count as zero. None with fewer than two variants or
    seeds, or if all scores are equal. The interval is a bootstrap over seeds.
    """
    if min(scores.shape) < 2 or np.ptp(scores) == 0:
        return None
    value = _shares(scores)
    # A seed alone has no spread: a resample needs two that differ.
    picks = [p for p in resample(scores.shape[1], rng, resamples) if np.ptp(p) > 0]
    spread = np.stack([_shares(scores[:, picked]) for picked in picks])
    found = [stretched(float(value[i]), spread[:, i], scores.shape[1]) for i in range(len(value))]
    inside = [Interval(f.value, max(0.0, f.low), min(1.0, f.high)) for f in found]
    return Shares(*inside)


def seed_correlation(scores: np.ndarray) -> tuple[float, bool]:
    """Intraclass correlation of variants over seeds, and whether pairing by seed is worthwhile.

    `scores` (variants, seeds). Two-way layout without interaction: (MS_seed - MS_rest) /
    (MS_seed + (k - 1) MS_rest) for k variants, the mean correlation of two variants over seeds
    (Shrout & Fleiss 1979, ICC(3,1)). Pairing is not worthwhile if the correlation is below .05 or
    the F test of the seeds has p > .2. The estimate is from all variants at once, so that choosing
    by it does not favour any contrast.
    """
    k, n = scores.shape
    if k < 2 or n < 2:
        return 0.0, False
    _, ms_seed, ms_rest = _mean_squares(scores)
    total = ms_seed + (k - 1) * ms_rest
    if total <= TIE:
        return 0.0, False
    correlation = (ms_seed - ms_rest) / total
    p = float(stats.f.sf(ms_seed / ms_rest, n - 1, (n - 1) * (k - 1))) if ms_rest > TIE else 0.0
    return correlation, correlation >= SMALL and p <= SMALL_P


def _shares(scores: np.ndarray) -> np.ndarray:
    k, n = scores.shape
    ms_rows, ms_columns, ms_rest = _mean_squares(scores)
    parts = np.maximum([(ms_rows - ms_rest) / n, (ms_columns - ms_rest) / k, ms_rest], 0.0)
    total = parts.sum()
    return np.asarray(parts / total) if total > 0 else np.array([0.0, 0.0, 1.0])


def _mean_squares(scores: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of variants, of seeds and of the residuals, of scores (variants, seeds)."""
    k, n = scores.shape
    rows, columns, mean = scores.mean(axis=1), scores.mean(axis=0), scores.mean()
    residuals = scores - rows[:, None] - columns + mean
    return (
        n * float(np.square(rows - mean).sum()) / (k - 1),
        k * float(np.square(columns - mean).sum()) / (n - 1),
        float(np.square(residuals).sum()) / ((k - 1) * (n - 1)),
    )
