"""What plans ask about the arrays they are given, and into how many parts a pass over memory goes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.placement import address

# Bytes moved below which a second thread costs more than it saves: some three microseconds of one.
SMALL_PASS = 96 << 10
# Arithmetic operations, likewise.
SMALL_WORK = 300_000
# Types whose elements kernels for numbers read and write, by the number that stands for them there.
KINDS = {np.dtype(name): i for i, name in enumerate(("float32", "float64", "int64", "uint8", "bool", "int32"))}

FLOAT32 = np.dtype(np.float32)
INT64 = np.dtype(np.int64)


def is_plain(array: Any, dtype: Any = FLOAT32) -> bool:
    """Whether this is an array of that type without gaps."""
    return type(array) is np.ndarray and array.dtype == dtype and array.flags.c_contiguous


def are_plain(*arrays: Any, dtype: Any = FLOAT32) -> bool:
    """Whether all arrays (None counts as one) are of that type without gaps."""
    return all(a is None or is_plain(a, dtype) for a in arrays)


def are_pairs(window: Any, strides: Any, padding: Any) -> bool:
    """Whether a pooling takes 2 x 2 pixels side by side."""
    return tuple(window) == tuple(strides) == (2, 2) and not any(map(any, padding))


def same_size(*arrays: Any) -> bool:
    """Whether all arrays (None counts as one) have as many elements."""
    return len({a.size for a in arrays if a is not None}) == 1


def apart(out: Any, *arrays: Any) -> bool:
    """Whether ``out`` may be written while the arrays are read, element by element: it is none of them or wholly one.

    Arrays that overlap otherwise are for NumPy, which reads them first.
    """
    return all(
        not np.may_share_memory(out, a) or (address(out) == address(a) and out.nbytes == a.nbytes)
        for a in arrays
        if a is not None
    )


def common_shape(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """What arrays of these shapes are broadcast to; None where NumPy has an error to raise."""
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def parts_for(nbytes: float) -> int:
    """How many parts a pass that moves so many bytes is worth."""
    return parallel.get_num_threads() if nbytes >= SMALL_PASS else 1


def threads_for(work: float) -> int:
    """How many parts so many arithmetic operations are worth."""
    return parallel.get_num_threads() if work >= SMALL_WORK else 1
