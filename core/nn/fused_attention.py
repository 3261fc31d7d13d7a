"""Attention by our own kernels (`core.nn.attention_kernels`), differentiable twice.

They read and write (N, P, E), as linear layers do, so no head is copied out and back. They pay for
short sentences and narrow heads on one thread, which is what a text GAN has; elsewhere torch's
kernels are taken. Which ones depends on device, type, threads and shape alone.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from core.nn import attention_kernels as kernels
from core.nn.attention_kernels import Back, Given, Sight, Sizes
from core.nn.seen import Seen
from core.nn.simd import LANES
from core.nn.stacked import stacked

WIDEST = 32  # a head
LONGEST = 512  # keys or queries


def pays(q: Tensor, kv: Tensor, heads: int, seen: Seen, twice: bool) -> bool:
    """Whether our kernels do this, and faster."""
    longest = max(q.shape[1], kv.shape[1]) if seen.packed is None else int(seen.packed.max())
    return (
        q.dtype == kv.dtype
        and fits(q, q.shape[2] // heads, longest)
        and seen.whole
        and not (twice and seen.own is not None)
    )


def fits(x: Tensor, d: int, longest: int) -> bool:
    """Whether our kernels take such numbers, in heads of width d, and sentences so long."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch.get_num_threads() == 1
        and d % 8 == 0
        and d <= WIDEST
        and longest <= LONGEST
        and not stacked()
    )


def attention(q: Tensor, kv: Tensor, heads: int, seen: Seen) -> Tensor:
    """Queries (N, P, E) over keys and values (N, K, 2E), side by side: (N, P, E). Of packed
    sentences all rows are one sentence's (1, rows, E).
    """
    N, P, E = q.shape
    K = kv.shape[1]
    queries, keys = _starts(N, P), _starts(N, K)
    if seen.packed is not None:
        N, K = len(seen.packed), int(seen.packed.max())
        keys = np.r_[0, np.cumsum(seen.packed)]
        P, queries = (1, _starts(N, 1)) if seen.one_asks else (K, keys)
    sizes = Sizes(N, P, K, heads, E // heads, math.ceil(P / LANES))
    sight = _sight(seen, sizes, queries, keys)
    if not torch.is_grad_enabled():
        return _forward(q, kv, sizes, sight)[0]
    result: Tensor = _Attention.apply(q, kv, sizes, sight)  # type: ignore[no-untyped-call]
    return result


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, kv: Tensor, sizes: Sizes, sight: Sight) -> Tensor:
        q, kv = q.contiguous(), kv.contiguous()
        result, kept = _forward(q, kv, sizes, sight)
        ctx.save_for_backward(q, kv, result, kept)
        ctx.rest = sizes, sight
        return result

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        q, kv, result, kept = ctx.saved_tensors
        parts = g.contiguous(), q, kv, result.detach(), kept, *ctx.rest
        return *_Gradient.apply(*parts), None, None  # type: ignore[no-untyped-call]


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, q: Tensor, kv: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        result, kept, sizes, sight = rest
        dq, dkv = torch.empty_like(q), torch.empty_like(kv)
        room = _room(q, 2 * sizes.d * sizes.blocks + 8 * sizes.d + 2 * sizes.K * sizes.blocks)
        given = _addresses(q, kv, result, kept, room)
        kernels.backward(given, sizes, sight, g.data_ptr(), dq.data_ptr(), dkv.data_ptr())
        ctx.save_for_backward(g, q, kv, result, kept)
        ctx.rest = sizes, sight
        return dq, dkv

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, aq: Tensor, akv: Tensor) -> tuple[Tensor | None, ...]:
        g, q, kv, result, kept = ctx.saved_tensors
        sizes, sight = ctx.rest
        aq, akv = aq.contiguous(), akv.contiguous()
        found = torch.empty_like(g), torch.empty_like(q), torch.empty_like(kv)
        K, blocks = sizes.K, sizes.blocks
        room = _room(q, (3 * blocks + 1) * sizes.d + 3 * K + 3 * K * blocks)
        given = _addresses(q, kv, result, kept, room)
        back = Back(*(x.data_ptr() for x in (g, aq, akv, *found)))
        kernels.second(given, sizes, sight, back)
        return *found, None, None, None, None


def _forward(q: Tensor, kv: Tensor, sizes: Sizes, sight: Sight) -> tuple[Tensor, Tensor]:
    q, kv = q.contiguous(), kv.contiguous()
    result = torch.empty_like(q)
    blocks = int((-(-np.diff(sight.queries) // LANES)).sum())
    kept = q.new_empty(sizes.H * blocks, 2, LANES)
    room = _room(q, 6 * sizes.d + sizes.K)
    kernels.forward(_addresses(q, kv, result, kept, room), sizes, sight)
    return result, kept


def _room(like: Tensor, vectors: int) -> Tensor:
    return like.new_empty(vectors * LANES)


def _addresses(*tensors: Tensor) -> Given:
    return Given(*(tensor.data_ptr() for tensor in tensors))


def _sight(seen: Seen, sizes: Sizes, queries: np.ndarray, keys: np.ndarray) -> Sight:
    everything = _blocks(None, sizes.P, sizes.K) if seen.upto is None else None
    upto, fewest, most = everything or _blocks(seen.upto.tobytes(), sizes.P, sizes.K)  # type: ignore[union-attr]
    own = NO_OWN if seen.own is None else seen.own
    lengths = seen.lengths if seen.packed is None else seen.packed
    if lengths is None:
        lengths = _all(sizes.N, sizes.K)
    return Sight(upto, fewest, most, own, lengths, queries, keys)


NO_OWN = np.zeros(0, dtype=np.int64)


@lru_cache(maxsize=64)
def _blocks(upto: bytes | None, P: int, K: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys that each query sees, as float32 of whole blocks, and the extremes of each block."""
    each = np.full(P, K) if upto is None else np.frombuffer(upto, dtype=np.int64)
    padded = np.pad(each, (0, -P % LANES), mode="edge").reshape(-1, LANES)
    return padded.ravel().astype(np.float32), padded.min(1), padded.max(1)


@lru_cache(maxsize=64)
def _all(N: int, K: int) -> np.ndarray:
    return np.full(N, K)


@lru_cache(maxsize=64)
def _starts(N: int, rows: int) -> np.ndarray:
    return np.arange(N + 1) * rows
