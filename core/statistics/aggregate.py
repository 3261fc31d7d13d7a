"""One number for several runs, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 10_000
CONFIDENCE = 0.95
TRIM = 0.25


@dataclass(frozen=True)
class Interval:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float


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


def stretched(value: float, draws: np.ndarray, *counts: int) -> Interval:
    """The percentile interval of bootstrap draws, wider about the value for few observations.

    A percentile interval is too short at small n for two known reasons: the bootstrap's variance
    is (n-1)/n of the sample's, and it takes normal quantiles where t belongs (Hesterberg 2015,
    section 4). Both are put right by one factor on the distance of either end from the value; for
    the mean of n normal values that is Student's interval, and skewness keeps its say. `counts`
    are the sizes of the groups that were resampled.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    factor = stretch(counts)
    return Interval(
        value, float(value + factor * (low - value)), float(value + factor * (high - value))
    )


def stretch(counts: Sequence[int]) -> float:
    """The factor of `stretched`; 1 where nothing is known of the spread."""
    freedom = sum(n - 1 for n in counts)
    if freedom < 1:
        return 1.0
    lost = sum(1 / n for n in counts) / sum((n - 1) / n**2 for n in counts)
    upper = (1 + CONFIDENCE) / 2
    return math.sqrt(lost) * float(stats.t.ppf(upper, freedom) / stats.norm.ppf(upper))
