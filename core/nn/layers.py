"""Transformer layers with the original's residual form, norm(sublayer(x)) + x.

`NoiseBlock` (B of them): self-attention; add fresh noise; cross-attention to the mapped noise;
feed-forward. `Block` (the O output blocks, and the discriminator's layers): self-attention;
feed-forward. Positions are sinusoidal (Vaswani et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, linear

from core.nn.attention import Attention, AttentionMask, GrowingCache
from core.nn.linear import Linear


def sinusoidal(length: int, width: int) -> Tensor:
    """Position encodings (length, width): sine in the even columns, cosine in the odd ones."""
    position = torch.arange(length).unsqueeze(1)
    columns = (width + 1) // 2
    rate = torch.exp(torch.arange(columns) * (-2 * math.log(10_000.0) / width))
    table = torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=-1)
    return table.flatten(1)[:, :width]


class FeedForward(nn.Sequential):
    """Linear, GELU, linear: E to hidden to E."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(Linear(width, hidden), nn.GELU(), Linear(hidden, width))


@dataclass(frozen=True)
class Step:
    """The cache of a rollout step, the position of its first row, and what its rows see."""

    cache: GrowingCache
    layer: int
    start: int  # position of the first row
    mask: AttentionMask  # (P, start + P)


EVERY = slice(None)


class Block(nn.Module):
    """Self-attention and feed-forward over x (N, P, E).

    `asking` are the rows whose result is wanted: all of them are seen, but only these compute. The
    last block of a stack needs few (D's class row, G's queries).
    """

    autocast = False  # compute in bfloat16 (`core.nn.precision`), x stays as it is
    compiled = False  # the feed-forward half through torch's compiler

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)
        self.feed_forward_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, where: AttentionMask | Step, asking: slice = EVERY) -> Tensor:
        """All rows at once, or one rollout step on a cache."""
        with self._numbers(x):
            return self._feed(self._attend(x, where, asking))

    def _numbers(self, x: Tensor) -> AbstractContextManager[object]:
        if self.autocast:
            return torch.autocast(x.device.type, torch.bfloat16)
        return nullcontext()

    def _attend(self, x: Tensor, where: AttentionMask | Step, asking: slice) -> Tensor:
        asks = x[:, asking]
        k, v = self.attention.memory(x)
        if isinstance(where, Step):
            k, v = where.cache.extend(where.layer, k, v, where.start)
            mask = where.mask
        else:
            mask = where
        if mask is not None and mask.dim() == 2:  # a row for each query
            mask = mask[asking]
        result: Tensor = self.attention_norm(self.attention.attend(asks, k, v, mask)) + asks
        return result

    def _feed(self, x: Tensor) -> Tensor:
        if self.compiled:
            enter, _, leave = self.feed_forward
            norm = self.feed_forward_norm
            affine = (layer for part in (enter, leave, norm) for layer in (part.weight, part.bias))
            return _compiled()(x, *affine, norm.eps)
        fed: Tensor = self.feed_forward_norm(self.feed_forward(x))
        return fed + x


class NoiseBlock(Block):
    """A block that adds noise after its self-attention and then reads the mapped noise."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__(width, hidden, heads)
        self.cross = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width)

    def inject(
        self,
        x: Tensor,
        where: AttentionMask | Step,
        noise: Tensor,
        memory: Tensor | None,
        asking: slice = EVERY,
    ) -> Tensor:
        """X and noise (N, P, E); memory (N, K, 2E), which `cross.key_value` made, None without a
        mapping.
        """
        with self._numbers(x):
            x = self._attend(x, where, asking) + noise[:, asking]
            if memory is not None:
                x = self.cross_norm(self.cross.attend(x, *self.cross.split(memory), None)) + x
            return self._feed(x)


def feed(
    x: Tensor, w: Tensor, b: Tensor, v: Tensor, c: Tensor, scale: Tensor, shift: Tensor, eps: float
) -> Tensor:
    """norm(v gelu(w x + b) + c) + x over the last axis of x (N, P, E), in torch's functions."""
    fed = linear(gelu(linear(x, w, b)), v, c)
    return layer_norm(fed, scale.shape, scale, shift, eps) + x


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(feed)
