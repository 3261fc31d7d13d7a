"""Where the variance of a study's scores comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.statistics.aggregate import Interval, resample, stretched


@dataclass(frozen=True)
class Shares:
    """Shares of the variance, each with its interval over seeds; the values add up to 1."""

    configuration: Interval  # what is chosen
    seed: Interval  # what a seed does to all variants alike
    rest: Interval  # what a seed does to one variant


def variance_shares(
    scores: np.ndarray, rng: np.random.Generator, resamples: int = 2000
) -> Shares | None:
    """Variance components of `scores` (variants, seeds), two-way random layout, by moments.

    Components below zero, which moments allow, are taken as zero. None with fewer than two
    variants or seeds, or where all scores are equal. The interval is a bootstrap over seeds.
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


def _shares(scores: np.ndarray) -> np.ndarray:
    k, n = scores.shape
    rows, columns = scores.mean(axis=1), scores.mean(axis=0)
    rest = scores - rows[:, None] - columns + scores.mean()
    ms_rest = np.square(rest).sum() / ((k - 1) * (n - 1))
    ms_rows = n * np.square(rows - scores.mean()).sum() / (k - 1)
    ms_columns = k * np.square(columns - scores.mean()).sum() / (n - 1)
    parts = np.maximum([(ms_rows - ms_rest) / n, (ms_columns - ms_rest) / k, ms_rest], 0.0)
    total = parts.sum()
    return np.asarray(parts / total) if total > 0 else np.array([0.0, 0.0, 1.0])
