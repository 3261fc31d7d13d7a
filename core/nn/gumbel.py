"""Draws from softmax(l): argmax(l + g) with Gumbel(0, 1) noise g (Gumbel 1954).

The noise of one rollout step is a function of (seeds, step). It can be drawn again, so the parallel
pass of a gradient sees the noise that selected the tokens, and nobody keeps (N, S, V) of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.kernels.interface import Kernels
from core.types import Seeds


def gumbel_noise(kernels: Kernels, seeds: Seeds, step: int, like: Tensor) -> Tensor:
    """Noise of one step, with shape (N, V), device and type of `like`."""
    return kernels.gumbel(torch.empty_like(like, requires_grad=False), seeds, step)
