"""n-grams as integers, counted once for all metrics that need them.

Sentences are flat token ids and lengths. An n-gram of level n is the pair (id of its first n - 1
tokens at level n - 1, last token), and its id is the rank of the pair among the pairs of the text:
ids are sorted, so contexts are contiguous. Every step is a numpy call over all tokens. Counts come
one level at a time: a million sentences need the memory of one level.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

Sentence = Sequence[str]  # its words
Text = Sequence[Sentence]
UNSEEN = -1


@dataclass(frozen=True)
class Counts:
    """How often each sentence has each n-gram of one level: three aligned int32 arrays."""

    sentence: np.ndarray
    gram: np.ndarray  # UNSEEN is left out
    count: np.ndarray


def numbered(things: Iterable[Hashable]) -> tuple[np.ndarray, dict[Any, int]]:
    """The number of each thing, and the numbers by thing, in the order of first appearance."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(each, len(numbers)) for each in things], int), numbers


def linked(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """The connected component of each of `count` things, by links (links,) from first to second."""
    links = sparse.coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1])


class NgramTable:
    """The n-grams (n = 1..order) of some sentences, and ids for those of any others."""

    def __init__(self, sentences: Text, order: int) -> None:
        self.order = order
        words = dict.fromkeys(chain.from_iterable(sentences))  # in the order of first appearance
        self.words = dict(zip(words, range(len(words)), strict=True))
        self._keys: list[np.ndarray] = []
        flat, lengths = self._flatten(sentences)
        previous = flat
        for n in range(2, order + 1):
            pairs = self._pairs(previous, flat, lengths, n)
            self._keys.append(np.unique(pairs[pairs != UNSEEN]))
            previous = _lookup(self._keys[-1], pairs)

    def size(self, n: int) -> int:
        """Distinct n-grams of level n; of level 0 there is one, without words."""
        if n < 2:
            return len(self.words) if n else 1
        return len(self._keys[n - 2])

    def parts(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The n-grams of level n in the order of their ids: the ids of their first n - 1 words at
        level n - 1, and of their last words.
        """
        keys = np.arange(len(self.words)) if n == 1 else self._keys[n - 2]
        return keys // len(self.words), keys % len(self.words)

    def find(self, words: Sequence[np.ndarray]) -> np.ndarray:
        """Ids of the n-grams whose n words are given one after another, each (n-grams,)."""
        found = words[0].astype(np.int64)
        for n, word in enumerate(words[1:], start=2):
            pairs = np.where(found == UNSEEN, UNSEEN, found * len(self.words) + word)
            found = _lookup(self._keys[n - 2], pairs)
        return found

    def ids(self, sentences: Text) -> Iterator[np.ndarray]:
        """For n = 1..order, the id of the n-gram that ends at each token, or UNSEEN."""
        flat, lengths = self._flatten(sentences)
        previous = flat
        yield flat
        for n in range(2, self.order + 1):
            previous = _lookup(self._keys[n - 2], self._pairs(previous, flat, lengths, n))
            yield previous

    def count(self, sentences: Text) -> Iterator[Counts]:
        """Counts of the known n-grams in `sentences`, for n = 1..order."""
        owner = np.repeat(np.arange(len(sentences)), _lengths(sentences))
        for n, grams in enumerate(self.ids(sentences), start=1):
            known = grams != UNSEEN
            size = max(self.size(n), 1)
            keys, count = np.unique(owner[known] * size + grams[known], return_counts=True)
            parts = (keys // size, keys % size, count)
            yield Counts(*(part.astype(np.int32) for part in parts))

    def _flatten(self, sentences: Text) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of all sentences (tokens,), UNSEEN for unknown words, and the lengths of the
        sentences (sentences,): int64.
        """
        lengths = _lengths(sentences)
        ids = map(self.words.get, chain.from_iterable(sentences), repeat(UNSEEN))
        return np.fromiter(ids, np.int64, int(lengths.sum())), lengths

    def _pairs(
        self, previous: np.ndarray, flat: np.ndarray, lengths: np.ndarray, n: int
    ) -> np.ndarray:
        """Key of the n-gram that ends at each token; UNSEEN if none does or a part is unseen."""
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        pairs = np.full(len(flat), UNSEEN, dtype=np.int64)
        inside = np.arange(len(flat)) - starts >= n - 1
        before = np.roll(previous, 1)
        known = inside & (before != UNSEEN) & (flat != UNSEEN)
        pairs[known] = before[known] * len(self.words) + flat[known]
        return pairs


def _lengths(sentences: Text) -> np.ndarray:
    return np.fromiter(map(len, sentences), np.int64, len(sentences))


def _lookup(keys: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    if len(keys) == 0:
        return np.full(len(pairs), UNSEEN, dtype=np.int64)
    place = np.minimum(np.searchsorted(keys, pairs), len(keys) - 1)
    return np.where(keys[place] == pairs, place, UNSEEN)  # no key is UNSEEN itself


def three_largest(counts: Counts, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The three largest counts of each of `size` n-grams in a sentence (3, size), 0 if there are
    fewer, and the sentences of the first two (2, size), or -1. Of equal counts the first sentence
    is first.
    """
    order = np.lexsort((-counts.count, counts.gram))
    gram = counts.gram[order]
    place = np.arange(len(gram)) - np.searchsorted(gram, np.arange(size))[gram]  # in its n-gram
    order, gram, place = (each[place < 3] for each in (order, gram, place))
    largest, owners = np.zeros((3, size), np.int32), np.full((3, size), -1, np.int32)
    largest[place, gram] = counts.count[order]
    owners[place, gram] = counts.sentence[order]
    return largest, owners[:2]
