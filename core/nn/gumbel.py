"""Gumbel(0, 1) noise that can be drawn again: g = -log e with e ~ Exp(1).

argmax(l + g) is a draw from softmax(l) (Gumbel 1954). The noise of one rollout step is a function
of (seed, step), so that the one-pass evaluation of a gradient sees the very noise that selected
the words, and nobody has to keep (N, S, V) of it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gumbel(seed: int, step: int, like: Tensor) -> Tensor:
    """Noise of one step, in the shape (N, V) and on the device of `like`."""
    rng = torch.Generator(device=like.device).manual_seed((seed + step) % 2**63)
    e = torch.empty_like(like, requires_grad=False).exponential_(generator=rng)
    return -e.clamp_min(torch.finfo(like.dtype).tiny).log()


def gumbel_steps(seed: int, like: Tensor) -> Tensor:
    """Noise of all steps, in the shape (N, S, V) of `like`."""
    return torch.stack([gumbel(seed, t, like[:, t]) for t in range(like.shape[1])], dim=1)
