"""Numerical back ends: one interface, `torch.py` its definition, `cpu.py` the fast one.

The model is written once, in `core.nn`, on top of these three operations. `torch.py` runs on every
device; `cpu.py` computes the same with compiled code, float32 on a CPU. Which one is used is chosen
once, where the parts of a run are built: `use_kernels(choose(device, setting), ...)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from core.types import Seeds

Setting = Literal["auto", "torch"]  # of the configuration: "torch" switches the fast kernels off


class Kernels(Protocol):
    """The operations. They hold no state, so every layer can share one instance."""

    name: str  # as the record of a run has it

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """X (..., K), weight (C, K), bias (C,) to x weight^T + bias (..., C); differentiable any
        number of times.
        """
        ...

    def decoder(self, stack: DecoderStack) -> Decoder:
        """Transformer blocks as a decoder for a rollout without gradient, which reads the weights
        as they are now.
        """
        ...

    def gumbel(self, noise: Tensor, seeds: Seeds, step: int) -> Tensor:
        """Gumbel(0, 1) noise of one rollout step, written to `noise` (N, V) and returned. It is a
        function of seed, step, row and column; each seed serves an equal share of the rows.
        """
        ...


class DecoderStack(Protocol):
    """The blocks of a transformer (`core.nn.layers`) and what N sentences read besides tokens."""

    @property
    def noise_blocks(self) -> Sequence[Any]:
        """The first blocks."""
        ...

    @property
    def output_blocks(self) -> Sequence[Any]:
        """The last blocks."""
        ...

    @property
    def memories(self) -> Sequence[Tensor | None]:
        """Keys and values (N, K, 2E) that each noise block crosses to."""
        ...

    @property
    def injected(self) -> Tensor | None:
        """Noise (B, streams, N, S, E); the last new row of a step reads the last stream."""
        ...

    @property
    def count(self) -> int:
        """N."""
        ...

    @property
    def length(self) -> int:
        """Rows of a sentence at most."""
        ...

    def __call__(
        self,
        x: Tensor,
        mask: Tensor | None,
        noise: Tensor | None,
        rows: slice,
        caches: Sequence[Any] | None = None,
    ) -> Tensor:
        """All blocks over x (N, P, E) with noise (B, N, P, E), the last block for the queries
        `rows` alone.
        """
        ...

    def fork(self, rows: Tensor) -> DecoderStack:
        """The same blocks for the sentences `rows` (K,), which may repeat."""
        ...


class Decoder(Protocol):
    """A transformer in a rollout of N sentences."""

    def step(self, rows: Sequence[Tensor], start: int) -> Tensor:
        """One or two new rows (N, E) from position `start` on, each of which sees the rows before
        it and itself. Rows that an earlier step put there are replaced. Returns the last row after
        all blocks (N, E).
        """
        ...

    def fork(self, rows: Tensor) -> Decoder:
        """A copy with the sentences `rows` (K,), which may repeat."""
        ...


def choose(device: torch.device, setting: Setting = "auto") -> Kernels:
    """The fastest kernels for a device. Those of a CPU are for float32 and leave other types to the
    definition by themselves.
    """
    if setting == "auto" and device.type == "cpu":
        from core.kernels.cpu import CPU  # imports a compiler

        return CPU
    from core.kernels.torch import TORCH

    return TORCH


def use_kernels(kernels: Kernels, *parts: Any) -> None:
    """Let these parts, and all layers of modules among them, compute with `kernels`."""
    from core.kernels.torch import TorchKernels

    for part in parts:
        for layer in part.modules() if isinstance(part, nn.Module) else (part,):
            if isinstance(getattr(layer, "kernels", None), TorchKernels):
                layer.kernels = kernels
