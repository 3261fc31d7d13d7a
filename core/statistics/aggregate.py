"""The interquartile mean of several runs with its bootstrap interval and p-value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

RESAMPLES = 10_000
CONFIDENCE, LEVEL = 0.95, 0.05  # stated apart: in floating point .05 is not 1 - .95
TAIL = (1 - CONFIDENCE) / 2
TRIM = 0.25
MAX_P = 1 - 1e-9  # an interval of confidence 0 has no width
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
    """Mean of the middle half: 25% trimmed on each side, rounded down to whole values.

    With fewer than four values it is the mean.
    """
    return np.asarray(stats.trim_mean(values, TRIM, axis=axis))


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
