"""The classical oracle of SeqGAN (Yu et al. 2017): a language drawn from a random LSTM.

All weights, biases too, are independent N(0, 1): embeddings (V, 32), one LSTM layer of 32, a linear
layer to V = 5000 words. The first input is the embedding of word 0, states begin at zero, and every
sentence has exactly `length` words (20 or 40 in the paper), with no end.

    P(sentence) = prod_t softmax(W h_t + b)[word_t],  NLL of a sentence = -log P(sentence) / length

The words are named w0000 to w4999. Weights are a function of one seed, sentences of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, cached_property

import numpy as np

WORDS = 5000  # V
WIDTH = 32  # E, and of the state
START = 0  # the word whose embedding is the first input
AT_ONCE = 500  # sentences whose logits are in memory
ENTROPY_SENTENCES = 1000
LENGTH = 20  # where nobody says another

State = tuple[np.ndarray, np.ndarray]  # h, c (n, WIDTH)


class LstmOracle:
    """One random language of sentences of one length."""

    def __init__(self, length: int, seed: int = 0) -> None:
        rng = np.random.Generator(np.random.PCG64(seed))
        self.length, self.seed = length, seed
        self.words = tuple(f"w{i:04d}" for i in range(WORDS))
        self._ids = {word: i for i, word in enumerate(self.words)}

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, dtype=np.float32)

        self._embedding = normal(WORDS, WIDTH)
        self._of_input, self._of_state = normal(WIDTH, 4 * WIDTH), normal(WIDTH, 4 * WIDTH)
        self._bias = normal(4 * WIDTH)  # of the gates i, f, o and the candidate
        self._out, self._out_bias = normal(WIDTH, WORDS), normal(WORDS)

    def sample(self, count: int, seed: int = 0) -> list[list[str]]:
        """`count` sentences; the first ones are the same however many are drawn."""
        rng = np.random.Generator(np.random.PCG64([self.seed, seed]))
        drawn: list[list[str]] = []
        while len(drawn) < count:
            words = np.full(AT_ONCE, START)
            state = _zero(AT_ONCE)
            ids = np.empty((self.length, AT_ONCE), dtype=np.int64)
            for t in range(self.length):
                logits, state = self._step(words, state)
                shares = np.cumsum(np.exp(logits - logits.max(1, keepdims=True)), axis=1)
                place = rng.random(AT_ONCE, dtype=np.float32) * shares[:, -1]
                words = (shares > place[:, None]).argmax(1)
                ids[t] = words
            drawn += [[self.words[i] for i in row] for row in ids.T]
        return drawn[:count]

    def valid(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Which sentences it can make, bool: `length` words, all of them its own."""
        return np.array(
            [len(s) == self.length and all(word in self._ids for word in s) for s in sentences],
            dtype=bool,
        )

    def nll(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """-log P / length of valid sentences: nats a word, as published."""
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
        """Nats a word: the exact entropy of the next word, averaged over the prefixes of 1000
        sentences of its own; the standard error of that mean is below .02.
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
        for i in range(0, len(sentences), AT_ONCE):
            yield np.array([[self._ids[word] for word in s] for s in sentences[i : i + AT_ONCE]])

    def _along(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Logits (n, V) of each step of sentences (n, length), given the words before it."""
        words, state = np.full(len(ids), START), _zero(len(ids))
        for t in range(self.length):
            logits, state = self._step(words, state)
            yield logits
            words = ids[:, t]

    def _step(self, words: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Logits (n, V) of the word behind `words` (n,), and the state there."""
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


def _zero(count: int) -> State:
    return np.zeros((count, WIDTH), np.float32), np.zeros((count, WIDTH), np.float32)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1 / (1 + np.exp(-x))
    return result
