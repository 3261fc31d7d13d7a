"""A transformer's rollout without gradient, by whichever decoder is the faster."""

from __future__ import annotations

import torch

from core.nn.plain_decoding import PlainDecoder
from core.nn.walk import Decoder, Walk


def decode(walk: Walk) -> Decoder:
    """The faster of the decoders that can walk it."""
    like = next((block.attention.query.weight for block in walk.blocks), None)
    if like is not None and like.device.type == "cpu" and like.dtype == torch.float32:
        from core.nn.fused_decoding import FusedDecoder  # a compiler: only where it is used

        return FusedDecoder(walk)
    return PlainDecoder(walk)
