"""Memory that tensors free stays with the process.

glibc gives large freed blocks back to the kernel at once, and the next tensor of that size faults
its pages in again: up to a fifth of a training step's processor time on a CPU. The largest blocks
go back all the same: of a freed one the next small tensor takes a piece, the next large one does
not fit in what is left, and the heap grows by one of them a step.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**25  # bytes; blocks up to here come from the heap
MOST = 2**31 - 1  # bytes that may stay free on top of it


def keep_freed_memory() -> bool:
    """Ask the C library to keep what is freed; False where it is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST) and mallopt(M_TRIM_THRESHOLD, MOST))
