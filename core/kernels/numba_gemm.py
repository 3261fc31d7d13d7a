"""Packed GEMM: products of a few rows with a weight that is frozen during a rollout, float32.

A weight W (K, C) is stored as panels (C / COLUMNS, K, COLUMNS), so that a tile of ROWS x COLUMNS
sums stays in registers while k runs. Rows come in whole tiles, columns in whole panels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from torch import Tensor
from torch.nn.functional import pad

from core.kernels import numba_simd as simd

ROWS = simd.REGISTERS // 4
COLUMNS = 2 * simd.LANES

Array = np.ndarray[Any, np.dtype[np.float32]]
Affine = tuple[Tensor, Tensor]  # weight (C, K), bias (C,)


def round_up(count: int, multiple: int) -> int:
    """The next multiple."""
    return math.ceil(count / multiple) * multiple


def pack(layers: Sequence[Sequence[Affine]]) -> tuple[Array, Array]:
    """The weights of each layer side by side, every one padded to whole panels: (layers,
    C / COLUMNS, K, COLUMNS), and their biases (layers, C).
    """
    weights, biases = [], []
    for parts in zip(*layers, strict=True):
        w, b = (torch.stack(same) for same in zip(*parts, strict=True))
        rest = -w.shape[1] % COLUMNS
        weights.append(pad(w, (0, 0, 0, rest)))
        biases.append(pad(b, (0, rest)))
    w = torch.cat(weights, 1)
    w = w.view(len(w), -1, COLUMNS, w.shape[2]).transpose(2, 3)
    return w.contiguous().numpy(), torch.cat(biases, 1).numpy()


@simd.instruction(types.void, *[types.intp] * 7)
def _tile(builder: Any, x: Any, ldx: Any, w: Any, bias: Any, y: Any, ldy: Any, depth: Any) -> None:
    """ROWS rows of x times a panel w (depth, COLUMNS), plus bias, into y; row lengths in bytes."""

    def whole(n: int) -> Any:
        return ir.Constant(x.type, n)

    def ahead(address: Any, count: Any, size: Any) -> Any:
        return builder.add(address, builder.mul(count, size))

    def vectors(address: Any) -> Any:
        places = (ahead(address, whole(j), whole(4 * simd.LANES)) for j in range(2))
        return [simd.at_vector(builder, place) for place in places]

    start = [builder.load(place, align=4) for place in vectors(bias)]
    sums = [[cgutils.alloca_once_value(builder, v) for v in start] for _ in range(ROWS)]
    rows = [ahead(x, whole(row), ldx) for row in range(ROWS)]
    with cgutils.for_range(builder, depth) as loop:
        line = vectors(ahead(w, loop.index, whole(4 * COLUMNS)))
        right = [builder.load(place, align=4) for place in line]
        for row in range(ROWS):
            place = simd.at_float(builder, ahead(rows[row], loop.index, whole(4)))
            left = simd.spread(builder, builder.load(place, align=4))
            for to, v in zip(sums[row], right, strict=True):
                builder.store(simd.multiply_add(builder, left, v, builder.load(to)), to)
    for row in range(ROWS):
        places = vectors(ahead(y, whole(row), ldy))
        for to, place in zip(sums[row], places, strict=True):
            builder.store(builder.load(to), place, align=4)


@simd.called
def gemm(x: int, ldx: int, rows: int, weight: Array, bias: Array, y: int, ldy: int) -> None:
    """X (rows, K) to x W + bias (rows, C); W packed, row lengths in numbers."""
    panels, depth = weight.shape[0], weight.shape[1]
    for panel in range(panels):
        w, b = weight[panel].ctypes.data, bias.ctypes.data + 4 * panel * COLUMNS
        for row in range(0, rows, ROWS):
            to = y + 4 * (row * ldy + panel * COLUMNS)
            _tile(x + 4 * row * ldx, 4 * ldx, w, b, to, 4 * ldy, depth)
