"""n-gram floors: sentences of unsmoothed n-gram models of the training text, for n = 1, 2, 3.

    p(w | h) = count(h w) / count(h),   h the n - 1 words before w, or all back to the begin mark

with the end of a sentence as one of the words. A unigram model knows how frequent words are, a
bigram model which pairs occur, a trigram model which triples. None of them knows sentences, so a
score that they reach says nothing about sentences. Trigrams of a small text repeat parts of it:
read `copied` next to their score.

Of a longer text, MOST evenly spaced sentences should be given. A corpus without end tokens gets
sentences of its length, cut from sentences drawn one after another.
"""

from __future__ import annotations

from itertools import chain, islice

import numpy as np

from core.metrics.catalogue import FLOORS
from core.metrics.kneser_ney import KneserNey
from core.metrics.ngrams import Text

MOST = 100_000  # training sentences


class Floor:
    """One of the FLOORS, fitted to a training text with at least one word."""

    def __init__(self, name: str, training: Text) -> None:
        self._order = order = FLOORS[name]
        # Without discounts nothing is left for lower orders: the counts as they are.
        self._model = KneserNey(training, order, [(0.0, 0.0, 0.0)] * order)

    def sample(
        self, count: int, length: int | None = None, rng: np.random.Generator | None = None
    ) -> list[list[str]]:
        """`count` sentences; with `length`, of exactly so many words. Without `rng` always the
        same ones.
        """
        rng = rng or np.random.default_rng(self._order)
        if length is None:
            return self._model.sample(count, rng)
        pieces = (self._model.sample(count, rng) for _ in iter(int, 1))
        words = chain.from_iterable(chain.from_iterable(pieces))
        return [list(islice(words, length)) for _ in range(count)]

    def nll(self, sentences: Text) -> np.ndarray:
        """-log p (sentences,) in nats with the end; inf for what the model cannot produce."""
        with np.errstate(divide="ignore"):
            return self._model.score(sentences)[0]
