r"""Probabilistic context-free grammars with an exact oracle.

A grammar rewrites symbols until only *tags* are left. Then each tag draws one word; every word
belongs to one tag. The probability of a sentence is the sum over its derivations,

    P(w) = sum_derivations prod P(rule)  =  inside(S, tags) * prod_t P(w_t | tag_t),

by the inside algorithm (Baker 1979), over spans of the tag sequence, the *template*. Languages
here are finite (no symbol reaches itself), so templates can be enumerated, which gives exact
template probabilities and, where each template has one derivation, the exact entropy

    H(A) = sum_rules p (-log p + sum_children H(child)).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from functools import cache, cached_property, lru_cache
from itertools import chain, product
from typing import Any

import numpy as np

Rule = tuple[float, tuple[str, ...]]
Template = tuple[str, ...]
CACHED_TEMPLATES = 65_536
DRAWN = 4_000  # sentences of `expected_mass`
ALMOST_ONE = 1 - 1e-12


@dataclass(frozen=True)
class Grammar:
    """Rules and words; `rules[symbol]` are alternatives, `words[tag]` weighted words.

    Weights need not sum to one. Symbols with neither rules nor words are an error.
    """

    start: str
    rules: Mapping[str, Sequence[Rule]]
    words: Mapping[str, Mapping[str, float]]
    name: str = "grammar"

    def __post_init__(self) -> None:
        used = {
            s for alternatives in self.rules.values() for _, right in alternatives for s in right
        }
        unknown = used - set(self.rules) - set(self.words)
        if unknown:
            raise ValueError(f"symbols without rules or words: {sorted(unknown)}")
        if sum(len(words) for words in self.words.values()) != len(self._tags):
            raise ValueError("a word must belong to one tag only")

    def __getstate__(self) -> dict[str, Any]:
        """Rules and words, without what was computed from them: functions cannot be pickled."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def _tags(self) -> dict[str, str]:
        return {word: tag for tag, words in self.words.items() for word in words}

    @cached_property
    def _log_word(self) -> dict[str, float]:
        return {
            word: math.log(weight / sum(words.values()))
            for words in self.words.values()
            for word, weight in words.items()
        }

    @cached_property
    def _alternatives(self) -> dict[str, list[Rule]]:
        return {
            symbol: [(weight / sum(w for w, _ in rules), right) for weight, right in rules]
            for symbol, rules in self.rules.items()
        }

    @cached_property
    def _spans(self) -> dict[str, tuple[int, int]]:
        """Shortest and longest length that each symbol can take; bounds the inside sums."""
        spans: dict[str, tuple[int, int]] = dict.fromkeys(self.words, (1, 1))

        def span(symbol: str) -> tuple[int, int]:
            if symbol not in spans:
                ends = [[span(s) for s in right] for _, right in self._alternatives[symbol]]
                spans[symbol] = (
                    min(sum(low for low, _ in right) for right in ends),
                    max(sum(high for _, high in right) for right in ends),
                )
            return spans[symbol]

        span(self.start)
        return spans

    def sample(self, count: int, seed: int) -> list[list[str]]:
        """`count` sentences, the same for the same seed in any process."""
        rng = np.random.Generator(np.random.PCG64(seed))
        symbols = {
            symbol: (_cumulative([p for p, _ in rules]), [right for _, right in rules])
            for symbol, rules in self._alternatives.items()
        }
        words = {
            tag: (_cumulative(list(weights.values())), list(weights))
            for tag, weights in self.words.items()
        }

        def expand(symbol: str) -> Iterator[str]:
            if symbol in words:
                shares, choices = words[symbol]
                yield choices[bisect_right(shares, rng.random())]
                return
            shares, rights = symbols[symbol]
            for part in rights[bisect_right(shares, rng.random())]:
                yield from expand(part)

        return [list(expand(self.start)) for _ in range(count)]

    def template(self, sentence: Sequence[str]) -> Template | None:
        """The tag sequence of a sentence of the language; None for any other."""
        tags = tuple(self._tags.get(word, "") for word in sentence)
        return tags if self.log_template(tags) > -math.inf else None

    def valid(self, sentence: Sequence[str]) -> bool:
        """Whether the grammar can make this sentence."""
        return self.template(sentence) is not None

    def log_prob(self, sentence: Sequence[str]) -> float:
        """Log P(sentence) in nats, -inf outside the language."""
        template = self.template(sentence)
        if template is None:
            return -math.inf
        return self.log_template(template) + sum(self._log_word[word] for word in sentence)

    @cached_property
    def log_template(self) -> Callable[[Template], float]:
        """Log inside(S, template): the log-probability of a tag sequence in nats."""
        return lru_cache(maxsize=CACHED_TEMPLATES)(self._inside)

    def _inside(self, template: Template) -> float:
        spans, alternatives = self._spans, self._alternatives
        low, high = spans[self.start]
        if not low <= len(template) <= high or "" in template:
            return -math.inf

        @cache
        def symbol_over(symbol: str, i: int, j: int) -> float:
            if symbol not in alternatives:
                return float(j == i + 1 and template[i] == symbol)
            return sum(p * right_over(right, i, j) for p, right in alternatives[symbol])

        @cache
        def right_over(right: tuple[str, ...], i: int, j: int) -> float:
            low, high = spans[right[0]]
            if len(right) == 1:
                return symbol_over(right[0], i, j) if low <= j - i <= high else 0.0
            total = 0.0
            for middle in range(i + low, min(i + high, j - len(right) + 1) + 1):
                head = symbol_over(right[0], i, middle)
                if head > 0.0:
                    total += head * right_over(right[1:], middle, j)
            return total

        probability = symbol_over(self.start, 0, len(template))
        return math.log(probability) if probability > 0.0 else -math.inf

    @cached_property
    def entropy(self) -> float:
        """Entropy of a derivation in nats: of a sentence, where each has one derivation."""
        known: dict[str, float] = {}
        for tag, words in self.words.items():
            p = np.array(list(words.values())) / sum(words.values())
            known[tag] = float(-(p * np.log(p)).sum())

        def entropy_of(symbol: str) -> float:
            if symbol not in known:
                known[symbol] = sum(
                    p * (-math.log(p) + sum(entropy_of(part) for part in right))
                    for p, right in self._alternatives[symbol]
                )
            return known[symbol]

        return entropy_of(self.start)

    @cached_property
    def template_probabilities(self) -> dict[Template, float]:
        """Every template of the language and its probability; they sum to one."""
        known: dict[str, dict[Template, float]] = {tag: {(tag,): 1.0} for tag in self.words}

        def templates_of(symbol: str) -> dict[Template, float]:
            if symbol not in known:
                total: dict[Template, float] = {}
                for p, right in self._alternatives[symbol]:
                    for parts in product(*(templates_of(part).items() for part in right)):
                        template = tuple(chain.from_iterable(tags for tags, _ in parts))
                        q = math.prod(share for _, share in parts)
                        total[template] = total.get(template, 0.0) + p * q
                known[symbol] = total
            return known[symbol]

        return templates_of(self.start)

    def expected_mass(self, count: int) -> float:
        """Expected probability of the set of `count` sentences of the grammar: that of
        1 - (1 - P(w))^count over w drawn from it. A mean over DRAWN sentences, with P(w), whose
        expectation is known exactly, as control variate: the standard error is below .3% for 1,000
        sentences of the easy grammar, and about 1% for 10,000.
        """
        p = self._drawn_probabilities
        found = -np.expm1(count * np.log1p(-np.minimum(p, ALMOST_ONE)))
        spread = float(p.var())
        slope = float(((found - found.mean()) * (p - p.mean())).mean()) / spread if spread else 0.0
        return float(found.mean()) + slope * (self._mean_probability - float(p.mean()))

    @cached_property
    def _drawn_probabilities(self) -> np.ndarray:
        return np.exp([self.log_prob(sentence) for sentence in self.sample(DRAWN, DRAWN)])

    @cached_property
    def _mean_probability(self) -> float:
        """Sum of P(w)^2 over all sentences w."""
        words = {
            tag: sum((weight / sum(weights.values())) ** 2 for weight in weights.values())
            for tag, weights in self.words.items()
        }
        return sum(
            p**2 * math.prod(words[tag] for tag in template)
            for template, p in self.template_probabilities.items()
        )

    def mass(self, words: Set[str] | None, shortest: int, longest: int) -> float:
        """Probability that a sentence has `shortest` to `longest` words, all of them in `words`."""
        share = {
            tag: sum(w for word, w in weights.items() if words is None or word in words)
            / sum(weights.values())
            for tag, weights in self.words.items()
        }
        return sum(
            p * math.prod(share[tag] for tag in template)
            for template, p in self.template_probabilities.items()
            if shortest <= len(template) <= longest
        )


def _cumulative(weights: Sequence[float]) -> list[float]:
    shares: list[float] = (np.cumsum(weights) / np.sum(weights)).tolist()
    return [*shares[:-1], 1.0]
