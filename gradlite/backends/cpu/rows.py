"""The samples of a step, gathered without an array in between."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.rows import Rows


@cpu_kernel
def select_rows(position: Any, *, rows: Rows, size: int, out: Any = None) -> Any:
    """The ``size`` samples from number ``position`` of the order on, of every array."""
    start = int(position)
    if out is None:
        out = tuple([np.empty((size, *array.shape[1:]), array.dtype) for array in rows.arrays])
    elif not isinstance(out, tuple):
        out = (out,)
    order = rows.order
    if rows.arrays and start + size > len(rows.arrays[0]):
        numbers = np.arange(start, start + size) % len(rows.arrays[0])
        order, start = numbers if order is None else order[numbers], 0
    if order is None:
        for target, array in zip(out, rows.arrays):
            target[...] = array[start : start + size]
    else:
        numbers = order[start : start + size]
        for target, array in zip(out, rows.arrays):
            # "clip" because "raise" would have NumPy fill a copy of `out` first; the order's numbers are in range.
            np.take(array, numbers, axis=0, out=target, mode="clip")
    return out
