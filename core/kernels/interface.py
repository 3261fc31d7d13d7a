"""A transformer as a decoder, which each back end computes in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class DecoderStack:
    """The blocks of a transformer (`core.nn.layers`) and what N sentences read besides tokens."""

    noise_blocks: Sequence[Any]  # the first blocks
    output_blocks: Sequence[Any]  # the last blocks
    memories: Sequence[Tensor | None]  # keys and values (N, K, 2E) that each noise block crosses to
    injected: Tensor | None  # (B, streams, N, S, E); the last new row reads the last stream
    count: int  # N
    length: int  # rows of a sentence at most

    def __call__(
        self,
        x: Tensor,
        mask: Any,
        noise: Tensor | None,
        rows: slice,
        caches: Sequence[Any] | None = None,
    ) -> Tensor:
        """All blocks over x (N, P, E) with noise (B, N, P, E) and an `AttentionMask`, the last
        block for the queries `rows` alone.
        """
        B, last = len(self.noise_blocks), len(self.noise_blocks) + len(self.output_blocks) - 1
        for layer, block in enumerate([*self.noise_blocks, *self.output_blocks]):
            cache = None if caches is None else caches[layer]
            some = rows if layer == last else slice(None)
            if layer < B:
                assert noise is not None
                x = block(x, mask, some, cache, noise[layer], self.memories[layer])
            else:
                x = block(x, mask, some, cache)
        return x

    def fork(self, rows: Tensor) -> DecoderStack:
        """The same blocks for the sentences `rows` (K,), which may repeat."""
        memories = [None if memory is None else memory[rows] for memory in self.memories]
        injected = None if self.injected is None else self.injected[:, :, rows]
        return replace(self, memories=memories, injected=injected, count=len(rows))


class Decoder(Protocol):
    """A transformer in a rollout of N sentences."""

    def step(self, rows: Sequence[Tensor], start: int) -> Tensor:
        """One or two new rows (N, E) from position `start` on, each of which sees the rows before
        it and itself. Rows that an earlier step put there are replaced. Returns the last row after
        all blocks (N, E).
        """

    def fork(self, rows: Tensor) -> Decoder:
        """A copy with the sentences `rows` (K,), which may repeat."""
