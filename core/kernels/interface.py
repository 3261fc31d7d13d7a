"""The interface of numerical back ends: three operations, and a transformer as a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from core.types import Seeds


class Kernels(Protocol):
    """The operations. They hold no state, so every layer can share one instance."""

    name: str  # as the record of a run has it

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """X (..., K), weight (C, K), bias (C,) to x weight^T + bias (..., C); differentiable any
        number of times.
        """

    def decoder(self, stack: DecoderStack) -> Decoder:
        """Transformer blocks as a decoder for a rollout without gradient, which reads the weights
        as they are now.
        """

    def gumbel(self, noise: Tensor, seeds: Seeds, step: int) -> Tensor:
        """Gumbel(0, 1) noise of one rollout step, written to `noise` (N, V) and returned. It is a
        function of seed, step, row and column; each seed serves an equal share of the rows.
        """


class DecoderStack(Protocol):
    """The blocks of a transformer (`core.nn.layers`) and what N sentences read besides tokens."""

    @property
    def noise_blocks(self) -> Sequence[Any]:
        """The first blocks."""

    @property
    def output_blocks(self) -> Sequence[Any]:
        """The last blocks."""

    @property
    def memories(self) -> Sequence[Tensor | None]:
        """Keys and values (N, K, 2E) that each noise block crosses to."""

    @property
    def injected(self) -> Tensor | None:
        """Noise (B, streams, N, S, E); the last new row of a step reads the last stream."""

    @property
    def count(self) -> int:
        """N."""

    @property
    def length(self) -> int:
        """Rows of a sentence at most."""

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

    def fork(self, rows: Tensor) -> DecoderStack:
        """The same blocks for the sentences `rows` (K,), which may repeat."""


class Decoder(Protocol):
    """A transformer in a rollout of N sentences."""

    def step(self, rows: Sequence[Tensor], start: int) -> Tensor:
        """One or two new rows (N, E) from position `start` on, each of which sees the rows before
        it and itself. Rows that an earlier step put there are replaced. Returns the last row after
        all blocks (N, E).
        """

    def fork(self, rows: Tensor) -> Decoder:
        """A copy with the sentences `rows` (K,), which may repeat."""
