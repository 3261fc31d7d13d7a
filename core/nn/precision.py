"""Numeric precision of a run.

`float32`: everything. `tf32`: a GPU rounds the factors of its float32 products to 10 bits of
mantissa; a CPU has no such products. `bf16`: that, and transformer blocks compute in bfloat16 (7
bits), which GPUs multiply fastest. Even then these stay float32: weights, gradients and optimisers,
the residual sum outside the blocks, the vocabulary head and the selection of tokens, losses,
rollouts without gradient, and all that is differentiated twice (a penalty compares a norm with 1).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from core.nn.layers import Block

Precision = Literal["float32", "tf32", "bf16"]


def set_matmul_precision(precision: Precision, device: torch.device) -> None:
    """Products of this process on a GPU; torch's default is TF32 for some and not for others."""
    if device.type == "cuda":
        exact = precision == "float32"
        torch.set_float32_matmul_precision("highest" if exact else "high")
        torch.backends.cudnn.allow_tf32 = not exact


def set_blocks(module: nn.Module, *, autocast: bool, compiled: bool) -> None:
    """How the blocks of a module compute: in bfloat16; their feed-forward layers through torch's
    compiler.
    """
    for part in module.modules():
        if isinstance(part, Block):
            part.autocast, part.compiled = autocast, compiled
