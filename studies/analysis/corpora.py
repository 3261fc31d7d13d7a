"""Rows over several corpora: ranks within each corpus, their means, and what these can show.

Scores of different corpora are neither averaged nor compared. Friedman's test asks whether all
rows have the same expected rank; its p is that of permutations within corpora. If it finds a
difference, two rows differ if their mean ranks over N corpora do by more than Nemenyi's critical
difference, q sqrt(K (K + 1) / (6 N)) for K rows, where q is the 95% quantile of the studentized
range of K groups, divided by sqrt(2) (Demsar 2006).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core.plural import count
from core.statistics import CONFIDENCE, LEVEL
from studies.analysis.ranking import caveats, leaderboard_figure, ranking, signature, unfinished
from studies.figures import BLUE, GREY, ORANGE, forest
from studies.leaderboard import TIED, Leaderboard
from studies.sections import Reading, Section, names, p_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS = 9_999  # permutations
TIE = 1e-9  # of two spreads of mean ranks


@dataclass(frozen=True)
class Ranks:
    """The ranks of K rows on N corpora, the row with the best mean first; 1 is best."""

    rows: Sequence[str]
    corpora: Sequence[str]
    ranks: np.ndarray  # (K, N)

    @property
    def means(self) -> np.ndarray:
        """Mean rank of each row, (K,)."""
        return np.asarray(self.ranks.mean(axis=1))

    @cached_property
    def p(self) -> float:
        """Of Friedman's test."""
        rng = np.random.default_rng(0)
        drawn = rng.permuted(np.broadcast_to(self.ranks, (DRAWS, *self.ranks.shape)), axis=1)
        spread = drawn.mean(axis=2).var(axis=1)
        return float((1 + (spread >= self.means.var() - TIE).sum()) / (1 + DRAWS))

    @cached_property
    def critical(self) -> float:
        """Nemenyi's critical difference of two mean ranks."""
        from scipy import stats

        rows, corpora = self.ranks.shape
        quantile = stats.studentized_range.ppf(CONFIDENCE, rows, np.inf) / math.sqrt(2)
        return float(quantile * math.sqrt(rows * (rows + 1) / (6 * corpora)))

    @property
    def enough(self) -> bool:
        """Whether corpora that agree completely would separate the first row from the last."""
        rows, corpora = self.ranks.shape
        least_p = math.exp((1 - corpora) * math.lgamma(rows + 1))  # rows! orders on each corpus
        return bool(self.critical < rows - 1 and least_p <= LEVEL)

    @property
    def separated(self) -> np.ndarray:
        """Whether two rows differ significantly, (K, K)."""
        apart = np.abs(self.means[:, None] - self.means)
        return np.asarray((apart > self.critical) & (self.enough and self.p <= LEVEL))

    def document(self) -> dict[str, Any]:
        """For `--json`; p and the critical difference are null if the corpora are too few."""
        rows = [
            {"variant": row, "mean_rank": ranks.mean(), "ranks": ranks.tolist()}
            for row, ranks in zip(self.rows, self.ranks, strict=True)
        ]
        known = (self.p, self.critical) if self.enough else (None, None)
        return {"rows": rows, "p": known[0], "critical_difference": known[1]}


def ranks_of(boards: Mapping[str, Leaderboard]) -> Ranks | None:
    """The ranks of the rows that every corpus with a ranking has; None without two of each."""
    scores = {
        corpus: {row.variant: row.score or 0.0 for row in board.rows}
        for corpus, board in boards.items() if board.rows and board.ranked
    }  # fmt: skip
    rows = sorted(set.intersection(*map(set, scores.values()))) if len(scores) > 1 else []
    if len(rows) < 2:
        return None
    sign = -1 if next(iter(boards.values())).higher_is_better else 1
    table = sign * np.array([[found[row] for found in scores.values()] for row in rows])
    from scipy import stats

    found = Ranks(rows, [*scores], stats.rankdata(np.round(table, TIED), axis=0))
    order = np.argsort(found.means, kind="stable")
    return Ranks([rows[place] for place in order], found.corpora, found.ranks[order])


def joint(readings: Mapping[str, Reading]) -> Iterator[Section]:
    """Mean ranks and the agreement of corpora; none without two rows on two corpora."""
    found = ranks_of({corpus: reading.board for corpus, reading in readings.items()})
    if found is not None:
        yield Section(
            "mean_ranks",
            ("row", *found.corpora, "mean rank"),
            [[row, *(f"{rank:g}" for rank in ranks), f"{mean:.2f}"]
             for row, ranks, mean in zip(found.rows, found.ranks, found.means, strict=True)],
            {"mean_ranks": lambda: figure(found)},
            [*_findings(found), *_left_out(found, readings)],
        )  # fmt: skip
        yield _agreement(found)


