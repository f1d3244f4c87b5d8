"""The samples of a step on a GPU, read through a table of addresses, which outlives the arrays that it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.elementwise import THREADS, contiguous
from gradlite.backends.cuda.launch import blocks
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.cuda.sources import entry
from gradlite.backends.rows import Rows

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

MAX_TARGETS = 16
BLOCK_BYTES = 4096

_TARGETS = np.dtype(
    [
        ("count", np.int64),
        ("size", np.int64),
        ("first", np.int64),
        (
            "at",
            [
                ("rows", np.uint64),
                ("row_bytes", np.int64),
                ("block", np.int64),
                ("rows_each", np.int32),
                ("parts", np.int32),
            ],
            MAX_TARGETS,
        ),
    ]
)


class CudaRows(Rows):
    """Rows that are told to the device too: their number, and the addresses of the order and of the arrays."""

    backend: CudaBackend
    sources: Any = None

    def point_to(self, arrays: Sequence[Any], order: Any = None) -> None:
        arrays = [self.backend.call(contiguous, self.backend, array) for array in arrays]
        super().point_to(arrays, order)
        self._tell([len(arrays[0]), 0 if order is None else order.data.ptr, *(array.data.ptr for array in arrays)])

    def clear(self) -> None:
        super().clear()
        if self.sources is not None:
            self._tell([0] * self.sources.size)

    def _tell(self, numbers: list[int]) -> None:
        """In the order of the stream: replays before this one read what was there for them."""
        found = np.array(numbers, np.uint64)
        if self.sources is None:
            self.sources = self.backend.asarray(found)
        else:
            self.backend.call(self.sources.set, found, stream=self.backend.stream)


@cuda_kernel
def select_rows(gpu: CudaBackend, position: Any, *, rows: CudaRows, size: int, out: Any = None) -> Any:
    """The ``size`` samples from number ``position`` of the order on, of every array."""
    if out is None:
        out = tuple(gpu.empty((size, *array.shape[1:]), array.dtype) for array in rows.arrays)
    elif not isinstance(out, tuple):
        out = (out,)
    for start in range(0, len(out), MAX_TARGETS):
        block, lines = 0, []
        for target in out[start : start + MAX_TARGETS]:
            row_bytes = target.nbytes // size if size else 0
            each, parts = max(1, BLOCK_BYTES // max(1, row_bytes)), max(1, blocks(row_bytes, BLOCK_BYTES))
            lines.append((target.data.ptr if target.nbytes else 0, row_bytes, block, each, parts))
            block += blocks(size, each) * parts if target.nbytes else 0
        table = np.zeros((), _TARGETS)
        table["count"], table["size"], table["first"], table["at"][: len(lines)] = len(lines), size, start, lines
        gpu.run(entry("rows.cu", "select_rows"), (block,), (THREADS,), rows.sources, position, table)
    return out
