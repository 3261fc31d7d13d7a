"""Real text against itself: halves of the references that no order of the file can tell apart."""

from __future__ import annotations

from collections import Counter

import pytest

from core.metrics.files import Inputs, evaluate, halves
from core.metrics.two_sample import c2st
from core.text.grammar import grammar


def test_a_sorted_file_has_halves_that_no_classifier_tells_apart() -> None:
    drawn = grammar("default").sample(1200, 5)
    drawn.sort(key=lambda sentence: (len(sentence), sentence))
    by_place = c2st(drawn[600:], drawn[:600])["c2st_p"].value
    assert by_place is not None
    assert by_place < 1e-6
    found = evaluate(Inputs(drawn, drawn), ["c2st"])
    real = found.baselines["real"]
    assert real is not None
    assert real["c2st_p"] is not None
    assert real["c2st_p"] > 0.05
    assert any("by a hash of the sentence" in warning for warning in found.warnings)


@pytest.mark.parametrize("count", [2, 7, 100])
def test_halves_are_the_whole_and_forget_the_order(count: int) -> None:
    drawn = grammar("easy").sample(count, 1)
    first, second = halves(drawn)
    assert abs(len(first) - len(second)) <= 1
    assert Counter(map(tuple, first + second)) == Counter(map(tuple, drawn))
    assert halves(drawn[::-1]) == (first, second)


def test_copies_of_a_sentence_fall_in_both_halves() -> None:
    first, second = halves([["a", "b"]] * 400 + [["c"]] * 400)
    assert len(first) == len(second) == 400
    assert 150 < first.count(["c"]) < 250


def test_unequal_counts_of_samples_and_real_text_are_said() -> None:
    drawn = grammar("easy").sample(250, 1)

    def told(held_out: int, groups: list[str]) -> list[str]:
        inputs = Inputs(drawn[:100], drawn[150:], held_out=drawn[:held_out])
        return [w for w in evaluate(inputs, groups).warnings if "depend on the number" in w]

    (warning,) = told(150, ["length", "unique", "distinct"])
    assert "100 samples" in warning
    assert "unique, distinct depend on the number" in warning
    assert "use 100 of each" in warning
    assert not told(101, ["unique"])
    assert not told(150, ["length"])


def test_few_references_are_too_few_for_what_compares_with_them_alone() -> None:
    drawn = grammar("easy").sample(150, 1)
    found = evaluate(Inputs(drawn[:100], drawn[110:], held_out=drawn[:100]), ["unique", "bleu"])
    assert found.warnings == ["references: 40 is too few for bleu (needs 100)"]
