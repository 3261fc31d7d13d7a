"""Statistics: coverage and false positives by simulation, the rest by hand or against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from core import statistics
from core.statistics import (
    holm,
    interquartile_mean,
    interval,
    paired_difference,
    probability_of_improvement,
    with_worst,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_interquartile_mean_is_scipys_and_the_mean_below_four() -> None:
    values = rng().normal(size=11)
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))
    assert interquartile_mean(np.array([1.0, 2.0, 9.0])) == pytest.approx(4.0)
    assert interquartile_mean(np.array([0.0, 1.0, 3.0, 100.0])) == pytest.approx(2.0)


def test_the_same_generator_gives_the_same_answer() -> None:
    a, b = rng(1).normal(size=8), rng(2).normal(size=8)
    assert interval(a, rng(3)) == interval(a, rng(3))
    assert paired_difference(a, b, rng(3)) == paired_difference(a, b, rng(3))
    assert probability_of_improvement(a, b, rng(3)) == probability_of_improvement(a, b, rng(3))


def test_coverage_of_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """A percentile bootstrap over 20 seeds covers a little less than it says."""
    monkeypatch.setattr(statistics, "RESAMPLES", 400)
    draws = rng(4)
    inside = [
        found.low <= 0 <= found.high
        for found in (interval(draws.normal(size=20), draws) for _ in range(400))
    ]
    assert 0.89 <= np.mean(inside) <= 0.98


def test_false_positives_of_the_paired_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 500)
    draws = rng(5)
    p = [
        paired_difference(draws.normal(size=10), draws.normal(size=10), draws)[1]
        for _ in range(400)
    ]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.08


def test_a_clear_difference_is_seen() -> None:
    base = rng(6).normal(size=10)
    found, p = paired_difference(base + 1.0, base, rng(7))
    assert found.value == pytest.approx(1.0)
    assert p < 0.01
    assert probability_of_improvement(base + 10, base, rng(7)).value == 1.0
    assert probability_of_improvement(base, base, rng(7)).value == pytest.approx(0.5)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_missing_scores_count_as_the_worst() -> None:
    assert with_worst([0.5, None, 0.2], higher_is_better=True) == [0.5, 0.2, 0.2]
    assert with_worst([0.5, None, 0.2], higher_is_better=False) == [0.5, 0.5, 0.2]
    assert with_worst([None, None], higher_is_better=True) == [0.0, 0.0]
