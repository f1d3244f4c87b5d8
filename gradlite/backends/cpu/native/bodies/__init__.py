"""The kernels' bodies, in the part of Python that Numba compiles; read when a kernel has to be compiled, not before.

A body gets ``(part, parts, words)``: it computes the part ``part`` of ``parts``; ``words`` are its arguments, 64 bits
each, in the order in which its docstring names them: addresses (0 where there is no array), integers, and floats as the
bits of float64. What a part computes depends on its arguments alone, not on the thread that takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

# Products may be fused with sums; NaN and infinity stay what they are. Where order may change as well, in sums over
# elements, that does not hold of infinity: a k + b (1 - k) would become b + k (a - b).
FAST_MATH = {"contract", "nsz"}
FAST_SUMS = FAST_MATH | {"reassoc"}

FLOAT, DOUBLE = 4, 8  # bytes

BODIES: dict[str, Callable[[int, int, Any], None]] = {}


def body(function: Callable[[int, int, Any], None]) -> Callable[[int, int, Any], None]:
    """Enter a kernel as ``"module.function"``."""
    BODIES[f"{function.__module__.rpartition('.')[2]}.{function.__name__}"] = function
    return function


def helper(function: Any) -> Any:
    """A function that bodies call. Divisions by zero give infinity or nothing sensible, but raise no error."""
    return njit(error_model="numpy", fastmath=FAST_MATH)(function)


def summing(function: Any) -> Any:
    """A ``helper`` with a sum over elements in it, which may be taken apart for vectors."""
    return njit(error_model="numpy", fastmath=FAST_SUMS)(function)


def external(name: str, arguments: int) -> Any:
    """A generated micro-kernel, to be called from a body with ``arguments`` integers."""
    return types.ExternalFunction(name, types.void(*[types.int64] * arguments))


@intrinsic
def _pointer(context: Any, address: Any) -> Any:
    def generate(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.PointerType())

    return types.voidptr(types.int64), generate


@intrinsic
def real(context: Any, word: Any) -> Any:
    """The float64 whose bits are in an integer."""

    def generate(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@helper
def floats(address: int, count: int) -> Any:
    """The float32 array of ``count`` numbers at an address."""
    return carray(_pointer(address), (count,), np.float32)


@helper
def bytes_at(address: int, count: int) -> Any:
    """The uint8 array there."""
    return carray(_pointer(address), (count,), np.uint8)


@helper
def integers(address: int, count: int) -> Any:
    """The int64 array there."""
    return carray(_pointer(address), (count,), np.int64)


@helper
def unsigned(address: int, count: int) -> Any:
    """The uint32 array there."""
    return carray(_pointer(address), (count,), np.uint32)


@helper
def halves(address: int, count: int) -> Any:
    """The int32 array there."""
    return carray(_pointer(address), (count,), np.int32)


@helper
def doubles(address: int, count: int) -> Any:
    """The float64 array there."""
    return carray(_pointer(address), (count,), np.float64)


# Loops count from 0 over arrays that begin where they do: of an index that may be negative Numba asks, for every
# element, whether it counts from the end, and no vectors come of it.


@helper
def copy(source: int, target: int, count: int) -> None:
    """Copy so many float32 numbers from address to address."""
    given, taken = floats(source, count), floats(target, count)
    for i in range(count):
        taken[i] = given[i]


@helper
def clear(target: int, count: int) -> None:
    """Set so many float32 numbers to 0."""
    taken = floats(target, count)
    for i in range(count):
        taken[i] = 0.0


@helper
def clear_doubles(target: int, count: int) -> None:
    """Set so many float64 numbers to 0."""
    taken = doubles(target, count)
    for i in range(count):
        taken[i] = 0.0


@helper
def share(count: int, part: int, parts: int) -> tuple[int, int]:
    """The part of ``range(count)`` that is ``part``'s: its start and its end."""
    return count * part // parts, count * (part + 1) // parts


@helper
def lines(count: int, part: int, parts: int) -> tuple[int, int]:
    """As ``share``, for numbers of four bytes: parts begin at whole cache lines."""
    start, stop = share((count + 15) // 16, part, parts)
    return min(16 * start, count), min(16 * stop, count)


@helper
def larger(a: float, b: float) -> float:
    """The larger of two numbers; NaN where either is."""
    return a if a > b or a != a else b
