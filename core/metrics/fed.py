r"""FED: Frechet distance of sentence embeddings, extrapolated to infinitely many sentences.

With means m and covariances S of the embeddings of two texts,

    f = |m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1^(1/2) S_2 S_1^(1/2))^(1/2))

(Heusel et al. 2017; on sentences: Semeniuta et al. 2018). Lower is closer; the scale is the
encoder's, so values of two encoders, or of one fitted on other text, cannot be compared. Plain f
is biased by the sample size: two halves of one corpus are apart by about a / N. Like Chong &
Forsyth (2020) this takes the intercept of the line in 1/N; here the line goes through N and
N (1 - 1/20), the mean of the twenty values with one twentieth left out. It may be slightly below
zero, and its scatter says so.

Variance, of both samples: with the derivative of f to each sentence's own embedding (first order),
and the second order that it counts twice (near f = 0 the distance is a squared distance of means of
embeddings and their products, whose variance is known; pairs of sentences in one twentieth say
nothing, so it is 20/19 of that); the interval is `intervals.squared_distance`.
Direction: lower. Traps: E embeddings need several E sentences (below 5 E there is no interval);
Gaussians see two moments only.
"""

from __future__ import annotations

import numpy as np

from core.metrics.intervals import Bounds, Measure, squared_distance

GROUPS = 20
PAIRS = 400  # sentences whose pairs give the second-order variance
FEWEST = 5  # sentences a dimension, for an interval: below it the scatter is not of second order
TINY = 1e-9
ROWS = 50_000  # sentences at a time
Gaussian = tuple[np.ndarray, np.ndarray]  # mean (E,), covariance (E, E)


def frechet(m1: np.ndarray, s1: np.ndarray, m2: np.ndarray, s2: np.ndarray) -> float:
    """Squared Frechet distance of two Gaussians: means (E,), covariances (E, E)."""
    root = _root(s1)
    cross = np.linalg.eigvalsh(root @ s2 @ root)
    return float(
        ((m1 - m2) ** 2).sum()
        + np.trace(s1)
        + np.trace(s2)
        - 2 * np.sqrt(np.maximum(cross, 0.0)).sum()
    )


def fed(samples: np.ndarray, references: np.ndarray) -> Measure:
    """Of embeddings (n, E) and (m, E); undefined below 2 GROUPS sentences on a side."""
    n, m = len(samples), len(references)
    if min(n, m) < 2 * GROUPS:
        return Measure(None, n, m)
    ours, theirs = _Moments.of(samples), _Moments.of(references)
    whole = frechet(*ours.gaussian(), *theirs.gaussian())
    parts = [frechet(*ours.gaussian(g), *theirs.gaussian(g)) for g in range(GROUPS)]
    value = GROUPS * whole - (GROUPS - 1) * float(np.mean(parts))

    def bounds() -> Bounds:
        if min(n, m) < FEWEST * samples.shape[1]:
            return None
        a, b = ours.gaussian(), theirs.gaussian()
        first = _first_order(samples, a, b) + _first_order(references, b, a)
        second = GROUPS / (GROUPS - 1) * _second_order(samples, references, a, b)
        return squared_distance(value, whole, first, second, min(n, m))

    return Measure(value, n, m, bounds)


class _Moments:
    """Sums of a sample in GROUPS interleaved groups, so that leaving one out is a subtraction."""

    def __init__(self, count: np.ndarray, total: np.ndarray, square: np.ndarray) -> None:
        self.count, self.total, self.square = count, total, square

    @classmethod
    def of(cls, x: np.ndarray) -> _Moments:
        counts, totals, squares = [], [], []
        for g in range(GROUPS):
            part = x[g::GROUPS].astype(np.float64)
            counts.append(len(part))
            totals.append(part.sum(axis=0))
            squares.append(part.T @ part)
        return cls(np.array(counts), np.stack(totals), np.stack(squares))

    def gaussian(self, without: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Mean and unbiased covariance, of all or of all but one group."""
        keep = np.arange(GROUPS) != (-1 if without is None else without)
        count = self.count[keep].sum()
        mean = self.total[keep].sum(axis=0) / count
        scatter = self.square[keep].sum(axis=0) - count * np.outer(mean, mean)
        return mean, scatter / (count - 1)


def _first_order(x: np.ndarray, ours: Gaussian, theirs: Gaussian) -> float:
    """Variance of f that x's sentences bring: of the derivative of f to the weight of each."""
    (m1, s1), (m2, s2) = ours, theirs
    root = _root(s1)
    values, vectors = np.linalg.eigh(s1)
    inverse = (vectors / np.sqrt(np.maximum(values, TINY))) @ vectors.T
    # The optimal transport map of Gaussian 1 to Gaussian 2.
    carried = inverse @ _root(root @ s2 @ root) @ inverse
    left = np.eye(x.shape[1]) - carried
    slope = np.empty(len(x))
    for start in range(0, len(x), ROWS):
        at = slice(start, start + ROWS)
        centred = x[at] - m1
        slope[at] = 2 * centred @ (m1 - m2) + ((centred @ left) * centred).sum(axis=1)
    return float(slope.var() / len(x))


def _second_order(x: np.ndarray, y: np.ndarray, ours: Gaussian, theirs: Gaussian) -> float:
    """2 tr(C^2) (1/n + 1/m)^2: C the covariance of the embeddings and of their products, weighted
    as the distance weights them about equal covariances; the trace over pairs of sentences.
    """
    (m1, s1), (m2, s2) = ours, theirs
    size = min(len(x), len(y), PAIRS // 2)
    pool = np.concatenate([x[:size] - m1, y[:size] - m2])
    values, vectors = np.linalg.eigh((s1 + s2) / 2)
    values = np.maximum(values, TINY)
    pool = pool @ vectors
    weight = 1 / (2 * (values[:, None] + values))
    kernel = np.empty((len(pool), len(pool)))
    for i, row in enumerate(pool):
        products = pool * row
        kernel[i] = products.sum(axis=1) + ((products @ weight) * products).sum(axis=1)
    kernel -= kernel.mean(axis=0)
    kernel -= kernel.mean(axis=1, keepdims=True)
    np.fill_diagonal(kernel, 0.0)
    pairs = len(pool) * (len(pool) - 1)
    return float(2 * (kernel**2).sum() / pairs * (1 / len(x) + 1 / len(y)) ** 2)


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
