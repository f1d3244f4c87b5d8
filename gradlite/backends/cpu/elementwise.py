"""Rectification on the CPU, in chunks that stay in cache and go to all threads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.reference import special as reference
from gradlite.backends.reference.activation import activate

# Elements of a chunk: long enough that threads seldom queue for the interpreter between two passes.
CHUNK = 131_072
# Up to this many elements a plain selection costs less than the scratch memory for a mask.
FEW = 8192
# NumPy's maximum of an array and a number takes four times as long as that of an array and a row of zeros.
ZEROS = 8192
# The integer type whose bits are those of a float: masking bits, unlike multiplying, drops infinities and NaN too.
_BITS = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}


@cpu_kernel
def relu(x: Any, *, out: Any = None) -> Any:
    """The reference's function."""
    if x.size <= FEW or not x.flags.c_contiguous or not (out is None or out.flags.c_contiguous):
        return np.maximum(x, 0, out=out)
    result = np.empty_like(x) if out is None else out
    flat, flat_result = x.reshape(-1), result.reshape(-1)

    def part(t: int, threads: int) -> None:
        chunk = parallel.share(x.size, t, threads)
        _relu(flat[chunk.start : chunk.stop], flat_result[chunk.start : chunk.stop])

    parallel.run(part, work=parallel.PASS * x.size)
    return result


def _relu(x: np.ndarray, out: np.ndarray) -> None:
    whole = x.size // ZEROS * ZEROS
    row = _zeros(x.dtype)
    np.maximum(x[:whole].reshape(-1, ZEROS), row, out=out[:whole].reshape(-1, ZEROS))
    np.maximum(x[whole:], row[: x.size - whole], out=out[whole:])


def relu_rows(x: np.ndarray) -> None:
    """Rectify the rows (n, m) in place, which may lie apart."""
    m = x.shape[1]
    if m <= ZEROS:
        np.maximum(x, _zeros(x.dtype)[:m], out=x)
    else:
        for row in x:
            _relu(row, row)


@lru_cache
def _zeros(dtype: Any) -> np.ndarray:
    row = np.zeros(ZEROS, dtype)
    row.flags.writeable = False
    return row


@cpu_kernel
def relu_gradient(gradient: Any, y: Any, *, out: Any = None) -> Any:
    """The reference's function."""
    plain = gradient.shape == y.shape and gradient.dtype == y.dtype and gradient.dtype in _BITS
    if not plain or y.size <= FEW or not (gradient.flags.c_contiguous and y.flags.c_contiguous):
        return reference.relu_gradient(np, gradient, y, out=out)
    result = np.empty_like(gradient) if out is None else out
    flat_y, flat_gradient, flat_result = y.reshape(-1), gradient.reshape(-1), result.reshape(-1)

    def part(t: int, threads: int) -> None:
        mine = parallel.share(y.size, t, threads)
        for start in range(mine.start, mine.stop, CHUNK):
            span = slice(start, min(start + CHUNK, mine.stop))
            mask_rectified(flat_gradient[span], flat_y[span], flat_result[span])

    parallel.run(part, work=4 * parallel.PASS * y.size)
    return result


def mask_rectified(gradient: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """out = gradient where y > 0, else 0, of vectors of one float type."""
    bits = _BITS[y.dtype]
    mask = mask_of(np.greater(y, 0, out=parallel.scratch("positive", y.shape, np.bool_)), bits)
    np.bitwise_and(gradient.view(bits), mask, out=out.view(bits))


def mask_of(chosen: np.ndarray, integer: Any) -> np.ndarray:
    """Scratch integers of all ones where ``chosen``, which is overwritten, else 0."""
    # -1 or 0 as bytes, and then as wide as the numbers: to negate while converting takes twice as long.
    narrow = chosen.view(np.int8)
    np.negative(narrow, out=narrow)
    mask = parallel.scratch("mask", chosen.shape, integer)
    np.copyto(mask, narrow)
    return mask


def activate_in_place(y: np.ndarray, activation: str | None) -> None:
    """Replace ``y`` by its activation, one of those that the reference knows, or None."""
    if activation == "relu":
        relu(y, out=y)
    elif activation is not None:
        y[...] = activate(np, y, activation)
