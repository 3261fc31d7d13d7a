"""Multi-head attention, its masks and its key/value caches.

softmax(q k^T / sqrt(d)) v over H heads of width d = E/H (Vaswani et al. 2017), by torch's kernel.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from core.nn.linear import Linear

# Bool, True where a query sees a key, broadcast to (N, H, P, K); None: every query sees every key.
AttentionMask = Tensor | None


def padding_mask(visible: Tensor | None) -> AttentionMask:
    """Keys by `visible` (N, K), False after the end; None where nothing is hidden."""
    return None if visible is None else visible[:, None, None, :]


@lru_cache(maxsize=64)
def causal_mask(S: int, device: torch.device) -> Tensor:
    """(S, S): each of S tokens sees those up to itself."""
    return torch.ones(S, S, dtype=torch.bool, device=device).tril()


@lru_cache(maxsize=64)
def two_stream_mask(S: int, device: torch.device) -> Tensor:
    """(2S - 1, 2S - 1): S - 1 tokens, then S queries. Tokens see tokens up to themselves; the query
    of step t sees the tokens before t and itself.
    """
    square = torch.ones(S, S, dtype=torch.bool, device=device)
    tokens = square[:-1, :-1].tril()
    before = square[:, :-1].tril(-1)
    nothing = torch.zeros(S - 1, S, dtype=torch.bool, device=device)
    itself = torch.eye(S, dtype=torch.bool, device=device)
    return torch.cat([torch.cat([tokens, nothing], 1), torch.cat([before, itself], 1)])


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

    def attend(self, x: Tensor, k: Tensor, v: Tensor, mask: AttentionMask) -> Tensor:
        """Queries from x (N, P, E) over keys and values (N, H, K, d): (N, P, E)."""
        q = self._heads(self.query(x))
        heads = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        result: Tensor = self.out(heads.transpose(1, 2).flatten(2))
        return result

    def split(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (N, H, K, d) of memory (N, K, 2E), which `key_value` made."""
        k, v = memory.chunk(2, dim=-1)
        return self._heads(k), self._heads(v)

    def _heads(self, x: Tensor) -> Tensor:
        N, P, E = x.shape
        return x.view(N, P, self.heads, E // self.heads).transpose(1, 2)
