"""Layouts: what kernels are told about arrays that are broadcast, transposed or sliced (see kernels/layout.cuh)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

MAX_AXES = 6
# Element numbers are divided by multiplication, which is exact up to here.
MAX_SIZE = 2**31

_LAYOUT = np.dtype(
    [
        ("axes", np.int32),
        ("size", np.uint32),
        ("length", np.uint32, MAX_AXES),
        ("multiplier", np.uint32, MAX_AXES),
        ("shift", np.uint32, MAX_AXES),
        ("stride", np.int64, (4, MAX_AXES)),
    ]
)

Shape = tuple[int, ...]


def layout(shape: Shape, *arrays: Any) -> Any:
    """The layout of ``arrays``, each broadcast to ``shape``; None for a number in an array's place.

    Returns:
        The structure ``Layout`` as an array of no axes, which CuPy passes by value; or None for what it cannot hold:
        more than 6 axes that do not lie in line, 2**31 elements or more, strides that are no whole numbers of elements.
    """
    strides = []
    for x in arrays:
        if x is None:
            strides.append((0,) * len(shape))
        elif any(s % x.itemsize for s in x.strides):
            return None
        else:
            lead = (0,) * (len(shape) - x.ndim)
            own = tuple(0 if n == 1 else s // x.itemsize for n, s in zip(x.shape, x.strides))
            strides.append(lead + own)
    return _layout(shape, tuple(strides))


@lru_cache(4096)
def _layout(shape: Shape, strides: tuple[Shape, ...]) -> Any:
    axes = _joined(shape, strides)
    size = math.prod(shape)
    if len(axes) > MAX_AXES or size >= MAX_SIZE:
        return None
    result = np.zeros((), _LAYOUT)
    result["axes"], result["size"] = len(axes), size
    for i, (length, steps) in enumerate(axes):
        shift = (length - 1).bit_length()
        result["length"][i], result["shift"][i] = length, shift
        result["multiplier"][i] = (2**32 * (2**shift - length)) // length + 1
        result["stride"][: len(steps), i] = steps
    result.flags.writeable = False
    return result


def _joined(shape: Shape, strides: tuple[Shape, ...]) -> list[tuple[int, Shape]]:
    """(length, strides of all arrays) of each axis, the last one first; neighbours that lie in line made one."""
    axes: list[tuple[int, Shape]] = []
    for i in reversed(range(len(shape))):
        steps = tuple(s[i] for s in strides)
        if shape[i] == 1:
            continue
        if axes and steps == tuple(s * axes[-1][0] for s in axes[-1][1]):
            axes[-1] = (axes[-1][0] * shape[i], axes[-1][1])
        else:
            axes.append((shape[i], steps))
    return axes


def clashes(out: Any, x: Any) -> bool:
    """Whether writing ``out`` element by element may change elements of ``x`` that are still to be read.

    They may share memory if they are the same elements in the same order.
    """
    start, stop = _extent(out)
    first, last = _extent(x)
    if last <= start or stop <= first:
        return False
    return not (x.data.ptr == out.data.ptr and x.shape == out.shape and x.strides == out.strides)


def _extent(x: Any) -> tuple[int, int]:
    """The addresses between which all elements lie."""
    if x.size == 0:
        return 0, 0
    reach = [(n - 1) * s for n, s in zip(x.shape, x.strides)]
    low = sum(s for s in reach if s < 0)
    return x.data.ptr + low, x.data.ptr + sum(s for s in reach if s > 0) + x.itemsize
