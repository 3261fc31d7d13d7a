"""Which sentences have been seen: eight bytes each, where a set of integers takes a hundred."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

RECENT = 2**16


def hash_of(words: Sequence[str]) -> int:
    """64 bits of BLAKE2b of a sentence: its identity, here and for the split it belongs to."""
    digest = hashlib.blake2b(" ".join(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class Seen:
    """A growing set of hashes: the recent ones in a set, the others sorted in an array."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._older = np.empty(0, dtype=np.uint64)

    def add(self, key: int) -> bool:
        """Whether `key` is new."""
        if key in self._recent or self._has_older(key):
            return False
        self._recent.add(key)
        if len(self._recent) == RECENT:
            recent = np.fromiter(self._recent, dtype=np.uint64, count=RECENT)
            self._older = np.union1d(self._older, recent)
            self._recent.clear()
        return True

    def _has_older(self, key: int) -> bool:
        place = int(np.searchsorted(self._older, np.uint64(key)))
        return place < len(self._older) and int(self._older[place]) == key
