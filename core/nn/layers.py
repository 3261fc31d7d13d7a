"""Transformer layers with the original's residual form, norm(sublayer(x)) + x.

`NoiseBlock` (B of them): self-attention; add fresh noise; cross-attention to the mapped noise;
feed-forward. `Block` (the O output blocks, and the discriminator's layers): self-attention;
feed-forward. Attention is softmax(q k^T / sqrt(d)) v over H heads of width d = E/H, positions are
sinusoidal (Vaswani et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

from core.kernels.torch import KeyValueCache

ALL_ROWS = slice(None)


def sinusoidal(length: int, width: int) -> Tensor:
    """Position encodings (length, width): sine in the even columns, cosine in the odd ones."""
    position = torch.arange(length).unsqueeze(1)
    columns = (width + 1) // 2
    rate = torch.exp(torch.arange(columns) * (-2 * math.log(10_000.0) / width))
    table = torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=-1)
    return table.flatten(1)[:, :width]


# Attention.


def padding_mask(visible: Tensor | None) -> Tensor | None:
    """Keys by `visible` (N, K), False after the end; None where nothing is hidden."""
    return None if visible is None else visible[:, None, None, :]


@lru_cache(maxsize=64)
def causal_mask(S: int, device: torch.device) -> Tensor:
    """(S, S): each of S tokens sees those up to itself."""
    return torch.ones(S, S, dtype=torch.bool, device=device).tril()


@dataclass(frozen=True)
class TwoStreams:
    """The rows are S - 1 tokens, then S queries. A row sees the tokens before its position, and
    itself: no query is seen by another row. A mask over all pairs of rows would hide more than half
    of them; here they are not computed.
    """

    before: Tensor  # (2S - 1, S - 1): 0 where a row sees a token, minus infinity elsewhere

    def of(self, rows: slice) -> TwoStreams:
        """The same for some of the rows as queries."""
        return TwoStreams(self.before[rows])

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Of queries (N, H, P, d), the last P rows, over the keys and values of all rows."""
        P, tokens = self.before.shape
        k_tokens, k_own = k[:, :, :tokens], k[:, :, -P:]
        v_tokens, v_own = v[:, :, :tokens], v[:, :, -P:]
        q = q / math.sqrt(q.shape[-1])
        seen = q @ k_tokens.transpose(2, 3) + self.before  # (N, H, P, S - 1)
        own = (q * k_own).sum(-1, keepdim=True)
        p = torch.cat([seen, own], dim=-1).softmax(-1)
        p_tokens, p_own = torch.split(p, [tokens, 1], dim=-1)
        return p_tokens @ v_tokens + p_own * v_own


@lru_cache(maxsize=64)
def two_streams(S: int, device: torch.device, dtype: torch.dtype) -> TwoStreams:
    """`TwoStreams` of S steps, for rows of this type."""
    position = torch.arange(S, device=device)
    hidden = torch.cat([position[:-1], position])[:, None] <= position[:-1]
    before = torch.zeros(hidden.shape, device=device, dtype=dtype)
    return TwoStreams(before.masked_fill(hidden, -math.inf))


# Bool, True where a query sees a key, broadcast to (N, H, P, K); None: every query sees every key.
AttentionMask = Tensor | TwoStreams | None


class Attention(nn.Module):
    """Multi-head attention of `width` E over `heads` H; keys and values may have another source."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: AttentionMask = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Queries from x (N, P, E) over memory (N, K, 2E), keys and values side by side as
        `key_value` gives them, and over those in the cache: (N, P, E).
        """
        k, v = (self._heads(part) for part in memory.chunk(2, dim=-1))
        if cache is not None:
            k, v = cache.extend(k, v)
        q = self._heads(self.query(x))
        if isinstance(mask, TwoStreams):
            y = mask.attention(q, k, v)
        else:
            y = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        result: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return result

    def _heads(self, x: Tensor) -> Tensor:
        """(N, P, E) to (N, H, P, d)."""
        N, P, E = x.shape
        return x.view(N, P, self.heads, E // self.heads).transpose(1, 2)


# Blocks.


class FeedForward(nn.Sequential):
    """Linear, GELU, linear: E to hidden to E."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class Block(nn.Module):
    """Self-attention and feed-forward over x (N, P, E).

    `rows` are the queries whose result is needed: all rows are keys, but only these are computed
    further. The last block of a stack needs few (D's class row, G's queries).
    """

    autocast = False  # compute in bfloat16 (`core.nn.precision`), x stays as it is
    compiled = False  # the feed-forward half through torch's compiler

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)
        self.feed_forward_norm = nn.LayerNorm(width)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask = None,
        rows: slice = ALL_ROWS,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """All rows at once, or the new rows of a rollout step on its cache."""
        with self._precision(x):
            return self._feed(self._attend(x, mask, rows, cache))

    def _precision(self, x: Tensor) -> AbstractContextManager[object]:
        return torch.autocast(x.device.type, torch.bfloat16) if self.autocast else nullcontext()

    def _attend(
        self, x: Tensor, mask: AttentionMask, rows: slice, cache: KeyValueCache | None
    ) -> Tensor:
        queries = x[:, rows]
        if isinstance(mask, TwoStreams):
            mask = mask.of(rows)
        elif mask is not None and mask.dim() == 2:  # a row for each query
            mask = mask[rows]
        attended = self.attention(queries, self.attention.key_value(x), mask, cache)
        result: Tensor = self.attention_norm(attended) + queries
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

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask = None,
        rows: slice = ALL_ROWS,
        cache: KeyValueCache | None = None,
        noise: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        """Noise (N, P, E); memory (N, K, 2E) by `cross.key_value`, None without a mapping."""
        assert noise is not None
        with self._precision(x):
            x = self._attend(x, mask, rows, cache) + noise[:, rows]
            if memory is not None:
                x = self.cross_norm(self.cross(x, memory)) + x
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
