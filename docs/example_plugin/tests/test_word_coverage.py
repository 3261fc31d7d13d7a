"""What only this metric promises. The conformance rules check the rest."""

from __future__ import annotations

from textgan_word_coverage import WORD_COVERAGE, word_coverage

from core.metrics.conformance import check


def test_it_keeps_the_rules() -> None:
    check("word_coverage", WORD_COVERAGE)


def test_words_count_once_and_unknown_ones_not_at_all() -> None:
    assert word_coverage([["a", "a", "x"], []], [["a", "b"], ["b", "c", "d"]]) == 0.25
    assert word_coverage([["a"]], [[]]) is None
