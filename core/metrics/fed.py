r"""FED: Frechet distance of sentence embeddings, extrapolated to infinitely many sentences.

With means m and covariances S of the embeddings of two texts,

    f = |m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1^(1/2) S_2 S_1^(1/2))^(1/2))

(Heusel et al. 2017; on sentences: Semeniuta et al. 2018). Lower is closer; the scale is the
encoder's, so values of two encoders, or of one fitted on other text, cannot be compared. Plain f
is biased by the sample size: two halves of one corpus are apart by about a / N. Like Chong &
Forsyth (2020) this takes the intercept of the line in 1/N; here the line goes through N and
N (1 - 1/20), the mean of the twenty values with one twentieth left out. It may be slightly below
zero, and its scatter says so.

An interval is of the expectation of this estimate at these sample sizes. Variance, of both samples:
with the derivative of f to each sentence's own embedding (first order), and what is left of it
where the two texts are one, which that counts twice: the variance of f between random re-splits of
both, each centred, in small blocks (pairs of sentences in one twentieth say nothing to the
extrapolation, so 20/19 of it). A formula of second order would do
for many sentences a dimension; at five and a half, where embeddings have heavy tails, it is two
fifths too small: of 200 draws of 350 captions its intervals held 88.0%, these 94.5%.
The interval is `intervals.squared_distance`.
Direction: lower. Traps: E embeddings need several E sentences (below 5 E there is no interval);
Gaussians see two moments only.
"""

from __future__ import annotations

import numpy as np

from core.metrics.intervals import Bounds, Measure, squared_distance
from core.text.corpus import spaced

GROUPS = 20
SMALLEST = 2 * GROUPS  # sentences on either side, for a value
RESPLITS = 120  # whose scatter is that of equal texts
MOST = 10_000  # sentences of either text that are dealt out
BLOCKS = 50  # of either text, that a re-split deals out: fewer say too little of rare sentences
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
    """Of embeddings (n, E) and (m, E); undefined below SMALLEST sentences on a side."""
    n, m = len(samples), len(references)
    if min(n, m) < SMALLEST:
        return Measure(None, n, m)
    ours, theirs = _Moments.of(samples), _Moments.of(references)
    whole = frechet(*ours.gaussian(), *theirs.gaussian())
    parts = [frechet(*ours.gaussian(g), *theirs.gaussian(g)) for g in range(GROUPS)]
    value = GROUPS * whole - (GROUPS - 1) * float(np.mean(parts))
    least = FEWEST * samples.shape[1]

    def bounds() -> Bounds:
        if min(n, m) < least:
            return None
        a, b = ours.gaussian(), theirs.gaussian()
        first = _first_order(samples, a, b) + _first_order(references, b, a)
        second = GROUPS / (GROUPS - 1) * _of_one_text(samples, references)
        return squared_distance(value, whole, first, second, min(n, m, RESPLITS))

    def by_reference() -> np.ndarray:
        return _slopes(references, theirs.gaussian(), ours.gaussian()) / (m - 1)

    return Measure(value, n, m, bounds, least, by_reference=by_reference)


class _Moments:
    """Sums of a sample in interleaved groups, so that leaving some out is a subtraction."""

    def __init__(self, count: np.ndarray, total: np.ndarray, square: np.ndarray) -> None:
        self.count, self.total, self.square = count, total, square

    @classmethod
    def of(cls, x: np.ndarray, groups: int = GROUPS) -> _Moments:
        counts, totals, squares = [], [], []
        for g in range(groups):
            part = x[g::groups].astype(np.float64)
            counts.append(len(part))
            totals.append(part.sum(axis=0))
            squares.append(part.T @ part)
        return cls(np.array(counts), np.stack(totals), np.stack(squares))

    def __add__(self, other: _Moments) -> _Moments:
        """The groups of both."""
        count = np.concatenate([self.count, other.count])
        total = np.concatenate([self.total, other.total])
        return _Moments(count, total, np.concatenate([self.square, other.square]))

    def gaussian(self, without: int | None = None) -> Gaussian:
        """Mean and unbiased covariance, of all or of all but one group."""
        return self.part(np.arange(len(self.count)) != (-1 if without is None else without))

    def part(self, keep: np.ndarray) -> Gaussian:
        """The same of the groups where `keep` (groups,) is True."""
        count = self.count[keep].sum()
        mean = self.total[keep].sum(axis=0) / count
        square = np.tensordot(keep.astype(float), self.square, 1)
        return mean, (square - count * np.outer(mean, mean)) / (count - 1)


def _first_order(x: np.ndarray, ours: Gaussian, theirs: Gaussian) -> float:
    """Variance of f that x's sentences bring."""
    return float(_slopes(x, ours, theirs).var() / len(x))


def _slopes(x: np.ndarray, ours: Gaussian, theirs: Gaussian) -> np.ndarray:
    """The derivative of f to the weight of each of x's sentences, (n,)."""
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
    return slope


def _of_one_text(x: np.ndarray, y: np.ndarray) -> float:
    """Variance of f, were the texts one: between re-splits of equal counts of both, centred. It
    falls as (1/n + 1/m)^2, as that of a squared distance of means does. Of a block's own pairs a
    re-split says nothing, and they are one in 2 BLOCKS of all.
    """
    size = min(len(x), len(y), MOST)
    blocks = min(BLOCKS, size // 2)
    both = _Moments.of(_centred(x, size), blocks) + _Moments.of(_centred(y, size), blocks)
    rng, side = np.random.default_rng(0), np.arange(2 * blocks) < blocks
    found = []
    for _ in range(RESPLITS):
        side = rng.permutation(side)
        found.append(frechet(*both.part(side), *both.part(~side)))
    sizes = (1 / len(x) + 1 / len(y)) / (2 / size)
    return float(np.var(found, ddof=1)) * sizes**2 * 2 * blocks / (2 * blocks - 1)


def _centred(x: np.ndarray, size: int) -> np.ndarray:
    """`size` evenly spaced rows, less their mean."""
    some = x[spaced(len(x), size)].astype(np.float64)
    return np.asarray(some - some.mean(axis=0))


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
