"""Statistics: coverage and false positives by simulation, the rest by hand or against scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from core.statistics import (
    detectable_difference,
    difference,
    expected_best,
    holm,
    interquartile_mean,
    interval,
    p_of_zero,
    performance_profile,
    power,
    probability_of_improvement,
    resample,
    seed_correlation,
    stretched,
    variance_shares,
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
    for paired in (True, False):
        one, two = (difference([(a, b)], rng(3), paired=paired) for _ in range(2))
        assert one == two
    assert probability_of_improvement(a, b, rng(3)) == probability_of_improvement(a, b, rng(3))


@pytest.mark.parametrize("seeds", [3, 5, 8, 20])
@pytest.mark.parametrize("shape", ["normal", "skewed"])
def test_coverage_of_the_interval(seeds: int, shape: str) -> None:
    draws = rng(4)
    # The truth of an interquartile mean of few values is its own expectation.
    sample = draws.normal if shape == "normal" else draws.gumbel
    truth = interquartile_mean(sample(size=(200_000, seeds))).mean()
    inside = [
        found.low <= truth <= found.high
        for found in (interval(sample(size=seeds), draws, 300) for _ in range(800))
    ]
    assert 0.91 <= np.mean(inside) <= 0.985


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("strata", "seeds"),
    [
        (1, 3),
        (1, 5),
        (4, 3),
        pytest.param(1, 10, marks=pytest.mark.slow),
        pytest.param(6, 5, marks=pytest.mark.slow),
    ],
)
def test_coverage_and_false_positives_of_a_difference(
    strata: int, seeds: int, paired: bool
) -> None:
    """No true difference; seeds have an effect of their own where the analysis is paired."""
    draws = rng(5)
    shared = 1.0 if paired else 0.0
    p = []
    for _ in range(400):
        seed = shared * draws.normal(size=seeds)
        data = [(seed + draws.normal(size=seeds), seed + draws.normal(size=seeds))
                for _ in range(strata)]  # fmt: skip
        found = difference(data, draws, paired=paired, resamples=400)
        assert (found.p <= 0.05) == (not found.low <= 0 <= found.high)
        p.append(found.p)
    assert 0.005 <= np.mean(np.array(p) <= 0.05) <= 0.085
    assert np.mean(np.array(p) <= 0.2) <= 0.24
    assert np.mean(np.array(p) <= 0.01) <= 0.03


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.99])
def test_p_is_where_the_interval_reaches_zero(confidence: float) -> None:
    draws = rng(13)
    for n in (6, 8, 12):
        a = draws.gumbel(size=n)
        means = a[resample(n, draws, 2000)].mean(axis=1)
        found = stretched(float(a.mean()), means, n, confidence=confidence)
        p = p_of_zero(float(a.mean()), means, n)
        assert (p <= 1 - confidence) == (not found.low <= 0 <= found.high)
        if 0.003 < p < 0.999:
            touching = stretched(float(a.mean()), means, n, confidence=1 - p)
            assert min(abs(touching.low), abs(touching.high)) < 1e-6


def test_p_at_the_edges() -> None:
    assert p_of_zero(1.0, np.ones(99), 9) == pytest.approx(0.01), "no p is zero"
    resolved = [p_of_zero(1.0, np.ones(9999), n) for n in (2, 3, 4, 5, 6)]
    assert resolved == pytest.approx([0.05, 0.05, 1 / 35, 1 / 126, 1 / 462])
    assert p_of_zero(0.0, np.zeros(99), 4) == 1
    assert p_of_zero(1.0, np.ones(99), 1) == 1, "nothing is known of one value's spread"
    alone = difference([([1.0], [0.0])], rng(), paired=True)
    assert (alone.value, alone.p) == (1.0, 1.0)
    turned = difference([([0.0, 1.0], [5.0, 7.0])], rng(3), paired=True)
    assert turned.value == -5.5


@pytest.mark.parametrize("shared", [0.0, 2.0])
def test_pairing_that_is_chosen_by_the_correlation_keeps_its_level(shared: float) -> None:
    """Twelve variants, five seeds: the choice and the test together, false positives of both."""
    draws = rng(8)
    wrong, chosen = [], []
    for _ in range(300):
        scores = draws.normal(size=(12, 5)) + shared * draws.normal(size=5)
        correlation, paired = seed_correlation(scores)
        assert -1 <= correlation <= 1
        found = difference([(scores[0], scores[1])], draws, paired=paired, resamples=400)
        wrong.append(found.p <= 0.05)
        chosen.append(paired)
    assert np.mean(wrong) <= 0.085
    assert (np.mean(chosen) > 0.95) == (shared > 0)


def test_pairing_pays_when_seeds_matter() -> None:
    draws = rng(9)
    seed = draws.normal(size=8)
    a, b = seed + 0.1 * draws.normal(size=8) + 0.3, seed + 0.1 * draws.normal(size=8)
    together = difference([(a, b)], rng(1), paired=True)
    apart = difference([(a, b)], rng(1), paired=False)
    assert together.value == pytest.approx(apart.value)
    assert (together.high - together.low) < 0.5 * (apart.high - apart.low)
    assert together.low > 0 > apart.low


def test_strata_of_one_seed_are_pooled() -> None:
    a, b = rng(1).normal(size=12), rng(2).normal(size=12)
    each = difference([([x], [y]) for x, y in zip(a, b, strict=True)], rng(3), paired=True)
    assert each == difference([(a, b)], rng(3), paired=True)
    assert each.low < each.high
    with pytest.raises(ValueError, match="as many"):
        difference([([1.0, 2.0], [1.0])], rng(), paired=True)


def test_power_is_the_share_of_significant_tests() -> None:
    draws = rng(10)
    for seeds, paired in ((5, True), (5, False), (12, False)):
        effect = detectable_difference(2.0, seeds, paired=paired)
        assert power(effect, 2.0, seeds, paired=paired) == pytest.approx(0.8)
        if paired:
            p = stats.ttest_1samp(draws.normal(effect, 2.0, (4000, seeds)), 0, axis=1).pvalue
        else:
            sides = (draws.normal(m, 2.0, (4000, seeds)) for m in (effect, 0.0))
            p = stats.ttest_ind(*sides, axis=1).pvalue
        assert np.mean(p <= 0.05) == pytest.approx(0.8, abs=0.02)
    assert power(0.0, 1.0, 5, paired=True) == pytest.approx(0.05, abs=1e-3)
    assert detectable_difference(1.0, 1, paired=True) == np.inf
    assert detectable_difference(0.0, 5, paired=True) == 0
    sizes = [detectable_difference(1.0, n, paired=True) for n in (2, 3, 5, 10, 50)]
    assert sizes == sorted(sizes, reverse=True)


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


def test_variance_is_split_as_it_was_made() -> None:
    draws = rng(11)
    scores = (3 * draws.normal(size=(200, 1)) + 2 * draws.normal(size=(1, 200))
              + draws.normal(size=(200, 200)))  # fmt: skip
    found = variance_shares(scores, rng(), resamples=50)
    assert found is not None
    assert found.configuration.value == pytest.approx(9 / 14, abs=0.08)
    assert found.seed.value == pytest.approx(4 / 14, abs=0.08)
    assert found.configuration.value + found.seed.value + found.rest.value == pytest.approx(1)
    assert variance_shares(scores[:1], rng()) is None
    assert variance_shares(np.ones((3, 3)), rng()) is None
    small = draws.normal(size=(4, 3))
    assert variance_shares(small, rng(1)) == variance_shares(small, rng(1))


def test_the_correlation_is_the_one_between_variants() -> None:
    draws = rng(12)
    scores = draws.normal(size=(2, 4000)) + 2 * draws.normal(size=4000)
    correlation, paired = seed_correlation(scores)
    assert correlation == pytest.approx(np.corrcoef(scores)[0, 1], abs=0.01)
    assert paired
    assert seed_correlation(np.ones((3, 1))) == (0.0, False)
    assert seed_correlation(np.array([[1.0, 2.0], [2.0, 3.0]])) == (1.0, True)


def test_a_clear_difference_is_seen() -> None:
    base = rng(6).normal(size=10)
    found = difference([(base + 1.0 + 0.1 * rng(8).normal(size=10), base)], rng(7), paired=True)
    assert found.value == pytest.approx(1.0, abs=0.1)
    assert found.p < 0.001
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
