"""SIMD vectors of float32 numbers in numba: as many as one register of this processor holds.

Numba has scalars and arrays; LLVM may or may not vectorise a loop over them, and the tail of a
loop costs more than the loop if there are a few dozen numbers. Here the vector is a type, with the
few instructions that a transformer needs, and its functions are accurate to the rounding of
float32:

    exp(x) = 2^n exp(r), n = round(x / log 2), |r| <= log(2) / 2, a Taylor polynomial in r
    log(x) = n log 2 + log(1 + r), x = 2^n (1 + r), 1 + r between sqrt(1/2) and sqrt(2)
    gelu(x) = relu(x) - |x| Q(|x|), Q the normal distribution's upper tail
    Q(z) = exp(-z^2 / 2) P(t), t = 1 / (1 + a z)

(GELU: Hendrycks & Gimpel 2016; the form of Q is formula 7.1.26 of Abramowitz & Stegun 1964, with
more terms.) NaN stays NaN. Addresses are in bytes.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]
called = cast(Wrapper, njit)
inlined = cast(Wrapper, njit(inline="always"))

FLOAT, INT = ir.FloatType(), ir.IntType(32)
NOTHING = ir.VoidType()


def _registers() -> tuple[int, int]:
    """Numbers in a vector register of this processor, and how many such registers it has."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16, 32
    if features.get("avx2"):
        return 8, 16
    return 4, 32 if "aarch64" in binding.get_process_triple() else 16


LANES, REGISTERS = _registers()
VECTOR, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)


class Vector(types.Type):  # type: ignore[misc]
    """`LANES` numbers of float32."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector = Vector()


@register_model(Vector)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, VECTOR)


def instruction(result: types.Type, *arguments: types.Type) -> Wrapper:
    """A function of compiled code from the one that builds it: build(builder, *arguments)."""

    def made(build: Callable[..., Any]) -> Callable[..., Any]:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = build(builder, *args)
            return context.get_dummy_value() if value is None else value

        def typed(typing: Any, *given: Any) -> Any:
            return result(*arguments), generate

        typed.__name__, typed.__doc__ = build.__name__, build.__doc__
        typed.__signature__ = inspect.signature(build)  # type: ignore[attr-defined]
        return cast("Callable[..., Any]", intrinsic(typed))

    return made


# For those who build instructions.


def at_vector(builder: Any, address: Any) -> Any:
    """A pointer to a vector from an address."""
    return builder.inttoptr(address, VECTOR.as_pointer())


def at_float(builder: Any, address: Any) -> Any:
    """A pointer to a number from an address."""
    return builder.inttoptr(address, FLOAT.as_pointer())


def spread(builder: Any, number: Any) -> Any:
    """A number in every place of a vector."""
    kind = VECTOR if number.type == FLOAT else INTS
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(INT, 0))
    return builder.shuffle_vector(one, one, ir.Constant(INTS, [0] * LANES))


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """A b + c, rounded once."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
    return builder.call(function, (a, b, c))


# Memory.


@instruction(vector, types.intp)
def load(builder: Any, address: Any) -> Any:
    """The numbers from an address on."""
    return builder.load(at_vector(builder, address), align=4)


@instruction(types.void, types.intp, vector)
def store(builder: Any, address: Any, v: Any) -> None:
    """Write them from an address on."""
    builder.store(v, at_vector(builder, address), align=4)


@instruction(vector, types.intp)
def number(builder: Any, address: Any) -> Any:
    """The one number at an address, in every place."""
    return spread(builder, builder.load(at_float(builder, address), align=4))


@instruction(types.void, types.intp, types.float32)
def put(builder: Any, address: Any, x: Any) -> None:
    """Write one number."""
    builder.store(x, at_float(builder, address), align=4)


@instruction(types.void, types.intp, types.intp)
def copy(builder: Any, to: Any, address: Any) -> None:
    """One number from an address to another."""
    builder.store(builder.load(at_float(builder, address), align=4), at_float(builder, to), align=4)


@instruction(types.void, types.intp)
def prefetch(builder: Any, address: Any) -> None:
    """Bring the cache line of an address near; any address will do."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(NOTHING, [byte, INT, INT, INT])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    read_near_data = (ir.Constant(INT, n) for n in (0, 3, 1))
    builder.call(function, [builder.inttoptr(address, byte), *read_near_data])


# Arithmetic.


@instruction(vector, types.float32)
def splat(builder: Any, x: Any) -> Any:
    """A number in every place."""
    return spread(builder, x)


@instruction(vector, vector, vector, vector)
def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """A b + c, rounded once."""
    return multiply_add(builder, a, b, c)


@instruction(vector, vector, types.intp, vector)
def first(builder: Any, v: Any, count: Any, other: Any) -> Any:
    """The first `count` numbers of v, behind them `other`'s."""
    many = spread(builder, builder.trunc(count, INT))
    places = ir.Constant(INTS, list(range(LANES)))
    return builder.select(builder.icmp_signed("<", places, many), v, other)


