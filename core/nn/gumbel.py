"""Gumbel(0, 1) noise that can be drawn again: g = -log(-log u) with u uniform.

argmax(l + g) is a draw from softmax(l) (Gumbel 1954). The noise of one rollout step is a function
of (seeds, step), so that the one-pass evaluation of a gradient sees the very noise that selected
the words, and nobody has to keep (N, S, V) of it. Each seed serves an equal share of the
sentences: batches that were drawn together can be looked at apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.protocols import Seeds


def gumbel(seeds: Seeds, step: int, like: Tensor) -> Tensor:
    """Noise of one step, in the shape (N, V) and on the device of `like`."""
    if like.device.type == "cpu" and like.dtype == torch.float32:
        return _numbered(seeds, step, like.shape)
    u = torch.empty_like(like, requires_grad=False)
    for seed, rows in zip(seeds, u.chunk(len(seeds)), strict=True):
        rng = torch.Generator(device=like.device).manual_seed((seed + step) % 2**63)
        rows.uniform_(generator=rng)
    # Zero is drawn too; a quarter of the spacing keeps its logarithm finite.
    return u.clamp_min_(torch.finfo(u.dtype).eps / 4).log_().neg_().log_().neg_()


def _numbered(seeds: Seeds, step: int, shape: torch.Size) -> Tensor:
    """The same, of numbered random words: an eighth of the time."""
    from core.nn import philox  # brings a compiler: only where it is used

    noise = torch.empty(shape)
    room = philox.room_of(shape[1])
    for seed, rows in zip(seeds, noise.chunk(len(seeds)), strict=True):
        philox.fill(rows.numpy(), room, seed, step)
    return noise
