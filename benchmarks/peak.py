"""How much of the machine's matrix peak a piece of work reaches.

The peak is a large float32 product on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

SIZE = 2048
TRIES = 5


def measured() -> float:
    """Operations a second of a large product: the best of a few tries."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    seconds = []
    for _ in range(TRIES):
        began = time.process_time()
        a @ b
        seconds.append(time.process_time() - began)
    return 2 * SIZE**3 / min(seconds)


def counted(work: Callable[[], object]) -> float:
    """Operations in the matrix products of `work`."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def shares(operations: float, seconds: float) -> dict[str, float]:
    """What that work reached, for printing."""
    rate, peak = operations / seconds, measured()
    return {
        "products_gflop": operations / 1e9,
        "gflops": rate / 1e9,
        "peak_gflops": peak / 1e9,
        "share_of_peak": rate / peak,
    }
