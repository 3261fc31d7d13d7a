"""Multi-head attention and its key/value caches.

softmax(q k^T / sqrt(d)) v over H heads of width d = E/H (Vaswani et al. 2017). The kernel is
torch's fused one, but where a gradient penalty differentiates twice (`core.nn.twice`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from core.nn import twice
from core.nn.linear import Linear


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
        k, v = self.key_value(x).chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def attend(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Queries from x (N, P, E) over keys (N, H, K, d); mask (P, K) or (N, 1, 1, K) bool,
        True where a key may be seen. Result (N, P, E).
        """
        q = self._split(self.query(x))
        if twice.differentiated_twice():
            heads = twice.attention(q, k, v, mask)
        else:
            heads = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        result: Tensor = self.out(heads.transpose(1, 2).flatten(2))
        return result

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Self-attention over x (N, P, E)."""
        return self.attend(x, *self.memory(x), mask)

    def _split(self, x: Tensor) -> Tensor:
        N, P, E = x.shape
        return x.view(N, P, self.heads, E // self.heads).transpose(1, 2)
