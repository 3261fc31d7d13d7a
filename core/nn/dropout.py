"""Dropout whose chance is its own, so that a seed reproduces and a run resumes.

torch's dropout draws from the process's global generator, which no checkpoint keeps and every
other use of chance moves. Here the mask of the k-th use is a function of (seed, k); both are kept
with the weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SEEDS = 2**62


class Dropout(nn.Module):
    """Zeroes each number with probability `rate` in training and divides the rest by 1 - rate."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        # From the stream that the weights beside it come from.
        self._seed, self._used = int(torch.randint(SEEDS, (), device="cpu").item()), 0

    def forward(self, x: Tensor) -> Tensor:
        """X of any shape."""
        if not self.training or self.rate == 0:
            return x
        rng = torch.Generator(device=x.device).manual_seed(self._seed + self._used)
        self._used += 1
        keep = 1 - self.rate
        return x * torch.empty_like(x, requires_grad=False).bernoulli_(keep, generator=rng) / keep

    def get_extra_state(self) -> Tensor:
        """Seed and uses so far, int64 (2,); on the CPU wherever the weights are."""
        return torch.tensor([self._seed, self._used])

    def set_extra_state(self, state: Tensor) -> None:
        """Go on where `state` was taken."""
        self._seed, self._used = (int(number) for number in state.tolist())
