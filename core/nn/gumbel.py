"""Draws from softmax(l): argmax(l + g) with Gumbel(0, 1) noise g (Gumbel 1954).

The noise of one rollout step is a function of (seeds, step). It can be drawn again, so the parallel
pass of a gradient sees the noise that selected the tokens, and nobody keeps (N, S, V) of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.interfaces import Generator
from core.kernels import Kernels
from core.kernels.torch import TORCH
from core.seeding import draw_seeds
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


class GumbelMax:
    """Base of the samplings that draw a token from softmax(l) and feed it back.

    A sampling adds what D sees of it (`d_input`), and `feedback` if the next step is fed a mixture.
    """

    kernels: Kernels = TORCH
    soft_feedback = False

    def randomness(self, batches: int, rng: torch.Generator) -> Seeds:
        """The seeds of the Gumbel noise."""
        return draw_seeds(batches, rng)

    def select(self, logits: Tensor, step: int, seeds: Seeds, temperature: float) -> Tensor:
        """argmax(l + g): (N, V) to (N,)."""
        noise = gumbel_noise(self.kernels, seeds, step, logits)
        return logits.add_(noise).max(dim=-1).indices

    def feedback(
        self, generator: Generator, hidden: Tensor, step: int, seeds: Seeds, temperature: float
    ) -> Tensor:
        """Never called: the token is fed back."""
        raise AssertionError(f"{type(self).__name__} feeds tokens back")
