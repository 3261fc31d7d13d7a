"""What the seeds of a study can show: where its variance comes from, what sharing them achieved,
which differences they can see, and how often one variant beats another.
"""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING

import numpy as np

from core.statistics import (
    detectable_difference,
    performance_profile,
    probability_of_improvement,
    variance_shares,
)
from studies.effects import matrix, pairing
from studies.sections import Reading, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEEDS = (3, 5, 10, 20)
POINTS = 400  # of a profile, so that its steps look like steps
MANY = 6  # rows of a profile: as many as there are colours


def certainty(reading: Reading) -> list[Section]:
    """None with fewer than two rows or two seeds that all rows share."""
    scores = matrix(reading.board)
    if scores.size == 0 or min(scores.shape) < 2:
        return []
    k, n = scores.shape
    correlation, paired = pairing(reading.board)
    gaps = [np.std(a - b, ddof=1) for a, b in itertools.combinations(scores, 2)]
    single = float(np.sqrt(np.mean(np.var(scores, axis=1, ddof=1))))
    spread = float(np.sqrt(np.mean(np.square(gaps)))) if paired else single
    rows = [
        ["correlation over shared seeds", f"{correlation:.2f}", "paired" if paired else "unpaired"],
        *_shares(scores),
        *(
            [f"smallest difference seen with {seeds} seeds",
             f"{detectable_difference(spread, seeds, paired=paired):.4f}",
             "these" if seeds == n else ""]
            for seeds in sorted({*SEEDS, n})
        ),
        *_first_two(reading),
    ]  # fmt: skip
    return [
        Section(
            "certainty",
            "What these seeds can show",
            f"{k} rows, {n} seeds that all share. Shares of the variance are components of a "
            "two-way layout: what is chosen, what a seed does to all rows alike, and the rest, "
            "with intervals over seeds. A difference is *seen* when a two-sided test at 5% of two "
            "rows finds it in 8 of 10 studies; the spread is the mean one of all pairs of rows. "
            "The profile shows for each score the share of a row's runs that are at least as "
            "good: a curve above another everywhere belongs to a better row.",
            ("", "value", ""),
            rows,
            {"profile": lambda: profile_figure(reading)},
            {"seed_correlation": correlation, "paired": paired, "spread": spread},
        )
    ]


def _shares(scores: np.ndarray) -> list[list[str]]:
    found = variance_shares(scores, np.random.default_rng(0))
    if found is None:
        return []
    named = (
        ("what is chosen", found.configuration),
        ("the seed, alike for all", found.seed),
        ("the rest", found.rest),
    )
    return [
        [
            f"share of the variance: {name}",
            f"{each.value:.0%}",
            f"{each.low:.0%} to {each.high:.0%}",
        ]
        for name, each in named
    ]


def _first_two(reading: Reading) -> list[list[str]]:
    first, second = reading.board.rows[:2]
    sign = 1.0 if reading.board.higher_is_better else -1.0
    rng = np.random.default_rng(zlib.crc32(f"{first.variant} {second.variant}".encode()))
    ours, theirs = ([sign * s for s in row.scores.values()] for row in (first, second))
    found = probability_of_improvement(ours, theirs, rng)
    return [
        [f"chance that a run of {first.variant} beats one of {second.variant}",
         f"{found.value:.0%}", f"{found.low:.0%} to {found.high:.0%}"]
    ]  # fmt: skip


def profile_figure(reading: Reading) -> Figure:
    """Share of runs at least as good as each score, for the first rows."""
    from matplotlib.figure import Figure

    from studies.figures import COLOURS

    board = reading.board
    shown = board.rows[:MANY]
    everything = [score for row in shown for score in row.scores.values()]
    at = np.linspace(min(everything), max(everything), POINTS)
    drawing = Figure(figsize=(7.2, 4), layout="constrained")
    axis = drawing.subplots()
    for colour, row in zip(itertools.cycle(COLOURS), shown, strict=False):
        rng = np.random.default_rng(zlib.crc32(row.variant.encode()))
        found = performance_profile(
            list(row.scores.values()), at.tolist(), rng,
            higher_is_better=board.higher_is_better, resamples=500,
        )  # fmt: skip
        axis.plot(at, [f.value for f in found], color=colour, lw=1.8, label=row.variant)
        axis.fill_between(
            at, [f.low for f in found], [f.high for f in found], color=colour, alpha=0.08, lw=0
        )
    axis.set_xlabel(board.metric)
    axis.set_ylabel("share of runs at least as good")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axis.set_title(f"Profiles of the first {len(shown)}, with 95% bands", fontsize=10)
    return drawing
