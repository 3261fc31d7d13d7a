"""Whether what is computed now is one pass for many models with stacked weights.

`torch.func.vmap` runs torch's own operations for all of them at once (`core.stacked_steps`).
Compiled kernels, derivatives written out, checkpoints and choices that look at numbers are for
one model, so inside a stack each of them gives way to plain operations of the same value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_stacked: ContextVar[bool] = ContextVar("stacked", default=False)


@contextmanager
def stacking() -> Iterator[None]:
    """What is computed inside is computed for many models."""
    token = _stacked.set(True)
    try:
        yield
    finally:
        _stacked.reset(token)


def stacked() -> bool:
    """Whether this is so."""
    return _stacked.get()


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Torch's attention of q (N, H, P, d) over k and v (N, H, K, d); in a stack, where its fused
    kernel would be called once a model, by its definition. Mask True where a key may be seen.
    """
    if not stacked():
        return scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v
