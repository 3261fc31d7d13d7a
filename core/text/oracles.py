"""Generated sources, whose probabilities are known: the built-in grammar and SeqGAN's random LSTM.

The random LSTM (Yu et al. 2017) is a language whose weights, biases included, are independent
N(0, 1): embeddings (V, 32), one LSTM layer of width 32, a linear layer to V = 5000 words. The first
input is the embedding of word 0, states start at zero, and every sentence has exactly `length`
words (20 or 40 in the paper), without an end token.

    P(sentence) = prod_t softmax(W h_t + b)[word_t],  NLL of a sentence = -log P(sentence) / length

The words are named w0000 to w4999. Weights are a function of one seed, sentences of two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from core.errors import InputError
from core.text.grammar import grammar
from core.text.pcfg import Grammar
from core.text.settings import DRAWN, CorpusSettings

WORDS = 5000  # V
WIDTH = 32  # of embedding and state
START = 0  # the word whose embedding is the first input
BATCH = 500  # sentences whose logits are in memory
ENTROPY_SENTENCES = 1000
LENGTH = 20  # default
SEED = 0  # of the sentences: the corpus is the same for every seed of a run

State = tuple[np.ndarray, np.ndarray]  # h, c (n, WIDTH)


class LstmOracle:
    """One random language of sentences of one length."""

    def __init__(self, length: int, seed: int = 0) -> None:
        rng = np.random.Generator(np.random.PCG64(seed))
        self.length, self.seed = length, seed
        self.name = f"lstm_oracle:{length}:{seed}"
        self.words = tuple(f"w{i:04d}" for i in range(WORDS))
        self._ids = {word: i for i, word in enumerate(self.words)}

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, dtype=np.float32)

        self._embedding = normal(WORDS, WIDTH)
        self._of_input, self._of_state = normal(WIDTH, 4 * WIDTH), normal(WIDTH, 4 * WIDTH)
        self._bias = normal(4 * WIDTH)  # of the gates i, f, o and the candidate
        self._out, self._out_bias = normal(WIDTH, WORDS), normal(WORDS)

    def sample(self, count: int, seed: int = 0) -> list[list[str]]:
        """`count` sentences; the first ones do not depend on `count`."""
        rng = np.random.Generator(np.random.PCG64([self.seed, seed]))
        drawn: list[list[str]] = []
        while len(drawn) < count:
            words = np.full(BATCH, START)
            state = _zero(BATCH)
            ids = np.empty((self.length, BATCH), dtype=np.int64)
            for t in range(self.length):
                logits, state = self._step(words, state)
                shares = np.cumsum(np.exp(logits - logits.max(1, keepdims=True)), axis=1)
                place = rng.random(BATCH, dtype=np.float32) * shares[:, -1]
                words = (shares > place[:, None]).argmax(1)
                ids[t] = words
            drawn += [[self.words[i] for i in row] for row in ids.T]
        return drawn[:count]

    def valid(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Which sentences are in the language: bool (sentences,)."""
        return np.array(
            [len(s) == self.length and all(word in self._ids for word in s) for s in sentences],
            dtype=bool,
        )

    def nll(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """-log P / length of valid sentences, in nats per word as published."""
        found = [np.empty(0)]
        for ids in self._encoded(sentences):
            total = np.zeros(len(ids))
            for t, logits in enumerate(self._along(ids)):
                top = logits.max(1)
                log_z = top + np.log(np.exp(logits - top[:, None]).sum(1))
                total += log_z - logits[np.arange(len(ids)), ids[:, t]]
            found.append(total / self.length)
        return np.concatenate(found)

    @cached_property
    def entropy(self) -> float:
        """Entropy in nats per word: that of the next word, averaged over the prefixes of 1000
        sentences of the oracle; the standard error of that mean is below .02.
        """
        total = 0.0
        for ids in self._encoded(self.sample(ENTROPY_SENTENCES, seed=1)):
            for logits in self._along(ids):
                logits -= logits.max(1, keepdims=True)
                p = np.exp(logits)
                z = p.sum(1)
                total += float((np.log(z) - (p * logits).sum(1) / z).sum(dtype=np.float64))
        return total / (ENTROPY_SENTENCES * self.length)

    def _encoded(self, sentences: Sequence[Sequence[str]]) -> Iterator[np.ndarray]:
        for i in range(0, len(sentences), BATCH):
            yield np.array([[self._ids[word] for word in s] for s in sentences[i : i + BATCH]])

    def _along(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Logits (n, V) of each step of sentences (n, length), given the previous words."""
        words, state = np.full(len(ids), START), _zero(len(ids))
        for t in range(self.length):
            logits, state = self._step(words, state)
            yield logits
            words = ids[:, t]

    def _step(self, words: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Logits (n, V) of the word after `words` (n,), and the new state."""
        h, c = state
        gates = self._embedding[words] @ self._of_input + h @ self._of_state + self._bias
        i, f, o, candidate = np.split(gates, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(candidate)
        h = _sigmoid(o) * np.tanh(c)
        return h @ self._out + self._out_bias, (h, c)


@cache
def lstm_oracle(length: int, seed: int = 0) -> LstmOracle:
    """The oracle of a length and seed, made once."""
    return LstmOracle(length, seed)


Oracle = Grammar | LstmOracle


def draw_corpus(settings: CorpusSettings) -> tuple[list[list[str]], tuple[str, ...]]:
    """The sentences of a generated source, and the words of the language if it names them."""
    count = settings.sentences or DRAWN
    if settings.fixed_length:
        oracle = lstm_oracle(settings.max_words or LENGTH, settings.oracle_seed)
        return oracle.sample(count, SEED), oracle.words
    return grammar(settings.difficulty).sample(count, SEED), ()


def oracle_of(settings: CorpusSettings, length: int) -> Oracle | None:
    """The oracle that gives the probability of every sentence of a source; None for real text."""
    if settings.fixed_length:
        return lstm_oracle(length, settings.oracle_seed)
    return grammar(settings.difficulty) if settings.source == "grammar" else None


@dataclass(frozen=True)
class CorpusDistribution:
    """P: the oracle's distribution, given that the corpus keeps the sentence."""

    oracle: Oracle
    words: Set[str]  # the vocabulary
    shortest: int  # words of a sentence
    longest: int
    log_kept: float  # log-probability that the oracle draws a sentence that is kept

    def keeps(self, sentence: Sequence[str]) -> bool:
        """Whether the corpus keeps a sentence of the oracle."""
        fits = self.shortest <= len(sentence) <= self.longest
        return fits and all(word in self.words for word in sentence)

    def sample(self, count: int, seed: int) -> list[list[str]]:
        """`count` independent sentences; the first ones do not depend on `count`."""
        tried = count
        while True:
            kept = [each for each in self.oracle.sample(tried, seed) if self.keeps(each)]
            if len(kept) >= count:
                return kept[:count]
            tried *= 2

    def log_prob(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Log P (sentences,) in nats, -inf for those that the corpus cannot have."""
        kept = np.array([self.keeps(sentence) for sentence in sentences], dtype=bool)
        if isinstance(self.oracle, LstmOracle):
            kept &= self.oracle.valid(sentences)
        found = np.full(len(sentences), -np.inf)
        some = [sentence for sentence, keep in zip(sentences, kept, strict=True) if keep]
        if isinstance(self.oracle, LstmOracle):
            found[kept] = -self.oracle.nll(some) * self.oracle.length
        else:
            found[kept] = [self.oracle.log_prob(sentence) for sentence in some]
        return found - self.log_kept


def corpus_distribution(
    oracle: Oracle | None, settings: CorpusSettings, longest: int, words: Set[str]
) -> CorpusDistribution | None:
    """The distribution of a corpus of an oracle, with the vocabulary `words` and sentences of at
    most `longest` words. None where it is not known exactly: for real text, if duplicates are
    dropped, and if the vocabulary lacks words that become `<unk>` or that an LSTM oracle draws.
    """
    if oracle is None or settings.duplicates == "drop":
        return None
    if isinstance(oracle, LstmOracle):
        if not all(word in words for word in oracle.words):
            return None
        return CorpusDistribution(oracle, words, oracle.length, oracle.length, 0.0)
    shortest = settings.min_words or 1
    kept = oracle.mass(words, shortest, longest)
    if settings.unknown == "unk" and kept < oracle.mass(None, shortest, longest):
        return None
    return CorpusDistribution(oracle, words, shortest, longest, math.log(kept))


def fit_length(settings: CorpusSettings, length: int) -> CorpusSettings:
    """The settings for a model of S = `length` steps, which sentences of fixed length fill."""
    if not settings.fixed_length:
        return settings
    if settings.max_words not in (None, length):
        raise InputError(
            f"corpus.max_words = {settings.max_words}: sentences of {settings.source} have exactly "
            f"model.length = {length} words; leave it out"
        )
    return settings.model_copy(update={"max_words": length})


def _zero(count: int) -> State:
    return np.zeros((count, WIDTH), np.float32), np.zeros((count, WIDTH), np.float32)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1 / (1 + np.exp(-x))
    return result
