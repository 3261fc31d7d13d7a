"""Gumbel noise from Philox 4x32-10 in SIMD vectors: float32 on a CPU. Defined in `torch.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from core.compiled import compiled
from core.kernels import numba_simd as simd
from core.kernels.torch import FACTORS, KEY_STEPS, ROUNDS, counters

Array = np.ndarray[Any, np.dtype[np.float32]]

WIDE = ir.VectorType(ir.IntType(64), simd.LANES // 2)
LOW = 2**32 - 1


def _number(n: int) -> Any:
    return ir.Constant(simd.INTS, [n] * simd.LANES)


def _products(builder: Any, factor: int, x: Any) -> tuple[Any, Any]:
    """High and low words of a factor times x; even and odd places apart, as processors multiply."""

    def wide(n: int) -> Any:
        return ir.Constant(WIDE, [n] * (simd.LANES // 2))

    pairs = builder.bitcast(x, WIDE)
    even = builder.mul(builder.and_(pairs, wide(LOW)), wide(factor))
    odd = builder.mul(builder.lshr(pairs, wide(32)), wide(factor))
    high = builder.or_(builder.lshr(even, wide(32)), builder.and_(odd, wide(LOW << 32)))
    low = builder.or_(builder.and_(even, wide(LOW)), builder.shl(odd, wide(32)))
    return builder.bitcast(high, simd.INTS), builder.bitcast(low, simd.INTS)


@simd.instruction(types.void, *[types.intp] * 6)
def words(builder: Any, to: Any, apart: Any, key: Any, c: Any, row: Any, step: Any) -> None:
    """Random words of `LANES` counters from c on, as uint32: to `to`, and `apart`, 2 `apart` and 3
    `apart` bytes behind it.
    """

    def everywhere(n: Any) -> Any:
        return simd.spread(builder, builder.trunc(n, simd.INT))

    high_key = builder.lshr(key, ir.Constant(key.type, 32))
    keys = [everywhere(key), everywhere(high_key)]
    places = ir.Constant(simd.INTS, list(range(simd.LANES)))
    x = [builder.add(everywhere(c), places), everywhere(row), everywhere(step), _number(0)]
    for _ in range(ROUNDS):
        high0, low0 = _products(builder, FACTORS[0], x[0])
        high1, low1 = _products(builder, FACTORS[1], x[2])
        second = builder.xor(builder.xor(high1, x[1]), keys[0])
        fourth = builder.xor(builder.xor(high0, x[3]), keys[1])
        x = [second, low1, fourth, low0]
        keys = [builder.add(k, _number(more)) for k, more in zip(keys, KEY_STEPS, strict=True)]
    for v in x:
        builder.store(builder.bitcast(v, simd.VECTOR), simd.at_vector(builder, to), align=4)
        to = builder.add(to, apart)


@simd.instruction(types.void, types.intp)
def _uniform(builder: Any, address: Any) -> None:
    """Words to (k + 1/2) / 2^23, k their first 23 bits: neither 0 nor 1."""
    place = simd.at_vector(builder, address)
    bits = builder.bitcast(builder.load(place, align=4), simd.INTS)
    k = builder.uitofp(builder.lshr(bits, _number(9)), simd.VECTOR)
    half, scale = (ir.Constant(simd.VECTOR, [x] * simd.LANES) for x in (0.5, 2.0**-23))
    builder.store(builder.fmul(builder.fadd(k, half), scale), place, align=4)


@simd.called
def _gumbel(address: int) -> None:
    """-log(-log u) in the place of u."""
    zero = simd.splat(simd.ZERO)
    simd.store(address, zero - simd.log(zero - simd.log(simd.load(address))))


@compiled
def fill(noise: Array, room: Array, key: int, step: int) -> None:
    """Gumbel noise of one step (N, V), a row a sentence; `room` as `room_of` says."""
    V, C = noise.shape[1], room.size // 4
    start = room.ctypes.data
    for n in range(noise.shape[0]):
        for c in range(0, C, simd.LANES):
            words(start + 4 * c, 4 * C, key, c, n, step)
        for v in range(0, V, simd.LANES):
            _uniform(start + 4 * v)
            _gumbel(start + 4 * v)
        noise[n] = room[:V]


def room_of(vocabulary: int) -> Array:
    """Room to work in for V words."""
    return np.empty(4 * counters(vocabulary), np.float32)
