"""The exponential in float32, in steps that all become vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gradlite.backends.cpu.native.bodies import floats, helper

LOG2_E = np.float32(1.4426950408889634)
# log 2 as a number of few bits, so that its multiples are exact, and what is left of it.
LOG_2_HIGH, LOG_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# Added to a small number, this leaves its nearest integer in the low bits.
ROUNDER = np.float32(12582912.0)
ROUNDER_BITS = np.int32(0x4B400000)
# exp(x) is 0, or infinity, beyond.
LOWEST, HIGHEST = np.float32(-104.0), np.float32(89.0)
# exp(r) = 1 + r + r**2 (...) for |r| <= log(2) / 2: Cephes' expf (S. Moshier, 1992), highest power first.
COEFFICIENTS = tuple(
    np.float32(c)
    for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
)


@intrinsic
def bits_of(context: Any, x: Any) -> Any:
    """The bits of a float32, as an int32."""

    def generate(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def with_bits(context: Any, bits: Any) -> Any:
    """The float32 with these bits."""

    def generate(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@helper
def exp(x: float) -> float:
    """exp(x) within 2 units in the last place, NaN for NaN."""
    y = LOWEST if x < LOWEST else (HIGHEST if x > HIGHEST else x)
    rounded = y * LOG2_E + ROUNDER
    n = rounded - ROUNDER
    r = (y - n * LOG_2_HIGH) - n * LOG_2_LOW
    c0, c1, c2, c3, c4, c5 = COEFFICIENTS
    polynomial = ((((c0 * r + c1) * r + c2) * r + c3) * r + c4) * r + c5
    value = polynomial * r * r + r + np.float32(1.0)
    # 2**n as two factors: one alone may be too small, or too large, where the result is not.
    exponent = np.int32(bits_of(rounded) - ROUNDER_BITS)
    half = np.int32(exponent >> np.int32(1))
    rest = np.int32(exponent - half)
    one = np.int32(127)
    shift = np.int32(23)
    return value * with_bits(np.int32((half + one) << shift)) * with_bits(np.int32((rest + one) << shift))


@helper
def exponentials(address: int, n: int) -> None:
    """Replace n numbers by their exponentials."""
    values = floats(address, n)
    for i in range(n):
        values[i] = exp(values[i])
