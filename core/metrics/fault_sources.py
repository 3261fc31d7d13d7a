"""Texts that the metric laboratory plants faults in: the built-in grammar, or sentences of a file.

Each has training text, references, and a distribution P of real sentences, and knows distributions
that differ from P in one way each: temperature, word frequencies, missing modes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core.errors import InputError
from core.metrics.encoders import BagOfWords
from core.metrics.kneser_ney import KneserNey
from core.metrics.ngrams import Sentence, Text
from core.plural import count
from core.text.hashing import hash_of
from core.text.pcfg import Grammar

TRAINING = 10_000  # sentences of the grammar's training text
TRAINING_SHARE = 0.4  # of a real text
SPARE = 2  # times the sample that is left to draw samples from, at least
CLUSTERS = 100  # modes of a real text
MOST_LOST = 0.9  # of the text
AGREEMENT = (("a", "an"), ("is", "are"), ("was", "were"), ("has", "have"), ("does", "do"),
             ("this", "these"), ("that", "those"))  # fmt: skip
COMMON = """red blue green yellow white black brown grey gray orange pink purple silver golden dark
bright big large small little tiny huge tall short long old young new modern wooden metal empty open
clean dirty wet dry hot cold beautiful colorful round square"""
ADJECTIVES = frozenset(COMMON.split())
Rng = np.random.Generator


@dataclass(frozen=True)
class Law:
    """A distribution of sentences: `count` draws, and log-probabilities (sentences,), if known."""

    draw: Callable[[int, Rng], Text]
    log_prob: Callable[[Text], np.ndarray] | None = None


class GrammarText:
    """Text of a grammar: training text, references and any number of fresh sentences."""

    def __init__(self, grammar: Grammar) -> None:
        self.oracle: Grammar | None = grammar
        self._grammar = grammar
        self.training: Text = grammar.sample(TRAINING, 0)
        self.adjectives = frozenset(grammar.words.get("ADJ", {}))
        pairs = [
            (grammar.words[tag], grammar.words[tag.replace("_sg", "_pl")])
            for tag in ("VT_sg", "VI_sg", "RULES_sg", "BE_sg")
            if tag in grammar.words
        ]
        self.agreement = _both_ways([pair for two in pairs for pair in zip(*two, strict=True)])

    def references(self, n: int) -> Text:
        """N sentences, other ones than the training text."""
        return self._grammar.sample(n, 1)

    @property
    def real(self) -> Law:
        """The grammar."""
        return _law(self._grammar)

    def tempered(self, temperature: float) -> Law:
        """The grammar with every weight of a rule or word raised to the power 1 / temperature."""
        source = self._grammar
        rules = {
            symbol: [(weight ** (1 / temperature), right) for weight, right in alternatives]
            for symbol, alternatives in source.rules.items()
        }
        return _law(Grammar(source.start, rules, _powers(source.words, 1 / temperature)))

    def flattened(self, dose: float) -> Law:
        """The grammar with the frequencies of each tag's words raised to the power 1 - dose."""
        source = self._grammar
        return _law(Grammar(source.start, source.rules, _powers(source.words, 1 - dose)))

    def without_modes(self, dose: float, rng: Rng, n: int) -> Law:
        """The grammar without some templates, whose probabilities add up to at most the dose."""
        source, shares = self._grammar, self._grammar.template_probabilities
        names = [*shares]
        lost = _lost(np.array([*shares.values()]), dose, rng)
        gone = {names[i] for i in lost}
        left = -math.log(1 - sum(shares[name] for name in gone))

        def draw(count: int, rng: Rng) -> Text:
            kept: list[Sentence] = []
            while len(kept) < count:
                drawn = source.sample(count, _seed_of(rng))
                kept += [s for s in drawn if source.template(s) not in gone]
            return kept[:count]

        def log_prob(text: Text) -> np.ndarray:
            lost = np.array([source.template(sentence) in gone for sentence in text])
            return np.where(lost, -math.inf, log_probs(source, text) + left)

        return Law(draw, log_prob)


