"""How well the intervals and p-values of `core/statistics.py` keep what they promise.

    python -m benchmarks.inference [--repeats 4000]

Simulates studies and writes results/inference.json, from which `make results` renders
docs/inference.md. About two CPU minutes. Runs that do not fail score .6 in the mean, with a
standard deviation of .02 (`equal`), of .01 and .04 in turn (`unequal`), or of .04 in the first row
and .01 in the others (`one`). A run fails with a given probability and then scores between 0 and .3
(uniform); the worst value is 0. Tables:

    coverage   share of 95% intervals that contain the truth, mean over rows
    errors     share of studies of equal rows in which a difference is significant (family-wise)
    variances  own, moderated and pooled variances: coverage, errors and widths
    pairing    the effect of removing the seeds' effect if their correlation is worth it
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special, stats

from core.statistics import (
    LEVEL,
    Rows,
    contrast,
    failure_rate,
    overall_score,
    seed_correlation,
    summarize,
    survivors_score,
)

OUTPUT = Path(__file__).parents[1] / "results" / "inference.json"
REPEATS = 4000
MEAN, SPREAD, FAILED, WORST = 0.6, 0.02, 0.3, 0.0
SHAPES = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,  # skewness 2
}
SMALLEST_CRITICAL = 1.9
SHOWN = 8  # rows of a study whose intervals are computed
FREEDOM = np.array([1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 14, 20, 40, 100, 1e4])  # of a grid
Study = tuple[np.ndarray, np.ndarray]  # scores and failures, each (repeats, K, N)


def spreads(rows: int, kind: str) -> np.ndarray:
    """Standard deviation of each row."""
    if kind == "equal":
        return np.full(rows, SPREAD)
    large = np.arange(rows) % 2 == 1 if kind == "unequal" else np.arange(rows) == 0
    return SPREAD * np.where(large, 2.0, 0.5)


def studies(
    rng: np.random.Generator, size: tuple[int, int, int], kind: str, rate: float, shape: str
) -> Study:
    """Studies whose rows all have the same distribution but for their spread."""
    scores = MEAN + spreads(size[1], kind)[:, None] * SHAPES[shape](rng, size)
    failed = rng.random(size) < rate
    return np.where(failed, rng.uniform(0, FAILED, size), scores), failed


def contains(ends: tuple[np.ndarray, ...], truth: float) -> np.ndarray:
    """Whether intervals contain the truth; one that is withheld does not."""
    _, low, high = ends
    return np.asarray((low <= truth) & (truth <= high))


def width(ends: tuple[np.ndarray, ...], of: np.ndarray) -> float | None:
    """Median width of those intervals, None if there are none."""
    sizes = (ends[2] - ends[1])[of]
    sizes = sizes[np.isfinite(sizes)]
    return round(float(np.median(sizes)), 4) if sizes.size else None


def share(found: np.ndarray) -> float | None:
    """Mean of truth values."""
    return round(float(found.mean()), 4) if found.size else None


def coverage(rows: Rows, rate: float) -> dict[str, Any]:
    """Coverage and widths of the three intervals of a row, of the first rows of each study."""
    rows = Rows(*(getattr(rows, name)[:, :SHOWN] for name in Rows.__dataclass_fields__))
    rates, alive, overall = failure_rate(rows), survivors_score(rows), overall_score(rows, WORST)
    three = rows.survived >= 3
    return {
        "rate": share(contains(rates, rate)),
        "survivors": share(contains(alive, MEAN)[three]),
        "survivors_width": width(alive, three),
        "overall": share(contains(overall, (1 - rate) * MEAN + rate * FAILED / 2)),
        "overall_width": width(overall, np.isfinite(overall[1])),
        "withheld": share(np.isnan(overall[1])),
    }


@cache
def _studentized(rows: int) -> np.ndarray:
    """Critical values of Games and Howell's test, on the scale of t, over FREEDOM."""
    found = [stats.studentized_range.ppf(1 - LEVEL, rows, freedom) for freedom in FREEDOM]
    return np.array(found) / np.sqrt(2)


def errors(rows: Rows, count: int) -> dict[str, Any]:
    """Share of studies with a significant difference: against the first row, and of all pairs."""
    pairs = np.stack(np.triu_indices(count, 1), axis=1)  # those of the first row come first
    value, error, freedom = contrast(rows, pairs, np.tile([1.0, -1.0], (len(pairs), 1)))
    size = np.nan_to_num(np.abs(value) / error)
    freedom = np.nan_to_num(freedom, nan=1.0)
    p = np.ones(size.shape)
    large = size > SMALLEST_CRITICAL  # others are never significant
    p[large] = 2 * special.stdtr(freedom[large], -size[large])
    grid = _studentized(count)
    critical = np.exp(np.interp(1 / freedom, 1 / FREEDOM[::-1], np.log(grid[::-1])))
    return {
        # Holm rejects something if and only if Bonferroni does.
        "control": share((p[:, : count - 1] * (count - 1) <= LEVEL).any(axis=-1)),
        "pairs_games_howell": share((size >= critical).any(axis=-1)),
        "pairs_holm": share((p * len(pairs) <= LEVEL).any(axis=-1)),
    }


