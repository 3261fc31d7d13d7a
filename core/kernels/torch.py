"""The definition of every operation, in torch and numpy, for any device and type, and with it the
interface of the other back ends.

Gumbel noise is g = -log(-log u) with u uniform. On a CPU u = (k + 1/2) / 2^23, with k the first 23
bits of a random word of Philox 4x32-10 (Salmon et al. 2011): with C = 16 ceil(V / 64), word w of
counter (c, row, step, 0) under the key `seed` is number w C + c of its row. On another device u
comes from torch's generator, seeded with seed + step; samples of a GPU are other ones than those of
a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from core.types import Seeds

BITS = 32
LOW = np.uint64(2**BITS - 1)
FACTORS = 0xD2511F53, 0xCD9E8D57  # of the paper, as are the key steps
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
COUNTERS = 16  # of a row: a multiple of this, the widest vector of any processor


class Kernels:
    """The operations. They hold no state, so every layer can share one instance. A subclass
    computes the same, to rounding.
    """

    name = "torch"  # as the record of a run has it

    def decoder(self, stack: DecoderStack) -> Decoder:
        """Transformer blocks as a decoder for a rollout, which reads the weights as they are now.
        This one carries gradients if they are recorded; other back ends need not.
        """
        return TorchDecoder(stack)

    def gumbel(self, noise: Tensor, seeds: Seeds, step: int) -> Tensor:
        """Gumbel(0, 1) noise of one rollout step, written to `noise` (N, V) and returned. It is a
        function of seed, step, row and column; each seed serves an equal share of the rows.
        """
        for seed, rows in zip(seeds, noise.chunk(len(seeds)), strict=True):
            if noise.device.type == "cpu":
                rows.copy_(torch.from_numpy(_uniform(seed, step, *rows.shape)))
            else:
                rng = torch.Generator(device=noise.device).manual_seed((seed + step) % 2**63)
                rows.uniform_(generator=rng)
        # Zero is drawn too; a quarter of the spacing keeps its logarithm finite.
        return noise.clamp_min_(torch.finfo(noise.dtype).eps / 4).log_().neg_().log_().neg_()


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


class KeyValueCache:
    """Keys and values of one attention for the positions that a rollout has passed. They are
    concatenated, so that gradients flow back through every earlier step.
    """

    def __init__(self) -> None:
        self.start = 0  # rows from here on are replaced
        self._rows: tuple[Tensor, Tensor] | None = None

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Set rows (N, H, P, d) from `start` on; all rows (N, H, start + P, d) come back."""
        if self._rows is not None and self.start > 0:
            k, v = (
                torch.cat([old[:, :, : self.start], new], dim=2)
                for old, new in zip(self._rows, (k, v), strict=True)
            )
        self._rows = k, v
        return k, v

    def fork(self, rows: Tensor) -> KeyValueCache:
        """A copy with the sentences `rows` (K,), which may repeat."""
        copy = KeyValueCache()
        if self._rows is not None:
            k, v = self._rows
            copy._rows = k[rows], v[rows]
        return copy


class TorchDecoder:
    """The blocks themselves, one step after another. All shapes depend on the step alone and
    nothing on values.
    """

    def __init__(self, stack: DecoderStack) -> None:
        blocks = len(stack.noise_blocks) + len(stack.output_blocks)
        self.stack, self.caches = stack, [KeyValueCache() for _ in range(blocks)]

    def step(self, rows: Sequence[Tensor], start: int) -> Tensor:
        """See `Decoder.step`."""
        x = torch.stack(list(rows), dim=1)  # (N, P, E)
        P, mask, noise = len(rows), None, None
        if P > 1:
            mask = torch.ones(P, start + P, dtype=torch.bool, device=x.device).tril(start)
        if self.stack.injected is not None:
            noise = injected_rows(self.stack.injected, start, P)
        for cache in self.caches:
            cache.start = start
        return self.stack(x, mask, noise, slice(-1, None), self.caches)[:, -1]

    def fork(self, rows: Tensor) -> TorchDecoder:
        """See `Decoder.fork`."""
        copy = TorchDecoder(self.stack.fork(rows))
        copy.caches = [cache.fork(rows) for cache in self.caches]
        return copy


def injected_rows(injected: Tensor, start: int, rows: int) -> Tensor:
    """Of injected noise (B, streams, N, S, E) the part of `rows` rows (1 or 2) from `start` on, of
    which the last reads the last stream: (B, N, P, E).
    """
    streams = injected.shape[1]
    parts = [injected[:, streams - rows + p, :, start + p] for p in range(rows)]
    return torch.stack(parts, dim=2)


def _uniform(seed: int, step: int, rows: int, columns: int) -> np.ndarray:
    """Numbers (rows, columns) between 0 and 1, without either."""
    C = counters(columns)
    c = np.arange(C, dtype=np.uint64)[None]
    row = np.arange(rows, dtype=np.uint64)[:, None]
    words = philox(c, row, step, seed)
    bits = np.concatenate([np.broadcast_to(word, (rows, C)) for word in words], axis=1)
    return ((bits[:, :columns] >> np.uint64(9)).astype(np.float32) + np.float32(0.5)) / 2**23


def counters(columns: int) -> int:
    """C, the counters of a row."""
    return COUNTERS * math.ceil(columns / (4 * COUNTERS))


def philox(c: np.ndarray, row: np.ndarray, step: int, seed: int) -> list[np.ndarray]:
    """Philox 4x32-10: four random words of 32 bits, as uint64, for each counter (c, row, step, 0)
    under the key `seed` of 64 bits.
    """
    shift = np.uint64(BITS)
    factors, steps = np.array(FACTORS, np.uint64), np.array(KEY_STEPS, np.uint64)
    words = [c, row, np.full(1, step, np.uint64), np.zeros(1, np.uint64)]
    keys = [np.uint64(seed) & LOW, np.uint64(seed) >> shift]
    for _ in range(ROUNDS):
        first, second = factors[0] * words[0], factors[1] * words[2]
        words = [
            (second >> shift) ^ words[1] ^ keys[0],
            second & LOW,
            (first >> shift) ^ words[3] ^ keys[1],
            first & LOW,
        ]
        keys = [(key + more) & LOW for key, more in zip(keys, steps, strict=True)]
    return words


TORCH = Kernels()
