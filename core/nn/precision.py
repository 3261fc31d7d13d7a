"""In which numbers a run computes.

`float32`: in these alone. `tf32`: a GPU rounds the factors of its float32 products to 10 bits
behind the point; a CPU knows no such products. `bf16`: that, and transformer blocks compute in
bfloat16 (7 bits), which GPUs multiply fastest. Even then float32 are weights, gradients and
optimisers, the sum that runs past the blocks, the vocabulary head and its choice of words, losses,
rollouts without gradient, and all that is differentiated twice: a penalty is a distance of a norm
from one.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from core.nn.layers import Block

Precision = Literal["float32", "tf32", "bf16"]


def settle(precision: Precision, device: torch.device) -> None:
    """Products of this process on a GPU; torch's own choice is TF32 for some and not for others."""
    if device.type == "cuda":
        exact = precision == "float32"
        torch.set_float32_matmul_precision("highest" if exact else "high")
        torch.backends.cudnn.allow_tf32 = not exact


def lower(module: nn.Module) -> None:
    """Let the blocks of a module compute in bfloat16."""
    for part in module.modules():
        if isinstance(part, Block):
            part.autocast = True


def fuse(module: nn.Module) -> None:
    """Send the feed-forward layers of a module's blocks through torch's compiler."""
    for part in module.modules():
        if isinstance(part, Block):
            part.compiled = True