def with_variance(rows: Rows, variance: np.ndarray, freedom: np.ndarray) -> Rows:
    """The rows with this variance in intervals and contrasts."""
    return replace(rows, moderated=variance, freedom=freedom, own=variance, own_freedom=freedom)


def pooled(rows: Rows) -> Rows:
    """The rows with the variance that all have together."""
    freedom = rows.own_freedom.sum(axis=-1, keepdims=True)
    variance = np.nansum(rows.own * rows.own_freedom, axis=-1, keepdims=True) / freedom
    shape = rows.own.shape
    return with_variance(rows, np.broadcast_to(variance, shape), np.broadcast_to(freedom, shape))


def tables(
    repeats: int, sizes: tuple[int, ...] = (2, 8, 32), seeds: tuple[int, ...] = (2, 3, 5, 10)
) -> dict[str, Any]:
    """All tables."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {"repeats": repeats, "coverage": [], "errors": []}
    kinds = [("equal", "normal"), ("unequal", "normal"), ("equal", "skewed")]
    for k, n, (kind, shape), rate in itertools.product(sizes, seeds, kinds, (0.0, 0.1, 0.25)):
        about = {"rows": k, "seeds": n, "spreads": kind, "shape": shape, "failures": rate}
        rows = summarize(*studies(rng, (repeats, k, n), kind, rate, shape))
        found["coverage"].append({**about, **coverage(rows, rate)})
        found["errors"].append({**about, **errors(rows, k)})
    found["variances"] = list(variances(rng, repeats, sizes[1:2], seeds[1:3]))
    found["pairing"] = list(pairing(rng, repeats // 4, sizes[1:2], seeds[1:3]))
    return found


def variances(
    rng: np.random.Generator, repeats: int, sizes: tuple[int, ...], seeds: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    """Own, moderated and pooled variances in intervals and contrasts, without failures."""
    kinds = [("equal", "normal"), ("unequal", "normal"), ("one", "normal"), ("equal", "skewed")]
    for k, n, (kind, shape) in itertools.product((2, *sizes), seeds, kinds):
        rows = summarize(*studies(rng, (repeats, k, n), kind, 0.0, shape))
        ways = {
            "own": with_variance(rows, rows.own, rows.own_freedom),
            "moderated": with_variance(rows, rows.moderated, rows.freedom),
            "pooled": pooled(rows),
        }
        for name, rows in ways.items():
            alive = survivors_score(rows)
            each = contains(alive, MEAN).mean(axis=0)
            yield {
                "rows": k, "seeds": n, "spreads": kind, "shape": shape, "variance": name,
                "survivors": share(each), "worst_row": round(float(each.min()), 4),
                "width": width(alive, rows.survived > 1), **errors(rows, k),
            }  # fmt: skip


def pairing(
    rng: np.random.Generator, repeats: int, sizes: tuple[int, ...], seeds: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    """Contrasts if the rule of `seed_correlation` decides, and if seeds are never paired."""
    for k, n, kind, part in itertools.product(
        (3, *sizes), seeds, ("equal", "unequal"), (0.0, 0.3, 0.6)
    ):
        scores, failed = studies(rng, (repeats, k, n), kind, 0.0, "normal")
        effect = SPREAD * np.sqrt(part / (1 - part)) * rng.normal(size=(repeats, 1, n))
        scores = scores + effect
        chosen = np.array([seed_correlation(each)[1] for each in scores])
        apart, together = summarize(scores, failed), summarize(scores, failed, paired=True)
        by_rule = Rows(*(
            np.where(chosen[:, None], getattr(together, name), getattr(apart, name))
            for name in Rows.__dataclass_fields__
        ))  # fmt: skip
        pair = np.array([[0, 1]]), np.array([[1.0, -1.0]])
        widths = [np.median(contrast(rows, *pair)[1]) for rows in (by_rule, apart)]
        yield {
            "rows": k, "seeds": n, "spreads": kind, "correlation": part,
            "paired": share(chosen), "by_rule": errors(by_rule, k)["control"],
            "never": errors(apart, k)["control"],
            "error_ratio": round(float(widths[0] / widths[1]), 3),
        }  # fmt: skip


def write(
    make: Callable[[int], dict[str, Any]], output: Path, about: str | None, repeats: int
) -> None:
    """Write the tables that `make` computes with --repeats (default: `repeats`), one row a line."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=repeats)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # unknown variances
        found = make(parser.parse_args().repeats)
    text = json.dumps(found).replace("[{", "[\n{").replace("}, {", "},\n{")
    output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(tables, OUTPUT, __doc__, REPEATS)
