"""What each coordinate between two systems was worth."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.metrics.catalogue import metric_info
from core.statistics import Difference, Interval, interval
from studies.analysis.wording import bracket, number
from studies.attribution import Node, contributions, nodes_of, orders_within, shapley
from studies.effects import compared, pairing
from studies.sections import Reading, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READING = (
    "The change of the score between the two ends, attributed to the coordinates: the mean over "
    "{orders} of the change at the coordinate's step (Shapley value), so that the column adds up "
    "to the whole. 95% intervals are a bootstrap over seeds, which every system shares{drawn}. "
    "*first* is the change when it alone is made from {start}; *last* when it is made after all "
    "others, both with their own 95% intervals; where the two differ much, the coordinate's worth "
    "depends on the company it is in. "
    "A row of the leaderboard that is called *{start}, but X* is {start} with X as {end} has it, "
    "and the other way round."
)


@dataclass(frozen=True)
class _Walked:
    """What ran between the two ends, over the seeds that all of it shares."""

    ends: tuple[str, str]
    coordinates: list[str]
    scores: Mapping[Node, np.ndarray]  # by the coordinates changed, a seed each
    orders: Sequence[tuple[int, ...]]
    complete: bool  # whether these are all orders

    @property
    def changed(self) -> Node:
        """The node where all is changed."""
        return frozenset(range(len(self.coordinates)))

    @property
    def gaps(self) -> list[float]:
        """What all coordinates together change, a seed each."""
        found: list[float] = (self.scores[self.changed] - self.scores[frozenset()]).tolist()
        return found


def path_sections(reading: Reading) -> list[Section]:
    """The attribution; none until every system on the way has a seed in common."""
    walked = _walked(reading)
    return [] if walked is None else [_section(reading, walked)]


def _walked(reading: Reading) -> _Walked | None:
    ends: tuple[str, str] = reading.table.ends  # type: ignore[attr-defined]
    budget: int = reading.table.nodes  # type: ignore[attr-defined]
    variants = reading.tracker.runs(reading.board.study, tags={"level": "variant"})
    changed = {run.name: run.params.get("changed", "") for run in variants}
    names = changed.get(ends[1], "").split(", ")
    scores = {
        frozenset(names.index(n) for n in changed[row.variant].split(", ") if n): row.scores
        for row in reading.board.rows
        if row.variant in changed
    }
    orders, complete = orders_within(len(names), max(budget, len(names) + 1))
    wanted = {node for order in orders for node in nodes_of(order)}
    if not names[0] or not wanted <= set(scores):
        return None
    seeds = sorted(set.intersection(*(set(scores[node]) for node in wanted)))
    if not seeds:
        return None
    shared = {node: np.array([scores[node][seed] for seed in seeds]) for node in wanted}
    return _Walked(ends, names, shared, orders, complete)


def _section(reading: Reading, walked: _Walked) -> Section:
    ends, scores, everything = walked.ends, walked.scores, walked.changed
    rng = np.random.default_rng(zlib.crc32(reading.board.study.encode()))
    changes = contributions(walked.orders, scores.__getitem__)
    worth = shapley(changes, rng, complete=walked.complete)
    whole = interval(walked.gaps, rng)
    ranked = sorted(enumerate(worth), key=lambda item: -abs(item[1].value))
    paired = pairing(reading.board)[1]
    rows, document = [], {}
    for i, each in ranked:
        first = _gap(scores, frozenset({i}), frozenset(), paired)
        last = _gap(scores, everything, everything - {i}, paired)
        name = walked.coordinates[i]
        rows.append([name, f"{each.value:+.4f}", f"{each.low:+.4f} to {each.high:+.4f}",
                     _shown(first), _shown(last)])  # fmt: skip
        document[name] = {"value": each.value, "low": each.low, "high": each.high,
                          "first": first and asdict(first),
                          "last": last and asdict(last)}  # fmt: skip
    total = sum(each.value for each in worth)
    rows.append(["all together", f"{total:+.4f}", f"{whole.low:+.4f} to {whole.high:+.4f}", "", ""])
    said = "every order" if walked.complete else f"{len(walked.orders)} orders of all"
    found = {walked.coordinates[i]: each for i, each in ranked}
    return Section(
        "attribution",
        f"What makes {ends[1]} differ from {ends[0]}",
        READING.format(orders=said, start=ends[0], end=ends[1],
                       drawn="" if walked.complete else ", and over the orders that were drawn"),
        ("coordinate", "worth", "95% interval", "first", "last"),
        rows,
        {"attribution": lambda: attribution_figure(reading, ends, found, whole)},
        {"attribution": document, "total": total, "orders": len(walked.orders),
         "seeds": len(walked.gaps)},
        _findings(ends, found, reading.board.metric),
    )  # fmt: skip


def _findings(ends: tuple[str, str], found: Mapping[str, Interval], metric: str) -> list[str]:
    clear = [(n, each) for n, each in found.items() if each.low > 0 or each.high < 0]
    if not clear:
        return [f"No coordinate between {ends[0]} and {ends[1]} has a worth on `{metric}` that "
                "these seeds can tell from zero."]  # fmt: skip
    return [
        f"From {ends[0]} to {ends[1]}, **{name}** is worth {number(each.value)} "
        f"{bracket(each.low, each.high)} on `{metric}`."
        for name, each in clear[:3]
    ]


def _gap(table: Mapping[Node, np.ndarray], a: Node, b: Node, paired: bool) -> Difference | None:
    if a not in table or b not in table:
        return None
    return compared([(table[a].tolist(), table[b].tolist())], paired)


def _shown(found: Difference | None) -> str:
    if found is None:
        return ""
    sure = f" ({found.low:+.4f} to {found.high:+.4f})" if found.pairs > 1 else ""
    return f"{found.value:+.4f}{sure}"


def attribution_figure(
    reading: Reading, ends: tuple[str, str], found: Mapping[str, Interval], whole: Interval
) -> Figure:
    """Each coordinate's worth with its interval, the whole difference below them."""
    from matplotlib.figure import Figure

    from studies.figures import BLUE, GREY, ORANGE

    rows = [*list(found.items())[::-1]]
    drawing = Figure(figsize=(8, 1.8 + 0.42 * (len(rows) + 1)), layout="constrained")
    axis = drawing.subplots()
    axis.axvline(0, color=GREY, lw=1)
    for y, (_, each) in enumerate([("all together", whole), *rows]):
        clear = each.low > 0 or each.high < 0
        colour = ORANGE if y == 0 else BLUE if clear else GREY
        axis.barh(y, each.value, height=0.5, color=colour, alpha=0.35)
        axis.plot([each.low, each.high], [y, y], color=colour, lw=2.2, solid_capstyle="round")
        axis.plot(each.value, y, "D", color=colour, ms=5)
    axis.set_yticks(range(len(rows) + 1), ["all together", *(name for name, _ in rows)])
    axis.axhline(0.5, color=GREY, lw=0.6, ls=":")
    info = metric_info(reading.board.metric)
    axis.set_xlabel(f"change of {reading.board.metric} ({info.direction} is better)")
    axis.set_title(f"From {ends[0]} to {ends[1]}: what each coordinate is worth, with 95% "
                   "intervals", fontsize=10)  # fmt: skip
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    return drawing
