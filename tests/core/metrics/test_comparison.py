"""Differences of samples against the same references: what is paired, refused, and how wide."""

from __future__ import annotations

import numpy as np
import pytest

from core.metrics.comparison import compare
from core.metrics.encoders import BagOfWords
from core.metrics.files import Inputs, evaluate
from core.metrics.intervals import difference, jackknife, jackknife_covariance
from core.metrics.suite import Suite
from core.text.grammar import grammar

G = grammar("easy")
TRAIN, REFERENCES = G.sample(300, 1), G.sample(60, 2)
REAL, OTHER = G.sample(60, 3), [s[::-1] for s in G.sample(60, 4)]
PAIRED = {"fed", "mmd", "c2st", "reverse_lm"}


def test_symmetric_intervals_combine_as_variances_do() -> None:
    t, rng = 1.959964, np.random.default_rng(0)
    a, b = rng.normal(size=(2, 500)) + rng.normal(size=500)
    covariance = jackknife_covariance(a / 499, b / 499)
    assert covariance == pytest.approx(np.cov(a, b)[0, 1] / 500)
    sides = [(x.mean(), *(x.mean() + np.array([-t, t]) * jackknife(x / 499) ** 0.5))
             for x in (a, b)]  # fmt: skip
    found = difference(sides[0], sides[1], covariance)
    half = t * float(np.std(b - a, ddof=1)) / 500**0.5
    assert found == pytest.approx(((b - a).mean() - half, (b - a).mean() + half), abs=1e-6)
    low, high = difference((0.0, 0.0, 3.0), (1.0, 0.0, 5.0), 0.0)  # lopsided ones stay so
    assert (low, high) == pytest.approx((1 - 10**0.5, 1 + 4.0))


@pytest.mark.parametrize("name", sorted(PAIRED))
def test_changes_by_a_reference_are_those_of_leaving_it_out(name: str) -> None:
    """To first order: the classifier of C2ST is not fitted anew, nor MMD's partners renumbered."""
    encoder = BagOfWords(TRAIN, 4)

    def value(references: list[list[str]]) -> float:
        found = Suite(references, TRAIN, encoder=encoder).measures(OTHER, [name])[name].value
        assert found is not None
        return found

    found = Suite(REFERENCES, TRAIN, encoder=encoder).measures(OTHER, [name])[name].by_reference()
    assert found is not None
    assert found.shape == (60,)
    if name == "reverse_lm":
        left_out = [value(REFERENCES[:i] + REFERENCES[i + 1 :]) for i in range(60)]
        assert np.corrcoef(found, value(REFERENCES) - np.array(left_out))[0, 1] > 0.99
    if name == "mmd":
        # Another reference in the place of one changes the value by the difference of both.
        swapped = [[*REFERENCES[:i], REFERENCES[-1], *REFERENCES[i + 1 :]] for i in range(59)]
        changes = np.array([value(each) for each in swapped]) - value(REFERENCES)
        assert np.corrcoef(changes, found[-1] - found[:-1])[0, 1] > 0.95
    if name == "c2st":
        assert np.count_nonzero(found) == 30  # the references that are held out


def test_two_files_are_scored_as_each_alone_and_subtracted() -> None:
    inputs = Inputs([], REFERENCES, train=TRAIN, oracle=G)
    found = compare(inputs, {"a": REAL, "b": OTHER, "c": REAL[:30]})
    for name, text in (("a", REAL), ("b", OTHER)):
        alone = evaluate(Inputs(text, REFERENCES, train=TRAIN, oracle=G))
        assert found.files[name].metrics == alone.metrics
    assert found.files["a"].baselines["real"] is not None
    assert found.files["b"].baselines["real"] is None
    for metric, row in found.differences["b"].items():
        first, second = (found.files[name].metrics[metric] for name in "ab")
        assert row.reason is None
        if first.value is not None and second.value is not None:
            assert row.value == second.value - first.value
            assert row.low is None or (row.high is not None and row.low <= row.value <= row.high)
        assert row.paired == (metric in PAIRED and row.low is not None)
    assert found.differences["b"]["valid"].value == -1
    fewer = found.differences["c"]
    assert fewer["distinct_2"].reason == "different n (60, 30)"
    assert fewer["distinct_2"].value is None
    assert fewer["length"].value is not None
    assert set(fewer) == set(found.files["a"].metrics)


def test_values_of_encoders_fitted_on_each_sample_are_not_subtracted() -> None:
    found = compare(Inputs([], REFERENCES), {"a": REAL, "b": OTHER}, ["fed", "mmd", "length"])
    assert found.differences["b"]["mmd"].reason is not None
    assert found.differences["b"]["mmd"].reason.startswith("different enc (")
    assert found.differences["b"]["length"].value is not None
