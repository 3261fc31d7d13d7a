"""The order in which the sentences of a split are read: a permutation of 0..n-1, drawn by a seed.

Up to `HELD` sentences it is drawn and held (Fisher and Yates). Of more it is computed where it is
asked for and nothing is held: a Feistel network of keyed rounds over the next power of four, of
which numbers beyond n are sent through again until they fall below (Black and Rogaway 2002).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from core.text.known import mixed

HELD = 2**22  # sentences; 32 MB
ROUNDS = 8


class Order(Protocol):
    """A permutation, asked for a stretch at a time."""

    def __getitem__(self, places: slice) -> np.ndarray:
        """What stands at `places` (begin:end): int64."""
        ...


class Computed:
    """A permutation of which nothing is held."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._count = count
        self._half = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))  # bits
        self._mask = np.uint64(2 ** int(self._half) - 1)
        self._keys = rng.integers(2**64, size=ROUNDS, dtype=np.uint64)

    def __getitem__(self, places: slice) -> np.ndarray:
        """What stands at `places` (begin:end): int64."""
        numbers = self._once(np.arange(places.start, places.stop, dtype=np.uint64))
        while (outside := numbers >= self._count).any():
            numbers[outside] = self._once(numbers[outside])
        return numbers.astype(np.int64)

    def _once(self, numbers: np.ndarray) -> np.ndarray:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ (mixed(right ^ key) & self._mask)
        return left << self._half | right


def ordered(count: int, seed: int) -> Order:
    """The order of `count` sentences that belongs to a seed."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.permutation(count) if count <= HELD else Computed(count, rng)
