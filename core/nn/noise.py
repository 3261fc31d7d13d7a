"""Noise that generators read, and Gumbel noise that selects tokens.

The original has three distributions: uniform(-1, 1), normal, and normal truncated at +-1.5.

argmax(l + g) with Gumbel(0, 1) noise g is a draw from softmax(l) (Gumbel 1954). The Gumbel noise of
one rollout step is a function of (seeds, step). It can be drawn again, so the parallel pass of a
gradient sees the noise that selected the tokens, and nobody keeps (N, S, V) of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from core.kernels.torch import Kernels
from core.types import Noise, NoiseKind, Seeds

TRUNCATION = 1.5


def draw_noise(kind: NoiseKind, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Independent noise of the given shape, on the generator's device."""
    empty = torch.empty(shape, device=rng.device)
    if kind == "uniform":
        return empty.uniform_(-1.0, 1.0, generator=rng)
    if kind == "normal":
        return empty.normal_(generator=rng)
    return torch.nn.init.trunc_normal_(empty, a=-TRUNCATION, b=TRUNCATION, generator=rng)


def scaled(noise: Noise, scale: float) -> Noise:
    """All that was drawn, multiplied by `scale`."""
    if scale == 1.0:
        return noise
    drawn = {name: getattr(noise, name) for name in ("latent", "inputs", "injected")}
    parts = {name: value * scale for name, value in drawn.items() if value is not None}
    return replace(noise, scale=noise.scale * scale, **parts)


def rows_of(noise: Noise, rows: Tensor | slice) -> Noise:
    """What was drawn for the sentences `rows` (K,), which may repeat."""
    latent, inputs, injected = noise.latent, noise.inputs, noise.injected
    device = None if isinstance(rows, slice) else rows.device
    drawn, places = noise.part_of or (noise.count, torch.arange(noise.count, device=device))
    return replace(
        noise,
        latent=None if latent is None else latent[rows],
        inputs=None if inputs is None else inputs[rows],
        injected=None if injected is None else injected[:, :, rows],
        count=len(places[rows]),
        part_of=(drawn, places[rows]),
    )


def dropout_masks(noise: Noise, rate: float, widths: Sequence[int], like: Tensor) -> list[Tensor]:
    """For each width a mask (N, 1, width) like `like`: 0 with probability `rate`, else
    1 / (1 - rate). All steps of a sentence share it (Gal & Ghahramani 2016). The noise's seed
    decides it, so that `step` and `parallel` see the same.
    """
    rng, keep = torch.Generator(device=like.device).manual_seed(noise.seed), 1 - rate
    drawn, rows = noise.part_of or (noise.count, slice(None))
    return [
        like.new_empty(drawn, 1, width).bernoulli_(keep, generator=rng)[rows] / keep
        for width in widths
    ]


def gumbel_noise(kernels: Kernels, seeds: Seeds, step: int, like: Tensor) -> Tensor:
    """Gumbel noise of one step, with shape (N, V), device and type of `like`."""
    return kernels.gumbel(torch.empty_like(like, requires_grad=False), seeds, step)
