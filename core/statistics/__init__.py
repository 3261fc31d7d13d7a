"""Statistics of comparisons over seeds (Agarwal et al. 2021).

Every function that draws takes a numpy Generator; called twice with equal generators it answers
the same. Runs without a score (diverged, collapsed) are ranked below all others: `with_worst`
gives them the worst score seen, so that they are never dropped and never decide by how much.
"""

from __future__ import annotations

from core.statistics.aggregate import (
    Interval,
    interquartile_mean,
    interval,
    with_worst,
)
from core.statistics.difference import (
    Difference,
    difference,
    holm,
    probability_of_improvement,
    seed_correlation,
)
from core.statistics.power import detectable_difference, power
from core.statistics.profile import performance_profile
from core.statistics.tuning import expected_best
from core.statistics.variance import Shares, variance_shares

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
