"""Tests that are repeated while results arrive, valid at every look.

If the two-sided p of a difference is looked at again and again while the information about it
(the inverse of its variance) grows from 1 to R, the chance that the normal deviate of p exceeds b
at some moment although there is no difference is nearly

    phi(b) ((b - 1/b) log R + 4/b)

(Miller & Siegmund 1982). This is for a look at every moment, so it holds for any looks in between,
however many, and whichever rows get the next runs. `benchmarks/adaptive.py` simulates how well it
holds for few seeds and Welch's test.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import optimize, special

SMALLEST = 1e-300  # p below is as good as zero
SINGLE = 1.0  # information ratio of one look


def anytime(p: np.ndarray | float, ratio: float) -> np.ndarray:
    """The two-sided p that is valid at every look, from the p of one look; `ratio` is R."""
    p = np.asarray(p, dtype=float)
    if ratio == SINGLE:
        return p
    b = -special.ndtri(np.clip(p, SMALLEST, 1.0) / 2)
    safe = np.maximum(b, 1.0)  # below, the chance is 1
    density = np.exp(-(safe**2) / 2) / np.sqrt(2 * np.pi)
    chance = density * ((safe - 1 / safe) * np.log(ratio) + 4 / safe)
    return np.asarray(np.where(b > 1, np.minimum(chance, 1.0), 1.0))


@cache
def nominal(level: float, ratio: float) -> float:
    """The p of one look at which the p that is valid at every look is `level`."""
    if ratio == SINGLE:
        return level
    return float(optimize.brentq(lambda p: float(anytime(p, ratio)) - level, SMALLEST, level))
