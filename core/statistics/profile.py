"""Performance profiles: the share of runs above each threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.statistics.aggregate import CONFIDENCE, RESAMPLES, Interval, resample


def performance_profile(
    scores: Sequence[float],
    thresholds: Sequence[float],
    rng: np.random.Generator,
    *,
    higher_is_better: bool = True,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """For each threshold the share of runs at least as good, with a pointwise 95% bootstrap band
    over the runs (Agarwal et al. 2021, section 4.2; Dolan & More 2002).
    """
    data, at = np.asarray(scores, dtype=float), np.asarray(thresholds, dtype=float)
    better = data[:, None] >= at if higher_is_better else data[:, None] <= at  # (runs, thresholds)
    picked = resample(len(data), rng, resamples)
    weights = np.stack([np.bincount(row, minlength=len(data)) for row in picked]) / len(data)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(weights @ better, [tail, 1 - tail], axis=0)
    share = better.mean(axis=0)
    return [Interval(*map(float, row)) for row in zip(share, low, high, strict=True)]
