"""Small matrices with one of their axes in the places of vectors: what fused attention is made of.

A *block* is a small matrix whose columns are `LANES` rows of a sentence, one a place: (d, LANES)
numbers, a vector for each of d columns. Sums over keys are then sums of vectors, and a softmax over
keys needs no sum within one. Addresses and distances are bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from core.nn.simd import (
    FLOAT,
    INT,
    INTS,
    LANES,
    VECTOR,
    ZERO,
    at_float,
    at_vector,
    called,
    fma,
    inlined,
    instruction,
    load,
    multiply_add,
    number,
    put,
    splat,
    spread,
    store,
    vector,
)

STEP = 4 * LANES  # bytes of a vector
COLUMNS = min(8, LANES)  # of two small matrices, multiplied into one register a number
KEYS = LANES // COLUMNS
HIDDEN = np.float32(-1e30)  # the score of what may not be seen


class Matrix(NamedTuple):
    """Rows of d numbers, `row` bytes apart."""

    start: int
    row: int
    rows: int
    d: int


@instruction(types.float32, types.intp)
def get(builder: Any, address: Any) -> Any:
    """The one number at an address."""
    return builder.load(at_float(builder, address), align=4)


@instruction(vector, vector, types.intp, vector)
def seen(builder: Any, score: Any, key: Any, upto: Any) -> Any:
    """The score in the places whose number in `upto` is larger than `key`; HIDDEN elsewhere."""
    place = spread(builder, builder.sitofp(key, FLOAT))
    hidden = ir.Constant(VECTOR, [float(HIDDEN)] * LANES)
    return builder.select(builder.fcmp_ordered(">", upto, place), score, hidden)


@called
def turned(x: Matrix, first: int, factor: Any, to: int) -> None:
    """Rows of x from `first` on, times a factor, as a block; zero behind the last."""
    for c in range(x.d):
        store(to + STEP * c, splat(ZERO))
    for lane in range(min(LANES, x.rows - first)):
        place = x.start + x.row * (first + lane)
        for c in range(x.d):
            put(to + STEP * c + 4 * lane, get(place + 4 * c) * factor)


@called
def turned_back(block: int, first: int, factor: Any, x: Matrix) -> None:
    """A block times a factor to the rows of x from `first` on."""
    for lane in range(min(LANES, x.rows - first)):
        place = x.start + x.row * (first + lane)
        for c in range(x.d):
            put(place + 4 * c, get(block + STEP * c + 4 * lane) * factor)


@called
def picked(x: Matrix, rows: Any, first: int, to: int) -> None:
    """The rows of x that `rows` names from `first` on, as a block; zero where it names none."""
    for c in range(x.d):
        store(to + STEP * c, splat(ZERO))
    for lane in range(min(LANES, len(rows) - first)):
        if rows[first + lane] >= 0:
            place = x.start + x.row * rows[first + lane]
            for c in range(x.d):
                put(to + STEP * c + 4 * lane, get(place + 4 * c))


@inlined
def inner(a: int, b: int, d: int) -> Any:
    """Place by place the inner product of two blocks' columns."""
    s = splat(ZERO)
    for c in range(d):
        s = fma(load(a + STEP * c), load(b + STEP * c), s)
    return s


@called
def dots(x: Matrix, block: int, to: int, step: int, more: bool) -> None:
    """to[j] = sum_c x[j, c] block[c], or as much `more` than what is there, for each row j."""
    row, j = x.row, 0
    while j < x.rows:
        o = to + step * j
        many = min(4, x.rows - j)
        # What is behind the last row repeats it, and is stored there first.
        one, two, three = min(1, many - 1), min(2, many - 1), min(3, many - 1)
        s0 = s1 = s2 = s3 = splat(ZERO)
        if more:
            s0, s1 = load(o), load(o + one * step)
            s2, s3 = load(o + two * step), load(o + three * step)
        p = x.start + row * j
        for c in range(x.d):
            u = load(block + STEP * c)
            s0 = fma(number(p), u, s0)
            s1 = fma(number(p + one * row), u, s1)
            s2 = fma(number(p + two * row), u, s2)
            s3 = fma(number(p + three * row), u, s3)
            p += 4
        store(o + three * step, s3)
        store(o + two * step, s2)
        store(o + one * step, s1)
        store(o, s0)
        j += 4


