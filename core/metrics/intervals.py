"""95% intervals of metrics: what each covers, and how it is found.

An interval is of the metric's expectation at this sample size: where the value of another sample
of the same size from the same source would lie on average. Four kinds of metric, four methods,
none of which draws anything:

- a mean over sentences: Student's t; a share: Wilson (1927); a ratio of means (per token): the
  same on its linearised residuals;
- a statistic of the whole sample (Self-BLEU, MS-Jaccard, entropy of n-grams): the jackknife
  (Tukey 1958), every leave-one-out value computed exactly, and put right for what sentences do
  together, which the jackknife counts more than once: `interacting`. The bootstrap would not do: a
  resample has duplicates, and duplicates are what such a statistic measures;
- a number of distinct things (n-grams, sentences, mass covered): the jackknife, put right by the
  whole series of what sentences share: `covered`; of few repeats, `of_repeats`;
- an estimate of a squared distance (FED, MMD), which scatters even where the two texts are one:
  `squared_distance`.

Other statistics of two samples say in their own files what they do; `of_both` adds two variances.

Quantiles are those of `scipy.special`: importing `scipy.stats` takes half a second of every start.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from core.statistics import TAIL

FEWEST = 8  # below it no variance of a sample is worth the name
RARE = 12.0  # things below which nothing normal is made of their number
SHARED_BY = 8  # sentences: the smoothing of the alternating series, see `covered`
Bounds = tuple[float, float] | None
Estimate = tuple[float, float, float]  # a value and its bounds


@dataclass(frozen=True)
class Measure:
    """A metric's value, its sample sizes, and its interval, computed when it is asked for."""

    value: float | None
    samples: int
    references: int
    interval: Callable[[], Bounds] = lambda: None
    least: int = 0  # sentences of each text below which there is no interval
    reason: str = ""  # why the value is None, in words
    # The value less that without each reference (references,), to first order and up to a constant;
    # None unless the interval lets the references vary. For differences of two samples against the
    # same references.
    by_reference: Callable[[], np.ndarray | None] = lambda: None


def share(hits: np.ndarray) -> Callable[[], Bounds]:
    """Of the share of True among independent trials (n,): Wilson's interval."""

    def bounds() -> Bounds:
        n, p = len(hits), int(hits.sum()) / len(hits)
        z = float(special.ndtri(1 - TAIL))
        center = (2 * n * p + z**2) / (2 * (n + z**2))
        half = z / (2 * (n + z**2)) * math.sqrt(4 * n * p * (1 - p) + z**2)
        return center - half if p > 0 else 0.0, center + half if p < 1 else 1.0

    return bounds


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> Callable[[], Bounds]:
    """Of sum(numerators) / sum(denominators) over independent pairs (n,): delta method."""
    value = float(numerators.sum() / denominators.sum())
    residuals = (numerators - value * denominators) / denominators.mean()
    n = len(residuals)
    return lambda: around(value, jackknife(residuals / max(n - 1, 1)), n)


def mean_of(values: np.ndarray, references: int = 0) -> Measure:
    """The mean of the sentences' independent values (n,), n > 0, with Student's t."""
    mean, n = float(values.mean()), len(values)
    return Measure(mean, n, references, lambda: around(mean, jackknife(values / max(n - 1, 1)), n))


def share_of(hits: np.ndarray, references: int = 0) -> Measure:
    """The share of True among the sentences' hits (n,), n > 0."""
    return Measure(float(hits.mean()), len(hits), references, share(hits))


def jackknife(changes: np.ndarray) -> float:
    """Variance of a statistic from its change as each of n sentences is left out, (n,)."""
    return jackknife_covariance(changes, changes)


def around(value: float, variance: float, n: int) -> Bounds:
    """Value -+ t sqrt(variance), n - 1 degrees of freedom of a sample of n; None below FEWEST."""
    if n < FEWEST or not np.isfinite(variance):
        return None
    half = float(special.stdtrit(n - 1, 1 - TAIL)) * float(np.sqrt(max(variance, 0.0)))
    return value - half, value + half


def of_both(value: float, ours: float, n: int, theirs: float, m: int) -> Bounds:
    """Value -+ t sqrt(ours + theirs), of two independent variances, of n and m things, with the
    degrees of freedom of Satterthwaite (1946).
    """
    total = ours + theirs
    if min(n, m) < FEWEST or not np.isfinite(total):
        return None
    parts = ours**2 / (n - 1) + theirs**2 / (m - 1)
    freedom = total**2 / parts if parts > 0 else float(min(n, m) - 1)
    half = float(special.stdtrit(freedom, 1 - TAIL)) * float(np.sqrt(total))
    return value - half, value + half


