"""Distances from the grammar that do not depend on the sample's size, against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from core.metrics.intervals import Measure
from core.metrics.oracle import _ratio, oracle
from core.text.pcfg import Grammar
from tests.core.text.test_grammar import AMBIGUOUS, enumerate_sentences

TEMPLATES = AMBIGUOUS.template_probabilities


def value(name: str, sentences: list[list[str]]) -> float:
    found = oracle(sentences, AMBIGUOUS)[name].value
    assert found is not None
    return found


def test_template_l2_is_unbiased() -> None:
    """Over all samples of three sentences, each with its probability; the last is invalid."""
    sentences = [["x"], ["y"], ["z", "x"], ["q"]]
    shares = (0.4, 0.3, 0.2, 0.1)
    expected = sum(
        math.prod(shares[i] for i in chosen) * value("template_l2", [sentences[i] for i in chosen])
        for chosen in itertools.product(range(4), repeat=3)
    )
    drawn = {("t",): 0.7, ("u", "t"): 0.2}
    distance = sum((drawn.get(t, 0) - p) ** 2 for t, p in TEMPLATES.items()) + 0.1**2
    assert expected == pytest.approx(distance, abs=1e-12)


def test_template_l2_by_hand() -> None:
    """Of two sentences of one template with p: 1 - 2 p + sum of squares; of two others 0 - ..."""
    p, q, whole = TEMPLATES["t",], TEMPLATES["u", "t"], sum(p**2 for p in TEMPLATES.values())
    assert value("template_l2", [["x"], ["y"]]) == pytest.approx(1 - 2 * p + whole)
    assert value("template_l2", [["x"], ["z", "y"]]) == pytest.approx(whole - p - q)
    assert value("template_l2", [["q"], ["q", "q"]]) == pytest.approx(1 + whole)
    alone = oracle([["x"]], AMBIGUOUS)["template_l2"]
    assert (alone.value, alone.reason) == (None, "needs two sentences")


@pytest.mark.parametrize("count", [1, 5, 60])
def test_the_expected_mass_equals_enumeration(count: int) -> None:
    exact = sum(p * (1 - (1 - p) ** count) for p in enumerate_sentences(AMBIGUOUS).values())
    assert AMBIGUOUS.expected_mass(count) == pytest.approx(exact, rel=0.01)
    sure = Grammar("S", {"S": [(1.0, ("t",))]}, {"t": {"x": 1.0}})
    assert sure.expected_mass(count) == pytest.approx(1)


def test_the_mass_covered_ratio_is_one_for_the_grammar_whatever_the_size() -> None:
    for count, repeats in ((30, 30), (500, 4)):
        found = [value("mass_covered_ratio", AMBIGUOUS.sample(count, k)) for k in range(repeats)]
        assert np.mean(found) == pytest.approx(1, abs=0.05)
    few = _ratio(Measure(0.2, 9, 0, lambda: (0.1, 0.3)), 0.5)
    assert (few.value, few.interval()) == (0.4, (0.2, 0.6))
    assert _ratio(Measure(0.2, 9, 0), 0.5).interval() is None
