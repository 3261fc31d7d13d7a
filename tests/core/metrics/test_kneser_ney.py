"""The language model against a plain definition with dictionaries, NLTK, and enumeration."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.lm import KneserNeyInterpolated
from nltk.util import everygrams
from scipy.linalg import hadamard

from core.metrics.kneser_ney import KneserNey, _discounts, token_nll_by_order
from core.metrics.lm import GROUPS, lm, reverse_lm, score_halves
from core.text.grammar import grammar

TEXT = st.lists(st.lists(st.sampled_from("abc"), max_size=6), min_size=1, max_size=8)
Gram = tuple[str, ...]


class Plain:
    """The docstring's formula, word by word."""

    def __init__(self, text: list[list[str]], order: int) -> None:
        self.order = order
        raw: list[Counter[Gram]] = [Counter() for _ in range(order + 2)]
        for sentence in text:
            line = ["<", *sentence, ">"]
            for n in range(1, order + 2):
                raw[n].update(tuple(line[i : i + n]) for i in range(len(line) - n + 1))
        self.adjusted: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
        for n in range(1, order + 1):
            if n == order:
                self.adjusted[n] = raw[n]
            else:
                self.adjusted[n] = Counter(gram[1:] for gram in raw[n + 1])
                self.adjusted[n].update({g: c for g, c in raw[n].items() if g[0] == "<"})
        self.adjusted[1][("<",)] = 0
        self.discounts = [
            (0.0, 0.0, 0.0),
            *(_discounts(np.array(list(self.adjusted[n].values()))) for n in range(1, order + 1)),
        ]
        self.vocabulary = {w for sentence in text for w in sentence} | {">", "?"}

    def p(self, word: str, context: Gram) -> float:
        n = len(context) + 1
        lower = self.p(word, context[1:]) if n > 1 else 1 / len(self.vocabulary)
        after = {g: c for g, c in self.adjusted[n].items() if g[:-1] == context and c > 0}
        total = sum(after.values())
        if not total:
            return lower

        def discount(c: int) -> float:
            return self.discounts[n][min(c, 3) - 1] if c else 0.0

        own = after.get((*context, word), 0)
        back = sum(discount(c) for c in after.values()) / total
        return (own - discount(own)) / total + back * lower

    def nll(self, sentence: list[str]) -> float:
        line = ["<", *sentence, ">"]
        return -sum(
            math.log(self.p(line[i], tuple(line[max(0, i - self.order + 1) : i])))
            for i in range(1, len(line))
        )


@settings(deadline=None, max_examples=60)
@given(TEXT, st.lists(st.lists(st.sampled_from("abcd"), max_size=6), max_size=4),
       st.integers(1, 4))  # fmt: skip
def test_scores_equal_the_plain_definition(
    text: list[list[str]], scored: list[list[str]], order: int
) -> None:
    nll, tokens = KneserNey(text, order).score(scored)
    plain = Plain(text, order)
    np.testing.assert_allclose(nll, [plain.nll(s) for s in scored], rtol=0, atol=1e-10)
    assert tokens.tolist() == [len(s) + 1 for s in scored]


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=6), min_size=32, max_size=50),
    st.lists(st.lists(st.sampled_from("abcde"), max_size=6), min_size=1, max_size=4),
)
def test_models_of_halves_equal_models_fitted_anew(
    text: list[list[str]], scored: list[list[str]]
) -> None:
    for row, found in zip(hadamard(GROUPS)[1:], score_halves(text, scored), strict=True):
        for sign, nll in zip((1, -1), found, strict=True):
            kept = [s for i, s in enumerate(text) if row[i % GROUPS] == sign]
            np.testing.assert_allclose(nll, KneserNey(kept).score(scored)[0], rtol=0, atol=1e-10)


def test_probabilities_sum_to_one() -> None:
    plain = Plain([list("abac"), list("abb"), list("ca"), []], 3)
    for context in ("", "<", "a", "b", "<a", "ab", "ca", "zz"):
        total = sum(plain.p(word, tuple(context)) for word in plain.vocabulary)
        assert total == pytest.approx(1, abs=1e-12), context


def test_inside_a_long_sentence_it_is_nltks() -> None:
    rng = np.random.default_rng(0)
    line = list(rng.choice(list("abcde"), size=400))
    discount = 0.1
    theirs = KneserNeyInterpolated(3, discount=discount)
    marked = ["<", *line, ">"]
    theirs.fit([everygrams(marked, max_len=3)], vocabulary_text=marked)
    fixed = [(0.0, 0.0, 0.0), (discount,) * 3, (discount,) * 3]
    plain = Plain([line], 3)
    plain.discounts = [(0.0, 0.0, 0.0), *fixed]
    for start in range(300):  # NLTK treats a gram that begins with the mark as any other
        a, b, w = line[start : start + 3]
        assert plain.p(w, (a, b)) == pytest.approx(theirs.score(w, [a, b]), abs=1e-12)
    # The line itself: every word of it was seen, so that no discount of unigrams is missed.
    nll = KneserNey([line], 3, fixed).score([line])[0]
    assert nll[0] == pytest.approx(plain.nll(line), abs=1e-9)


def test_what_it_draws_is_what_it_scores() -> None:
    text = [list("ab"), list("ab"), list("ac"), list("b"), ["c", "a"]] * 3
    model = KneserNey(text, 3)
    drawn = Counter(tuple(s) for s in model.sample(40_000, np.random.default_rng(0)))
    for sentence, count in drawn.most_common(6):
        p = math.exp(-float(model.score([list(sentence)])[0][0]))
        # The unknown word is never drawn, which leaves a little more for the others.
        assert count / 40_000 == pytest.approx(p, rel=0.12)
    again = model.sample(5, np.random.default_rng(3))
    assert again == model.sample(5, np.random.default_rng(3))
    assert len(model.sample(7, np.random.default_rng(0))) == 7


def test_the_scores_tell_real_from_wrong() -> None:
    g = grammar("easy")
    train, real = g.sample(2000, 1), g.sample(500, 2)
    shuffled = [s[::-1] for s in real]
    model = KneserNey(train)
    good, bad = lm(real, model, 2000), lm(shuffled, model, 2000)
    assert good.value is not None
    assert bad.value is not None
    assert good.value < bad.value
    low, high = good.interval() or (0, 0)
    assert low < good.value < high
    forward, backward = reverse_lm(g.sample(500, 3), real), reverse_lm(shuffled, real)
    assert forward.value is not None
    assert backward.value is not None
    assert forward.value < backward.value
    assert reverse_lm([], real).value is None


def test_models_of_lower_orders_share_the_counts_of_the_highest() -> None:
    train, scored = grammar("easy").sample(80, 1), grammar("easy").sample(20, 2)
    scored += [["unknown", *scored[0]], []]
    for order, nll in enumerate(token_nll_by_order(train, scored, 3), start=1):
        assert np.array_equal(nll, KneserNey(train, order).token_nll(scored)[0])
