"""Adaptive seeds: rows get further seeds until every contrast that the study names is settled.

A contrast is settled if it is significant or, by two one-sided tests, within the margin. Its
p-values are valid at every look (`core.sequential`) and adjusted for the number of contrasts
(Holm). They are doubled, so that the 5% are for false differences and false equivalences together.

The *course* of a study is what a single worker would do. Every row has FIRST seeds. Then the next
seed goes to the row that narrows the open contrasts most, and they are looked at again, until none
is open or their rows have `most` seeds. The course takes the seeds of a row in their order, so it
depends on the results alone: not on the number of workers, nor on the order in which runs end. A
run that a worker began in advance counts when the course reaches it.

Letters: B studies (many in a simulation), K rows, N seeds, C contrasts, T terms of a contrast.
docs/decisions/0031-adaptive-seeds.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from core.sequential import anytime
from core.statistics import LEVEL, TINY, Rows, adjust, summarize, variances

FIRST = 3  # seeds of the first look
ASSUMED = 0.5  # standard deviation over seeds, in margins, before anything ran
SIMULATED = 50  # studies from which the expected number of runs is computed
# Each (B, K, N): scores, NaN of a run that broke; whether a run failed; whether it has ended.
Results = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Looks:
    """When contrasts are looked at, and which differences do not matter."""

    most: int  # seeds of a row
    margin: float

    @property
    def ratio(self) -> float:
        """Information at the last look, relative to the first."""
        return self.most / FIRST


def results_of(rows: Sequence[Mapping[int, tuple[float, bool]]], looks: Looks) -> Results | None:
    """The results of one study from those of its rows, seed -> (score, whether it failed); None
    before the first look.
    """
    scores = np.full((1, len(rows), looks.most), np.nan)
    failed, ended = np.zeros((2, *scores.shape), dtype=bool)
    for place, row in enumerate(rows):
        for seed in row.keys() & set(range(looks.most)):  # a trial has another one
            scores[0, place, seed], failed[0, place, seed] = row[seed]
            ended[0, place, seed] = True
    return (scores, failed, ended) if ended[..., :FIRST].all() else None


class Contrasts:
    """Contrasts of rows that are looked at together: of each, row -> weight."""

    def __init__(self, contrasts: Sequence[Mapping[str, float]], rows: Sequence[str]) -> None:
        self.number, self.rows = len(contrasts), len(rows)
        self.compared = len({row for each in contrasts for row in each})
        self._groups = []  # contrasts with the same number of terms are computed at once
        for terms in sorted({len(each) for each in contrasts}):
            places = [i for i, each in enumerate(contrasts) if len(each) == terms]
            index = np.array([[rows.index(row) for row in contrasts[i]] for i in places])
            weights = np.array([[*contrasts[i].values()] for i in places])
            self._groups.append((np.array(places), index, weights))

    def look(self, rows: Rows, looks: Looks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """P of a difference and of equivalence, both (B, C), NaN if unknown; and the part of its
        variance that a contrast loses with another run of a row (B, C, K).
        """
        size = rows.mean.shape
        p, within = np.empty((2, size[0], self.number))
        narrowed = np.zeros((size[0], self.number, size[1]))
        # A row's own variance may be small by chance, and would stay so without further seeds.
        expected = replace(rows, own=rows.moderated)
        for places, index, weights in self._groups:
            value, parts, freedom = variances(rows, index, weights)
            error = np.maximum(np.sqrt(parts.sum(axis=-1)), TINY)
            p[:, places] = 2 * special.stdtr(freedom, -abs(value) / error)
            within[:, places] = special.stdtr(freedom, (abs(value) - looks.margin) / error)
            _, parts, _ = variances(expected, index, weights)
            share = parts / (rows.runs[..., index] + 1) / parts.sum(axis=-1, keepdims=True)
            narrowed[:, places[:, None], index] = np.nan_to_num(share)
        one_sided = anytime(np.minimum(2 * within, 1.0), looks.ratio) / 2
        return anytime(p, looks.ratio), one_sided, narrowed


@dataclass(frozen=True)
class Course:
    """How far studies have come. p-values are the smallest of all looks, adjusted."""

    used: np.ndarray  # (B, K) seeds
    different: np.ndarray  # (B, C) p of a difference
    within: np.ndarray  # (B, C) p of two one-sided tests that it is within the margin
    ahead: tuple[tuple[int, int], ...] = ()  # of one study: (row, seed) that probably follow

    @property
    def open(self) -> np.ndarray:
        """(B, C) whether a contrast has no verdict yet."""
        return np.asarray(np.fmin(self.different, self.within) > LEVEL)


@np.errstate(divide="ignore", invalid="ignore")  # NaN of rows whose runs broke
def course(results: Results, contrasts: Contrasts, looks: Looks, *, ahead: bool = False) -> Course:
    """The course of studies with these results, of which all rows have the first FIRST seeds. With
    `ahead`, of one study, also what follows if means and variances stay as they are.
    """
    scores, failed, ended = results
    B, K, N = scores.shape
    used, further = np.full((B, K), FIRST), np.zeros((B, K), dtype=int)
    p = np.ones((2, B, contrasts.number))  # the smallest so far, of both tests
    reached, picks = None, []
    active = np.arange(B)  # studies that go on
    while active.size:
        there = np.arange(N) < used[active][..., None]
        rows = summarize(np.where(there, scores[active], np.nan), failed[active] & there)
        more = further[active]
        rows = replace(rows, survived=rows.survived + more, own_freedom=rows.own_freedom + more)
        different, within, narrowed = contrasts.look(rows, looks)
        p[:, active] = np.fmin(p[:, active], np.stack([different, within]))
        now = _course(used[active], p[:, active])
        total = np.sqrt(np.square(narrowed * now.open[..., None]).sum(axis=1))
        total *= used[active] + more < looks.most
        row = total.argmax(axis=-1)
        seed = (used + further)[active, row]
        going = total.max(axis=-1) > 0
        ready = ended[active, row, np.minimum(seed, N - 1)] & ~more.any(axis=-1)
        used[active, row] += going & ready
        if ahead and going[0] and not ready[0]:
            reached = reached or now
            picks.append((int(row[0]), int(seed[0])))
            further[0, row[0]] += 1
        active = active[going & (ready | ahead)]
    return replace(reached or _course(used, p), ahead=tuple(picks))


def _course(used: np.ndarray, p: np.ndarray) -> Course:
    different, within = adjust(np.minimum(2 * p, 1.0))
    return Course(used.copy(), different, within)


def expected_runs(contrasts: Contrasts, looks: Looks) -> int:
    """Runs that a study needs in the mean if no row differs and the standard deviation over seeds
    is ASSUMED margins; from a small simulation.
    """
    size = SIMULATED, contrasts.rows, looks.most
    scores = np.random.default_rng(0).normal(0, ASSUMED * looks.margin, size)
    results = scores, np.zeros(size, dtype=bool), np.ones(size, dtype=bool)
    return round(float(course(results, contrasts, looks).used.sum(axis=1).mean()))


def most_runs(contrasts: Contrasts, looks: Looks) -> int:
    """The largest number of runs; a row that is in no contrast has FIRST."""
    return contrasts.compared * looks.most + (contrasts.rows - contrasts.compared) * FIRST
