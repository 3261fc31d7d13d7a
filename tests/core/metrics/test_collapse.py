"""Collapsed samples are recognised, real text never is, and no metric prefers nonsense."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from core.metrics.catalogue import CATALOGUE
from core.metrics.diversity import bigrams, collapse
from core.metrics.suite import Suite
from core.text.grammar import grammar
from core.text.oracles import LstmOracle, lstm_oracle
from core.text.pcfg import Grammar

Sentences = list[list[str]]
EASY = grammar("easy")
REAL: Sentences = [list(s) for s in EASY.sample(600, 0)]
HELD_OUT: Sentences = [list(s) for s in EASY.sample(600, 1)]
DRAW = random.Random(0)
WORDS = sorted({word for sentence in REAL for word in sentence})
CHEAP = ("oracle", "unique", "copied", "novelty", "length", "distinct", "ngram_entropy", "bleu",
         "self_bleu", "ms_jaccard", "reverse_lm")  # fmt: skip


def of_lengths(make: Callable[[int], list[str]]) -> Sentences:
    """A sentence of each length from 1 to 150, four times: most differ only in their length."""
    return [make(1 + i % 150) for i in range(600)]


COLLAPSED = {
    "one sentence": [REAL[0]] * 600,
    "one word": of_lengths(lambda n: ["the"] * n),
    "a loop": of_lengths(lambda n: (["a", "dog", "and"] * n)[:n]),
    "a loop in each sentence": of_lengths(lambda n: DRAW.sample(WORDS, 2) * n),
    "one beginning": [["a", "dog", "sees", "a", "dog", *DRAW.choices(WORDS, k=2)] for _ in REAL],
    "no words": [[] for _ in REAL],
    "few words": [DRAW.choices(WORDS, k=8) if i % 3 == 0 else [] for i in range(600)],
}


@pytest.mark.parametrize("kind", COLLAPSED)
def test_a_collapsed_sample_is_recognised(kind: str) -> None:
    assert collapse(COLLAPSED[kind], bigrams(REAL))


def letters(text: Sentences) -> Sentences:
    return [list(" ".join(sentence)) for sentence in text]


def drawn(source: Grammar | LstmOracle, n: int) -> tuple[Sentences, Sentences]:
    return [list(s) for s in source.sample(n, 0)], [list(s) for s in source.sample(n, 1)]


RANDOM_WORDS = [DRAW.choices(WORDS, k=8) for _ in REAL]
TEXTS: dict[str, Callable[[], tuple[Sentences, Sentences]]] = {  # when they are needed
    "easy": lambda: (REAL, HELD_OUT),
    "few": lambda: (REAL, HELD_OUT[:20]),
    "default": lambda: drawn(grammar("default"), 400),
    "hard": lambda: drawn(grammar("hard"), 400),
    "letters": lambda: (letters(REAL), letters(HELD_OUT)),
    "oracle": lambda: drawn(lstm_oracle(20), 200),
    "random words": lambda: (REAL, RANDOM_WORDS),
}


@pytest.mark.parametrize("name", TEXTS)
def test_real_text_and_random_words_have_not_collapsed(name: str) -> None:
    real, text = TEXTS[name]()
    assert collapse(text, bigrams(real)) == ""


def test_no_metric_prefers_nonsense_to_real_text() -> None:
    """Of the metrics that say which way is better; others are read near the value of real text."""
    suite = Suite(REAL, HELD_OUT[150:], EASY)
    real = suite.measures(HELD_OUT[:150], CHEAP)
    nonsense = {kind: text[-150:] for kind, text in COLLAPSED.items() if kind != "one sentence"} | {
        "random words": RANDOM_WORDS[:150],
        "shuffled": [DRAW.sample(s, len(s)) for s in HELD_OUT[:150]],
        "two words": [[]] * 149 + [["a", "dog"]],
    }
    preferred = set()
    for kind, text in nonsense.items():
        found = suite.measures(text, CHEAP)
        for name, measure in found.items():
            sign = {"higher": 1, "lower": -1, "near": 0}[CATALOGUE[name].better]
            ours, theirs = measure.value, real[name].value
            if ours is not None and theirs is not None and sign * (ours - theirs) > 1e-9:
                preferred.add((kind, name))
    assert not preferred


def test_metrics_of_no_words_are_undefined_with_a_reason() -> None:
    found = Suite(REAL, HELD_OUT).measures(COLLAPSED["few words"], ("distinct", "self_bleu"))
    assert {measure.value for measure in found.values()} == {None}
    assert found["distinct_2"].reason == "400 of 600 sentences have no words"
