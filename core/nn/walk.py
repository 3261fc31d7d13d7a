"""What a decoder of a transformer walks, and what a decoder is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from core.nn.layers import Block, NoiseBlock

Memory = tuple[Tensor, Tensor]


class Decoder(Protocol):
    """The blocks of a stack, walking N sentences without gradient."""

    def step(self, rows: Sequence[Tensor], start: int) -> Tensor:
        """One step: one or two rows (N, E) from `start` on, each of which sees those before it and
        itself. The last row behind all blocks comes back, (N, E).
        """
        ...

    def fork(self, rows: Tensor) -> Decoder:
        """A copy with the sentences `rows` (K,), which may repeat."""
        ...


@dataclass(frozen=True)
class Walk:
    """What a decoder walks: its blocks, and what is known before the first step."""

    noise_blocks: Sequence[NoiseBlock]
    output_blocks: Sequence[Block]
    memories: Sequence[Memory | None]  # what each noise block crosses to, (N, H, P, d) each
    injected: Tensor | None  # (B, streams, N, S, E), the last new row is of the last stream
    count: int  # N
    length: int  # rows at most

    @property
    def blocks(self) -> list[Block]:
        """All of them, in order."""
        return [*self.noise_blocks, *self.output_blocks]
