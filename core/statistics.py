"""Statistics of comparisons over seeds.

A row (a variant) has one run per seed. Runs that diverged or collapsed have *failed*, the others
have *survived*. A row has three numbers: its failure rate; the score of its survivors, their mean;
and its overall score, the mean of all runs. A contrast is a weighted sum of overall scores. It has
one standard error, and interval and p follow from that, so p <= .05 if and only if the interval
excludes zero.

Few seeds say little about a row's own variance, so it is *moderated*: shrunken towards the variance
of all rows (Smyth 2004). docs/decisions/0027-inference.md has the simulations behind the choices.

Letters: K rows, N seeds, C contrasts, T terms of a contrast; `...` are studies, so that
`benchmarks/inference.py` computes thousands of them at once. NaN stands for "unknown".

One file because intervals, tests, power and pairing start from the same rows and variances.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from core.sequential import SINGLE, anytime, nominal

CONFIDENCE, LEVEL = 0.95, 0.05  # stated apart: in floating point .05 is not 1 - .95
TAIL = (1 - CONFIDENCE) / 2
ROUNDING = 1e-13  # of the largest score; a smaller difference counts as zero
POWER = 0.8
GRID = 4000  # points of the integral of `power`
TIE = 1e-15  # variance below which scores are equal
SMALLEST = 1e-5  # of the pooled variance: a smaller variance counts as this one in the prior
TINY = 1e-100  # variance or error of zero, without division by zero
NO_ERROR = 1e-40  # a standard error below is that of equal scores
EFFECTIVE = 0.75  # share of the degrees of freedom of all rows that one variance may have
NEWTON_STEPS = 12
SMALL = 0.05  # share of the variance below which a shared seed is not worth pairing on
SMALL_P = 0.2  # p of the seeds' effect above which it is not either


class Bounds(NamedTuple):
    """Numbers of rows, each (..., K), and the ends of their 95% intervals."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Estimates(NamedTuple):
    """Values of contrasts and how certain they are, each (..., C)."""

    value: np.ndarray
    error: np.ndarray  # standard error
    freedom: np.ndarray  # degrees of freedom of the error


class Variances(NamedTuple):
    """Values of contrasts and the parts of their variances."""

    value: np.ndarray  # (..., C)
    parts: np.ndarray  # (..., C, T) what each term adds to the variance
    freedom: np.ndarray  # (..., C) degrees of freedom of the sum


@dataclass(frozen=True)
class Interval:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends, the lower one first."""
        return self.low, self.high


@dataclass(frozen=True)
class Rows:
    """What inference needs to know of the rows of a study; each (..., K)."""

    survived: np.ndarray  # runs
    failed: np.ndarray  # runs
    mean: np.ndarray  # of the survivors
    failed_mean: np.ndarray  # of the failed runs, each with its own value
    own: np.ndarray  # variance of one survivor, from this row alone; NaN below two
    own_freedom: np.ndarray  # its degrees of freedom
    moderated: np.ndarray  # variance of one survivor, shrunken towards that of all rows
    freedom: np.ndarray  # its degrees of freedom

    @property
    def runs(self) -> np.ndarray:
        """Number of runs."""
        return np.asarray(self.survived + self.failed)

    @property
    def score(self) -> np.ndarray:
        """The overall score: the mean of all runs."""
        alive = self.survived * np.where(self.survived > 0, self.mean, 0.0)
        failed = self.failed * np.where(self.failed > 0, self.failed_mean, 0.0)
        return np.asarray((alive + failed) / self.runs)


def summarize(scores: np.ndarray, failed: np.ndarray, *, paired: bool = False) -> Rows:
    """The rows of `scores` (..., K, N), NaN where there is no run or no value; `failed` is a mask.

    If `paired`, the effect of a seed on all rows alike is removed before variances are estimated:
    residuals of the two-way layout, (K - 1)(N - 1) degrees of freedom. Contrasts do not depend on
    that effect. It needs a value from every row and seed.
    """
    alive = np.isfinite(scores) & ~failed
    survived = alive.sum(axis=-1)
    mean = _mean(scores, alive)
    residuals = np.where(alive, scores - mean[..., None], 0.0)
    freedom = np.maximum(survived - 1.0, 0.0)
    if paired:
        rows = scores.shape[-2]
        residuals = residuals - residuals.mean(axis=-2, keepdims=True)
        freedom = freedom * (rows - 1) / rows
    squares = np.square(residuals).sum(axis=-1)
    return Rows(
        survived,
        failed.sum(axis=-1),
        mean,
        _mean(scores, failed),
        squares / np.where(freedom > 0, freedom, np.nan),
        freedom,
        *moderated(squares, freedom),
    )


def moderated(squares: np.ndarray, freedom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances of rows and their degrees of freedom, both (..., K), shrunken towards all rows.

    `squares` are the sums of squares of each row and `freedom` its degrees of freedom d. If the
    true variances are draws of an inverse gamma distribution with scale s0^2 and d0 degrees of
    freedom, the expected one is (d0 s0^2 + squares) / (d0 + d), with d0 + d degrees of freedom
    (Smyth 2004, section 4). d0 comes from the spread of the log variances over rows, beyond what d
    explains (section 6.2). Three choices are not the paper's, but were found by simulation: s0^2 is
    half way between the pooled variance and the geometric mean of the variances; the spread is
    enlarged by `noise / (K - 1)`, so that two rows whose variances happen to be close are not taken
    for equal; and the degrees of freedom are at most EFFECTIVE times those of all rows.

    A row with d = 0 has the prior's variance. If only one row has a variance, that is the prior of
    the others, with one degree of freedom.
    """
    known = freedom > 0
    rows = known.sum(axis=-1, keepdims=True)
    pooled = freedom.sum(axis=-1, keepdims=True)
    half = np.where(known, freedom, 1.0) / 2
    together = squares.sum(axis=-1, keepdims=True) / np.maximum(pooled, 1.0)
    own = np.maximum(squares / (2 * half), SMALLEST * together + TINY)
    logs = np.log(own) - special.digamma(half) + np.log(half)
    centre = _mean(logs, known)[..., None]
    others = np.maximum(rows - 1, 1)
    spread = np.where(known, np.square(logs - centre), 0.0).sum(axis=-1, keepdims=True) / others
    noise = _mean(special.polygamma(1, half), known)[..., None]
    excess = np.maximum(spread - noise, 0.0) + noise / others
    half_prior = np.where(rows > 1, inverse_trigamma(excess), TINY)
    scale = (np.exp(centre) + together) / 2
    prior = np.where(rows > 1, 2 * half_prior, np.where(known, 0.0, 1.0))
    weight = np.where(prior + freedom > 0, prior + freedom, np.nan)
    most = np.maximum(EFFECTIVE * pooled, freedom)
    return np.maximum((prior * scale + squares) / weight, TINY), np.minimum(weight, most)


