"""n-grams as integers, counted once for all metrics that need them.

Sentences are flat token ids and offsets. An n-gram of level n is the pair (id of its first n - 1
tokens at level n - 1, last token), and its id is one of two:

- in an `NgramTable`, the rank of the pair among the pairs of the text: ids are sorted, so contexts
  are contiguous. Every step is a numpy call over all tokens;
- in an `NgramIndex`, the order of first appearance, from a hash table: linear in tokens, compiled.

Both yield counts one level at a time: a million sentences need the memory of one level.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from core.compiled import compiled

Sentence = Sequence[str]  # its words
Text = Sequence[Sentence]
UNSEEN = -1
HashTable = tuple[np.ndarray, np.ndarray, int]  # keys by id, ids by place, number of ids
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio (Knuth 1973, section 6.4)


@dataclass(frozen=True)
class Counts:
    """How often each sentence has each n-gram of one level: three aligned int32 arrays."""

    sentence: np.ndarray
    gram: np.ndarray  # UNSEEN is left out
    count: np.ndarray


def spaced(count: int, most: int) -> list[int]:
    """The indices of at most `most` evenly spaced things of `count`."""
    kept = min(count, most)
    return [i * count // kept for i in range(kept)]


def numbered(things: Iterable[Hashable]) -> tuple[np.ndarray, dict[Any, int]]:
    """The number of each thing, and the numbers by thing, in the order of first appearance."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(each, len(numbers)) for each in things], int), numbers


def linked(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """The connected component of each of `count` things, by links (links,) from first to second."""
    links = sparse.coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1])


def _vocabulary(sentences: Text) -> dict[str, int]:
    """Words to ids, in the order of first appearance."""
    words = dict.fromkeys(chain.from_iterable(sentences))
    return dict(zip(words, range(len(words)), strict=True))


