"""A transformer's rollout without gradient: one or two new rows a sentence and step, on caches that
are written in place.

The same function as the blocks of `core.nn.layers` on a growing cache, laid out for speed, in
torch's operations; `core.nn.fused_decoding` has it as one compiled function a step. Keys stand as
(N H, d, L) and values as (N H, L, d), so that each attention is two batched products; their last
axis is read in windows that grow by `WINDOW`, with what is not yet there masked out. All tensors of
a step but the row's number have shapes that repeat in every rollout, and nothing in it depends on
values, so a CUDA graph can capture it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from core.nn.attention import Attention
from core.nn.layers import Block, NoiseBlock
from core.nn.linear import Affine, gelu_linear, linear
from core.nn.noise import injected_rows
from core.nn.walk import Memory, Walk

WINDOW = 16  # positions; a multiple of the numbers in a vector register


def _affine(layer: nn.Module) -> Affine:
    assert isinstance(layer, nn.Linear)
    return layer.weight.detach(), layer.bias.detach()


@dataclass(frozen=True)
class Cached:
    """One attention: its weights (looked up once, a module's look-ups add up) and what it sees."""

    heads: int
    query: Affine
    key_value: Affine
    out: Affine
    keys: Tensor  # (N, H, d, L)
    values: Tensor  # (N, H, L, d)

    @classmethod
    def of(cls, attention: Attention, keys: Tensor, values: Tensor) -> Cached:
        """Over keys (N, H, d, L) and values (N, H, L, d)."""
        return cls(
            attention.heads,
            _affine(attention.query),
            _affine(attention.key_value),
            _affine(attention.out),
            keys.contiguous(),
            values.contiguous(),
        )

    @classmethod
    def empty(cls, attention: Attention, count: int, length: int) -> Cached:
        """Over `length` rows that are to come."""
        weight = attention.query.weight
        H, d = attention.heads, weight.shape[0] // attention.heads
        keys, values = ((count, H, d, length), (count, H, length, d))
        return cls.of(attention, weight.new_zeros(keys), weight.new_zeros(values))

    def extend(self, x: Tensor, start: int) -> None:
        """Write keys and values of x (P, N, E) from row `start` on."""
        P, N, H = len(x), *self.keys.shape[:2]
        k, v = linear(x, *self.key_value).view(P, N, 2, H, -1).unbind(2)
        self.keys[..., start : start + P] = k.permute(1, 2, 3, 0)
        self.values[:, :, start : start + P] = v.permute(1, 2, 0, 3)

    def attend(self, x: Tensor, bias: Tensor) -> Tensor:
        """Queries x (P, N, E) over the first W rows, `bias` (1, P, W) added: (P, N, E)."""
        d, W = self.keys.shape[2], bias.shape[-1]
        q = linear(x, *self.query).view(len(x), -1, d).transpose(0, 1)  # (N H, P, d)
        keys, values = self.keys.flatten(0, 1)[..., :W], self.values.flatten(0, 1)[:, :W]
        scores = torch.baddbmm(bias, q, keys, alpha=1 / math.sqrt(d))
        heads = torch.bmm(torch.softmax(scores, -1), values)
        return linear(heads.transpose(0, 1).reshape(x.shape), *self.out)

    def fork(self, rows: Tensor) -> Cached:
        """A copy with the sentences `rows` (K,), which may repeat."""
        return replace(self, keys=self.keys[rows], values=self.values[rows])


@dataclass(frozen=True)
class Layer:
    """One block on its cache."""

    attention: Cached
    attention_norm: Norm
    cross: Cached | None
    cross_norm: Norm | None
    enter: Affine
    leave: Affine
    feed_forward_norm: Norm

    @classmethod
    def of(cls, block: Block, memory: Memory | None, count: int, length: int) -> Layer:
        """An empty cache of `length` rows; `memory` as `Attention.memory` gives it."""
        cross = cross_norm = None
        if memory is not None:
            assert isinstance(block, NoiseBlock)
            cross = Cached.of(block.cross, memory[0].mT, memory[1])
            cross_norm = Norm.of(block.cross_norm)
        own = Cached.empty(block.attention, count, length)
        norms = Norm.of(block.attention_norm), Norm.of(block.feed_forward_norm)
        feed = _affine(block.feed_forward[0]), _affine(block.feed_forward[2])
        return cls(own, norms[0], cross, cross_norm, *feed, norms[1])

    def step(
        self, x: Tensor, start: int, bias: Tensor, everything: Tensor, noise: Tensor | None
    ) -> Tensor:
        """Rows x (P, N, E) from `start` on; as many of the last ones as `bias` has come back."""
        self.attention.extend(x, start)
        x = x[-bias.shape[1] :]
        x = self.attention_norm(self.attention.attend(x, bias)).add_(x)
        if noise is not None:
            x.add_(noise[-len(x) :])
        if self.cross is not None and self.cross_norm is not None:
            x = self.cross_norm(self.cross.attend(x, everything)).add_(x)
        fed = linear(gelu_linear(x, *self.enter), *self.leave)
        return self.feed_forward_norm(fed).add_(x)

    def fork(self, rows: Tensor) -> Layer:
        """See `Cached.fork`."""
        cross = None if self.cross is None else self.cross.fork(rows)
        return replace(self, attention=self.attention.fork(rows), cross=cross)


@dataclass(frozen=True)
class Norm:
    """A layer norm's numbers."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> Norm:
        """Of a module."""
        return cls(norm.weight.detach(), norm.bias.detach(), norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        """Over the last axis."""
        return layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class PlainDecoder:
    """A decoder of torch's own functions, for any device and type."""

    def __init__(self, walk: Walk) -> None:
        blocks, memories = walk.blocks, walk.memories
        length = math.ceil(walk.length / WINDOW) * WINDOW
        padded = [*memories, *[None] * len(walk.output_blocks)]
        self.layers = [
            Layer.of(block, memory, walk.count, length)
            for block, memory in zip(blocks, padded, strict=True)
        ]
        like = blocks[0].attention.query.weight if blocks else torch.empty(0)
        self.bias = like.new_full((1, length, length), -math.inf).triu_(1)
        seen = [memory[0].shape[2] for memory in memories if memory is not None]
        self.everything = like.new_zeros(1, 2, max(seen, default=0))
        self.injected = walk.injected

    @torch.inference_mode()
    def step(self, rows: Sequence[Tensor], start: int) -> Tensor:
        """See `Decoder.step`."""
        x = torch.stack(list(rows))  # (P, N, E)
        end, last = start + len(x), len(self.layers) - 1
        bias = self.bias[:, start:end, : math.ceil(end / WINDOW) * WINDOW]
        everything = self.everything[:, : len(x)]
        noise = None if self.injected is None else injected_rows(self.injected, start, len(x))
        for number, layer in enumerate(self.layers):
            if number == last:  # only the last row asks
                bias, everything = bias[:, -1:], everything[:, -1:]
            injected = None if noise is None or number >= len(noise) else noise[number]
            x = layer.step(x, start, bias, everything, injected)
        return x[-1]

    def fork(self, rows: Tensor) -> PlainDecoder:
        """See `Decoder.fork`."""
        copy = object.__new__(PlainDecoder)
        copy.bias, copy.everything = self.bias, self.everything
        copy.injected = None if self.injected is None else self.injected[:, :, rows]
        copy.layers = [layer.fork(rows) for layer in self.layers]
        return copy
