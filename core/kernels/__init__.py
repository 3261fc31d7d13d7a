"""Numerical back ends: one interface, `torch.py` its definition, `cpu.py` the fast one.

The model is written once, in `core.nn`, on top of these two operations. `torch.py` runs on every
device; `cpu.py` computes the same with compiled code, float32 on a CPU. Which one is used is chosen
once, where the parts of a run are built: `use_kernels(choose(device, setting), ...)`.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from core.kernels.torch import TORCH, Kernels

Setting = Literal["auto", "torch"]  # of the configuration: "torch" switches the fast kernels off


def choose(device: torch.device, setting: Setting = "auto") -> Kernels:
    """The fastest kernels for a device. Those of a CPU are for float32 and leave other types to the
    definition by themselves.
    """
    if setting == "auto" and device.type == "cpu":
        from core.kernels.cpu import CPU  # imports a compiler

        return CPU
    return TORCH


def use_kernels(kernels: Kernels, *parts: Any) -> None:
    """Let these parts, and all layers of modules among them, compute with `kernels`."""
    for part in parts:
        for layer in part.modules() if isinstance(part, nn.Module) else (part,):
            if isinstance(getattr(layer, "kernels", None), Kernels):
                layer.kernels = kernels
