"""Multi-head attention and its key/value caches.

softmax(q k^T / sqrt(d)) v over H heads of width d = E/H (Vaswani et al. 2017). The kernels are our
own where they pay (`core.nn.fused_attention`); else torch's fused one, but where a gradient penalty
differentiates twice (`core.nn.twice`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.nn import fused_attention, stacked, twice
from core.nn.linear import Linear
from core.nn.seen import Seen


class GrowingCache:
    """Keys and values of the positions a rollout has passed, one pair for each layer; concatenated,
    so that gradients flow back through every earlier step.
    """

    def __init__(self, layers: int) -> None:
        self._rows: list[tuple[Tensor, Tensor] | None] = [None] * layers

    def extend(self, layer: int, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Set rows (N, H, P, d) from `start` on; all rows (N, H, start + P, d) come back.

        Rows behind those that the next call starts at are forgotten: a query's own row is
        overwritten by the word that it asked for.
        """
        rows = self._rows[layer]
        if rows is not None and start > 0:
            k = torch.cat([rows[0][:, :, :start], k], dim=2)
            v = torch.cat([rows[1][:, :, :start], v], dim=2)
        self._rows[layer] = (k, v)
        return k, v

    def fork(self, rows: Tensor) -> GrowingCache:
        """A copy with the sentences `rows` (K,), which may repeat."""
        copy = GrowingCache(0)
        copy._rows = [
            None if pair is None else (pair[0][rows], pair[1][rows]) for pair in self._rows
        ]
        return copy


class Attention(nn.Module):
    """Multi-head attention of `width` E over `heads` H; memory may have another source."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(width, width)
        self.key_value = Linear(width, 2 * width)
        self.out = Linear(width, width)

    def memory(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (N, H, P, d) of x (N, P, E)."""
        return self.split(self.key_value(x))

    def read(self, x: Tensor, memory: Tensor, seen: Seen) -> Tensor:
        """Queries from x (N, P, E) over memory (N, K, 2E), which `key_value` made: (N, P, E)."""
        q = self.query(x)
        if fused_attention.pays(q, memory, self.heads, seen, twice.differentiated_twice()):
            heads = fused_attention.attention(q, memory, self.heads, seen)
        else:
            heads = self._by_torch(q, *self.split(memory), seen.mask)
        result: Tensor = self.out(heads)
        return result

    def attend(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Queries from x (N, P, E) over keys (N, H, K, d), as a rollout with gradient gathers them;
        mask (P, K) bool, True where a key may be seen. Result (N, P, E).
        """
        result: Tensor = self.out(self._by_torch(self.query(x), k, v, mask))
        return result

    def _by_torch(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        q = self._heads(q)
        if twice.differentiated_twice():
            heads = twice.attention(q, k, v, mask)
        else:
            heads = stacked.attention(q, k, v, mask)
        return heads.transpose(1, 2).flatten(2)

    def split(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (N, H, K, d) of memory (N, K, 2E), which `key_value` made."""
        k, v = memory.chunk(2, dim=-1)
        return self._heads(k), self._heads(v)

    def _heads(self, x: Tensor) -> Tensor:
        N, P, E = x.shape
        return x.view(N, P, self.heads, E // self.heads).transpose(1, 2)
