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

from core.nn import twice
from core.nn.attention import Attention, GrowingCache
from core.nn.linear import Linear
from core.nn.seen import EVERYTHING, Seen


def sinusoidal(length: int, width: int) -> Tensor:
    """Position encodings (length, width): sine in the even columns, cosine in the odd ones."""
    position = torch.arange(length).unsqueeze(1)
    columns = (width + 1) // 2
    rate = torch.exp(torch.arange(columns) * (-2 * math.log(10_000.0) / width))
    table = torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=-1)
    return table.flatten(1)[:, :width]


class LayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm`, and its second derivative in closed form."""

    def forward(self, x: Tensor) -> Tensor:
        """Over the last axis."""
        if twice.differentiated_twice():
            return twice.layer_norm(x, self.weight, self.bias, self.eps)
        return super().forward(x)


class Gelu(nn.GELU):
    """`torch.nn.GELU`, and its second derivative in closed form."""

    def forward(self, x: Tensor) -> Tensor:
        """Number by number."""
        return twice.gelu(x) if twice.differentiated_twice() else super().forward(x)


class FeedForward(nn.Sequential):
    """Linear, GELU, linear: E to hidden to E."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(Linear(width, hidden), Gelu(), Linear(hidden, width))


@dataclass(frozen=True)
class Step:
    """Where in a rollout some rows stand: their cache, their first row, what they may see."""

    cache: GrowingCache
    layer: int
    start: int  # position of the first row
    mask: Tensor | None  # (P, start + P)


EVERY = slice(None)


class Block(nn.Module):
    """Self-attention and feed-forward over x (N, P, E).

    `asking` are the rows whose result is wanted: all of them are seen, but only these compute. The
    last block of a stack needs few (D's class row, G's queries).
    """

    lowered = False  # computes in bfloat16 (`core.nn.precision`), x stays as it is
    fused = False  # the feed-forward half through torch's compiler

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.attention_norm = LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)
        self.feed_forward_norm = LayerNorm(width)

    def forward(self, x: Tensor, where: Seen | Step, asking: slice | Tensor = EVERY) -> Tensor:
        """All rows at once, or one rollout step on a cache."""
        with self._numbers(x):
            return self._feed(self._attend(x, where, asking))

    def _numbers(self, x: Tensor) -> AbstractContextManager[object]:
        if self.lowered and not twice.differentiated_twice():
            return torch.autocast(x.device.type, torch.bfloat16)
        return nullcontext()

    def _attend(self, x: Tensor, where: Seen | Step, asking: slice | Tensor) -> Tensor:
        asks = x[:, asking]
        if isinstance(where, Step):
            k, v = where.cache.extend(where.layer, *self.attention.memory(x), where.start)
            mask = None if where.mask is None else where.mask[asking]
            attended = self.attention.attend(asks, k, v, mask)
        else:
            memory = self.attention.key_value(x)
            attended = self.attention.read(
                asks, memory, where if asking is EVERY else where.rows(asking)
            )
        result: Tensor = self.attention_norm(attended) + asks
        return result

    def _feed(self, x: Tensor) -> Tensor:
        if self.fused and not twice.differentiated_twice():  # the compiler has one derivative
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
        self.cross_norm = LayerNorm(width)

    def inject(
        self,
        x: Tensor,
        where: Seen | Step,
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
                x = self.cross_norm(self.cross.read(x, memory, EVERYTHING)) + x
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