@instruction(vector, vector, vector)
def larger(builder: Any, a: Any, b: Any) -> Any:
    """Place by place the larger one; b where one is not a number."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@instruction(vector, vector, vector, vector)
def by_sign(builder: Any, x: Any, above: Any, below: Any) -> Any:
    """Place by place `above` where x > 0, else `below`."""
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    return builder.select(builder.fcmp_ordered(">", x, zero), above, below)


@instruction(types.float32, vector)
def total(builder: Any, v: Any) -> Any:
    """The sum of its numbers."""
    return _folded(builder, v, builder.fadd)


@instruction(types.float32, vector)
def largest(builder: Any, v: Any) -> Any:
    """The largest of its numbers."""

    def of(a: Any, b: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    return _folded(builder, v, of)


def _folded(builder: Any, v: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """A vector's halves combined again and again, down to one number."""
    half = LANES // 2
    while half:
        order = [(place + half) % LANES for place in range(LANES)]
        v = combine(v, builder.shuffle_vector(v, v, ir.Constant(INTS, order)))
        half //= 2
    return builder.extract_element(v, ir.Constant(INT, 0))


@instruction(vector, vector)
def _power_of_two(builder: Any, shifted: Any) -> Any:
    """2^n of n + SHIFT, whose last bits are n's."""
    bits = builder.bitcast(shifted, INTS)
    exponent = builder.add(bits, ir.Constant(INTS, [127] * LANES))
    return builder.bitcast(builder.shl(exponent, ir.Constant(INTS, [23] * LANES)), VECTOR)


@instruction(vector, vector)
def _exponent(builder: Any, x: Any) -> Any:
    """N of x = 2^n m > 0 with m between sqrt(1/2) and sqrt(2)."""
    return builder.sitofp(_whole_exponent(builder, x), VECTOR)


@instruction(vector, vector)
def _mantissa(builder: Any, x: Any) -> Any:
    """M of the same."""
    shift = ir.Constant(INTS, [23] * LANES)
    exponent = builder.shl(_whole_exponent(builder, x), shift)
    return builder.bitcast(builder.sub(builder.bitcast(x, INTS), exponent), VECTOR)


def _whole_exponent(builder: Any, x: Any) -> Any:
    least = int(np.float32(math.sqrt(0.5)).view(np.int32))
    above = builder.sub(builder.bitcast(x, INTS), ir.Constant(INTS, [least] * LANES))
    return builder.ashr(above, ir.Constant(INTS, [23] * LANES))


def _polynomial(coefficients: Sequence[float]) -> Callable[..., Any]:
    """The polynomial with these coefficients, the highest power's first, by Horner's scheme."""
    numbers = [ir.Constant(VECTOR, [float(np.float32(c))] * LANES) for c in coefficients]

    @instruction(vector, vector)
    def polynomial(builder: Any, x: Any) -> Any:
        value = numbers[0]
        for number in numbers[1:]:
            value = multiply_add(builder, value, x, number)
        return value

    return polynomial


def _operator(function: Any, name: str) -> None:
    def typed(context: Any) -> Any:
        return lambda a, b: vector if a == b == vector else None

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(builder, name)(*args)

    type_callable(function)(typed)
    lower_builtin(function, vector, vector)(lowered)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")

# The functions.

ZERO, HALF, ONE = (np.float32(x) for x in (0.0, 0.5, 1.0))
SHIFT = np.float32(1.5 * 2**23)  # adding it rounds to a whole number
LEAST = np.float32(-87.0)  # below, exp leaves float32's normal numbers
INVERSE_LOG2 = np.float32(1 / math.log(2))
LOG2_HIGH = np.float32(0.693359375)  # few bits: times n it is exact
LOG2_LOW = np.float32(math.log(2) - 0.693359375)
_taylor = _polynomial([1 / math.factorial(n) for n in range(7, -1, -1)])
# Of (log(1 + r) - r + r^2 / 2) / r^3; the logarithm's relative error is at most 6e-9.
_log_rest = _polynomial([
    -0.0763445169, 0.127615598, -0.131601911, 0.142017608, -0.166233567, 0.200012267, -0.250008211,
    0.333333317,
])  # fmt: skip
# Fitted for 0 <= z <= 14; relative error at most 3.3e-8.
A = np.float32(0.35)
_tail = _polynomial([
    -0.02914685, 0.14397565, -0.25572133, 0.15918099, -0.02311368, 0.10550927, 0.11983263,
    0.13986189, 0.1396214, 0.0,
])  # fmt: skip


@inlined
def exp(x: Any) -> Any:
    """e^x for x <= 88; below -87, nothing: what is almost nothing makes numbers below the normal
    ones of all that it is multiplied with, and those take processors of Intel a hundred times as
    long.
    """
    bounded = larger(splat(LEAST), x)
    shifted = fma(bounded, splat(INVERSE_LOG2), splat(SHIFT))
    n = shifted - splat(SHIFT)
    r = fma(n, splat(-LOG2_LOW), fma(n, splat(-LOG2_HIGH), bounded))
    power = _taylor(r) * _power_of_two(shifted)
    return by_sign(splat(LEAST) - x, splat(ZERO), power)


@inlined
def log(x: Any) -> Any:
    """The natural logarithm of a normal x > 0."""
    n, r = _exponent(x), _mantissa(x) - splat(ONE)
    square = r * r
    rest = fma(square * r, _log_rest(r), splat(-HALF) * square)
    return fma(n, splat(LOG2_HIGH), r + fma(n, splat(LOG2_LOW), rest))


@inlined
def gelu(x: Any) -> Any:
    """X Phi(x)."""
    z = larger(splat(ZERO) - x, x)
    t = splat(ONE) / fma(splat(A), z, splat(ONE))
    q = _tail(t) * exp(splat(-HALF) * z * z)
    return larger(x, splat(ZERO)) - z * q