def inverse_trigamma(x: np.ndarray) -> np.ndarray:
    """The y with trigamma(y) = x, by Newton's method on 1 / trigamma (Smyth 2004, appendix)."""
    y = 0.5 + 1 / x
    for _ in range(NEWTON_STEPS):
        value = special.polygamma(1, y)
        y = y + value * (1 - value / x) / special.polygamma(2, y)
    return np.asarray(y)


def _mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of the values in the mask over the last axis; NaN without any."""
    count = mask.sum(axis=-1)
    total = np.where(mask, values, 0.0).sum(axis=-1)
    return np.asarray(total / np.where(count > 0, count, np.nan))


def failure_rate(rows: Rows) -> Bounds:
    """Share of failed runs with its 95% interval."""
    return share(rows.failed, rows.survived)


def share(hits: np.ndarray, misses: np.ndarray) -> Bounds:
    """Hits of all with Jeffreys' 95% interval, whose lower end is 0 without hits and whose upper
    end is 1 without misses (Brown, Cai & DasGupta 2001).
    """
    a, b = hits + 0.5, misses + 0.5
    low = np.where(hits > 0, special.betaincinv(a, b, TAIL), 0.0)
    high = np.where(misses > 0, special.betaincinv(a, b, 1 - TAIL), 1.0)
    return Bounds(hits / (hits + misses), low, high)


def survivors_score(rows: Rows) -> Bounds:
    """Mean of the survivors with Student's 95% interval; no ends below two survivors."""
    reach = np.where(rows.survived > 1, _reach(rows), np.nan)
    return Bounds(rows.mean, rows.mean - reach, rows.mean + reach)


def overall_score(rows: Rows, worst: float | None) -> Bounds:
    """Mean of all runs with a 95% interval that allows for failures that were not seen.

    The overall score is (1 - q) m + q f for a failure rate q, a survivors' score m and a score f of
    failed runs. The ends are those that this takes for the ends of the intervals of q (95%) and m;
    f is the mean of the failed runs or, if none failed, the metric's `worst` value (None: q is 0).
    The interval of m is one of 97.5%, or of 95% if q is 0 for certain: two intervals of 95% may
    contain both values in 90% of cases only. The result is conservative. It has no ends for one
    run, for two of which one failed, and without survivors.
    """
    _, *rates = failure_rate(rows)
    seen = rows.failed > 0
    if worst is None:
        rates = [np.where(seen, rate, 0.0) for rate in rates]
    failed = np.where(seen, rows.failed_mean, 0.0 if worst is None else worst)
    reach = _reach(rows, np.where(rates[1] > 0, TAIL / 2, TAIL))
    ends = [(1 - q) * (rows.mean + sign * reach) + q * failed for q in rates for sign in (-1, 1)]
    enough = (rows.survived > 0) & (rows.runs > 1) & ~((rows.runs == 2) & seen)
    low, high = (
        np.where(enough, end, np.nan) for end in (np.min(ends, axis=0), np.max(ends, axis=0))
    )
    return Bounds(rows.score, low, high)


