"""Leave-one-out accuracy of the nearest neighbour (Lopez-Paz & Oquab 2017; Xu et al. 2018).

Samples and references are pooled in equal counts (10,000 of each at most); each sentence is given
the label of the nearest other one (Euclidean distance of embeddings), and the metric is the share
that is right. About .5 when the two texts cannot be told apart; above it they can; below it samples
sit on single references, as copies do. So near to .5 is better, and near to the row of real text.
Equal sentences are at distance zero; a neighbour among several equals counts by their shares.

Variance: neighbours depend on each other, so sentences that are linked by being a neighbour form
one cluster, and the variance is over clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from core.metrics.encoders import Encoder
from core.metrics.intervals import Bounds, Measure, around
from core.metrics.ngrams import Sentence

ROWS = 500  # of the distance matrix at a time


def nearest_neighbour(
    samples: Sequence[Sentence], references: Sequence[Sentence], encoder: Encoder
) -> Measure:
    """Of equal counts of sentences; undefined below two."""
    n = len(samples)
    if n < 2:
        return Measure(None, n, n)
    pooled = [*map(tuple, samples), *map(tuple, references)]
    numbers: dict[tuple[str, ...], int] = {}
    which = np.array([numbers.setdefault(sentence, len(numbers)) for sentence in pooled])
    ours = np.bincount(which[:n], minlength=len(numbers)).astype(float)
    theirs = np.bincount(which[n:], minlength=len(numbers)).astype(float)
    neighbour = _neighbours(encoder(list(numbers)), ours + theirs)
    # Of each different sentence: the share of samples among the copies of its neighbour.
    many = ours + theirs > 1
    near = np.where(many, np.arange(len(numbers)), neighbour)
    others = (ours + theirs)[near] - many
    right = np.r_[
        ((ours[near] - many) / others)[which[:n]], ((theirs[near] - many) / others)[which[n:]]
    ]
    value = float(right.mean())

    def bounds() -> Bounds:
        links = sparse.coo_array(
            (np.ones(len(near)), (np.arange(len(near)), near)), shape=(len(near), len(near))
        )
        _, cluster = connected_components(links, directed=False)
        totals = np.bincount(cluster[which], right - value)
        return around(value, float((totals**2).sum()) / len(right) ** 2, int(cluster.max()) + 1)

    return Measure(value, n, n, bounds)


def _neighbours(embeddings: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Index of the nearest other row, for rows of one copy; itself for the others."""
    # |a - b|^2 less |a|^2 in one product: (-2 a, 1) and (b, |b|^2).
    ones = np.ones((len(embeddings), 1), embeddings.dtype)
    left = np.hstack([-2 * embeddings, ones])
    right = np.hstack([embeddings, (embeddings**2).sum(axis=1, keepdims=True)])
    nearest = np.arange(len(embeddings))
    alone = np.flatnonzero(copies == 1)
    if len(embeddings) < 2:
        return nearest
    for start in range(0, len(alone), ROWS):
        at = alone[start : start + ROWS]
        distance = left[at] @ right.T
        distance[np.arange(len(at)), at] = np.inf
        nearest[at] = distance.argmin(axis=1)
    return nearest
