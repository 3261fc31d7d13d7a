"""One number for several runs, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

RESAMPLES = 10_000
CONFIDENCE, LEVEL = 0.95, 0.05  # the one is not one minus the other in floating point
TRIM = 0.25
MOST = 1 - 1e-9  # p: an interval of no confidence has no width
PRECISION = 1e-9  # of the logarithm of p


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


def interquartile_mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the middle half: 25% trimmed on either side, rounded down to whole values.

    With fewer than four values nothing is trimmed, and it is the mean.
    """
    return np.asarray(stats.trim_mean(values, TRIM, axis=axis))


def interval(
    values: Sequence[float], rng: np.random.Generator, resamples: int = RESAMPLES
) -> Interval:
    """Interquartile mean of one variant over seeds, with a bootstrap interval over the seeds.

    The percentile interval is stretched for few seeds, see `stretched`. With one value the
    interval is that value: nothing is known of its spread.
    """
    data = np.asarray(values, dtype=float)
    draws = interquartile_mean(data[resample(len(data), rng, resamples)])
    return stretched(float(interquartile_mean(data)), draws, len(data))


def with_worst(scores: Sequence[float | None], *, higher_is_better: bool) -> list[float]:
    """Scores with the missing ones at the worst that any run here has; all missing: zero."""
    known = [score for score in scores if score is not None and np.isfinite(score)]
    worst = (min(known) if higher_is_better else max(known)) if known else 0.0
    return [worst if s is None or not np.isfinite(s) else s for s in scores]


def resample(n: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """Positions drawn with replacement, (resamples, n)."""
    return rng.integers(0, n, size=(resamples, n))


def stretched(
    value: float, draws: np.ndarray, *counts: int, confidence: float = CONFIDENCE
) -> Interval:
    """The percentile interval of bootstrap draws, wider about the value for few observations.

    A percentile interval is too short at small n for two known reasons: the bootstrap's variance
    is (n-1)/n of the sample's, and it takes normal quantiles where t belongs (Hesterberg 2015,
    section 4). Both are put right by one factor on the distance of either end from the value; for
    the mean of n normal values that is Student's interval, and skewness keeps its say. `counts`
    are the sizes of the groups that were resampled.
    """
    return _between(value, np.sort(draws), counts, confidence)


def chance_of_zero(value: float, draws: np.ndarray, *counts: int) -> float:
    """The two-sided p-value of `stretched`: one minus the confidence at which it reaches zero.

    So p <= .05 says the same as a 95% interval that leaves zero out. No smaller p than .05 is below
    one over the number of different resamples, which few seeds cannot resolve. 1 where nothing is
    known of the spread.
    """
    if sum(n - 1 for n in counts) < 1:
        return 1.0
    ordered = np.sort(draws)

    def leaves_zero_out(p: float) -> bool:
        found = _between(value, ordered, counts, 1 - p)
        return found.low > 0 or found.high < 0

    different = math.prod(math.comb(2 * n - 1, n) for n in counts)
    least = max(1 / (len(draws) + 1), min(LEVEL, 1 / different))
    if leaves_zero_out(least):
        return least
    if not leaves_zero_out(MOST):
        return 1.0
    low, high = math.log(least), math.log(MOST)
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if leaves_zero_out(math.exp(middle)) else (middle, high)
    return math.exp(high)


def _between(
    value: float, ordered: np.ndarray, counts: Sequence[int], confidence: float
) -> Interval:
    tail, factor = (1 - confidence) / 2, stretch(counts, confidence)
    low, high = _quantile(ordered, tail), _quantile(ordered, 1 - tail)
    return Interval(value, value + factor * (low - value), value + factor * (high - value))


def _quantile(ordered: np.ndarray, share: float) -> float:
    """Of sorted values, linear between them, as numpy's."""
    place = share * (len(ordered) - 1)
    below = int(place)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return low + (place - below) * (high - low)


def stretch(counts: Sequence[int], confidence: float = CONFIDENCE) -> float:
    """The factor of `stretched`; 1 where nothing is known of the spread."""
    freedom = sum(n - 1 for n in counts)
    if freedom < 1:
        return 1.0
    lost = sum(1 / n for n in counts) / sum((n - 1) / n**2 for n in counts)
    upper = (1 + confidence) / 2
    return math.sqrt(lost) * float(special.stdtrit(freedom, upper) / special.ndtri(upper))