class RealText:
    """A text for samples of n sentences, split by the hash of the sentence into training text
    (TRAINING_SHARE), n references, and the rest, from which samples are drawn without replacement.
    """

    oracle: Grammar | None = None
    adjectives = ADJECTIVES

    def __init__(self, sentences: Text, n: int, name: str) -> None:
        hashes = np.array([hash_of(sentence) for sentence in sentences], dtype=np.uint64)
        text = [sentences[i] for i in np.argsort(hashes, kind="stable")]
        trained = int(TRAINING_SHARE * len(text))
        most = (len(text) - trained) // (1 + SPARE)
        if n > most:
            raise InputError(
                f"--n {n}: {name} has {count(len(text), 'sentence')}, enough for samples of at "
                f"most {most:,}; {math.ceil(n * (1 + SPARE) / (1 - TRAINING_SHARE)):,} are needed"
            )
        self.training, self._references = text[:trained], text[trained : trained + n]
        self._rest = text[trained + n :]
        self.agreement = _both_ways(AGREEMENT)

    def references(self, n: int) -> Text:
        """N references."""
        return self._references[:n]

    @property
    def real(self) -> Law:
        """The rest of the text."""
        return self._weighted(np.zeros(len(self._rest)))

    def tempered(self, temperature: float) -> Law:
        """The rest, weighted by p^(1 / temperature - 1) under a Kneser-Ney model of the training
        text.
        """
        return self._weighted(-(1 / temperature - 1) * self._nll)

    def flattened(self, dose: float) -> Law:
        """The rest, weighted by the geometric mean of its words' frequencies, to the -dose."""
        return self._weighted(dose * self._rarity)

    def without_modes(self, dose: float, rng: Rng, n: int) -> Law:
        """The rest without some of CLUSTERS clusters of sentences, at most a share `dose` of it.
        The clusters are those of k-means on the built-in encoder. At least n sentences remain.
        """
        sizes = np.bincount(self._clusters, minlength=CLUSTERS) / len(self._rest)
        lost = _lost(sizes, min(dose, 1 - n / len(self._rest)), rng)
        return self._weighted(np.where(np.isin(self._clusters, lost), -np.inf, 0.0))

    def _weighted(self, log_weights: np.ndarray) -> Law:
        """Draws without replacement (Gumbel's top n)."""

        def draw(count: int, rng: Rng) -> Text:
            keys = log_weights + rng.gumbel(size=len(log_weights))
            return [self._rest[i] for i in np.argsort(-keys, kind="stable")[:count]]

        return Law(draw)

    @cached_property
    def _nll(self) -> np.ndarray:
        return KneserNey(self.training).score(self._rest)[0]

    @cached_property
    def _rarity(self) -> np.ndarray:
        seen = Counter(word for sentence in self.training for word in sentence)
        total = seen.total() + 1
        return np.array(
            [np.mean([math.log(total / (seen[w] + 1)) for w in s or [""]]) for s in self._rest]
        )

    @cached_property
    def _clusters(self) -> np.ndarray:
        from sklearn.cluster import KMeans

        encoder = BagOfWords(self.training)
        found = KMeans(CLUSTERS, n_init=1, random_state=0).fit_predict(encoder(self._rest))
        return np.asarray(found)


Source = GrammarText | RealText


def _law(grammar: Grammar) -> Law:
    return Law(
        lambda n, rng: grammar.sample(n, _seed_of(rng)), lambda text: log_probs(grammar, text)
    )


def log_probs(grammar: Grammar, text: Text) -> np.ndarray:
    """Log P of the sentences in nats (sentences,)."""
    return np.array([grammar.log_prob(sentence) for sentence in text])


def _seed_of(rng: Rng) -> int:
    return int(rng.integers(2**62))


def _both_ways(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {a: b for one, other in pairs for a, b in ((one, other), (other, one))}


def _powers(words: Mapping[str, Mapping[str, float]], power: float) -> dict[str, dict[str, float]]:
    return {tag: {word: w**power for word, w in each.items()} for tag, each in words.items()}


def _lost(shares: np.ndarray, dose: float, rng: Rng) -> np.ndarray:
    """Modes in random order as long as their shares add up to at most the dose, or MOST_LOST."""
    order = rng.permutation(len(shares))
    return order[np.cumsum(shares[order]) <= min(dose, MOST_LOST) + 1e-12]
