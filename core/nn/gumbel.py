"""Draws from softmax(l): argmax(l + g) with Gumbel(0, 1) noise g (Gumbel 1954).

The noise of one rollout step is a function of (seeds, step). It can be drawn again, so the parallel
pass of a gradient sees the noise that selected the tokens, and nobody keeps (N, S, V) of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.kernels.interface import Kernels
from core.types import Seeds


class DrawnSeeds(tuple[int, ...]):
    """Seeds whose noise was drawn in advance for all steps: (S, N, V)."""

    noise: Tensor

    def __new__(cls, seeds: Seeds, noise: Tensor) -> DrawnSeeds:
        """These seeds and their noise."""
        drawn = super().__new__(cls, seeds)
        drawn.noise = noise
        return drawn


def gumbel_noise(kernels: Kernels, seeds: Seeds, step: int, like: Tensor) -> Tensor:
    """Noise of one step, with shape (N, V), device and type of `like`; not to be written to."""
    if isinstance(seeds, DrawnSeeds):
        return seeds.noise[step]
    return kernels.gumbel(torch.empty_like(like, requires_grad=False), seeds, step)
