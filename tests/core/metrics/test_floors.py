"""The n-gram floors, against counts by hand, and how a study shows them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from core.metrics.catalogue import FLOORS
from core.metrics.floors import MOST, Floor
from core.text.corpus import spaced
from core.text.grammar import grammar
from studies.leaderboard import ladder

TEXT = [["a", "b"], ["a", "b"], ["a", "c"], ["b"]]
VALUES = {"unigram": 0.3, "bigram": 0.6, "trigram": 0.7, "real": 0.9}


@pytest.mark.parametrize(
    ("name", "probabilities"),
    [
        # a: 3, b: 3, c: 1, end: 4, of 11.
        ("unigram", {"a b": 36 / 11**3, "": 4 / 11, "c c": 4 / 11**3}),
        # a begins 3 of 4 sentences; b follows it in 2 of 3; b and c always end.
        ("bigram", {"a b": 1 / 2, "a c": 1 / 4, "b": 1 / 4, "": 0, "a": 0}),
        ("trigram", {"a b": 1 / 2, "a c": 1 / 4, "b": 1 / 4, "c": 0, "x": 0}),
    ],
)
def test_probabilities_are_shares_of_the_counts(name: str, probabilities: dict[str, float]) -> None:
    floor = Floor(name, TEXT)
    sentences = [text.split() for text in probabilities]
    assert np.exp(-floor.nll(sentences)) == pytest.approx(list(probabilities.values()))
    drawn = Counter(" ".join(sentence) for sentence in floor.sample(20_000))
    for text, p in probabilities.items():
        assert drawn[text] / 20_000 == pytest.approx(p, abs=5 * (p * (1 - p) / 20_000) ** 0.5)


def test_a_trigram_model_knows_triples() -> None:
    """After a b comes c, and after x b comes y; pairs alone would mix them."""
    text = [["a", "b", "c"], ["x", "b", "y"]]
    assert {*map(tuple, Floor("trigram", text).sample(50))} == {*map(tuple, text)}
    assert ("a", "b", "y") in {*map(tuple, Floor("bigram", text).sample(50))}


def test_samples_are_the_same_every_time_and_have_the_length_asked_for() -> None:
    training = grammar("easy").sample(300, 0)
    for name in FLOORS:
        floor = Floor(name, training)
        assert floor.sample(20) == Floor(name, training).sample(20)
        assert [len(sentence) for sentence in floor.sample(20, length=7)] == [7] * 20
        pairs = {pair for sentence in training for pair in pairwise(sentence)}
        drawn = {pair for s in floor.sample(20) for pair in pairwise(s)}
        assert (drawn <= pairs) == (name != "unigram")


def test_a_long_training_text_is_thinned_evenly() -> None:
    assert list(spaced(3, MOST)) == [0, 1, 2]
    assert len({*spaced(3 * MOST, MOST)}) == MOST
    assert spaced(3 * MOST, MOST)[-1] == 3 * MOST - 3


@pytest.mark.parametrize(
    ("low", "high", "place"),
    [
        (0.1, 0.2, "below unigram"),
        (0.3, 0.5, "below unigram"),  # the interval is not wholly above the floor
        (0.31, 0.65, "unigram to bigram"),
        (0.61, 0.95, "bigram to trigram"),
        (0.71, 0.89, "above trigram"),
        (0.71, 0.9, "near real"),
        (0.95, 0.97, "near real"),
    ],
)
def test_ladder(low: float, high: float, place: str) -> None:
    assert ladder((low, high), VALUES, higher_is_better=True) == place
    mirrored = {name: -value for name, value in VALUES.items()}
    assert ladder((-high, -low), mirrored, higher_is_better=False) == place


def test_ladder_without_floors_or_real_text() -> None:
    assert ladder((0.1, 0.2), {"real": 0.9, "unigram": 0.3}, higher_is_better=True) is None
    assert ladder((0.8, 0.99), VALUES | {"real": None}, higher_is_better=True) == "above trigram"
