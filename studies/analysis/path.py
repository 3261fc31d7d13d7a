"""The contribution of each coordinate between two systems: Shapley values and their section.

With v(S) the score of the system whose coordinates in S are the target's and whose others are the
origin's, coordinate i is attributed the mean over orders of v(before + i) - v(before) (Shapley
1953). The changes of every order add up to v(all) - v(none), so the attributions do too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.metrics.catalogue import metric_info
from core.statistics import LEVEL, Difference, holm
from studies.analysis.contrasts import Comparison
from studies.figures import BLUE, GREY, ORANGE, forest
from studies.leaderboard import variant_runs
from studies.sections import Reading, Section, between, bracket, number, p_value

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


def weights(orders: Sequence[Order], i: int) -> dict[Node, float]:
    """Weights of the scores of systems whose sum is the mean change at the step of coordinate i."""
    found: dict[Node, float] = {}
    for order in orders:
        before = frozenset(order[: order.index(i)])
        for node, sign in ((before, -1), (before | {i}, 1)):
            found[node] = found.get(node, 0.0) + sign / len(orders)
    return found


def _of_all(rows: Mapping[Node, str], given: Mapping[Node, float]) -> dict[str, float]:
    """The weights by row, zero for all other systems. The standard error of a row whose runs all
    failed depends on the survivors of the other rows of its contrast. With all systems in every
    contrast, these are the same for the parts and the whole.
    """
    return {name: given.get(node, 0.0) for node, name in rows.items()}


def shapley(
    compare: Comparison,
    rows: Mapping[Node, str],
    orders: Sequence[Order],
    i: int,
    *,
    complete: bool,
) -> Difference:
    """Attribution of coordinate i with its 95% interval; `rows` are the names of the systems.

    If the orders are a sample, the variance of their mean is added to that over seeds.
    """
    found = compare.of(_of_all(rows, weights(orders, i)))
    if complete or len(orders) < 2:
        return found
    scores = dict(zip(compare.place, compare.rows.score, strict=True))
    changes = [
        sum(weight * scores[rows[node]] for node, weight in weights([order], i).items())
        for order in orders
    ]
    drawn = float(np.std(changes, ddof=1)) / math.sqrt(len(orders))
    error = math.hypot(found.error, drawn)
    return Difference.student(found.value, error, found.freedom, found.pairs, paired=found.paired)


def path_sections(reading: Reading) -> Iterator[Section]:
    """The attribution; none until all systems of the path have a run."""
    ends: Two = reading.table.ends  # type: ignore[attr-defined]
    budget: int = reading.table.nodes  # type: ignore[attr-defined]
    variants = variant_runs(reading.tracker, reading.board.study)
    changed = {name: run.params.get("changed", "") for name, run in variants.items()}
    names = changed.get(ends[1], "").split(", ")
    found = {
        frozenset(names.index(n) for n in changed[row.variant].split(", ") if n): row.variant
        for row in reading.board.rows
        if row.variant in changed and row.score is not None
    }
    orders, complete = orders_within(len(names), max(budget, len(names) + 1))
    nodes = {node for order in orders for node in nodes_of(order)}
    if not names[0] or not nodes <= set(found):
        return
    yield _section(reading, names, found, orders, complete)


def _section(
    reading: Reading,
    names: Sequence[str],
    rows: Mapping[Node, str],
    orders: Sequence[Order],
    complete: bool,
) -> Section:
    board, ends = reading.board, reading.table.ends  # type: ignore[attr-defined]
    compare = Comparison(board)
    parts = [shapley(compare, rows, orders, i, complete=complete) for i in range(len(names))]
    none, every = Node(), Node(range(len(names)))

    def gap(a: Node, b: Node) -> Difference | None:
        return compare.of(_of_all(rows, {a: 1, b: -1})) if {a, b} <= rows.keys() else None

    whole = compare.of(_of_all(rows, {every: 1, none: -1}))
    cells, ends_of = [], {}
    adjusted = holm([each.p for each in parts])
    found = dict(sorted(enumerate(parts), key=lambda item: -abs(item[1].value)))
    for i, each in found.items():
        first, last = gap(Node({i}), none), gap(every, every - {i})
        p = p_value(adjusted[i]) if math.isfinite(each.low) else ""
        cells.append([names[i], *_cells(each), p, _shown(first), _shown(last)])
        ends_of[names[i]] = first, last
    total = sum(each.value for each in parts)
    cells.append([TOTAL, f"{total:+.4f}", _cells(whole)[1], "", "", ""])
    named = {names[i]: each for i, each in found.items()}
    clear = {names[i] for i in found if adjusted[i] <= LEVEL}
    return Section(
        "attribution",
        ("coordinate", "contribution", "95% interval", "p adjusted", "first", "last"),
        cells,
        {"attribution": lambda: attribution_figure(board.metric, ends, named, clear, whole)},
        _findings(ends, {name: named[name] for name in named if name in clear}, ends_of,
                  board.metric),
        {"start": ends[0], "end": ends[1],
         "orders": "every order" if complete else f"{len(orders)} of all orders",
         "drawn": "" if complete else ", and over the drawn orders"},
    )  # fmt: skip


def _findings(
    ends: Two,
    found: Mapping[str, Difference],
    ends_of: Mapping[str, tuple[Difference | None, Difference | None]],
    metric: str,
) -> list[str]:
    """One for each of these coordinates, at most three: those that are significant."""
    if not found:
        return [f"No coordinate between {ends[0]} and {ends[1]} has a significant contribution to "
                f"`{metric}`."]  # fmt: skip
    return [
        f"From {ends[0]} to {ends[1]}, **{name}** contributes {number(each.value)} "
        f"{bracket(each.low, each.high)} to `{metric}`{_alone_and_last(*ends_of[name])}."
        for name, each in [*found.items()][:3]
    ]


def _alone_and_last(first: Difference | None, last: Difference | None) -> str:
    if first is None or last is None:
        return ""
    return f": {number(first.value)} alone, {number(last.value)} after all others"


def _cells(found: Difference) -> list[str]:
    known = found.ends if math.isfinite(found.low) else None
    return [f"{found.value:+.4f}", between(known, sign="+")]


def _shown(found: Difference | None) -> str:
    if found is None:
        return ""
    value, interval = _cells(found)
    return f"{value} ({interval})" if math.isfinite(found.low) else value


def attribution_figure(
    metric: str,
    ends: Two,
    found: Mapping[str, Difference],
    clear: Container[str],
    whole: Difference,
) -> Figure:
    """The contribution of each coordinate with its interval, in colour if it is significant after
    the adjustment; the whole difference last.
    """
    every = [*found.values(), whole]
    colours = [*(BLUE if name in clear else GREY for name in found), ORANGE]
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
