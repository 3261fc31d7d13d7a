"""Attention of a few narrow heads on one thread, its gradient, and the gradient of that.

softmax(q k^T / sqrt(d)) v of each sentence and head (Vaswani et al. 2017). `LANES` queries stand in
the places of a vector (`core.nn.lanes`): a softmax over keys is then vector arithmetic, keys that
none of these queries sees cost nothing, and what is kept for a gradient are two numbers a query,
the largest score and the inverse of the sum. With P the softmax and g the gradient at the result:

    S = P (g v^T - D),  D = rows of <g, result>          the gradient at the scores
    q, k, v get S k, S^T q, P^T g

and with a the gradient that comes back at these three, C = a_q k^T + q a_k^T and C' = C - rows of
sum P C, the second derivatives are

    R = P C',  T = P (U - rows of sum P U),  U = (g v^T) C' + g a_v^T - C D
    g, q, k, v get P a_v + R v, S a_k + T k, S^T a_q + T^T q, R^T g
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from core.compiled import compiled
from core.nn.lanes import (
    HIDDEN,
    STEP,
    Matrix,
    crossed,
    dots,
    get,
    inner,
    picked,
    seen,
    sums,
    turned,
    turned_back,
)
from core.nn.simd import (
    LANES,
    ONE,
    ZERO,
    called,
    exp,
    fma,
    inlined,
    larger,
    load,
    put,
    splat,
    store,
)


class Sizes(NamedTuple):
    """N sentences of at most P queries, in `blocks` blocks, and K keys; H heads of width d."""

    N: int
    P: int
    K: int
    H: int
    d: int
    blocks: int


class Sight(NamedTuple):
    """Which keys the queries see: the first `upto`, but no more than the sentence has; and each
    perhaps one of its own behind them.
    """

    upto: Any  # (blocks LANES,) float32
    fewest: Any  # (blocks,) int64, the smallest and the largest of each block
    most: Any
    own: Any  # (P,) int64, -1 where there is none; empty where there are none at all
    lengths: Any  # (N,) int64
    queries: Any  # (N + 1,) int64, the first row of each sentence among all, and their end
    keys: Any


class Given(NamedTuple):
    """Addresses of q (rows, E), keys and values (rows, 2E), the result, shaped as q, the two
    numbers kept of each query, vector by vector of every block, and room to work in.
    """

    q: int
    kv: int
    result: int
    kept: int
    room: int


@called
def of_head(address: int, sizes: Sizes, sight: Sight, n: int, h: int) -> Matrix:
    """The rows of one sentence and head of (rows, E)."""
    row = 4 * sizes.H * sizes.d
    start = address + row * sight.queries[n] + 4 * sizes.d * h
    return Matrix(start, row, sight.queries[n + 1] - sight.queries[n], sizes.d)


@called
def keys_values(address: int, sizes: Sizes, sight: Sight, n: int, h: int) -> tuple[Matrix, Matrix]:
    """The keys and the values of one sentence and head of (rows, 2E)."""
    row = 8 * sizes.H * sizes.d
    k = address + row * sight.keys[n] + 4 * sizes.d * h
    v = k + 4 * sizes.H * sizes.d
    rows = sight.keys[n + 1] - sight.keys[n]
    return Matrix(k, row, rows, sizes.d), Matrix(v, row, rows, sizes.d)


@called
def blocks_of(sight: Sight, n: int) -> int:
    """Blocks of queries that a sentence has."""
    return int((sight.queries[n + 1] - sight.queries[n] + LANES - 1) // LANES)


@called
def top(x: Matrix, rows: int) -> Matrix:
    """The first rows."""
    return Matrix(x.start, x.row, rows, x.d)


@called
def limit(scores: int, step: int, sight: Sight, b: int, count: int) -> None:
    """Hide from each query of a block what only others of the block may see."""
    if sight.fewest[b] < count:
        upto = load(sight.upto.ctypes.data + STEP * b)
        for j in range(sight.fewest[b], count):
            store(scores + step * j, seen(load(scores + step * j), j, upto))


@called
def own_score(block: int, k: Matrix, own: Any, first: int, to: int) -> None:
    """The scores of a block of queries with their own keys, which go behind them in `to`."""
    picked(k, own, first, to)
    store(to + STEP * k.d, inner(block, to, k.d))
    for lane in range(LANES):
        if first + lane >= len(own) or own[first + lane] < 0:
            put(to + STEP * k.d + 4 * lane, HIDDEN)


@compiled
def forward(given: Given, sizes: Sizes, sight: Sight) -> None:
    """The result, and what is kept of each query."""
    d = sizes.d
    factor = np.float32(1 / np.sqrt(d))
    block = given.room
    result_block, own_k, own_v = (block + STEP * d, block + 2 * STEP * d, block + 4 * STEP * d)
    scores = block + 6 * STEP * d
    kept = given.kept
    for n in range(sizes.N):
        for h in range(sizes.H):
            q, result = (
                of_head(given.q, sizes, sight, n, h),
                of_head(given.result, sizes, sight, n, h),
            )
            k, v = keys_values(given.kv, sizes, sight, n, h)
            for b in range(blocks_of(sight, n)):
                first, count = b * LANES, min(sight.most[b], sight.lengths[n])
                turned(q, first, factor, block)
                dots(top(k, count), block, scores, STEP, False)
                limit(scores, STEP, sight, b, count)
                largest, own = splat(HIDDEN), splat(ZERO)
                if len(sight.own):
                    own_score(block, k, sight.own, first, own_k)
                    picked(v, sight.own, first, own_v)
                    largest = own = load(own_k + STEP * d)
                for j in range(count):
                    largest = larger(load(scores + STEP * j), largest)
                total = splat(ZERO)
                if len(sight.own):
                    total = own = exp(own - largest)
                for j in range(count):
                    p = exp(load(scores + STEP * j) - largest)
                    store(scores + STEP * j, p)
                    total = total + p
                sums(top(v, count), scores, STEP, result_block, False)
                inverse = splat(ONE) / total
                for c in range(d):
                    o = load(result_block + STEP * c)
                    if len(sight.own):
                        o = fma(own, load(own_v + STEP * c), o)
                    store(result_block + STEP * c, o * inverse)
                turned_back(result_block, first, ONE, result)
                store(kept, largest)
                store(kept + STEP, inverse)
                kept += 2 * STEP


@compiled
def backward(given: Given, sizes: Sizes, sight: Sight, g: int, dq: int, dkv: int) -> None:
    """Gradients at q (N, P, E) and at keys and values (N, K, 2E)."""
    d, size = sizes.d, STEP * sizes.d
    factor = np.float32(1 / np.sqrt(d))
    q_blocks, g_blocks = given.room, given.room + size * sizes.blocks
    work = g_blocks + size * sizes.blocks
    p, s = work + 8 * size, work + 8 * size + STEP * sizes.blocks * sizes.K
    kept = given.kept
    for n in range(sizes.N):
        blocks = blocks_of(sight, n)
        wide = STEP * blocks
        many = min(sight.most.max(), sight.lengths[n])
        for h in range(sizes.H):
            q, g_rows = of_head(given.q, sizes, sight, n, h), of_head(g, sizes, sight, n, h)
            result, dq_rows = (
                of_head(given.result, sizes, sight, n, h),
                of_head(dq, sizes, sight, n, h),
            )
            k, v = keys_values(given.kv, sizes, sight, n, h)
            dk, dv = keys_values(dkv, sizes, sight, n, h)
            cleared(dk, many)
            cleared(dv, many)
            for b in range(blocks):
                first, count = b * LANES, min(sight.most[b], sight.lengths[n])
                block, g_block = q_blocks + size * b, g_blocks + size * b
                turned(q, first, factor, block)
                turned(g_rows, first, ONE, g_block)
                turned(result, first, ONE, work)
                rows = inner(g_block, work, d)
                dots(top(k, count), block, p + STEP * b, wide, False)
                dots(top(v, count), g_block, s + STEP * b, wide, False)
                limit(p + STEP * b, wide, sight, b, count)
                largest, inverse = load(kept), load(kept + STEP)
                for j in range(count):
                    at_p, at_s = p + STEP * b + wide * j, s + STEP * b + wide * j
                    x = exp(load(at_p) - largest) * inverse
                    store(at_p, x)
                    store(at_s, x * (load(at_s) - rows))
                for j in range(count, many):
                    store(p + STEP * b + wide * j, splat(ZERO))
                    store(s + STEP * b + wide * j, splat(ZERO))
                sums(top(k, count), s + STEP * b, wide, work, False)
                turned_back(work, first, factor, dq_rows)
                kept += 2 * STEP
            crossed(s, blocks, q_blocks, top(dk, many), False)
            crossed(p, blocks, g_blocks, top(dv, many), False)
            if len(sight.own):
                kept -= 2 * STEP * blocks
                for b in range(blocks):
                    first = b * LANES
                    block, g_block = q_blocks + size * b, g_blocks + size * b
                    own_score(block, k, sight.own, first, work)
                    picked(v, sight.own, first, work + 2 * size)
                    turned(result, first, ONE, work + 3 * size)
                    x = exp(load(work + size) - load(kept)) * load(kept + STEP)
                    rows = inner(g_block, work + 3 * size, d)
                    store(work + size, x)
                    store(work + size + STEP, x * (inner(g_block, work + 2 * size, d) - rows))
                    own_gradient(sight.own, first, (block, g_block, work), (dq_rows, dk, dv))
                    kept += 2 * STEP


@called
def cleared(x: Matrix, first: int) -> None:
    """Zeros in the rows of x from `first` on."""
    for j in range(first, x.rows):
        for c in range(x.d):
            put(x.start + x.row * j + 4 * c, ZERO)


@called
def own_gradient(
    own: Any, first: int, blocks: tuple[int, int, int], to: tuple[Matrix, Matrix, Matrix]
) -> None:
    """What a block of queries and their own keys get of each other: of the blocks of q, g and the
    own keys; behind the last one stand P and S of each pair.
    """
    block, g_block, work = blocks
    dq, dk, dv = to
    factor = np.float32(1 / np.sqrt(dq.d))
    of_pair = work + STEP * dq.d
    for lane in range(min(LANES, len(own) - first)):
        j = own[first + lane]
        if j < 0:
            continue
        p, s = get(of_pair + 4 * lane), get(of_pair + STEP + 4 * lane)
        for c in range(dq.d):
            place = STEP * c + 4 * lane
            at_q = dq.start + dq.row * (first + lane) + 4 * c
            at_k, at_v = dk.start + dk.row * j + 4 * c, dv.start + dv.row * j + 4 * c
            put(at_q, get(at_q) + s * factor * get(work + place))
            put(at_k, get(at_k) + s * get(block + place))
            put(at_v, get(at_v) + p * get(g_block + place))


class Back(NamedTuple):
    """Addresses of g and a_q (N, P, E), a_k and a_v (N, K, 2E), and of what g, q, k and v get."""

    g: int
    aq: int
    akv: int
    of_g: int
    of_q: int
    of_kv: int


@compiled
def second(given: Given, sizes: Sizes, sight: Sight, back: Back) -> None:
    """The second derivatives; no query has a key of its own."""
    d, size, tall = sizes.d, STEP * sizes.d, STEP * sizes.K
    factor = np.float32(1 / np.sqrt(d))
    q_blocks, g_blocks = given.room, given.room + size * sizes.blocks
    a_blocks = g_blocks + size * sizes.blocks
    work = a_blocks + size * sizes.blocks
    p, u, c = work + size, work + size + tall, work + size + 2 * tall
    s = c + tall
    r, t = s + tall * sizes.blocks, s + 2 * tall * sizes.blocks
    kept = given.kept
    for n in range(sizes.N):
        blocks = blocks_of(sight, n)
        wide = STEP * blocks
        many = min(sight.most.max(), sight.lengths[n])
        for h in range(sizes.H):
            k, v = keys_values(given.kv, sizes, sight, n, h)
            ak, av = keys_values(back.akv, sizes, sight, n, h)
            of_k, of_v = keys_values(back.of_kv, sizes, sight, n, h)
            cleared(of_k, many)
            cleared(of_v, many)
            for b in range(blocks):
                first, count = b * LANES, min(sight.most[b], sight.lengths[n])
                block, g_block = q_blocks + size * b, g_blocks + size * b
                a_block = a_blocks + size * b
                turned(of_head(given.q, sizes, sight, n, h), first, factor, block)
                turned(of_head(back.g, sizes, sight, n, h), first, ONE, g_block)
                turned(of_head(back.aq, sizes, sight, n, h), first, factor, a_block)
                turned(of_head(given.result, sizes, sight, n, h), first, ONE, work)
                rows = inner(g_block, work, d)
                at_s, at_r, at_t = s + STEP * b, r + STEP * b, t + STEP * b
                dots(top(k, count), block, p, STEP, False)
                dots(top(v, count), g_block, at_r, wide, False)
                dots(top(k, count), a_block, c, STEP, False)
                dots(top(ak, count), block, c, STEP, True)
                dots(top(av, count), g_block, u, STEP, False)
                limit(p, STEP, sight, b, count)
                products((p, u, c), (at_s, at_r, at_t), kept, rows, (wide, count, many))
                kept += 2 * STEP
                sums(top(av, count), p, STEP, work, False)
                sums(top(v, count), at_r, wide, work, True)
                turned_back(work, first, ONE, of_head(back.of_g, sizes, sight, n, h))
                sums(top(ak, count), at_s, wide, work, False)
                sums(top(k, count), at_t, wide, work, True)
                turned_back(work, first, factor, of_head(back.of_q, sizes, sight, n, h))
            crossed(s, blocks, a_blocks, top(of_k, many), False)
            crossed(t, blocks, q_blocks, top(of_k, many), True)
            crossed(r, blocks, g_blocks, top(of_v, many), False)


@inlined
def products(
    columns: tuple[int, int, int],
    wide_columns: tuple[int, int, int],
    kept: int,
    rows: Any,
    counts: tuple[int, int, int],
) -> None:
    """From scores, g a_v^T, C and g v^T the softmax P, and S, R, T, of a block of queries."""
    p, u, c = columns
    s, r, t = wide_columns
    wide, count, many = counts
    largest, inverse, mean = load(kept), load(kept + STEP), splat(ZERO)
    for j in range(count):
        x = exp(load(p + STEP * j) - largest) * inverse
        store(p + STEP * j, x)
        mean = fma(x, load(c + STEP * j), mean)
    mean_u = splat(ZERO)
    for j in range(count):
        x, of_c, of_g = load(p + STEP * j), load(c + STEP * j), load(r + wide * j)
        centred = of_c - mean
        of_p = fma(of_g, centred, load(u + STEP * j)) - of_c * rows
        store(u + STEP * j, of_p)
        mean_u = fma(x, of_p, mean_u)
        store(s + wide * j, x * (of_g - rows))
        store(r + wide * j, x * centred)
    for j in range(count):
        store(t + wide * j, load(p + STEP * j) * (load(u + STEP * j) - mean_u))
    for j in range(count, many):
        store(s + wide * j, splat(ZERO))
        store(r + wide * j, splat(ZERO))
        store(t + wide * j, splat(ZERO))
