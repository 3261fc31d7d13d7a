"""How often adaptive seeds give a false verdict, and how many runs they save.

    python -m benchmarks.adaptive [--repeats 2000]

Simulates studies with `studies.adaptive.course`, which the queue uses too, and writes
results/adaptive.json, from which `make results` renders a part of docs/inference.md. About two CPU
minutes. Every row is compared with the first. Tables:

    errors   share of studies with a false verdict: a difference where there is none, or
             equivalence of rows that differ by the margin; share of the intervals of contrasts,
             as they are shown when a study has stopped, that contain the true difference
    savings  mean number of runs, against fixed seeds that settle all contrasts as often
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from benchmarks.inference import write
from core.sequential import nominal
from core.statistics import LEVEL, TINY, adjust, contrast, summarize
from studies.adaptive import Contrasts, Course, Looks, course

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "results" / "adaptive.json"
REPEATS = 2000
MEAN, MARGIN, MOST = 0.6, 0.02, 20
CLEAR = 0.05  # advantage of a clear winner
LONGEST = 60  # seeds of a study with fixed seeds
SPREADS = {  # standard deviations of the rows, in margins
    "equal": lambda rows: np.full(rows, 0.5),
    "unequal": lambda rows: np.where(np.arange(rows) % 2 == 1, 0.8, 0.2),
    "skewed": lambda rows: np.full(rows, 0.5),
}
CASES = (("equal", 0.0), ("unequal", 0.0), ("skewed", 0.0), ("equal", 0.1))  # spread, failures
SCENARIOS = {"all equal": 0.0, "one clear winner": CLEAR, "one at the margin": MARGIN}


def scores_of(
    rng: np.random.Generator, size: tuple[int, int, int], spread: str, last: float, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (B, K, N) of equal rows but for the last, and which runs failed, below .3."""
    noise = rng.exponential(size=size) - 1 if spread == "skewed" else rng.normal(size=size)
    scores = MEAN + MARGIN * SPREADS[spread](size[1])[:, None] * noise
    scores[:, -1] += last
    failed = rng.random(size) < rate
    return np.where(failed, rng.uniform(0, 0.3, size), scores), failed


def against_first(rows: int) -> Contrasts:
    """The contrasts of every row with the first."""
    names = [str(row) for row in range(rows)]
    return Contrasts([{name: 1.0, names[0]: -1.0} for name in names[1:]], names)


def completed(scores: np.ndarray, failed: np.ndarray) -> Course:
    """The course of studies of which every run would end."""
    contrasts = against_first(scores.shape[1])
    everything = scores, failed, np.ones(scores.shape, dtype=bool)
    return course(everything, contrasts, Looks(scores.shape[2], MARGIN))


def errors(found: Course, last: float) -> dict[str, float]:
    """Shares of studies with a false verdict, of either kind and of any."""
    true = np.append(np.zeros(found.within.shape[1] - 1), last)
    different = ((found.different <= LEVEL) & (true == 0)).any(axis=-1)
    within = ((found.within <= LEVEL) & (true >= MARGIN)).any(axis=-1)
    shares = {"different": different, "equivalent": within, "either": different | within}
    return {name: round(float(each.mean()), 4) for name, each in shares.items()}


def coverage(scores: np.ndarray, failed: np.ndarray, found: Course, truth: float) -> float:
    """Share of the intervals at the stop that contain the true difference, which is `truth` for the
    last row and 0 for the others; mean over the contrasts.
    """
    there = np.arange(scores.shape[2]) < found.used[..., None]
    rows = summarize(np.where(there, scores, np.nan), failed & there)
    value, error, freedom = contrast(rows, *pairs(scores.shape[1]))
    level = nominal(LEVEL, Looks(scores.shape[2], MARGIN).ratio)
    true = np.append(np.zeros(scores.shape[1] - 2), truth)
    return float((abs(value - true) <= special.stdtrit(freedom, 1 - level / 2) * error).mean())


def pairs(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Index and weights of every row minus the first."""
    return np.array([[row, 0] for row in range(1, rows)]), np.tile([1.0, -1.0], (rows - 1, 1))


def fixed_seeds(scores: np.ndarray, failed: np.ndarray, share: float, level: float) -> int:
    """The fewest seeds with which one look, at a `level` for each kind of verdict, settles all
    contrasts in this share of studies.
    """
    for seeds in range(3, scores.shape[2] + 1):
        found = summarize(scores[..., :seeds], failed[..., :seeds])
        value, error, freedom = contrast(found, *pairs(scores.shape[1]))
        error = np.maximum(error, TINY)
        p = adjust(2 * special.stdtr(freedom, -abs(value) / error))
        within = adjust(special.stdtr(freedom, (abs(value) - MARGIN) / error))
        if (np.fmin(p, within) <= level).all(axis=-1).mean() >= share:
            return seeds
    raise ValueError(f"more than {scores.shape[2]} seeds")


def simulated(repeats: int, sizes: Sequence[int], most: int = MOST) -> dict[str, Any]:
    """The tables `errors` and `savings`."""
    tables: dict[str, Any] = {"repeats": repeats, "most": most, "errors": [], "savings": []}
    for rows, (spread, rate), (scenario, last) in itertools.product(
        sizes, CASES, SCENARIOS.items()
    ):
        if last == CLEAR and (spread, rate) != CASES[0]:
            continue
        rng = np.random.default_rng(rows)
        scores, failed = scores_of(rng, (repeats, rows, most), spread, last, rate)
        found = completed(scores, failed)
        about = {"rows": rows, "scenario": scenario}
        covered = coverage(scores, failed, found, (1 - rate) * last)
        tables["errors"].append({
            **about, "spread": spread, "failures": rate, **errors(found, last),
            "coverage": round(covered, 4),
        })  # fmt: skip
        if (spread, rate) != CASES[0]:
            continue
        share = float((~found.open).all(axis=-1).mean())
        many = scores_of(rng, (repeats, rows, LONGEST), spread, last, rate)
        runs = found.used.sum(axis=-1)
        fixed = rows * fixed_seeds(*many, share, LEVEL / 2)
        each = rows * fixed_seeds(*many, share, LEVEL)
        tables["savings"].append({
            **about, "settled": round(share, 4), "runs": round(float(runs.mean()), 1),
            "high": int(np.quantile(runs, 0.95)), "fixed": fixed, "fixed_each": each,
            "saved": round(1 - float(runs.mean()) / fixed, 3),
            "saved_each": round(1 - float(runs.mean()) / each, 3),
        })  # fmt: skip
    return tables


def tables(repeats: int) -> dict[str, Any]:
    """All tables."""
    return simulated(repeats, (2, 4, 8))


if __name__ == "__main__":
    write(tables, OUTPUT, __doc__, REPEATS)