@called
def sums(x: Matrix, weights: int, step: int, to: int, more: bool) -> None:
    """to[c] = sum_j x[j, c] weights[j], a block, or as much `more` than what is there."""
    for c in range(0, x.d, 8):
        o, place, w = to + STEP * c, x.start + 4 * c, weights
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = splat(ZERO)
        if more:
            s0, s1, s2, s3 = load(o), load(o + STEP), load(o + 2 * STEP), load(o + 3 * STEP)
            s4, s5 = load(o + 4 * STEP), load(o + 5 * STEP)
            s6, s7 = load(o + 6 * STEP), load(o + 7 * STEP)
        for _ in range(x.rows):
            u = load(w)
            s0 = fma(number(place), u, s0)
            s1 = fma(number(place + 4), u, s1)
            s2 = fma(number(place + 8), u, s2)
            s3 = fma(number(place + 12), u, s3)
            s4 = fma(number(place + 16), u, s4)
            s5 = fma(number(place + 20), u, s5)
            s6 = fma(number(place + 24), u, s6)
            s7 = fma(number(place + 28), u, s7)
            place, w = place + x.row, w + step
        store(o, s0)
        store(o + STEP, s1)
        store(o + 2 * STEP, s2)
        store(o + 3 * STEP, s3)
        store(o + 4 * STEP, s4)
        store(o + 5 * STEP, s5)
        store(o + 6 * STEP, s6)
        store(o + 7 * STEP, s7)


@called
def crossed(weights: int, blocks: int, t: int, x: Matrix, more: bool) -> None:
    """x[j, c] = sum over all places of weights[j] t[c], or as much `more` than what is there;
    weights (rows, blocks) vectors, t as many blocks.
    """
    wide, size = STEP * blocks, STEP * x.d
    for j in range(0, x.rows, KEYS):
        last = min(j + KEYS - 1, x.rows - 1)
        for c in range(0, x.d, COLUMNS):
            to, to_last = x.start + x.row * j + 4 * c, x.start + x.row * last + 4 * c
            pair = (weights + wide * j, weights + wide * last)
            _corner(pair, t + STEP * c, blocks, size, (to, to_last), more)


PAIR = types.UniTuple(types.intp, 2)


@instruction(types.void, PAIR, types.intp, types.intp, types.intp, PAIR, types.boolean)
def _corner(builder: Any, rows: Any, t: Any, blocks: Any, size: Any, to: Any, more: Any) -> None:
    """KEYS rows of weights times COLUMNS vectors of t, each product summed over its places."""
    rows, to = cgutils.unpack_tuple(builder, rows), cgutils.unpack_tuple(builder, to)

    def read(address: Any, offset: int = 0) -> Any:
        place = builder.add(address, ir.Constant(address.type, offset))
        return builder.load(at_vector(builder, place), align=4)

    zero = ir.Constant(VECTOR, [0.0] * LANES)
    found = [cgutils.alloca_once_value(builder, zero) for _ in range(LANES)]
    with cgutils.for_range(builder, blocks) as loop:
        column = builder.add(t, builder.mul(loop.index, size))
        ts = [read(column, STEP * c) for c in range(COLUMNS)]
        shift = builder.mul(loop.index, ir.Constant(t.type, STEP))
        for key, row in enumerate(rows[:KEYS]):
            x = read(builder.add(row, shift))
            for c, u in enumerate(ts):
                place = found[key * COLUMNS + c]
                builder.store(multiply_add(builder, x, u, builder.load(place)), place)
    totals = _totals(builder, [builder.load(place) for place in found])
    part = ir.VectorType(FLOAT, COLUMNS)
    pointers = [builder.inttoptr(address, part.as_pointer()) for address in to[:KEYS]]
    before = [builder.load(pointer, align=4) for pointer in pointers]  # maybe twice the same
    for key, pointer in enumerate(pointers):
        places = list(range(key * COLUMNS, (key + 1) * COLUMNS))
        order = ir.Constant(ir.VectorType(INT, COLUMNS), places)
        of_key = builder.shuffle_vector(totals, totals, order)
        with_before = builder.fadd(of_key, before[key])
        builder.store(builder.select(more, with_before, of_key), pointer, align=4)


def _totals(builder: Any, vectors: list[Any]) -> Any:
    """LANES vectors to the vector of their sums, by halves."""
    half = LANES // 2
    while half:
        low = [p + LANES - half if p & half else p for p in range(LANES)]
        high = [p + LANES if p & half else p + half for p in range(LANES)]
        vectors = [
            builder.fadd(*(builder.shuffle_vector(a, b, ir.Constant(INTS, o)) for o in (low, high)))
            for a, b in zip(vectors[:half], vectors[half:], strict=True)
        ]
        half //= 2
    return vectors[0]
