r"""Unbiased squared maximum mean discrepancy of sentence embeddings (Gretton et al. 2012, eq. 3).

With the Gaussian kernel k(a, b) = exp(-|a - b|^2 / (2 s^2)), s the median distance of two reference
sentences, and h_ij = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i),

    MMD^2 = sum over i != j of h_ij / (n (n - 1)).

Lower is closer; zero for equal distributions, and an estimate may be below zero. It is unbiased at
every n, but its scale is the encoder's and the bandwidth's, so compare values of one encoder and
one reference set. Both sides are cut to equal counts, 10,000 at most.

Variance of a U-statistic of order two, of both samples: the jackknife's, and the second-order part
that it counts twice (which is all there is when the distributions are equal); the interval is
`intervals.squared_distance`. The bandwidth is held. Direction: lower.
"""

from __future__ import annotations

import numpy as np

from core.metrics.intervals import Bounds, Measure, jackknife, squared_distance

ROWS = 500  # of the kernel matrices at a time
MOST = 1000  # sentences whose distances give the bandwidth


def mmd(samples: np.ndarray, references: np.ndarray) -> Measure:
    """Of embeddings (n, E) and (n, E), equal counts; undefined below two."""
    n = len(samples)
    if n < 2:
        return Measure(None, n, n)
    x, y = samples.astype(np.float32), references.astype(np.float32)
    scale = 2 * bandwidth(y) ** 2
    sums, squares, own_pairs = np.zeros(n), 0.0, 0.0
    for start in range(0, n, ROWS):  # h is symmetric: from the diagonal on, and doubled
        at, on = slice(start, start + ROWS), slice(start, None)
        h = _kernel(x[at], x[on], scale)
        h += _kernel(y[at], y[on], scale)
        h -= _kernel(x[at], y[on], scale)
        h -= _kernel(y[at], x[on], scale)
        size = len(h)
        own = np.arange(size)
        own_pairs += float(h[own, own].sum(dtype=np.float64))
        h[own, own] = 0.0
        sums[at] += h.sum(axis=1, dtype=np.float64)
        sums[start + size :] += h[:, size:].sum(axis=0, dtype=np.float64)
        np.square(h, out=h)
        squares += float(2 * h.sum(dtype=np.float64) - h[:, :size].sum(dtype=np.float64))
    rows = sums / (n - 1)
    value = float(rows.mean())

    def bounds() -> Bounds:
        first = jackknife(2 * rows / max(n - 2, 1))
        spread = squares / (n * (n - 1)) - 2 * float(rows.var()) - value**2
        second = 2 * max(spread, 0.0) / (n * (n - 1))
        plain = (value * (n - 1) + own_pairs / n) / n
        return squared_distance(value, plain, first, second, n)

    def by_reference() -> np.ndarray:
        found = np.empty(n)
        for start in range(0, n, ROWS):
            at = slice(start, start + ROWS)
            own = np.exp(-((x[at] - y[at]) ** 2).sum(axis=1) / scale)  # its k with its x_i
            theirs = _kernel(y[at], y, scale).sum(axis=1, dtype=np.float64) - 1
            ours = _kernel(y[at], x, scale).sum(axis=1, dtype=np.float64) - own
            found[at] = theirs - ours
        return 2 * found / ((n - 1) * max(n - 2, 1))

    return Measure(value, n, n, bounds, by_reference=by_reference)


def bandwidth(embeddings: np.ndarray) -> float:
    """Median distance of two different ones of the first MOST; 1 where all are equal."""
    some = embeddings[:MOST].astype(np.float64)
    squared = (some**2).sum(axis=1)[:, None] + (some**2).sum(axis=1) - 2 * some @ some.T
    found = float(np.sqrt(max(np.median(squared[np.triu_indices(len(some), 1)]), 0.0)))
    return found if found > 0 else 1.0


def _kernel(a: np.ndarray, b: np.ndarray, scale: float) -> np.ndarray:
    exponent = a @ b.T
    exponent *= 2
    exponent -= (a**2).sum(axis=1)[:, None]
    exponent -= (b**2).sum(axis=1)
    exponent *= np.float32(1 / scale)
    np.minimum(exponent, 0, out=exponent)
    return np.asarray(np.exp(exponent, out=exponent))
