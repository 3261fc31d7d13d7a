"""Memory that tensors free stays with the process.

glibc gives large freed blocks back to the kernel at once, and the next tensor of that size faults
its pages in again: up to a fifth of a training step's processor time on a CPU.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MOST = 2**31 - 1  # bytes; blocks up to here come from the heap, and as many stay free on top of it
MOST_OF_OLD = 2**25  # bytes; where glibc takes no more


def keep_freed_memory() -> bool:
    """Ask the C library to keep what is freed; False where it is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    taken = mallopt(M_MMAP_THRESHOLD, MOST) or mallopt(M_MMAP_THRESHOLD, MOST_OF_OLD)
    return bool(taken and mallopt(M_TRIM_THRESHOLD, MOST))
