"""Statistics against scipy and by hand; `benchmarks/inference.py` simulates coverage and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from core.statistics import (
    Difference,
    Rows,
    detectable_difference,
    difference,
    failure_rate,
    holm,
    inverse_trigamma,
    means,
    moderated,
    overall_score,
    power,
    seed_correlation,
    summarize,
    survivors_score,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def alive(scores: np.ndarray) -> Rows:
    """Rows of which no run failed."""
    return summarize(scores, np.zeros(scores.shape, dtype=bool))


def row(values: list[float], failed: list[float] = []) -> Rows:  # noqa: B006 - not changed
    """One row."""
    scores = np.array([[*values, *failed]])
    return summarize(scores, np.array([[False] * len(values) + [True] * len(failed)]))


def test_one_group_has_students_interval() -> None:
    values = rng().normal(size=6)
    (found,) = means([values])
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert found.ends == pytest.approx((expected.low, expected.high))
    assert found.value == pytest.approx(values.mean())
    (single,) = means([[2.0]])
    assert single.value == 2
    assert math.isnan(single.low)


def test_a_variance_is_shrunken_as_smyth_says() -> None:
    """Of many rows, whose prior is known well: by the formula."""
    x = np.array([1e-3, 0.1, 1.0, 30.0])
    assert special.polygamma(1, inverse_trigamma(x)) == pytest.approx(x, rel=1e-9)
    draws = rng(1)
    prior, freedom, rows = 8.0, 4.0, 20_000
    true = prior / draws.chisquare(prior, rows)
    squares = true * draws.chisquare(freedom, rows)
    variance, total = moderated(squares, np.full(rows, freedom))
    assert total == pytest.approx(np.full(rows, prior + freedom), rel=0.1)
    logs = np.log(squares / freedom) - special.digamma(freedom / 2) + np.log(freedom / 2)
    scale = (squares.sum() / (freedom * rows) + np.exp(logs.mean())) / 2
    assert variance == pytest.approx((prior * scale + squares) / (prior + freedom), rel=0.1)


def test_rows_of_one_variance_share_it_and_others_keep_theirs() -> None:
    draws = rng(2)
    equal = alive(draws.normal(size=(400, 3)))
    assert equal.freedom.min() > 8
    unequal = alive(draws.normal(size=(400, 3)) * np.geomspace(1e-3, 1e3, 400)[:, None])
    assert unequal.freedom.max() < 2.5
    few = alive(draws.normal(size=(2, 3)))
    assert few.freedom.max() <= 3, "three quarters of what all have"
    same = alive(np.full((3, 4), 0.5))
    assert np.stack(survivors_score(same)) == pytest.approx(np.full((3, 3), 0.5))


def test_the_failure_rate_has_jeffreys_interval() -> None:
    found = failure_rate(row([1.0, 2.0], [0.0]))
    expected = stats.beta(1.5, 2.5).ppf([0.025, 0.975])
    assert np.ravel(found) == pytest.approx([1 / 3, *expected])
    assert failure_rate(row([1.0]))[1] == 0
    assert failure_rate(row([], [1.0]))[2] == 1


def test_the_overall_score_allows_for_failures_that_were_not_seen() -> None:
    none = row([0.6, 0.62, 0.64])
    value, low, high = np.ravel(overall_score(none, 0.0))
    reach = stats.t(2).ppf(1 - 0.0125) * 0.02 / 3**0.5  # of an interval of 97.5%
    highest = stats.beta(0.5, 3.5).ppf(0.975)
    assert (value, low, high) == pytest.approx((0.62, (1 - highest) * (0.62 - reach), 0.62 + reach))
    found = np.ravel(overall_score(none, None))
    assert found == pytest.approx(np.ravel(survivors_score(none))), "one interval of 95%"
    one = row([0.6, 0.62, 0.64, 0.58], [0.1])
    value, low, high = np.ravel(overall_score(one, 0.0))
    assert value == pytest.approx(np.mean([0.6, 0.62, 0.64, 0.58, 0.1]))
    assert low < 0.4 < value < high < 0.66


@pytest.mark.parametrize(
    ("values", "failed"), [([0.5], []), ([0.5], [0.1]), ([], [0.1, 0.2]), ([], [0.1, 0.2, 0.1])]
)
def test_what_cannot_be_covered_has_no_interval(values: list[float], failed: list[float]) -> None:
    value, low, high = np.ravel(overall_score(row(values, failed), 0.0))
    assert value == pytest.approx(np.mean([*values, *failed]))
    assert np.isnan([low, high]).all()
    assert np.isnan(np.ravel(survivors_score(row(values, failed)))[1:]).all()


def test_a_row_does_not_depend_on_other_rows_but_for_its_variance() -> None:
    first = rng(3).normal(0.5, 0.1, size=(1, 4))
    both = alive(np.vstack([first, rng(4).normal(5.0, 0.1, size=(1, 4))]))
    assert (both.mean[0], both.score[0]) == (alive(first).mean[0], alive(first).score[0])
    assert both.moderated[0] != alive(first).moderated[0]
    assert both.own[0] == alive(first).own[0]


def test_interval_and_p_of_a_contrast_are_one_computation() -> None:
    draws = rng(5)
    for _ in range(50):
        rows = alive(draws.normal(size=(4, 3)))
        found = difference(rows, {0: 1.0, 1: -0.5, 2: -0.5}, 3)
        assert (found.p <= 0.05) == (not found.low <= 0 <= found.high)
    far = difference(alive(np.array([[0.1, 0.11, 0.12], [5.0, 5.01, 5.02]])), {0: 1.0, 1: -1.0}, 3)
    assert far.p < 1e-6, "p has no lower limit"
    same = difference(alive(np.full((2, 3), 0.1 + 0.2)), {0: 1.0, 1: -1.0}, 3)
    assert (same.value, same.p, same.low, same.high) == (0, 1, 0, 0)


def test_a_contrast_of_two_rows_is_welchs_test() -> None:
    scores = rng(6).normal(size=(2, 5)) * np.array([[1.0], [3.0]])
    found = difference(alive(scores), {0: 1.0, 1: -1.0}, 5)
    welch = stats.ttest_ind(*scores, equal_var=False)
    expected = welch.confidence_interval()
    assert found.value == pytest.approx(scores[0].mean() - scores[1].mean())
    assert (found.p, *found.ends) == pytest.approx((welch.pvalue, expected.low, expected.high))


def test_failures_widen_a_contrast_and_equal_ends_are_not_certainty() -> None:
    scores = np.array([[0.6, 0.61, 0.62], [0.1, 0.1, 0.1], [0.59, 0.6, 0.61]])
    failed = np.array([[False] * 3, [True] * 3, [False] * 3])
    rows = summarize(scores, failed)
    failing, well = (difference(rows, {0: 1.0, place: -1.0}, 3) for place in (1, 2))
    assert failing.value == pytest.approx(0.51)
    assert failing.high - failing.low > 5 * (well.high - well.low)
    nothing = difference(summarize(scores[1:2].repeat(2, 0), failed[1:2].repeat(2, 0)),
                         {0: 1.0, 1: -1.0}, 3)  # fmt: skip
    assert (nothing.p, math.isnan(nothing.low)) == (1, True)
    single = difference(alive(np.array([[0.5, np.nan], [0.4, 0.41]])), {0: 1.0, 1: -1.0}, 1)
    assert (single.value, single.p) == (pytest.approx(0.095), 1)
    assert math.isnan(single.low)


def test_pairing_removes_what_a_seed_does_to_every_row() -> None:
    draws = rng(7)
    noise, seed = 0.1 * draws.normal(size=(2, 6)), draws.normal(size=6)
    failed = np.zeros((2, 6), dtype=bool)
    found = difference(summarize(noise + seed, failed, paired=True), {0: 1.0, 1: -1.0}, 6)
    plain = stats.ttest_rel(*(noise + seed))
    assert found.value == pytest.approx(noise[0].mean() - noise[1].mean())
    assert found.p == pytest.approx(plain.pvalue), "of two rows: the paired t-test"
    apart = difference(summarize(noise + seed, failed), {0: 1.0, 1: -1.0}, 6)
    assert apart.high - apart.low > 3 * (found.high - found.low)


def test_equivalence_is_the_larger_of_two_one_sided_tests() -> None:
    found = Difference.student(0.01, 0.004, 8, 5, paired=False)
    sides = stats.t(8).cdf((0.01 - 0.02) / 0.004), stats.t(8).sf((0.01 + 0.02) / 0.004)
    assert found.equivalent(0.02) == pytest.approx(max(sides))
    other = Difference.student(-0.01, 0.004, 8, 5, paired=False)
    assert other.equivalent(0.02) == pytest.approx(max(sides))
    assert Difference.student(0.0, math.nan, 8, 1, paired=False).equivalent(1.0) == 1


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


def test_the_correlation_is_the_one_between_variants() -> None:
    draws = rng(12)
    scores = draws.normal(size=(3, 4000)) + 2 * draws.normal(size=4000)
    correlation, paired = seed_correlation(scores)
    assert correlation == pytest.approx(np.corrcoef(scores)[0, 1], abs=0.01)
    assert paired
    assert not seed_correlation(scores[:2])[1], "two variants would be paired by luck"
    assert seed_correlation(np.ones((3, 1))) == (0.0, False)
    assert seed_correlation(np.array([[1.0, 2.0], [2.0, 3.0], [5.0, 6.0]])) == (1.0, True)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
