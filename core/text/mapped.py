"""Arrays that lie in files: read where they are touched, and held only for a while.

A touch of a mapped file brings up to 2 MB around it into the process, as its kernel likes. Those
pages belong to the file and the system may take them back, but they count as the process's memory
until it does. So they are given back whenever more than `ROOM` has come: a process holds no more of
a corpus than that.
"""

from __future__ import annotations

import mmap
import resource
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOM = 2**26  # bytes
STATM = Path("/proc/self/statm")
OF_FILES = 2  # place of a process's pages of files among those numbers


class Mapped:
    """A file of numbers of one type; `values` is the array, which nobody can write to."""

    def __init__(self, file: Path, dtype: np.dtype) -> None:
        with file.open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self.values: np.ndarray = np.frombuffer(self._map, dtype)

    def give_back(self) -> None:
        """Hold nothing of it; the next touch reads it again, mostly from the system's cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


class Held:
    """How much of some files this process holds; `look` now and then keeps it below `ROOM`."""

    def __init__(self, files: Sequence[Mapped]) -> None:
        self._files, self._before = files, of_files()

    def look(self) -> None:
        """Give back, if more has come than there is room for."""
        if self._files and of_files() - self._before > ROOM:
            self.give_back()

    def give_back(self) -> None:
        """Hold nothing of them."""
        for file in self._files:
            file.give_back()
        self._before = of_files()


def of_files() -> int:
    """Bytes of files that this process holds in memory; 0 where the system does not say."""
    try:
        return int(STATM.read_text().split()[OF_FILES]) * resource.getpagesize()
    except FileNotFoundError:
        return 0
