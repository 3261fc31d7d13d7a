"""How much of the machine's matrix peak a piece of work reaches.

The peak is a large float32 product on one thread: in the library that is the faster one here, and
in the one that torch takes by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from core.kernels import choose

SIZE = 2048
TRIES = 5


@dataclass(frozen=True)
class Peak:
    """Operations a second of a large product."""

    best: float
    default: float  # of `torch.mm`

    @classmethod
    def measured(cls) -> Peak:
        """The best of a few tries."""
        a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
        kernels, rates = choose(torch.device("cpu")), []
        for multiply in (lambda: kernels.linear(a, b.T), lambda: a @ b):
            seconds = []
            for _ in range(TRIES):
                began = time.process_time()
                multiply()
                seconds.append(time.process_time() - began)
            rates.append(2 * SIZE**3 / min(seconds))
        return cls(max(rates), rates[1])

    def products(self, work: Callable[[], object]) -> float:
        """Operations in the matrix products of `work`."""
        return counted(work)

    def shares(self, operations: float, seconds: float) -> dict[str, float]:
        """What that work reached, for printing."""
        rate = operations / seconds
        return {
            "products_gflop": operations / 1e9,
            "gflops": rate / 1e9,
            "peak_gflops": self.best / 1e9,
            "share_of_peak": rate / self.best,
            "default_peak_gflops": self.default / 1e9,
            "share_of_default_peak": rate / self.default,
        }


def counted(work: Callable[[], object]) -> float:
    """Operations in the matrix products of `work`."""
    ours = torch.ops.mkldnn._linear_pointwise
    with FlopCounterMode(display=False, custom_mapping={ours: linear_flops}) as counter:
        work()
    return float(counter.get_total_flops())


def linear_flops(x: Any, weight: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Of x (..., K) times weight (N, K) transposed; shapes come in."""
    rows = 1
    for size in x[:-1]:
        rows *= size
    return int(2 * rows * weight[0] * weight[1])
