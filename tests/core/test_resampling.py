"""Bootstraps: the probability of improvement, profiles, tuning curves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from core.resampling import (
    expected_best,
    performance_profile,
    probability_of_improvement,
)
from tests.core.test_statistics import rng


def test_expected_best_is_the_mean_over_all_subsets() -> None:
    scores = [3.0, 1.0, 4.0, 1.5, 9.0]
    for higher in (True, False):
        best = max if higher else min
        found = expected_best(scores, rng(), higher_is_better=higher)
        for n, each in enumerate(found, start=1):
            by_hand = np.mean([best(subset) for subset in itertools.combinations(scores, n)])
            assert each.value == pytest.approx(by_hand)
            assert each.low <= each.value <= each.high or n == len(scores)
    assert expected_best(scores, rng(3), higher_is_better=True) == expected_best(
        scores, rng(3), higher_is_better=True
    )
    large = expected_best(rng().normal(size=300), rng(), higher_is_better=True)
    assert np.isfinite([each.value for each in large]).all()


def test_a_profile_is_the_share_at_least_as_good() -> None:
    found = performance_profile([0.1, 0.2, 0.2, 0.9], [0.0, 0.2, 0.5, 1.0], rng())
    assert [each.value for each in found] == [1.0, 0.75, 0.25, 0.0]
    assert all(each.low <= each.value <= each.high for each in found)
    lower = performance_profile([0.1, 0.2, 0.9], [0.2], rng(), higher_is_better=False)
    assert lower[0].value == pytest.approx(2 / 3)
    assert performance_profile([1, 2], [1.5], rng(3)) == performance_profile([1, 2], [1.5], rng(3))


def test_the_probability_of_improvement_is_the_share_of_pairs_that_are_won() -> None:
    base = rng(6).normal(size=10)
    assert probability_of_improvement(base + 10, base, rng(7)).value == 1.0
    assert probability_of_improvement(base, base, rng(7)).value == pytest.approx(0.5)
    a, b = rng(1).normal(size=8), rng(2).normal(size=8)
    found = probability_of_improvement(a, b, rng(3))
    assert found == probability_of_improvement(a, b, rng(3))
    assert 0 <= found.low < found.value < found.high <= 1
