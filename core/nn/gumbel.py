"""Gumbel(0, 1) noise that can be drawn again: g = -log(-log u) with u uniform.

argmax(l + g) is a draw from softmax(l) (Gumbel 1954). The noise of one rollout step is a function
of (seeds, step), so that the one-pass evaluation of a gradient sees the very noise that selected
the words, and nobody has to keep (N, S, V) of it. Each seed serves an equal share of the
sentences: batches that were drawn together can be looked at apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.types import Seeds


class Laid(tuple[int, ...]):
    """Seeds whose noise was drawn beforehand, for all steps: (S, N, V)."""

    noise: Tensor

    def __new__(cls, seeds: Seeds, noise: Tensor) -> Laid:
        """These seeds and their noise."""
        laid = super().__new__(cls, seeds)
        laid.noise = noise
        return laid


def gumbel(seeds: Seeds, step: int, like: Tensor) -> Tensor:
    """Noise of one step, in the shape (N, V) and on the device of `like`; not to be written to."""
    if isinstance(seeds, Laid):
        return seeds.noise[step]
    return fill(torch.empty_like(like, requires_grad=False), seeds, step)


def fill(noise: Tensor, seeds: Seeds, step: int) -> Tensor:
    """Noise of one step in the place of `noise` (N, V)."""
    if noise.device.type == "cpu" and noise.dtype == torch.float32:
        return _numbered(noise, seeds, step)
    for seed, rows in zip(seeds, noise.chunk(len(seeds)), strict=True):
        rng = torch.Generator(device=noise.device).manual_seed((seed + step) % 2**63)
        rows.uniform_(generator=rng)
    # Zero is drawn too; a quarter of the spacing keeps its logarithm finite.
    return noise.clamp_min_(torch.finfo(noise.dtype).eps / 4).log_().neg_().log_().neg_()


def _numbered(noise: Tensor, seeds: Seeds, step: int) -> Tensor:
    """The same, of numbered random words: an eighth of the time."""
    from core.nn import philox  # brings a compiler: only where it is used

    room = philox.room_of(noise.shape[1])
    for seed, rows in zip(seeds, noise.chunk(len(seeds)), strict=True):
        philox.fill(rows.numpy(), room, seed, step)
    return noise
