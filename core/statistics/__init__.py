"""Statistics of comparisons over seeds (Agarwal et al. 2021).

Every function that resamples takes a numpy Generator; equal generators give equal results. Runs
without a score (diverged, collapsed) rank below all others: `with_worst` gives them the worst score
of any run, so that they are never dropped and never decide the size of a difference.
"""

from __future__ import annotations

from core.statistics.aggregate import (
    Interval,
    interquartile_mean,
    interval,
    with_worst,
)
from core.statistics.curves import expected_best, performance_profile
from core.statistics.difference import (
    Difference,
    detectable_difference,
    difference,
    holm,
    power,
    probability_of_improvement,
)
from core.statistics.variance import Shares, seed_correlation, variance_shares

__all__ = [
    "Difference",
    "Interval",
    "Shares",
    "detectable_difference",
    "difference",
    "expected_best",
    "holm",
    "interquartile_mean",
    "interval",
    "performance_profile",
    "power",
    "probability_of_improvement",
    "seed_correlation",
    "variance_shares",
    "with_worst",
]