def leaderboards(readings: Mapping[str, Reading]) -> Iterator[Section]:
    """The leaderboard of each corpus."""
    for corpus, reading in readings.items():
        board, section = reading.board, ranking(reading)
        said = [*unfinished(reading), *section.findings, *caveats(reading)]
        yield replace(
            section,
            key=f"corpus_{corpus}",
            text="corpus",
            figures={f"leaderboard_{corpus}": partial(leaderboard_figure, board)},
            findings=[f"**{corpus}**: {sentence}" for sentence in said],
            values={"corpus": corpus, "study": board.study, "signature": signature(board)},
        )


def _findings(found: Ranks) -> Iterator[str]:
    rows, corpora = count(len(found.rows), "row"), f"{len(found.corpora)} corpora"
    first = [
        row for row, mean in zip(found.rows, found.means, strict=True) if mean == found.means[0]
    ]
    best = f"best mean rank: {found.means[0]:.2f}, of {names(first)}"
    if not found.enough:
        yield (
            f"{corpora} cannot separate {rows}, even if they agree completely. The mean ranks "
            f"describe these corpora and are no finding about others ({best})."
        )
    elif found.p > LEVEL:
        yield (
            f"No significant difference between the mean ranks of {rows} over {corpora} "
            f"(Friedman's test, p {p_value(found.p)}; {best})."
        )
    else:
        worse = [row for row, apart in zip(found.rows, found.separated[0], strict=True) if apart]
        yield (
            f"`{found.rows[0]}` has a significantly better mean rank than "
            f"{names(worse) or 'no other row'} ({corpora}, critical difference "
            f"{found.critical:.2f}; {best})."
        )


def _left_out(found: Ranks, readings: Mapping[str, Reading]) -> Iterator[str]:
    for corpus in readings.keys() - {*found.corpora}:
        yield f"Corpus `{corpus}` has no ranking, so the mean ranks leave it out."
    rows = {row.variant for reading in readings.values() for row in reading.board.rows}
    if missing := sorted(rows - {*found.rows}):
        yield f"Not ranked, because they do not have a score on every corpus: {names(missing)}."


def _agreement(found: Ranks) -> Section:
    from scipy import stats

    cells = []
    for one, other in itertools.combinations(range(len(found.corpora)), 2):
        tau, p = stats.kendalltau(found.ranks[:, one], found.ranks[:, other])
        known = math.isfinite(tau)  # not where all rows are tied
        shown = [f"{tau:.2f}", p_value(p)] if known else ["undefined: all rows tied", ""]
        cells.append([found.corpora[one], found.corpora[other], *shown])
    return Section("agreement", ("corpus", "corpus", "Kendall's tau", "p"), cells)


def figure(found: Ranks) -> Figure:
    """Mean ranks as diamonds, the ranks on each corpus as dots. Lines on the right join rows that
    do not differ significantly, and the line on top is the critical difference.
    """
    rows = len(found.rows)
    drawing, axis = forest(found.rows, [*found.means], [None] * rows, [BLUE] * rows)
    for y, ranks in enumerate(found.ranks[::-1]):
        axis.plot(ranks, [y - 0.24] * len(ranks), "o", color=GREY, ms=4)
    axis.set_xlabel("rank, 1 is best")
    axis.set_xticks(range(1, rows + 1, 1 + rows // 12))
    if found.enough:
        ends = [int(np.flatnonzero(~apart)[-1]) for apart in found.separated]
        groups = [(i, end) for i, end in enumerate(ends) if end > max((i, *ends[:i]))]
        for place, (first, last) in enumerate(groups):
            x = rows + 0.03 * rows * (place + 2)
            axis.plot([x, x], [rows - 1 - first + 0.2, rows - 1 - last - 0.2], color=ORANGE, lw=3)
        axis.plot([1, 1 + found.critical], [rows - 0.3] * 2, "|-", color=ORANGE, lw=1.5)
        axis.text(1 + found.critical, rows - 0.3, f"  critical difference {found.critical:.2f}",
                  color=ORANGE, fontsize=8.5, va="center")  # fmt: skip
        axis.set_ylim(-0.7, rows + 0.1)
    return drawing
