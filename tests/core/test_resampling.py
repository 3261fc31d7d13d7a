"""The probability of improvement, profiles, tuning curves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special

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
    found = performance_profile([0.1, 0.2, 0.2, 0.9], [0.0, 0.2, 0.5, 1.0])
    assert [each.value for each in found] == [1.0, 0.75, 0.25, 0.0]
    assert all(each.low <= each.value <= each.high for each in found)
    assert found[0].low < 0.6, "four of four are no certainty"
    lower = performance_profile([0.1, 0.2, 0.9], [0.2], higher_is_better=False)
    assert lower[0].value == pytest.approx(2 / 3)


def test_the_probability_of_improvement_is_the_share_of_pairs_that_are_won() -> None:
    base = rng(6).normal(size=10)
    assert probability_of_improvement(base + 10, base).value == 1.0
    assert probability_of_improvement(base, base).value == pytest.approx(0.5)
    a, b = rng(1).normal(size=8), rng(2).normal(size=8)
    found, turned = probability_of_improvement(a, b), probability_of_improvement(b, a)
    assert 0 <= found.low < found.value < found.high <= 1
    assert (turned.low, turned.high) == pytest.approx((1 - found.high, 1 - found.low))


@pytest.mark.parametrize(("runs", "truth"), [(3, 0.75), (3, 0.95), (5, 0.5), (5, 0.95)])
def test_the_interval_of_the_probability_covers_for_few_runs(runs: int, truth: float) -> None:
    """Where all pairs are won, as mostly with 3 runs at .95, a bootstrap's interval is [1, 1]."""
    shift = float(np.sqrt(2) * special.ndtri(truth))
    a, b = rng(0).normal(shift, size=(300, runs)), rng(1).normal(size=(300, runs))
    found = [probability_of_improvement(*pair) for pair in zip(a, b, strict=True)]
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.93
