"""`core.nn.plain_decoding` where one compiled function does a whole step: float32 on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from core.nn.attention import Attention
from core.nn.fused_step import BLOCK, Caches, Rollout, Room, Sizes, Weights, step
from core.nn.layers import Block, NoiseBlock
from core.nn.linear import Affine
from core.nn.panels import COLUMNS, ROWS, Array, panels, whole
from core.nn.simd import LANES
from core.nn.walk import Memory, Walk


class FusedDecoder:
    """See `core.nn.walk.Decoder`."""

    def __init__(self, walk: Walk) -> None:
        blocks, count = walk.blocks, walk.count
        attention, norm = blocks[0].attention, blocks[0].attention_norm
        E, H = attention.query.weight.shape[0], attention.heads
        seen = [memory for memory in walk.memories if memory is not None]
        sizes = Sizes(
            count, whole(count, ROWS), E, whole(E, COLUMNS), H,
            seen[0][0].shape[2] if seen else 0, norm.eps,
        )  # fmt: skip
        caches = Caches(
            _empty(len(blocks), count, H, whole(walk.length, LANES) // LANES, 2, E // H, LANES),
            _mapped(seen),
            _noise(walk.injected, E),
        )
        self._begin(sizes, _weights(blocks, walk.noise_blocks if seen else ()), caches)

    def _begin(self, sizes: Sizes, weights: Weights, caches: Caches) -> None:
        R, E = sizes.rows, sizes.padded
        longest = LANES * max(caches.words.shape[3], *caches.mapped.shape[3:4])
        self.x = torch.zeros(2, R, E)
        room = Room(
            self.x.numpy(),
            np.zeros((2, R, 3 * E), np.float32),
            np.zeros((2, R, E), np.float32),
            _empty(BLOCK, COLUMNS * weights.enter.shape[1]),
            _empty(longest),
        )
        self.rollout = Rollout(sizes, weights, caches, room)

    @torch.inference_mode()
    def step(self, rows: Sequence[Tensor], start: int) -> Tensor:
        """See `Decoder.step`."""
        N, E = self.rollout.sizes.sentences, self.rollout.sizes.width
        for p, row in enumerate(rows):
            self.x[p, :N, :E] = row
        step(self.rollout, start, len(rows))
        return self.x[len(rows) - 1, :N, :E].clone()

    def fork(self, rows: Tensor) -> FusedDecoder:
        """See `Decoder.fork`."""
        of, caches = rows.numpy(), self.rollout.caches
        copy = object.__new__(FusedDecoder)
        copy._begin(
            self.rollout.sizes._replace(sentences=len(of), rows=whole(len(of), ROWS)),
            self.rollout.weights,
            Caches(
                np.take(caches.words, of, 1),
                np.take(caches.mapped, of, 1) if len(caches.mapped) else caches.mapped,
                np.take(caches.noise, of, 2) if len(caches.noise) else caches.noise,
            ),
        )
        return copy


def _empty(*shape: int) -> Array:
    """Numpy asks for large pages, torch does not."""
    return np.empty(shape, np.float32)


def _weights(blocks: Sequence[Block], crossing: Sequence[NoiseBlock]) -> Weights:
    E = blocks[0].attention.query.weight.shape[0]
    norms = torch.zeros(len(blocks), 3, 2, whole(E, COLUMNS))
    for numbers, block in zip(norms[..., :E], blocks, strict=True):
        for place, name in enumerate(("attention_norm", "cross_norm", "feed_forward_norm")):
            norm = getattr(block, name, None)
            if norm is not None:
                numbers[place] = torch.stack([norm.weight.detach(), norm.bias.detach()])
    cross = [block.cross for block in crossing]
    return Weights(
        *panels([_projections(block.attention) for block in blocks]),
        *panels([_side_by_side(block.attention.out) for block in blocks]),
        *_of_some([_side_by_side(attention.query) for attention in cross]),
        *_of_some([_side_by_side(attention.out) for attention in cross]),
        *panels([_side_by_side(block.feed_forward[0]) for block in blocks]),
        *panels([_side_by_side(block.feed_forward[2]) for block in blocks]),
        norms.numpy(),
    )


def _of_some(layers: Sequence[Sequence[Affine]]) -> tuple[Array, Array]:
    return panels(layers) if layers else (_empty(0, 1, 1, COLUMNS), _empty(0, COLUMNS))


def _projections(attention: Attention) -> list[Affine]:
    """To queries, keys, values."""
    (query,) = _side_by_side(attention.query)
    weights, biases = (
        part.detach().chunk(2)
        for part in (attention.key_value.weight, attention.key_value.bias)
    )  # fmt: skip
    return [query, *zip(weights, biases, strict=True)]


def _side_by_side(*layers: nn.Module) -> list[Affine]:
    found = []
    for layer in layers:
        assert isinstance(layer, nn.Linear)
        found.append((layer.weight.detach(), layer.bias.detach()))
    return found


def _mapped(memories: Sequence[Memory]) -> Array:
    """Keys and values (N, H, P, d) of each noise block as `Caches` wants them."""
    if not memories:
        return _empty(0, 1, 1, 1, 2, 1, LANES)
    N, H, P, d = memories[0][0].shape
    L = whole(P, LANES)
    found = _empty(len(memories), N, H, L // LANES, 2, d, LANES)
    for to, pair in zip(torch.from_numpy(found), memories, strict=True):
        for place, x in enumerate(pair):
            rows = pad(x.detach(), (0, 0, 0, L - P)).reshape(N, H, -1, LANES, d)
            to[:, :, :, place] = rows.transpose(3, 4)
    return found


def _noise(injected: Tensor | None, width: int) -> Array:
    """Injected noise (B, streams, N, S, E), the last axis in whole vectors."""
    if injected is None:
        return _empty(0, 1, 1, 1, LANES)
    rest = -width % LANES
    noise = pad(injected, (0, rest)) if rest else injected
    return noise.detach().contiguous().numpy()