def _reach(rows: Rows, tail: np.ndarray | float = TAIL) -> np.ndarray:
    """Half the width of Student's interval of the survivors' mean, missed by `tail` at each end."""
    quantile = special.stdtrit(rows.freedom, 1 - tail)
    return np.asarray(quantile * np.sqrt(rows.moderated / np.maximum(rows.survived, 1)))


def padded(groups: Sequence[Sequence[float]]) -> np.ndarray:
    """(K, N): values of groups of different sizes, NaN at the end of the smaller ones."""
    table = np.full((len(groups), max(map(len, groups), default=0)), np.nan)
    for row, group in zip(table, groups, strict=True):
        row[: len(group)] = group
    return table


def means(groups: Sequence[Sequence[float]]) -> list[Interval]:
    """Mean of each group of runs with its 95% interval, variances moderated over the groups. The
    ends of a group of one run are NaN.
    """
    table = padded(groups)
    found = survivors_score(summarize(table, np.zeros(table.shape, dtype=bool)))
    return [Interval(*map(float, row)) for row in zip(*found, strict=True)]


# Contrasts of rows.


@dataclass(frozen=True)
class Difference(Interval):
    """A contrast with its 95% interval and its two-sided p-value; ends are NaN if unknown."""

    p: float
    pairs: int
    paired: bool
    error: float = math.nan  # standard error
    freedom: float = math.nan
    ratio: float = SINGLE  # of information; see core.sequential

    @classmethod
    def student(
        cls, value: float, error: float, freedom: float, pairs: int, *, paired: bool
    ) -> Difference:
        """Student's interval and p; those of an unknown error (NaN) are NaN and 1."""
        reach = float(special.stdtrit(freedom, 1 - TAIL)) * error * (error > NO_ERROR)
        p = 2 * float(special.stdtr(freedom, -abs(value) / max(error, TINY)))
        p = p if math.isfinite(p) else 1.0
        return cls(value, value - reach, value + reach, p, pairs, paired, error, freedom)

    def at_every_look(self, ratio: float) -> Difference:
        """The same with an interval and a p that are valid at every look."""
        quantile = special.stdtrit(self.freedom, 1 - nominal(LEVEL, ratio) / 2)
        reach = float(quantile) * self.error * (self.error > NO_ERROR)
        low, high, p = self.value - reach, self.value + reach, float(anytime(self.p, ratio))
        return replace(self, low=low, high=high, p=p, ratio=ratio)

    def equivalent(self, margin: float) -> float:
        """The larger p of the two one-sided tests that the true difference is within +-margin
        (Schuirmann 1987).
        """
        if not math.isfinite(self.error):
            return 1.0
        beyond = (abs(self.value) - margin) / max(self.error, TINY)
        p = min(float(special.stdtr(self.freedom, beyond)), 0.5)
        return float(anytime(2 * p, self.ratio)) / 2


def contrast(rows: Rows, index: np.ndarray, weights: np.ndarray) -> Estimates:
    """The sums of weights times overall scores; `index` (C, T) says of which rows, `weights` is
    (C, T).
    """
    value, parts, freedom = variances(rows, index, weights)
    return Estimates(value, np.sqrt(parts.sum(axis=-1)), freedom)


def variances(rows: Rows, index: np.ndarray, weights: np.ndarray) -> Variances:
    """The same before the variance is summed over the terms.

    Rows keep their own variances (Welch), since pooled or moderated ones find too many differences
    if variances are unequal. A row with failures has a larger one, v + q (1 - q) g^2: q is the
    failure rate, estimated by (failed + 1) / (runs + 2), which is never 0 or 1 (Agresti & Caffo
    2000), and g the distance between survivors and failed runs; without survivors, it is that from
    those of the other rows. It has runs - 1 degrees of freedom. If no run of any row failed, the
    contrast is one of survivors: failures that so few runs cannot show are not allowed for. Degrees
    of freedom of the sum: Welch-Satterthwaite.
    """
    survived, failed = rows.survived[..., index], rows.failed[..., index]
    runs, seen = survived + failed, failed > 0
    mean, score = rows.mean[..., index], rows.score[..., index]
    gap = np.where(survived > 0, mean, _mean(mean, survived > 0)[..., None])
    gap = np.where(seen, gap - rows.failed_mean[..., index], 0.0)
    rate = (failed + 1.0) / (runs + 2)
    own = np.maximum(np.where(survived > 1, rows.own[..., index], rows.moderated[..., index]), TINY)
    parts = weights**2 * (own + rate * (1 - rate) * gap**2) / runs
    freedom = np.where(seen, runs - 1.0, rows.own_freedom[..., index])
    freedom = np.where(freedom > 0, freedom, np.nan)
    total = parts.sum(axis=-1)
    value = (weights * score).sum(axis=-1)
    value = np.where(np.abs(value) > ROUNDING * np.abs(score).max(axis=-1), value, 0.0)
    return Variances(value, parts, total**2 / (parts**2 / freedom).sum(axis=-1))


