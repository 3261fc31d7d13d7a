"""The built-in corpus and its oracle: the inside algorithm against enumeration."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from core.text.grammar import Difficulty, grammar
from core.text.pcfg import Grammar

# S -> A | B A, with "x" reached in two ways from A: ambiguous on purpose.
AMBIGUOUS = Grammar(
    "S",
    {
        "S": [(1.0, ("A",)), (2.0, ("B", "A")), (1.0, ("A", "B"))],
        "A": [(1.0, ("t",)), (1.0, ("B",)), (1.0, ("t", "u"))],
        "B": [(3.0, ("t",)), (1.0, ("u",))],
    },
    {"t": {"x": 1.0, "y": 3.0}, "u": {"z": 1.0}},
)


def enumerate_sentences(g: Grammar) -> dict[tuple[str, ...], float]:
    """Every derivation's probability, added up by sentence: the definition."""

    def expand(symbol: str) -> list[tuple[tuple[str, ...], float]]:
        if symbol in g.words:
            total = sum(g.words[symbol].values())
            return [((word,), weight / total) for word, weight in g.words[symbol].items()]
        total = sum(weight for weight, _ in g.rules[symbol])
        found = []
        for weight, right in g.rules[symbol]:
            for parts in itertools.product(*(expand(part) for part in right)):
                words = tuple(itertools.chain.from_iterable(words for words, _ in parts))
                found.append((words, weight / total * math.prod(p for _, p in parts)))
        return found

    mass: dict[tuple[str, ...], float] = defaultdict(float)
    for words, p in expand(g.start):
        mass[words] += p
    return mass


def derivations(g: Grammar) -> int:
    """How many derivations the templates have in all; as many as templates: unambiguous."""

    @functools.cache
    def count(symbol: str) -> int:
        if symbol in g.words:
            return 1
        return sum(math.prod(map(count, right)) for _, right in g.rules[symbol])

    return count(g.start)


def test_inside_equals_enumeration_even_when_ambiguous() -> None:
    mass = enumerate_sentences(AMBIGUOUS)
    assert sum(mass.values()) == pytest.approx(1.0, abs=1e-12)
    assert derivations(AMBIGUOUS) > len(AMBIGUOUS.template_probabilities)
    for words, p in mass.items():
        assert AMBIGUOUS.log_prob(words) == pytest.approx(math.log(p), abs=1e-12)
    for length in (1, 2, 3, 4):
        for words in itertools.product("xyzq", repeat=length):
            assert AMBIGUOUS.valid(words) == (words in mass)


def test_entropy_equals_enumeration_where_it_is_unambiguous() -> None:
    g = Grammar(
        "S",
        {"S": [(1.0, ("t",)), (2.0, ("t", "u")), (1.0, ("u", "S2"))], "S2": [(1.0, ("t", "t"))]},
        {"t": {"x": 1.0, "y": 3.0}, "u": {"z": 1.0, "w": 1.0}},
    )
    mass = enumerate_sentences(g)
    assert derivations(g) == len(g.template_probabilities)
    assert g.entropy == pytest.approx(-sum(p * math.log(p) for p in mass.values()), abs=1e-12)


@pytest.mark.parametrize("difficulty", ["easy", "default", "hard"])
def test_the_oracle_is_exact(difficulty: Difficulty) -> None:
    g = grammar(difficulty)
    assert derivations(g) == len(g.template_probabilities)
    assert sum(g.template_probabilities.values()) == pytest.approx(1.0, abs=1e-9)
    for template, p in itertools.islice(g.template_probabilities.items(), 200):
        assert g.log_template(template) == pytest.approx(math.log(p), abs=1e-9)
    logs = np.array([g.log_prob(sentence) for sentence in g.sample(4000, 1)])
    error = logs.std() / math.sqrt(len(logs))
    assert abs(-logs.mean() - g.entropy) < 4 * error


def test_sizes_are_what_they_should_be() -> None:
    easy, default, hard = (grammar(d) for d in ("easy", "default", "hard"))  # type: ignore[arg-type]

    def size(g: Grammar) -> int:
        return sum(len(words) for words in g.words.values())

    def longest(g: Grammar) -> int:
        return max(map(len, g.template_probabilities))

    assert size(default) >= 250
    assert default.entropy >= 22
    assert 12 <= longest(default) <= 16
    assert longest(easy) <= 11
    assert 15 <= easy.entropy <= 17
    assert size(easy) <= 110
    assert hard.entropy > default.entropy


def test_agreement_is_carried_across_a_clause() -> None:
    g = grammar("default")
    assert g.valid(["every", "friend", "who", "keeps", "all", "promises", "smiles", "quietly"])
    assert not g.valid(["every", "friend", "who", "keeps", "all", "promises", "smile", "quietly"])
    assert g.valid(["all", "friends", "who", "keep", "every", "promise", "smile", "quietly"])
    assert not g.valid(["all", "friends", "who", "keeps", "every", "promise", "smile", "quietly"])
    assert g.log_prob(["quietly"]) == -math.inf
    assert not g.valid([])


def test_the_same_seed_draws_the_same_sentences() -> None:
    assert grammar("easy").sample(50, 3) == grammar("easy").sample(50, 3)
    assert grammar("easy").sample(50, 3) != grammar("easy").sample(50, 4)
    assert " ".join(grammar("default").sample(1, 0)[0]) == (
        "every baker is lonely while the gardener admires the honest road"
    )


def test_a_trigram_model_stays_below_80_percent_valid() -> None:
    """Maximum-likelihood trigrams with sentence boundaries, no smoothing, 10,000 sentences."""
    g = grammar("default")
    follow: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for sentence in g.sample(10_000, 0):
        padded = ["<", "<", *sentence, ">"]
        for a, b, c in zip(padded, padded[1:], padded[2:], strict=False):
            follow[a, b][c] += 1
    rng = np.random.default_rng(1)
    valid = 0
    for _ in range(500):
        history, words = ("<", "<"), []
        while len(words) < 30:
            choices = follow[history]
            p = np.array(list(choices.values()), dtype=float)
            word = list(choices)[rng.choice(len(p), p=p / p.sum())]
            if word == ">":
                break
            words.append(word)
            history = (history[1], word)
        valid += g.valid(words)
    assert 0.02 < valid / 500 < 0.8
