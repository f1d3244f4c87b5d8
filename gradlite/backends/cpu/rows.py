"""The samples of a step, gathered without an array in between, and the table by which native kernels find them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite.backends.cpu.placement import address
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.rows import Rows

# Arrays that a step can read samples of by native kernels.
MOST_ARRAYS = 16


class CpuRows(Rows):
    """Rows without gaps, and a table of where they are.

    Attributes:
        table: int64: how many samples there are, the address of the order (0: none), and the arrays' addresses.
    """

    table: np.ndarray

    def point_to(self, arrays: Sequence[Any], order: Any = None) -> None:
        super().point_to([np.ascontiguousarray(array) for array in arrays], order)
        found = [len(self.arrays[0]), 0 if order is None else address(order), *map(address, self.arrays)]
        self._tell(found[: 2 + MOST_ARRAYS])

    def clear(self) -> None:
        super().clear()
        self._tell([0] * (2 + MOST_ARRAYS))

    def _tell(self, numbers: list[int]) -> None:
        if not hasattr(self, "table"):
            self.table = np.zeros(2 + MOST_ARRAYS, np.int64)
        self.table[: len(numbers)] = numbers


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
