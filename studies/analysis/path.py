"""The contribution of each coordinate between two systems: Shapley values and their section.

With v(S) the score of the system whose coordinates in S are the target's and whose others are the
origin's, coordinate i is attributed the mean over orders of v(before + i) - v(before) (Shapley
1953). The changes of every order add up to v(all) - v(none), so the attributions do too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.metrics.catalogue import metric_info
from core.statistics import RESAMPLES, Difference, Interval, interval, resample, stretched
from studies.analysis.contrasts import compared, pairing
from studies.figures import BLUE, GREY, ORANGE, forest
from studies.leaderboard import rng_of, variant_runs
from studies.sections import Reading, Section, between, bracket, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Node = frozenset[int]  # the coordinates that are the target's
Order = tuple[int, ...]
Two = tuple[str, str]
MOST_LISTED = 7  # coordinates whose every order is listed: 5,040
TOTAL = "all together"


def orders_within(k: int, nodes: int) -> tuple[list[Order], bool]:
    """Orders of k coordinates that visit at most `nodes` systems, and whether those are all.

    If not all fit, orders are drawn (the same ones every time), each with its reverse, so that
    every coordinate has early and late places.
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
    """The systems that an order visits, from no coordinate changed to all."""
    return [frozenset(order[:n]) for n in range(len(order) + 1)]


def contributions(orders: Sequence[Order], scores: Callable[[Node], np.ndarray]) -> np.ndarray:
    """(orders, seeds, k): the change of the score at each coordinate's step, per seed."""
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

    Seeds are resampled together for all coordinates (they are paired along a path). If the orders
    are a sample they are resampled too, so that the interval covers both.
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


def path_sections(reading: Reading) -> Iterator[Section]:
    """The attribution; none until all systems of the path have a seed in common."""
    ends: Two = reading.table.ends  # type: ignore[attr-defined]
    budget: int = reading.table.nodes  # type: ignore[attr-defined]
    variants = variant_runs(reading.tracker, reading.board.study)
    changed = {name: run.params.get("changed", "") for name, run in variants.items()}
    names = changed.get(ends[1], "").split(", ")
    found = {
        frozenset(names.index(n) for n in changed[row.variant].split(", ") if n): row.scores
        for row in reading.board.rows
        if row.variant in changed
    }
    orders, complete = orders_within(len(names), max(budget, len(names) + 1))
    nodes = {node for order in orders for node in nodes_of(order)}
    if not names[0] or not nodes <= set(found):
        return
    seeds = sorted(set.intersection(*(set(found[node]) for node in nodes)))
    if seeds:
        scores = {node: np.array([found[node][seed] for seed in seeds]) for node in nodes}
        yield _section(reading, names, scores, orders, complete)


def _section(
    reading: Reading,
    names: Sequence[str],
    scores: Mapping[Node, np.ndarray],
    orders: Sequence[Order],
    complete: bool,
) -> Section:
    board, ends = reading.board, reading.table.ends  # type: ignore[attr-defined]
    rng = rng_of(board.study)
    parts = shapley(contributions(orders, scores.__getitem__), rng, complete=complete)
    none, every = Node(), Node(range(len(names)))
    whole = interval((scores[every] - scores[none]).tolist(), rng)
    paired = pairing(board)[1]
    rows = []
    found = dict(sorted(enumerate(parts), key=lambda item: -abs(item[1].value)))
    for i, each in found.items():
        first = _gap(scores, Node({i}), none, paired)
        last = _gap(scores, every, every - {i}, paired)
        sure = between(each.ends, sign="+")
        rows.append([names[i], f"{each.value:+.4f}", sure, _shown(first), _shown(last)])
    total = sum(each.value for each in parts)
    rows.append([TOTAL, f"{total:+.4f}", between(whole.ends, sign="+"), "", ""])
    named = {names[i]: each for i, each in found.items()}
    return Section(
        "attribution",
        ("coordinate", "contribution", "95% interval", "first", "last"),
        rows,
        {"attribution": lambda: attribution_figure(board.metric, ends, named, whole)},
        _findings(ends, named, board.metric),
        {"start": ends[0], "end": ends[1],
         "orders": "every order" if complete else f"{len(orders)} of all orders",
         "drawn": "" if complete else ", and over the drawn orders"},
    )  # fmt: skip


def _findings(ends: Two, found: Mapping[str, Interval], metric: str) -> list[str]:
    clear = [(name, each) for name, each in found.items() if _clear(each)]
    if not clear:
        return [f"No coordinate between {ends[0]} and {ends[1]} has a significant contribution to "
                f"`{metric}`."]  # fmt: skip
    return [
        f"From {ends[0]} to {ends[1]}, **{name}** contributes {number(each.value)} "
        f"{bracket(each.low, each.high)} to `{metric}`."
        for name, each in clear[:3]
    ]


def _clear(each: Interval) -> bool:
    return each.low > 0 or each.high < 0


def _gap(scores: Mapping[Node, np.ndarray], a: Node, b: Node, paired: bool) -> Difference | None:
    if a not in scores or b not in scores:
        return None
    return compared([(scores[a].tolist(), scores[b].tolist())], paired)


def _shown(found: Difference | None) -> str:
    if found is None:
        return ""
    sure = f" ({between(found.ends, sign='+')})" if found.pairs > 1 else ""
    return f"{found.value:+.4f}{sure}"


def attribution_figure(
    metric: str, ends: Two, found: Mapping[str, Interval], whole: Interval
) -> Figure:
    """The contribution of each coordinate with its interval, the whole difference last."""
    every = [*found.values(), whole]
    colours = [*(BLUE if _clear(each) else GREY for each in found.values()), ORANGE]
    drawing, axis = forest(
        [*found, TOTAL], [each.value for each in every], [each.ends for each in every], colours
    )
    for y, (each, colour) in enumerate(list(zip(every, colours, strict=True))[::-1]):
        axis.barh(y, each.value, height=0.5, color=colour, alpha=0.35)
    axis.axvline(0, color=GREY, lw=1, zorder=1)
    axis.axhline(0.5, color=GREY, lw=0.6, ls=":")
    axis.set_xlabel(f"change of {metric} ({metric_info(metric).direction} is better)")
    title = f"From {ends[0]} to {ends[1]}: contribution of each coordinate, 95% intervals"
    axis.set_title(title, fontsize=10)
    return drawing
