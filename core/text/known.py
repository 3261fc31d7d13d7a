"""Which sentences a split has, in eight bytes a sentence, where a set of them takes hundreds.

A sentence's key is the sum, modulo 2^64, of a number for each of its words, drawn from the word and
its place by SplitMix64 (Steele, Lea, Flood 2014). A sentence that is not among n known ones passes
for one with a chance of n / 2^64: below 2e-12 for thirty million.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from core.text.vocabulary import Vocabulary
from core.types import UNK

PLACE = np.uint64(32)  # bits of a word's id
_STEP, _FIRST, _SECOND = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


class Known:
    """The sentences that keys (sentences,) stand for, which are sorted in place."""

    def __init__(self, keys: np.ndarray, vocabulary: Vocabulary) -> None:
        keys.sort()
        self._keys, self._vocabulary = keys, vocabulary

    def __len__(self) -> int:
        return len(self._keys)

    def which(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Which of these are among ours: bool (sentences,)."""
        flat = list(chain.from_iterable(sentences))
        lengths = np.array([len(words) for words in sentences], dtype=np.int64)
        ids, ends = self._vocabulary.encode(flat), np.cumsum(lengths)
        strange = np.zeros(len(ids) + 1, dtype=np.int64)  # words before each that nobody knows
        strange[1:] = np.cumsum([i == UNK and word not in self._vocabulary
                                 for i, word in zip(ids.tolist(), flat, strict=True)])  # fmt: skip
        found = self.has(keys_of(ids, lengths))
        found &= strange[ends] == strange[ends - lengths]
        return found

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Which of the keys (n,) are among ours: bool (n,)."""
        if not len(self._keys):
            return np.zeros(len(keys), dtype=bool)
        place = np.searchsorted(self._keys, keys)
        found: np.ndarray = self._keys[np.minimum(place, len(self._keys) - 1)] == keys
        return found


def keys_of(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The keys (sentences,) uint64 of flat ids (words,) and the lengths (sentences,)."""
    ends = np.cumsum(lengths)
    places = np.arange(len(ids)) - np.repeat(ends - lengths, lengths)
    sums = np.zeros(len(ids) + 1, dtype=np.uint64)
    np.cumsum(mixed(ids.astype(np.uint64) | places.astype(np.uint64) << PLACE), out=sums[1:])
    keys: np.ndarray = sums[ends] - sums[ends - lengths]
    return keys


def all_keys(pieces: Iterable[tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """The keys of `count` sentences that come in pieces of ids and lengths."""
    keys = np.empty(count, dtype=np.uint64)
    for place, found in _placed(pieces):
        keys[place : place + len(found)] = found
    return keys


def _placed(pieces: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
    place = 0
    for ids, lengths in pieces:
        yield place, keys_of(ids, lengths)
        place += len(lengths)


def mixed(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64 of each number, uint64."""
    mixed = (numbers + np.uint64(1)) * _STEP
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    result: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return result
