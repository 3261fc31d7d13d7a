"""Metrics against independent definitions: NLTK for BLEU, plain counting for the rest."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from scipy import stats

from core.metrics.bleu import ReferenceIndex, bleu, self_bleu
from core.metrics.catalogue import BLEU_ORDERS, CATALOGUE, METRICS, TEXT_GROUPS
from core.metrics.diversity import CopyIndex, copied, levels, lost_without, ngram_entropy, unique
from core.metrics.intervals import share
from core.metrics.ms_jaccard import ms_jaccard
from core.metrics.oracle import oracle
from core.metrics.suite import Suite
from core.text.grammar import grammar

SMOOTH = SmoothingFunction().method1
SENTENCE = st.lists(st.sampled_from("abcde"), min_size=1, max_size=9)
TEXT = st.lists(SENTENCE, min_size=2, max_size=8)


def nltk(references: list[list[str]], hypothesis: list[str], n: int) -> float:
    if not hypothesis:
        return 0.0
    return float(sentence_bleu(references, hypothesis, [1 / n] * n, smoothing_function=SMOOTH))


@pytest.mark.parametrize("n", [1, 2, 9, 250])
def test_the_interval_of_a_share_is_wilsons(n: int) -> None:
    for k in range(n + 1):
        theirs = stats.binomtest(k, n).proportion_ci(0.95, "wilson")
        assert share(np.arange(n) < k)() == (theirs.low, theirs.high)


@settings(deadline=None, max_examples=60)
@given(TEXT, st.lists(st.lists(st.sampled_from("abcdef"), max_size=12), min_size=1, max_size=6))
def test_bleu_equals_nltk(references: list[list[str]], hypotheses: list[list[str]]) -> None:
    ours = bleu(hypotheses, ReferenceIndex(references))
    for n in BLEU_ORDERS:
        theirs = [nltk(references, h, n) for h in hypotheses]
        np.testing.assert_allclose(ours[n], theirs, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(TEXT)
def test_self_bleu_leaves_each_sentence_out(sentences: list[list[str]]) -> None:
    ours = self_bleu(sentences).scores
    for n in BLEU_ORDERS:
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
            assert ours is not None
            assert ours.value(n) == pytest.approx(expected, abs=1e-12)


@given(TEXT)
def test_distinct_equals_plain_counting(text: list[list[str]]) -> None:
    values = Suite([["a"]]).evaluate(text)
    for n in (1, 2, 3, 4):
        found = grams(text, n)
        silent = 2 * text.count([]) > len(text)
        expected = len(found) / found.total() if found and not silent else None
        assert values[f"distinct_{n}"] == pytest.approx(expected)


@settings(deadline=None)
@given(TEXT)
@example([["a", "a", "b"], ["a", "c", "d"]])
def test_the_n_grams_lost_without_a_sentence_are_counted_without_it(text: list[list[str]]) -> None:
    for n, counts in enumerate(levels(text), start=1):
        without = [grams(text[:i] + text[i + 1 :], n) for i in range(len(text))]
        expected = [len(grams(text, n)) - len(rest) for rest in without]
        assert lost_without(counts, len(text)).tolist() == expected


@given(TEXT)
def test_entropy_equals_scipy(text: list[list[str]]) -> None:
    for n, counts in enumerate(levels(text), start=1):
        found = grams(text, n)
        measure = ngram_entropy(counts, len(text))
        if not found:
            assert measure.value is None
        else:
            assert measure.value == pytest.approx(stats.entropy(list(found.values())), abs=1e-9)


def test_oracle_on_hand_made_samples() -> None:
    g = grammar("easy")
    good = g.sample(2000, 5)
    scores = {name: measure.value for name, measure in oracle(good, g).items()}
    assert scores["valid"] == 1
    assert scores["oracle_nll"] == pytest.approx(g.entropy, abs=0.4)
    assert scores["template_tv"] is not None
    assert scores["template_tv"] < 0.25
    mass = sum(math.exp(g.log_prob(list(s))) for s in {tuple(s) for s in good})
    assert scores["mass_covered"] == pytest.approx(mass)
    broken = oracle([["quietly"]] * 3, g)
    assert broken["valid"].value == 0
    assert "oracle_nll" not in broken
    assert broken["template_tv"].value == pytest.approx(1.0)
    same = oracle([good[0]] * 10, g)
    p = g.template_probabilities[g.template(good[0])]  # type: ignore[index]
    assert same["template_tv"].value == pytest.approx(1 - p, abs=1e-9)


def test_shares() -> None:
    assert unique([["a"], ["a"], ["b"], ["c"]]).value == 0.75
    assert copied([["a"], ["b"]], {("a",)}).tolist() == [True, False]


@given(TEXT, TEXT)
def test_longest_copy_equals_the_search_of_every_run(
    samples: list[list[str]], training: list[list[str]]
) -> None:
    known = {tuple(s[i:j]) for s in training for i in range(len(s)) for j in range(len(s) + 1)}
    expected = [
        max(j - i for i in range(len(s)) for j in range(i, len(s) + 1) if tuple(s[i:j]) in known
            or i == j)
        for s in samples
    ]  # fmt: skip
    assert CopyIndex(training).longest(samples).tolist() == expected


def test_a_longer_copy_is_found_and_shorter_ones_after_it() -> None:
    index = CopyIndex([list("ab" * 15)])
    assert index.longest([list("ab" * 20)]).tolist() == [30]
    assert index.longest([list("aba"), list("c"), []]).tolist() == [3, 0, 0]


def test_every_metric_of_the_catalogue_is_measured() -> None:
    g = grammar("easy")
    found = Suite(g.sample(100, 1), g.sample(100, 2), g).measures(g.sample(100, 3))
    assert set(found) == {name for name, info in CATALOGUE.items() if info.group in TEXT_GROUPS}
    for name, measure in found.items():
        assert measure.value is not None, name
        bounds = measure.interval()
        if bounds is not None:
            assert bounds[0] <= measure.value + 1e-12, name
            assert measure.value - 1e-12 <= bounds[1], name


@pytest.mark.parametrize("samples", [[], [[]], [[], []], [["zzz"]], [["a"], []]])
def test_odd_samples_give_numbers_or_none(samples: list[list[str]]) -> None:
    values = Suite([["a", "b"], ["c"]], [["a"]], grammar("easy")).evaluate(samples)
    assert set(values) == set(METRICS)
    assert all(value is None or math.isfinite(value) for value in values.values())
    everything = Suite([["a", "b"], ["c"]], [["a"]], grammar("easy")).measures(samples)
    assert all(m.value is None or math.isfinite(m.value) for m in everything.values())