def _encode(words: Mapping[str, int], sentences: Text) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of all sentences (tokens,), UNSEEN for unknown words, and the offsets of the
    sentences (sentences + 1,): int64.
    """
    offsets = np.zeros(len(sentences) + 1, dtype=np.int64)
    lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
    np.cumsum(lengths, out=offsets[1:])
    ids = map(words.get, chain.from_iterable(sentences), repeat(UNSEEN))
    return np.fromiter(ids, np.int64, int(offsets[-1])), offsets


class NgramTable:
    """The n-grams (n = 1..order) of some sentences, and ids for those of any others."""

    def __init__(self, sentences: Text, order: int) -> None:
        self.order = order
        self.words = _vocabulary(sentences)
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
        lengths = np.fromiter((len(s) for s in sentences), dtype=np.int64, count=len(sentences))
        owner = np.repeat(np.arange(len(lengths)), lengths)
        for n, grams in enumerate(self.ids(sentences), start=1):
            known = grams != UNSEEN
            size = max(self.size(n), 1)
            keys, count = np.unique(owner[known] * size + grams[known], return_counts=True)
            parts = (keys // size, keys % size, count)
            yield Counts(*(part.astype(np.int32) for part in parts))

    def _flatten(self, sentences: Text) -> tuple[np.ndarray, np.ndarray]:
        flat, offsets = _encode(self.words, sentences)
        return flat, np.diff(offsets)

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


def _lookup(keys: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    if len(keys) == 0:
        return np.full(len(pairs), UNSEEN, dtype=np.int64)
    place = np.minimum(np.searchsorted(keys, pairs), len(keys) - 1)
    return np.where(keys[place] == pairs, place, UNSEEN)  # no key is UNSEEN itself


@dataclass
class NgramIndex:
    """The n-grams (n = 1..order) of some sentences, to be counted in others."""

    order: int
    words: dict[str, int] = field(default_factory=dict)
    levels: list[HashTable] = field(default_factory=list)  # from n = 2 on

    def size(self, n: int) -> int:
        """Distinct n-grams of level n."""
        return len(self.words) if n == 1 else self.levels[n - 2][2]

    def fit(self, sentences: Text) -> Iterator[Counts]:
        """Index the n-grams of `sentences`; yields their counts for n = 1..order."""
        self.words, self.levels = _vocabulary(sentences), []
        return self._counted(sentences, learns=True)

    def count(self, sentences: Text) -> Iterator[Counts]:
        """Counts of the indexed n-grams in `sentences`, for n = 1..order."""
        return self._counted(sentences, learns=False)

    def _counted(self, sentences: Text, learns: bool) -> Iterator[Counts]:
        text = _encode(self.words, sentences)
        ids = text[0]
        for n in range(1, self.order + 1):
            if n > 1:
                keys, places, known = (*_room(len(ids)), 0) if learns else self.levels[n - 2]
                ids, known = _identify(ids, text, n, len(self.words), (keys, places), known, learns)
                if learns:
                    self.levels.append((keys[:known].copy(), places, known))
            yield Counts(*_tally(ids, text[1], self.size(n)))


def _room(tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """An empty hash table for the pairs of so many tokens: keys by id, and ids by place. The id of
    a pair is at the place of its hash, or at the next free one.
    """
    places = 1 << (tokens + tokens // 4 + 1).bit_length()
    return np.empty(max(tokens, 1), np.int64), np.full(places, UNSEEN, np.int32)


@compiled
def _identify(
    before: np.ndarray,
    text: tuple[np.ndarray, np.ndarray],
    n: int,
    words: int,
    room: tuple[np.ndarray, np.ndarray],
    known: int,
    learns: bool,
) -> tuple[np.ndarray, int]:
    """Ids (tokens,) of the n-grams that end at each token, and the number of known n-grams.

    `before` are the ids one level below, `text` token ids and offsets, `known` the number of
    n-grams in the hash table `room`. UNSEEN if no n-gram ends at the token, or if it is unknown and
    `learns` is False.
    """
    (flat, offsets), (keys, places) = text, room
    ids = np.full(len(flat), UNSEEN, np.int32)
    last = np.uint64(len(places) - 1)
    for s in range(len(offsets) - 1):
        for i in range(offsets[s] + n - 1, offsets[s + 1]):
            if before[i - 1] == UNSEEN or flat[i] == UNSEEN:
                continue
            key = np.int64(before[i - 1]) * words + flat[i]
            mixed = np.uint64(key) * GOLDEN
            place = (mixed ^ (mixed >> np.uint64(32))) & last
            while places[place] != UNSEEN and keys[places[place]] != key:
                place = (place + np.uint64(1)) & last
            if places[place] == UNSEEN and learns:
                places[place], keys[known] = known, key
                known += 1
            ids[i] = places[place]
    return ids, known


@compiled
def _tally(
    ids: np.ndarray, offsets: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often each sentence has each n-gram of an id below `size`: sentences, n-grams, counts."""
    sentence, gram = np.empty(len(ids), np.int32), np.empty(len(ids), np.int32)
    count = np.empty(len(ids), np.int32)
    newest = np.full(size, -1, np.int32)  # latest entry of each n-gram
    entries = 0
    for s in range(len(offsets) - 1):
        for i in range(offsets[s], offsets[s + 1]):
            g = ids[i]
            if g == UNSEEN:
                continue
            entry = newest[g]
            if entry >= 0 and sentence[entry] == s:
                count[entry] += 1
            else:
                newest[g] = entries
                sentence[entries], gram[entries], count[entries] = s, g, 1
                entries += 1
    return sentence[:entries], gram[:entries], count[:entries]


@compiled
def three_largest(
    sentence: np.ndarray, gram: np.ndarray, count: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The three largest counts of each n-gram in a sentence (3, size), 0 if there are fewer, and
    the sentences of the first two (2, size), or -1. Of equal counts the first sentence is first.
    """
    counts, owners = np.zeros((3, size), np.int32), np.full((2, size), -1, np.int32)
    for entry in range(len(gram)):
        g, c, s = gram[entry], count[entry], sentence[entry]
        if c > counts[0, g]:
            counts[2, g], counts[1, g], counts[0, g] = counts[1, g], counts[0, g], c
            owners[1, g], owners[0, g] = owners[0, g], s
        elif c > counts[1, g]:
            counts[2, g], counts[1, g] = counts[1, g], c
            owners[1, g] = s
        elif c > counts[2, g]:
            counts[2, g] = c
    return counts, owners
