"""One step of a transformer decoder as one compiled function, float32 on a CPU.

The blocks are those of `core.nn.layers`. Row r = p R + n is row p of sentence n. Products are those
of `numba_gemm`. Keys and values are stored as (L / LANES, 2, d, LANES) for each sentence and head:
what an attention reads is one piece of memory, and is prefetched two heads ahead.

Addresses are in bytes; the caller keeps the arrays alive.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.compiled import compiled
from core.kernels.numba_gemm import ROWS, Array, gemm
from core.kernels.numba_simd import (
    LANES,
    ONE,
    ZERO,
    called,
    copy,
    exp,
    first,
    fma,
    gelu,
    larger,
    largest,
    load,
    number,
    prefetch,
    put,
    splat,
    store,
    total,
)  # fmt: skip

BLOCK = 4 * ROWS  # rows that pass the feed-forward layers together: their inside stays in a cache
LINE = 64  # bytes of a cache line
LOWEST = np.float32(-3e38)


class Sizes(NamedTuple):
    """Sizes of a rollout."""

    sentences: int  # N
    rows: int  # R: N, padded to whole tiles
    width: int  # E
    padded: int  # E, padded to whole panels
    heads: int  # H
    memory: int  # rows that cross-attention reads; 0 without
    eps: float  # of the norms


class Weights(NamedTuple):
    """Of all layers, which are the first axis; packed as `numba_gemm` says."""

    query_key_value: Array
    query_key_value_bias: Array
    out: Array
    out_bias: Array
    cross_query: Array  # of the noise blocks
    cross_query_bias: Array
    cross_out: Array
    cross_out_bias: Array
    enter: Array
    enter_bias: Array
    leave: Array
    leave_bias: Array
    norms: Array  # (layers, 3, 2, E): after attention, cross-attention, feed-forward


class Caches(NamedTuple):
    """Keys, values and noise that the layers read; L in whole vectors."""

    own: Array  # (layers, N, H, L / LANES, 2, d, LANES)
    memory: Array  # (B, N, H, L / LANES, 2, d, LANES)
    noise: Array  # (B, streams, N, S, E), E in whole vectors


class Buffers(NamedTuple):
    """Working memory of a step."""

    x: Array  # (2, R, E)
    projected: Array  # (2, R, 3 E)
    mixed: Array  # (2, R, E)
    inside: Array  # (BLOCK, hidden)
    scores: Array  # (L,)


class Rollout(NamedTuple):
    """All that a step needs."""

    sizes: Sizes
    weights: Weights
    caches: Caches
    buffers: Buffers


@called
def _attend(q: int, memory: int, y: int, d: int, seen: int, scores: int) -> None:
    """One query (d,) over the first `seen` rows of a head's memory, into y (d,)."""
    scale = splat(np.float32(1.0 / np.sqrt(d)))
    piece = 8 * d * LANES  # bytes of LANES keys and values
    most = splat(LOWEST)
    for place in range(0, seen, LANES):
        keys = memory + place // LANES * piece
        s = splat(ZERO)
        for e in range(d):
            s = fma(number(q + 4 * e), load(keys + 4 * LANES * e), s)
        s = first(s * scale, seen - place, splat(LOWEST))
        most = larger(s, most)
        store(scores + 4 * place, s)
    most = splat(largest(most))
    mass = splat(ZERO)
    for place in range(0, seen, LANES):
        p = exp(load(scores + 4 * place) - most)
        store(scores + 4 * place, p)
        mass = mass + p
    share = ONE / total(mass)
    for e in range(d):
        values = memory + 4 * LANES * (d + e)
        mixed = splat(ZERO)
        for place in range(0, seen, LANES):
            mixed = fma(load(scores + 4 * place), load(values + place // LANES * piece), mixed)
        put(y + 4 * e, total(mixed) * share)


@called
def _write(memory: int, place: int, row: int, E: int, d: int) -> None:
    """Put a head's key and value from a projected row (q, k, v) into its memory at `place`."""
    piece = memory + place // LANES * 8 * d * LANES
    lane = place % LANES
    if lane == 0:  # the other lanes are multiplied with zero, and must be numbers
        for e in range(2 * d):
            store(piece + 4 * LANES * e, splat(ZERO))
    for e in range(d):
        copy(piece + 4 * (LANES * e + lane), row + 4 * (E + e))
        copy(piece + 4 * (LANES * (d + e) + lane), row + 4 * (2 * E + e))


@called
def _fetch(memory: int, size: int) -> None:
    """Prefetch what will be read soon."""
    for place in range(0, size, LINE):
        prefetch(memory + place)


@called
def _self_attention(rollout: Rollout, layer: int, start: int, rows: int, skipped: int) -> None:
    """Write keys and values of `rows` rows from `start` on; all but the first `skipped` query."""
    sizes, buffers = rollout.sizes, rollout.buffers
    E, H, d = sizes.padded, sizes.heads, sizes.width // sizes.heads
    own = rollout.caches.own[layer]
    head = 8 * d * LANES * own.shape[2]
    read = 8 * d * ((start + rows + LANES - 1) // LANES) * LANES
    projected, mixed = buffers.projected.ctypes.data, buffers.mixed.ctypes.data
    for n in range(sizes.sentences):
        for h in range(H):
            memory = own.ctypes.data + (n * H + h) * head
            _fetch(memory + 2 * head, read)
            for p in range(rows):
                row = projected + 4 * ((p * sizes.rows + n) * 3 * E + h * d)
                _write(memory, start + p, row, E, d)
            for p in range(skipped, rows):
                row, to = p * sizes.rows + n, mixed + 4 * ((p * sizes.rows + n) * E + h * d)
                q = projected + 4 * (row * 3 * E + h * d)
                _attend(q, memory, to, d, start + p + 1, buffers.scores.ctypes.data)


@called
def _cross_attention(rollout: Rollout, layer: int, rows: int, skipped: int) -> None:
    """Rows `skipped` to `rows` query the mapped noise."""
    sizes, buffers = rollout.sizes, rollout.buffers
    E, H, d = sizes.padded, sizes.heads, sizes.width // sizes.heads
    cached = rollout.caches.memory[layer]
    head = 8 * d * LANES * cached.shape[2]
    projected, mixed = buffers.projected.ctypes.data, buffers.mixed.ctypes.data
    for n in range(sizes.sentences):
        for h in range(H):
            memory = cached.ctypes.data + (n * H + h) * head
            _fetch(memory + 2 * head, head)
            for p in range(skipped, rows):
                place = 4 * ((p * sizes.rows + n) * E + h * d)
                q, y = projected + place, mixed + place
                _attend(q, memory, y, d, sizes.memory, buffers.scores.ctypes.data)


@called
def _feed_forward(rollout: Rollout, layer: int, rows: int, offset: int) -> None:
    """The feed-forward layers over x, a block of rows at a time, into `projected`."""
    weights, buffers, E = rollout.weights, rollout.buffers, rollout.sizes.padded
    x, y = buffers.x.ctypes.data + offset, buffers.projected.ctypes.data + offset
    inside, F = buffers.inside.ctypes.data, buffers.inside.shape[1]
    for row in range(0, rows, BLOCK):
        count, place = min(BLOCK, rows - row), 4 * row * E
        gemm(x + place, E, count, weights.enter[layer], weights.enter_bias[layer], inside, F)
        for i in range(0, count * F, LANES):
            store(inside + 4 * i, gelu(load(inside + 4 * i)))
        gemm(inside, F, count, weights.leave[layer], weights.leave_bias[layer], y + place, E)


@called
def _norm(x: int, y: int, width: int, numbers: Array, eps: float, noise: int) -> None:
    """X += norm(y) + noise of one row; `numbers` (2, E) scale and shift; noise 0 is none."""
    scales, shifts = numbers[0].ctypes.data, numbers[1].ctypes.data
    sums = splat(ZERO)
    for c in range(0, width, LANES):
        sums = sums + load(y + 4 * c)
    mean = splat(total(sums) / np.float32(width))
    squares = splat(ZERO)
    for c in range(0, width, LANES):
        off = first(load(y + 4 * c) - mean, width - c, splat(ZERO))
        squares = fma(off, off, squares)
    scale = splat(np.float32(1.0 / np.sqrt(total(squares) / np.float32(width) + eps)))
    for c in range(0, width, LANES):
        normal = (load(y + 4 * c) - mean) * scale
        v = load(x + 4 * c) + fma(normal, load(scales + 4 * c), load(shifts + 4 * c))
        if noise:
            v = v + load(noise + 4 * c)
        store(x + 4 * c, v)


@called
def _add_norm(
    rollout: Rollout, layer: int, which: int, start: int, rows: int, skipped: int
) -> None:
    """X += norm(projected) for rows `skipped` to `rows`; noise is injected after self-attention."""
    sizes, noise, numbers = rollout.sizes, rollout.caches.noise, rollout.weights.norms[layer, which]
    x, y = rollout.buffers.x.ctypes.data, rollout.buffers.projected.ctypes.data
    injecting = which == 0 and layer < noise.shape[0]
    for p in range(skipped, rows):
        for n in range(sizes.sentences):
            place = 4 * (p * sizes.rows + n) * sizes.padded
            injected = 0
            if injecting:
                injected = noise[layer, noise.shape[1] - rows + p, n, start + p].ctypes.data
            _norm(x + place, y + place, sizes.width, numbers, sizes.eps, injected)


@called
def _layer(rollout: Rollout, layer: int, start: int, rows: int, skipped: int) -> None:
    """One block; of the first `skipped` rows only keys and values are kept."""
    sizes, weights, buffers = rollout.sizes, rollout.weights, rollout.buffers
    E = sizes.padded
    offset, queries = 4 * skipped * sizes.rows * E, (rows - skipped) * sizes.rows
    x, mixed = buffers.x.ctypes.data, buffers.mixed.ctypes.data
    projected = buffers.projected.ctypes.data
    gemm(
        x, E, rows * sizes.rows, weights.query_key_value[layer],
        weights.query_key_value_bias[layer], projected, 3 * E,
    )  # fmt: skip
    _self_attention(rollout, layer, start, rows, skipped)
    x, projected, mixed = x + offset, projected + offset, mixed + offset
    gemm(mixed, E, queries, weights.out[layer], weights.out_bias[layer], projected, E)
    _add_norm(rollout, layer, 0, start, rows, skipped)
    if layer < rollout.caches.memory.shape[0]:
        w, b = weights.cross_query[layer], weights.cross_query_bias[layer]
        gemm(x, E, queries, w, b, projected, E)
        _cross_attention(rollout, layer, rows, skipped)
        w, b = weights.cross_out[layer], weights.cross_out_bias[layer]
        gemm(mixed, E, queries, w, b, projected, E)
        _add_norm(rollout, layer, 1, start, rows, skipped)
    _feed_forward(rollout, layer, queries, offset)
    _add_norm(rollout, layer, 2, start, rows, skipped)


@compiled
def step(rollout: Rollout, start: int, rows: int) -> None:
    """One step: the new rows (1 or 2) from position `start` on are in the first rows of `buffers.x`
    and are replaced by the output of all blocks; of two, only the second is complete.
    """
    layers = rollout.weights.norms.shape[0]
    for layer in range(layers):
        skipped = rows - 1 if layer == layers - 1 else 0  # only the last row queries
        _layer(rollout, layer, start, rows, skipped)
