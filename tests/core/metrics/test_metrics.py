"""Metrics against independent definitions: NLTK for BLEU, plain counting for the rest."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from core.metrics.bleu import ORDERS, ReferenceIndex, bleu, self_bleu
from core.metrics.diversity import copied, unique
from core.metrics.ms_jaccard import ms_jaccard
from core.metrics.oracle import oracle
from core.metrics.suite import METRICS, Suite
from core.text.grammar import grammar

SMOOTH = SmoothingFunction().method1
SENTENCE = st.lists(st.sampled_from("abcde"), min_size=1, max_size=9)
TEXT = st.lists(SENTENCE, min_size=2, max_size=8)


def nltk(references: list[list[str]], hypothesis: list[str], n: int) -> float:
    if not hypothesis:
        return 0.0
    return float(sentence_bleu(references, hypothesis, [1 / n] * n, smoothing_function=SMOOTH))


@settings(deadline=None, max_examples=60)
@given(TEXT, st.lists(st.lists(st.sampled_from("abcdef"), max_size=12), min_size=1, max_size=6))
def test_bleu_equals_nltk(references: list[list[str]], hypotheses: list[list[str]]) -> None:
    ours = bleu(hypotheses, ReferenceIndex(references))
    for n in ORDERS:
        theirs = [nltk(references, h, n) for h in hypotheses]
        np.testing.assert_allclose(ours[n], theirs, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(TEXT)
def test_self_bleu_leaves_each_sentence_out(sentences: list[list[str]]) -> None:
    ours = self_bleu(sentences)
    for n in ORDERS:
        theirs = [nltk(sentences[:i] + sentences[i + 1 :], s, n) for i, s in enumerate(sentences)]
        np.testing.assert_allclose(ours[n], theirs, rtol=0, atol=1e-12)


def grams(text: list[list[str]], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(s[i : i + n]) for s in text for i in range(len(s) - n + 1))


@given(TEXT, TEXT)
def test_ms_jaccard_equals_plain_counting(a: list[list[str]], b: list[list[str]]) -> None:
    ours = ms_jaccard(a, b)
    parts = []
    for n in range(1, 6):
        x, y = grams(a, n), grams(b, n)
        keys = {*x, *y}
        low = sum(min(x[k] / len(a), y[k] / len(b)) for k in keys)
        high = sum(max(x[k] / len(a), y[k] / len(b)) for k in keys)
        parts.append(low / high if high else 0.0)
        if n >= 2:
            expected = math.prod(parts) ** (1 / n)
            assert ours[n] == pytest.approx(expected, abs=1e-12)


@given(TEXT)
def test_distinct_equals_plain_counting(text: list[list[str]]) -> None:
    values = Suite([["a"]]).evaluate(text)
    for n in (1, 2, 3, 4):
        found = grams(text, n)
        expected = len(found) / found.total() if found else None
        assert values[f"distinct_{n}"] == pytest.approx(expected)


def test_oracle_on_hand_made_samples() -> None:
    g = grammar("easy")
    good = g.sample(2000, 5)
    scores = oracle(good, g)
    assert scores.valid.all()
    assert scores.nll == pytest.approx(g.entropy, abs=0.4)
    assert scores.template_tv is not None
    assert scores.template_tv < 0.25
    broken = oracle([["quietly"]] * 3, g)
    assert (broken.valid.sum(), broken.nll) == (0, None)
    assert broken.template_tv == pytest.approx(1.0)
    same = oracle([good[0]] * 10, g)
    p = g.template_probabilities[g.template(good[0])]  # type: ignore[index]
    assert same.template_tv == pytest.approx(1 - p, abs=1e-9)


def test_shares() -> None:
    assert unique([["a"], ["a"], ["b"], ["c"]]) == 0.75
    assert copied([["a"], ["b"]], {("a",)}).tolist() == [True, False]


@pytest.mark.parametrize("samples", [[], [[]], [[], []], [["zzz"]], [["a"], []]])
def test_odd_samples_give_numbers_or_none(samples: list[list[str]]) -> None:
    values = Suite([["a", "b"], ["c"]], [["a"]], grammar("easy")).evaluate(samples)
    assert set(values) == set(METRICS)
    assert all(value is None or math.isfinite(value) for value in values.values())