def difference(first: Estimate, second: Estimate, covariance: float) -> tuple[float, float]:
    """Of second - first, from the value and interval of each: the method of variance estimates
    recovery (Zou & Donner 2008), which keeps lopsided intervals lopsided. `covariance` is of the
    two values; 0 for independent samples.
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    t = float(special.ndtri(1 - TAIL))
    scale = (a_high - a_low) * (b_high - b_low) / (2 * t) ** 2
    r = min(max(covariance / scale, -1.0), 1.0) if scale > 0 else 0.0

    def half(of_b: float, of_a: float) -> float:
        return float(np.sqrt(max(of_a**2 + of_b**2 - 2 * r * of_a * of_b, 0.0)))

    return b - a - half(b - b_low, a_high - a), b - a + half(b_high - b, a - a_low)


def jackknife_covariance(first: np.ndarray, second: np.ndarray) -> float:
    """Covariance of two statistics from their changes as each of n sentences is left out, (n,)."""
    n = len(first)
    if not n:
        return 0.0
    return float((n - 1) / n * ((first - first.mean()) * (second - second.mean())).sum())


def between(value: float, variance: float, n: int) -> Bounds:
    """The same of a share, on the scale of log(p / (1 - p)): inside 0 and 1, and lopsided near
    either, as its scatter is.
    """
    scale = value * (1 - value)
    if scale <= 0:
        return around(value, variance, n)
    bounds = around(float(np.log(value / (1 - value))), variance / scale**2, n)
    return bounds and (float(special.expit(bounds[0])), float(special.expit(bounds[1])))


def of_repeats(repeats: float, total: float, variance: float, clump: float) -> Bounds:
    """Of 1 - repeats / total, for few repeats, in clumps (a sentence said twice repeats all its
    n-grams): the gamma interval of a weighted sum of Poisson numbers (Fay & Feuer 1997), mid-p (Fay
    & Kim 2017), which covers 95% on the average over rates and not at the least.

    `variance` is that of the repeats, never below a Poisson number's; `clump` what a clump that the
    sample happens not to show would add. With clump = 1 and variance = repeats it is the mid-p
    interval of a Poisson number. Below three or so clumps expected no interval of a count can miss
    one time in twenty; there this one misses less often.
    """
    spread = max(variance, repeats)
    shape, scale = _gamma(repeats, spread) if repeats else (0.0, 1.0)
    upper_shape, upper_scale = _gamma(repeats + clump, spread + clump**2)
    top = float(special.gammaincinv(upper_shape, 1 - TAIL / 10)) * upper_scale

    def at(share: float) -> float:
        def excess(rate: float) -> float:
            lower = float(special.gammainc(shape, rate / scale)) if repeats else 1.0
            upper = float(special.gammainc(upper_shape, rate / upper_scale))
            return (lower + upper) / 2 - share

        return float(optimize.brentq(excess, 0.0, top)) if excess(0.0) < 0 else 0.0

    return max(1 - at(1 - TAIL) / total, 0.0), 1 - at(TAIL) / total


def _gamma(mean: float, variance: float) -> tuple[float, float]:
    """Shape and scale of a gamma distribution."""
    return mean**2 / variance, variance / mean


def squared_distance(value: float, plain: float, first: float, second: float, n: int) -> Bounds:
    """Of an unbiased estimate of a squared distance d^2: the score interval (Wilson's 1927
    reasoning). The variance at a distance d is a d^2 + second: what is left of it where the two are
    one, and a part in proportion to the square. About the value on equal terms the interval would
    lie too low: a sample that happens to show a small distance shows a small variance too.

    `plain` is the biased estimate (of two samples as they are), `first` the variance to first order
    at it, which has `second` twice; their ratio is a, found where nothing can be divided by zero.
    Where the value is beyond what equal distributions give, (first - 2 second) / value is too.
    """
    if n < FEWEST or not np.isfinite([first, second]).all():
        return None
    t = float(special.stdtrit(n - 1, 1 - TAIL))
    noise = t * float(np.sqrt(max(second, 0.0)))
    slope = first / plain if plain > 0 else 0.0
    if value > noise:
        slope = max(slope, (first - 2 * second) / value)
    shift = t**2 * slope / 2
    root = float(np.sqrt(max(shift**2 + t**2 * slope * value, 0.0) + noise**2))
    low = value + shift - root if value > noise else value - noise
    return low, max(value + shift + root, value + noise)


def clumped(value: float, variance: float, clump: float, n: int) -> Bounds:
    """Of a statistic whose scatter grows with it, as that of a number of clumps does: the score
    interval (Wilson's 1927 reasoning), with variance + clump (m - value) the variance at a mean m.
    A sample that happens to show no clumps has a small value and a small estimated variance both,
    and the interval about it on equal terms lies too low.
    """
    plain = around(value, variance, n)
    if plain is None:
        return None
    t = float(special.stdtrit(n - 1, 1 - TAIL))
    shift = t**2 * clump / 2
    root = float(np.hypot(plain[1] - value, shift))
    return value + shift - root, value + shift + root


def interacting(first: float, second: float) -> float:
    """Variance of a statistic in which sentences act on each other.

    The variance is a sum V_1 + V_2 + ... over groups of one, two, ... sentences (Hoeffding 1948).
    The jackknife (`first`) finds V_1 + 2 V_2 + 3 V_3 + ..., and the sum over pairs (`second`)
    V_2 + 3 V_3 + ... (Efron & Stein 1981). With V_k in the proportions of a Poisson number's
    probabilities, as they are exactly for things that are equally frequent and seen or not, the
    sum is first (1 - exp(-r)) / r at r = 2 second / first.
    """
    rate = 2 * second / first if first > 0 else 0.0
    return first * float(-np.expm1(-rate)) / rate if rate > 0 else first


def pairwise(sentence: np.ndarray, thing: np.ndarray, bend: np.ndarray, n: int) -> float:
    """The sum over pairs of sentences that `interacting` asks for, of things they share.

    `sentence`, `thing` are aligned: which sentence has which thing, each pair once; `bend` is of
    each thing: T - T without one - T without the other + T without both, of two sentences that
    have it. Things that more than SHARED_BY sentences have are left out: one sentence more or less
    bends little there.
    """
    sentence, things, begins, sharers = _by_thing(sentence, thing)
    bends = bend[things]
    keys, values = [], []
    for k in range(2, SHARED_BY + 1):
        at = (sharers == k) & (bends != 0)
        members = np.sort(sentence[begins[at][:, None] + np.arange(k)], axis=1)
        for i, j in zip(*np.triu_indices(k, 1), strict=True):
            keys.append(members[:, i] * n + members[:, j])
            values.append(bends[at])
    _, which = np.unique(np.concatenate(keys), return_inverse=True)
    return float((np.bincount(which, np.concatenate(values)) ** 2).sum())


def covered(sentence: np.ndarray, thing: np.ndarray, weight: np.ndarray, n: int) -> float:
    """Variance of sum_g weight_g [g is had by one of n sentences], but for its first-order part.

    `sentence`, `thing` are aligned: which sentence has which thing, each pair once; `weight` is of
    each thing. Let J_k be the sum over sets of k sentences of (weight of the things that exactly
    these have)^2. With things as Poisson processes the variance is J_1 - J_2 + J_3 - ..., of which
    the jackknife has J_1 alone; for things a sentence has one of, J_k is the number of things seen
    k times and this is the series of Good & Toulmin (1956) for a doubled sample. It is summed with
    the binomial smoothing of Efron & Thisted (1976). The answer is -J_2 + J_3 - ...: add the
    jackknife's variance, which has the statistic's own first order.
    """
    if len(thing) == 0:
        return 0.0
    sentence, things, begins, sharers = _by_thing(sentence, thing)
    # A set of sentences is known by the sum of a random number of each, modulo 2^64.
    marks = np.random.default_rng(0).integers(0, 2**64, size=n, dtype=np.uint64)
    sets = np.add.reduceat(marks[sentence], begins)
    few = (sharers >= 2) & (sharers <= SHARED_BY)
    weights = weight[things][few]
    _, first, which = np.unique(sets[few], return_index=True, return_inverse=True)
    together = np.bincount(which, weights)
    k = sharers[few][first]
    smoothing = special.bdtrc(k - 1, SHARED_BY, 0.5)
    return float(((-1.0) ** (k + 1) * smoothing * together**2).sum())


def _by_thing(
    sentence: np.ndarray, thing: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The sentences sorted by thing, the distinct things, where the sentences of each begin, and
    how many there are.
    """
    order = np.argsort(thing, kind="stable")
    things, begins, sharers = np.unique(thing[order], return_index=True, return_counts=True)
    return sentence[order].astype(np.int64), things, begins, sharers