def difference(
    rows: Rows, weights: Mapping[int, float], pairs: int, *, paired: bool = False
) -> Difference:
    """The contrast of one study's rows, given the weights by place. Its ends are unknown if one of
    these rows has a single run, or if none of them has a survivor.
    """
    index = np.array([[*weights]])
    found = contrast(rows, index, np.array([[*weights.values()]]))
    value, error, freedom = (float(each[0]) for each in found)
    error = error if rows.runs[index].min() > 1 else math.nan
    return Difference.student(value, error, freedom, pairs, paired=paired)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given (Holm 1979)."""
    return [float(value) for value in adjust(np.asarray(p_values, dtype=float))]


def adjust(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values (..., C)."""
    order = np.argsort(p, axis=-1, kind="stable")
    count = p.shape[-1] - np.arange(p.shape[-1])
    stepped = np.maximum.accumulate(count * np.take_along_axis(p, order, -1), axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), -1)
    return adjusted


def power(effect: float, spread: float, seeds: int, *, paired: bool) -> float:
    """Probability that a two-sided t-test at LEVEL detects a true difference `effect`.

    `spread` is the standard deviation of the differences over pairs (paired), or of one variant
    over seeds (unpaired, two variants of `seeds` each). Exact for normal scores (Cohen 1988).
    """
    freedom = seeds - 1 if paired else 2 * seeds - 2
    if freedom < 1:
        return 0.0
    if spread == 0:
        return 1.0 if effect else LEVEL
    shift = abs(effect) / spread * math.sqrt(seeds if paired else seeds / 2)
    critical = float(special.stdtrit(freedom, 1 - LEVEL / 2))
    # The noncentral t as a mean over the estimated spread: scipy's is undefined for few seeds.
    chances = (np.arange(GRID) + 0.5) / GRID
    scale = np.sqrt(2 * special.gammaincinv(freedom / 2, chances) / freedom)
    beyond = special.ndtr(shift - critical * scale) + special.ndtr(-critical * scale - shift)
    return float(beyond.mean())


def detectable_difference(spread: float, seeds: int, *, paired: bool) -> float:
    """The minimum detectable difference at power POWER; infinite with one seed."""
    if seeds < 2:
        return math.inf
    return spread and _in_spreads(seeds, paired) * spread


@cache
def _in_spreads(seeds: int, paired: bool) -> float:
    """The same in units of the spread, which depends on the number of seeds only."""

    def missing(size: float) -> float:
        return power(size, 1.0, seeds, paired=paired) - POWER

    high = 1.0
    while missing(high) < 0:
        high *= 2
    return float(optimize.brentq(missing, 0.0, high))


# Pairing by seed.


def seed_correlation(scores: np.ndarray) -> tuple[float, bool]:
    """Intraclass correlation of variants over seeds, and whether pairing by seed is worthwhile.

    `scores` (variants, seeds). Two-way layout without interaction: (MS_seed - MS_rest) /
    (MS_seed + (k - 1) MS_rest) for k variants, the mean correlation of two variants over seeds
    (Shrout & Fleiss 1979, ICC(3,1)). Pairing is not worthwhile if the correlation is below .05 or
    the F test of the seeds has p > .2. The estimate is from all variants at once, so that choosing
    by it does not favour any contrast; of two variants it would, so they are not paired.
    """
    k, n = scores.shape
    if k < 2 or n < 2:
        return 0.0, False
    rows, columns, mean = scores.mean(axis=1), scores.mean(axis=0), scores.mean()
    residuals = scores - rows[:, None] - columns + mean
    ms_seed = k * float(np.square(columns - mean).sum()) / (n - 1)
    ms_rest = float(np.square(residuals).sum()) / ((k - 1) * (n - 1))
    total = ms_seed + (k - 1) * ms_rest
    if total <= TIE:
        return 0.0, False
    correlation = (ms_seed - ms_rest) / total
    p = float(special.fdtrc(n - 1, (n - 1) * (k - 1), ms_seed / ms_rest)) if ms_rest > TIE else 0.0
    return correlation, k > 2 and correlation >= SMALL and p <= SMALL_P
