"""The fast kernels of a CPU, for float32; other types and devices take the definition.

- `decoder`: one compiled function a step (`numba_decoder`).
- `gumbel`: Philox in SIMD vectors (`numba_philox`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from core.kernels import numba_philox
from core.kernels.numba_decoder import BLOCK, Buffers, Caches, Rollout, Sizes, Weights, step
from core.kernels.numba_gemm import COLUMNS, ROWS, Affine, Array, pack, round_up
from core.kernels.numba_simd import LANES
from core.kernels.torch import Decoder, DecoderStack, Kernels
from core.types import Seeds


class CpuKernels(Kernels):
    """See `Kernels`."""

    name = "cpu"

    def decoder(self, stack: DecoderStack) -> Decoder:
        """See `Kernels.decoder`."""
        blocks = [*stack.noise_blocks, *stack.output_blocks]
        weights = [block.attention.query.weight for block in blocks]
        return CpuDecoder(stack) if weights and _is_float32(weights[0]) else super().decoder(stack)

    def gumbel(self, noise: Tensor, seeds: Seeds, step: int) -> Tensor:
        """See `Kernels.gumbel`."""
        if not _is_float32(noise):
            return super().gumbel(noise, seeds, step)
        room = numba_philox.room_of(noise.shape[1])
        for seed, rows in zip(seeds, noise.chunk(len(seeds)), strict=True):
            numba_philox.fill(rows.numpy(), room, seed, step)
        return noise


def _is_float32(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32


# The decoder.


class CpuDecoder:
    """See `core.kernels.Decoder`. Weights are packed once a rollout."""

    def __init__(self, stack: DecoderStack) -> None:
        blocks, count = [*stack.noise_blocks, *stack.output_blocks], stack.count
        attention, norm = blocks[0].attention, blocks[0].attention_norm
        E, H = attention.query.weight.shape[0], attention.heads
        memories = [memory.detach() for memory in stack.memories if memory is not None]
        sizes = Sizes(
            count, round_up(count, ROWS), E, round_up(E, COLUMNS), H,
            memories[0].shape[1] if memories else 0, norm.eps,
        )  # fmt: skip
        caches = Caches(
            _empty(len(blocks), count, H, round_up(stack.length, LANES) // LANES, 2, E // H, LANES),
            _memory(memories, H),
            _noise(stack.injected, E),
        )
        self._begin(sizes, _weights(blocks, stack.noise_blocks if memories else ()), caches)

    def _begin(self, sizes: Sizes, weights: Weights, caches: Caches) -> None:
        R, E = sizes.rows, sizes.padded
        longest = LANES * max(caches.own.shape[3], *caches.memory.shape[3:4])
        self.x = torch.zeros(2, R, E)
        buffers = Buffers(
            self.x.numpy(),
            np.zeros((2, R, 3 * E), np.float32),
            np.zeros((2, R, E), np.float32),
            _empty(BLOCK, COLUMNS * weights.enter.shape[1]),
            _empty(longest),
        )
        self.rollout = Rollout(sizes, weights, caches, buffers)

    def step(self, rows: Sequence[Tensor], start: int) -> Tensor:
        """See `Decoder.step`."""
        N, E = self.rollout.sizes.sentences, self.rollout.sizes.width
        for p, row in enumerate(rows):
            self.x[p, :N, :E] = row.detach()
        step(self.rollout, start, len(rows))
        return self.x[len(rows) - 1, :N, :E].clone()

    def fork(self, rows: Tensor) -> CpuDecoder:
        """See `Decoder.fork`."""
        of, caches = rows.numpy(), self.rollout.caches
        copy = object.__new__(CpuDecoder)
        copy._begin(
            self.rollout.sizes._replace(sentences=len(of), rows=round_up(len(of), ROWS)),
            self.rollout.weights,
            Caches(
                np.take(caches.own, of, 1),
                np.take(caches.memory, of, 1) if len(caches.memory) else caches.memory,
                np.take(caches.noise, of, 2) if len(caches.noise) else caches.noise,
            ),
        )
        return copy


def _empty(*shape: int) -> Array:
    """Numpy asks for large pages, torch does not."""
    return np.empty(shape, np.float32)


def _weights(blocks: Sequence[Any], crossing: Sequence[Any]) -> Weights:
    E = blocks[0].attention.query.weight.shape[0]
    norms = torch.zeros(len(blocks), 3, 2, round_up(E, COLUMNS))
    for numbers, block in zip(norms[..., :E], blocks, strict=True):
        for place, name in enumerate(("attention_norm", "cross_norm", "feed_forward_norm")):
            norm = getattr(block, name, None)
            if norm is not None:
                numbers[place] = torch.stack([norm.weight.detach(), norm.bias.detach()])
    return Weights(
        *_pack([_query_key_value(block.attention) for block in blocks]),
        *_pack([[_affine(block.attention.out)] for block in blocks]),
        *_pack([[_affine(block.cross.query)] for block in crossing]),
        *_pack([[_affine(block.cross.out)] for block in crossing]),
        *_pack([[_affine(block.feed_forward[0])] for block in blocks]),
        *_pack([[_affine(block.feed_forward[2])] for block in blocks]),
        norms.numpy(),
    )


def _pack(layers: Sequence[Sequence[Affine]]) -> tuple[Array, Array]:
    return pack(layers) if layers else (_empty(0, 1, 1, COLUMNS), _empty(0, COLUMNS))


def _query_key_value(attention: Any) -> list[Affine]:
    weights, biases = (part.chunk(2) for part in _affine(attention.key_value))
    return [_affine(attention.query), *zip(weights, biases, strict=True)]


def _affine(layer: nn.Linear) -> Affine:
    return layer.weight.detach(), layer.bias.detach()


def _memory(memories: Sequence[Tensor], heads: int) -> Array:
    """Keys and values (N, K, 2E) of each noise block as `Caches` stores them."""
    if not memories:
        return _empty(0, 1, 1, 1, 2, 1, LANES)
    N, K, width = memories[0].shape
    d, L = width // (2 * heads), round_up(K, LANES)
    found = _empty(len(memories), N, heads, L // LANES, 2, d, LANES)
    for to, memory in zip(torch.from_numpy(found), memories, strict=True):
        rows = pad(memory, (0, 0, 0, L - K)).view(N, L // LANES, LANES, 2, heads, d)
        to.copy_(rows.permute(0, 4, 1, 3, 5, 2))
    return found


def _noise(injected: Tensor | None, width: int) -> Array:
    """Injected noise (B, streams, N, S, E), the last axis in whole vectors."""
    if injected is None:
        return _empty(0, 1, 1, 1, LANES)
    rest = -width % LANES
    noise = pad(injected, (0, rest)) if rest else injected
    return noise.detach().contiguous().numpy()


CPU = CpuKernels()
