"""Who is to be thanked for a difference: Shapley values of coordinates between two systems.

With v(S) the score of the system whose coordinates in S are the target's and whose others are the
origin's, coordinate i is attributed the mean over orders of v(before + i) - v(before) (Shapley
1953). Every order's changes add up to v(all) - v(none), so the attributions do too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from core.statistics import Interval
from core.statistics.aggregate import RESAMPLES, resample, stretched

Node = frozenset[int]
Order = tuple[int, ...]
MOST_LISTED = 7  # coordinates whose every order is listed: 5,040


def orders_within(k: int, nodes: int) -> tuple[list[Order], bool]:
    """Orders of k coordinates that visit at most `nodes` systems, and whether those are all.

    Where not all fit, orders are drawn (the same ones every time), each with its reverse, which
    spreads every coordinate over early and late places.
    """
    if 2**k <= nodes and k <= MOST_LISTED:
        return list(itertools.permutations(range(k))), True
    rng = np.random.default_rng(k)
    visited: set[Node] = set()
    orders: list[Order] = []
    misses = 0
    while misses < 50:
        one = tuple(int(i) for i in rng.permutation(k))
        for order in (one, one[::-1]):
            more = visited | set(nodes_of(order))
            if order in orders or len(more) > nodes:
                misses += 1
                continue
            visited, orders = more, [*orders, order]
    return orders, False


def nodes_of(order: Order) -> list[Node]:
    """The systems that an order visits, first none and last all."""
    return [frozenset(order[:n]) for n in range(len(order) + 1)]


def contributions(orders: Sequence[Order], scores: Callable[[Node], np.ndarray]) -> np.ndarray:
    """(orders, seeds, k): the change of the score at each coordinate's step, seed by seed."""
    made = []
    for order in orders:
        path = [scores(node) for node in nodes_of(order)]  # each (seeds,)
        steps = np.diff(np.stack(path, axis=1), axis=1)  # (seeds, k), in the order's order
        made.append(steps[:, np.argsort(order)])
    return np.stack(made)


def shapley(
    changes: np.ndarray, rng: np.random.Generator, *, complete: bool, resamples: int = RESAMPLES
) -> list[Interval]:
    """Attribution of each coordinate with its 95% interval, from `contributions`.

    Seeds are drawn again together for all coordinates (they are paired along a path); where the
    orders are a sample they are drawn again too, so the interval is over both.
    """
    orders, seeds, k = changes.shape
    picked = resample(seeds, rng, resamples)  # (resamples, seeds)
    if complete:
        draws = changes.mean(axis=0)[picked].mean(axis=1)  # (resamples, k)
    else:
        drawn = resample(orders, rng, resamples)
        counts = np.stack([np.bincount(row, minlength=orders) for row in drawn]) / orders
        weights = np.stack([np.bincount(row, minlength=seeds) for row in picked]) / seeds
        draws = np.einsum("ro,rs,osk->rk", counts, weights, changes, optimize=True)
    value = changes.mean(axis=(0, 1))
    return [stretched(float(value[i]), draws[:, i], seeds) for i in range(k)]


def exact_shapley(k: int, score: Callable[[Node], float]) -> list[float]:
    """Shapley values by their weights over subsets; the definition, for one score a node."""
    found = []
    for i in range(k):
        others = [j for j in range(k) if j != i]
        total = 0.0
        for size in range(k):
            weight = math.factorial(size) * math.factorial(k - size - 1) / math.factorial(k)
            for subset in map(frozenset, itertools.combinations(others, size)):
                total += weight * (score(subset | {i}) - score(subset))
        found.append(total)
    return found
