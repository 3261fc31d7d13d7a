"""n-grams as integers, counted once for all metrics that need them.

Level n's id of the n-gram ending at a token is the rank of the pair (id at level n - 1 of the
n-gram before it, token) among the pairs seen. Sentences are flat ids and offsets, so every step
is a numpy call over all tokens at once: linear in tokens but for the sorting. Counts are handed out
a level at a time, so that a million sentences need the memory of one level.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np

Sentence = Sequence[str]
UNSEEN = -1


@dataclass(frozen=True)
class Counts:
    """How often each sentence has each n-gram of one level: three aligned int32 arrays."""

    sentence: np.ndarray
    gram: np.ndarray  # UNSEEN is left out
    count: np.ndarray


def numbered(sentences: Sequence[Sentence]) -> dict[str, int]:
    """Words to ids, in the order of first appearance."""
    words = dict.fromkeys(chain.from_iterable(sentences))
    return dict(zip(words, range(len(words)), strict=True))


def identified(
    words: Mapping[str, int], sentences: Sequence[Sentence]
) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the words of all sentences (tokens,), UNSEEN where there is none, and where each
    sentence begins and the last one ends (sentences + 1,): int64.
    """
    offsets = np.zeros(len(sentences) + 1, dtype=np.int64)
    lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
    np.cumsum(lengths, out=offsets[1:])
    ids = map(words.get, chain.from_iterable(sentences), repeat(UNSEEN))
    return np.fromiter(ids, np.int64, int(offsets[-1])), offsets


class NgramTable:
    """The n-grams (n = 1..order) of some sentences, and ids for those of any others."""

    def __init__(self, sentences: Sequence[Sentence], order: int) -> None:
        self.order = order
        self.words = numbered(sentences)
        self._keys: list[np.ndarray] = []
        flat, lengths = self._flatten(sentences)
        previous = flat
        for n in range(2, order + 1):
            pairs = self._pairs(previous, flat, lengths, n)
            self._keys.append(np.unique(pairs[pairs != UNSEEN]))
            previous = _lookup(self._keys[-1], pairs)

    def size(self, n: int) -> int:
        """Distinct n-grams of level n."""
        return len(self.words) if n == 1 else len(self._keys[n - 2])

    def parts(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each n-gram of level n >= 2, in the order of their ids: the id of its first n - 1
        words at level n - 1, and its last word.
        """
        return self._keys[n - 2] // len(self.words), self._keys[n - 2] % len(self.words)

    def find(self, words: Sequence[np.ndarray]) -> np.ndarray:
        """Ids of the n-grams whose n words are given one behind another, each (grams,)."""
        found = words[0].astype(np.int64)
        for n, word in enumerate(words[1:], start=2):
            pairs = np.where(found == UNSEEN, UNSEEN, found * len(self.words) + word)
            found = _lookup(self._keys[n - 2], pairs)
        return found

    def ids(self, sentences: Sequence[Sentence]) -> Iterator[np.ndarray]:
        """For n = 1..order, the id of the n-gram that ends at each token, UNSEEN where none."""
        flat, lengths = self._flatten(sentences)
        previous = flat
        yield flat
        for n in range(2, self.order + 1):
            previous = _lookup(self._keys[n - 2], self._pairs(previous, flat, lengths, n))
            yield previous

    def levels(self, sentences: Sequence[Sentence]) -> Iterator[Counts]:
        """Counts of the known n-grams in `sentences`, for n = 1..order."""
        lengths = np.fromiter((len(s) for s in sentences), dtype=np.int64, count=len(sentences))
        owner = np.repeat(np.arange(len(lengths)), lengths)
        for n, grams in enumerate(self.ids(sentences), start=1):
            yield self._count_level(owner, grams, n)

    def _flatten(self, sentences: Sequence[Sentence]) -> tuple[np.ndarray, np.ndarray]:
        flat, offsets = identified(self.words, sentences)
        return flat, np.diff(offsets)

    def _pairs(
        self, previous: np.ndarray, flat: np.ndarray, lengths: np.ndarray, n: int
    ) -> np.ndarray:
        """Key of the n-gram that ends at each token; UNSEEN where none ends or a part is unseen."""
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        pairs = np.full(len(flat), UNSEEN, dtype=np.int64)
        inside = np.arange(len(flat)) - starts >= n - 1
        before = np.roll(previous, 1)
        known = inside & (before != UNSEEN) & (flat != UNSEEN)
        pairs[known] = before[known] * len(self.words) + flat[known]
        return pairs

    def _count_level(self, owner: np.ndarray, grams: np.ndarray, n: int) -> Counts:
        known = grams != UNSEEN
        size = max(self.size(n), 1)
        keys, count = np.unique(owner[known] * size + grams[known], return_counts=True)
        parts = (keys // size, keys % size, count)
        return Counts(*(part.astype(np.int32) for part in parts))


def _lookup(keys: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    if len(keys) == 0:
        return np.full(len(pairs), UNSEEN, dtype=np.int64)
    place = np.minimum(np.searchsorted(keys, pairs), len(keys) - 1)
    return np.where(keys[place] == pairs, place, UNSEEN)  # no key is UNSEEN itself
