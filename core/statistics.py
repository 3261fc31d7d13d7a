"""Statistics of a comparison over seeds (Agarwal et al. 2021).

Every function that draws takes a numpy Generator; called twice with equal generators it answers
the same. Runs without a score (diverged, collapsed) are ranked below all others: `with_worst`
gives them the worst score seen, so that they are never dropped and never decide by how much.
"""

from __future__ import annotations

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


def interval(values: Sequence[float], rng: np.random.Generator) -> Interval:
    """Interquartile mean of one variant over seeds, percentile bootstrap over the seeds.

    With one value the interval is that value: nothing is known of its spread.
    """
    data = np.asarray(values, dtype=float)
    draws = interquartile_mean(data[_resample(len(data), rng)])
    return _interval(float(interquartile_mean(data)), draws)


def paired_difference(
    a: Sequence[float], b: Sequence[float], rng: np.random.Generator
) -> tuple[Interval, float]:
    """Interquartile mean of a - b over pairs (the same seeds) with its bootstrap interval, and a
    two-sided sign-flip permutation p-value of the mean difference being zero.
    """
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    n = len(difference)
    draws = interquartile_mean(difference[_resample(n, rng)])
    signs = rng.choice([-1.0, 1.0], size=(RESAMPLES, n))
    null = np.abs((signs * difference).mean(axis=1))
    extreme = np.count_nonzero(null >= abs(difference.mean()) - 1e-15)
    p = (extreme + 1) / (RESAMPLES + 1)
    return _interval(float(interquartile_mean(difference)), draws), float(p)


def probability_of_improvement(
    a: Sequence[float], b: Sequence[float], rng: np.random.Generator
) -> Interval:
    """P(a run of A scores above a run of B), ties half, with a bootstrap interval over seeds."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    wins = (x[:, None] > y).astype(float) + 0.5 * (x[:, None] == y)
    i, j = _resample(len(x), rng), _resample(len(y), rng)
    draws = wins[i[:, :, None], j[:, None, :]].mean(axis=(1, 2))
    return _interval(float(wins.mean()), draws)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given (Holm 1979)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def with_worst(scores: Sequence[float | None], *, higher_is_better: bool) -> list[float]:
    """Scores with the missing ones at the worst that any run here has; all missing: zero."""
    known = [score for score in scores if score is not None and np.isfinite(score)]
    worst = (min(known) if higher_is_better else max(known)) if known else 0.0
    return [worst if s is None or not np.isfinite(s) else s for s in scores]


def _resample(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, n, size=(RESAMPLES, n))


def _interval(value: float, draws: np.ndarray) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(value, float(low), float(high))
