"""64-bit hashes of sentences, of their tokens, and a permutation computed from hashes.

A sentence takes eight bytes here, where a Python set takes hundreds. Two hashes serve two purposes:

- `hash_of`: BLAKE2b of the words. It is the identity of a sentence across corpora (duplicates,
  splits).
- `keys_of`: the sum, modulo 2^64, of a number for each token, drawn from its id and position by
  SplitMix64 (Steele, Lea, Flood 2014). It is computed for millions of sentences at once and depends
  on the vocabulary. A sentence outside a set of n is taken for a member with probability n / 2^64:
  below 2e-12 for thirty million.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain

import numpy as np

from core.text.vocabulary import Vocabulary
from core.types import UNK

RECENT = 2**16  # hashes of a `HashSet` that are not yet in its array
SHUFFLED = 2**22  # sentences up to which an order is drawn and kept (32 MB)
ROUNDS = 8
POSITION = np.uint64(32)  # bits of a token's id
_STEP, _FIRST, _SECOND = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def hash_of(words: Sequence[str]) -> int:
    """64 bits of BLAKE2b of a sentence: its identity, here and for the split it belongs to."""
    digest = hashlib.blake2b(" ".join(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class HashSet:
    """A growing set of hashes: the recent ones in a set, the others sorted in an array."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._older = np.empty(0, dtype=np.uint64)

    def add(self, key: int) -> bool:
        """Whether `key` is new."""
        place = int(np.searchsorted(self._older, np.uint64(key)))
        older = place < len(self._older) and int(self._older[place]) == key
        if older or key in self._recent:
            return False
        self._recent.add(key)
        if len(self._recent) == RECENT:
            recent = np.fromiter(self._recent, dtype=np.uint64, count=RECENT)
            self._older = np.union1d(self._older, recent)
            self._recent.clear()
        return True


class SentenceSet:
    """The sentences that have the given keys (sentences,); the keys are sorted in place."""

    def __init__(self, keys: np.ndarray, vocabulary: Vocabulary) -> None:
        keys.sort()
        self._keys, self._vocabulary = keys, vocabulary

    def __len__(self) -> int:
        return len(self._keys)

    def contains(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Which of the sentences are in the set: bool (sentences,)."""
        flat = list(chain.from_iterable(sentences))
        lengths = np.array([len(words) for words in sentences], dtype=np.int64)
        tokens, ends = self._vocabulary.encode(flat), np.cumsum(lengths)
        strange = [
            token == UNK and word not in self._vocabulary
            for token, word in zip(tokens.tolist(), flat, strict=True)
        ]
        unknown = np.zeros(len(tokens) + 1, dtype=np.int64)  # before each: words not in V
        unknown[1:] = np.cumsum(strange)
        found = self.contains_keys(keys_of(tokens, lengths))
        found &= unknown[ends] == unknown[ends - lengths]
        return found

    def contains_keys(self, keys: np.ndarray) -> np.ndarray:
        """Which of the keys (n,) are in the set: bool (n,)."""
        if not len(self._keys):
            return np.zeros(len(keys), dtype=bool)
        place = np.searchsorted(self._keys, keys)
        found: np.ndarray = self._keys[np.minimum(place, len(self._keys) - 1)] == keys
        return found


def keys_of(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The keys (sentences,) uint64 of flat tokens (tokens,) and the lengths (sentences,)."""
    ends = np.cumsum(lengths)
    positions = np.arange(len(tokens)) - np.repeat(ends - lengths, lengths)
    sums = np.zeros(len(tokens) + 1, dtype=np.uint64)
    mixed = splitmix64(tokens.astype(np.uint64) | positions.astype(np.uint64) << POSITION)
    np.cumsum(mixed, out=sums[1:])
    keys: np.ndarray = sums[ends] - sums[ends - lengths]
    return keys


def splitmix64(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64 of each number, uint64."""
    mixed = (numbers + np.uint64(1)) * _STEP
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    result: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return result


class FeistelOrder:
    """A permutation of 0..count-1 that is computed where it is read; nothing is kept.

    A Feistel network of keyed rounds over the next power of four; numbers of `count` and above are
    sent through again until they fall below it (Black & Rogaway 2002).
    """

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._count = count
        self._half = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))  # bits
        self._mask = np.uint64(2 ** int(self._half) - 1)
        self._keys = rng.integers(2**64, size=ROUNDS, dtype=np.uint64)

    def __getitem__(self, places: slice) -> np.ndarray:
        """The numbers at `places` (begin:end): int64."""
        numbers = self._once(np.arange(places.start, places.stop, dtype=np.uint64))
        while (outside := numbers >= self._count).any():
            numbers[outside] = self._once(numbers[outside])
        return numbers.astype(np.int64)

    def _once(self, numbers: np.ndarray) -> np.ndarray:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ (splitmix64(right ^ key) & self._mask)
        return left << self._half | right


Order = np.ndarray | FeistelOrder  # read by slices


def shuffled(count: int, seed: int) -> Order:
    """The order in which `count` sentences are read, by a seed."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.permutation(count) if count <= SHUFFLED else FeistelOrder(count, rng)
