"""Analysis of variance of the scores (variants, seeds) of a study, a two-way layout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from core.statistics.aggregate import Interval, resample, stretched

TIE = 1e-15  # variance below which scores are equal
SMALL = 0.05  # share of the variance below which a shared seed is not worth pairing on
SMALL_P = 0.2  # p of the seeds' effect above which it is not either


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
