"""Statistical power of a study: detectable differences, profiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from core.plural import count
from core.resampling import performance_profile, probability_of_improvement
from core.statistics import Interval, detectable_difference
from studies.analysis.contrasts import matrix, pairing
from studies.figures import EVERY_RUN, band, canvas, legend_beside
from studies.leaderboard import Leaderboard
from studies.sections import Reading, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEEDS = (3, 5, 10, 20)
POINTS = 400  # of a profile, so that its steps look like steps
MANY = 6  # rows of a profile: the number of colours


def power(reading: Reading) -> Iterator[Section]:
    """None with fewer than two rows, or fewer than two seeds that all rows have."""
    board = reading.board
    scores = matrix(board)
    if scores.size == 0 or min(scores.shape) < 2:
        return
    k, n = scores.shape
    correlation, paired = pairing(board)
    gaps = [np.std(a - b, ddof=1) for a, b in itertools.combinations(scores, 2)]
    single = float(np.sqrt(np.mean(np.var(scores, axis=1, ddof=1))))
    spread = float(np.sqrt(np.mean(np.square(gaps)))) if paired else single
    rows = [
        ["correlation over shared seeds", f"{correlation:.2f}", "paired" if paired else "unpaired"],
        *(
            [f"minimum detectable difference with {count(seeds, 'seed')}",
             f"{detectable_difference(spread, seeds, paired=paired):.4f}",
             "this study" if seeds == n else ""]
            for seeds in sorted({*SEEDS, n})
        ),
        _first_two(board),
    ]  # fmt: skip
    yield Section(
        "power",
        ("", "value", ""),
        rows,
        {"profile": lambda: profile_figure(board)},
        values={"rows": k, "seeds": n},
    )


def _first_two(board: Leaderboard) -> list[str]:
    first, second = [row for row in board.rows if row.scores][:2]
    sign = 1.0 if board.higher_is_better else -1.0
    ours, theirs = ([sign * s for s in row.scores.values()] for row in (first, second))
    found = probability_of_improvement(ours, theirs)
    return _share(f"probability that a run of {first.variant} beats one of {second.variant}", found)


def _share(title: str, found: Interval) -> list[str]:
    return [title, f"{found.value:.0%}", f"{found.low:.0%} to {found.high:.0%}"]


def profile_figure(board: Leaderboard) -> Figure:
    """Share of runs at least as good as each score, for the first rows."""
    rows = board.rows[:MANY]
    few = min(row.seeds for row in rows) < EVERY_RUN
    scores = [score for row in rows for score in row.scores.values()]
    at = np.linspace(min(scores), max(scores), POINTS)
    drawing, axis = canvas(7.2, 4)
    for row in rows:
        found = performance_profile(
            [*row.scores.values()], at.tolist(), higher_is_better=board.higher_is_better
        )
        if few:
            found = [Interval(each.value, math.nan, math.nan) for each in found]
        band(axis, at.tolist(), found, row.variant)
    axis.set_xlabel(board.metric)
    axis.set_ylabel("share of runs at least as good")
    legend_beside(axis)
    title = f"Performance profiles of the first {count(len(rows), 'row')}"
    title += f" (no bands below {EVERY_RUN} runs)" if few else ", with 95% bands"
    axis.set_title(title, fontsize=10)
    return drawing
