"""What a number of seeds can show."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy import optimize, stats

LEVEL = 0.05
WANTED = 0.8
GRID = 4000  # points of the integral


def power(effect: float, spread: float, seeds: int, *, paired: bool, level: float = LEVEL) -> float:
    """Chance that a two-sided t-test at `level` sees a true difference `effect`.

    `spread` is the standard deviation of the differences over pairs (paired), or of one variant
    over seeds (unpaired, two variants of `seeds` each). Exact for normal scores (Cohen 1988).
    """
    freedom = seeds - 1 if paired else 2 * seeds - 2
    if freedom < 1:
        return 0.0
    if spread == 0:
        return 1.0 if effect else level
    shift = abs(effect) / spread * math.sqrt(seeds if paired else seeds / 2)
    critical = float(stats.t.ppf(1 - level / 2, freedom))
    # The noncentral t, as a mean over the estimated spread: scipy's own is undefined at few seeds.
    chances = (np.arange(GRID) + 0.5) / GRID
    scale = np.sqrt(stats.chi2.ppf(chances, freedom) / freedom)
    beyond = stats.norm.sf(critical * scale - shift) + stats.norm.cdf(-critical * scale - shift)
    return float(beyond.mean())


def detectable_difference(
    spread: float, seeds: int, *, paired: bool, level: float = LEVEL, wanted: float = WANTED
) -> float:
    """The smallest true difference that is seen with chance `wanted`; infinite with one seed."""
    if seeds < 2:
        return math.inf
    return spread and _in_spreads(seeds, paired, level, wanted) * spread


@cache
def _in_spreads(seeds: int, paired: bool, level: float, wanted: float) -> float:
    """The same in units of the spread: one number for all that so many seeds are compared on."""

    def short(size: float) -> float:
        return power(size, 1.0, seeds, paired=paired, level=level) - wanted

    high = 1.0
    while short(high) < 0:
        high *= 2
    return float(optimize.brentq(short, 0.0, high))
