"""Conversions of many arrays by one launch on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.assignment import astype
from gradlite.backends.cuda.elementwise import THREADS
from gradlite.backends.cuda.launch import blocks, c_type
from gradlite.backends.cuda.operands import kernel
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.dtypes import as_dtype, is_narrow

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

MAX_CONVERSIONS = 64

_CONVERSIONS = np.dtype(
    [
        ("count", np.int64),
        (
            "at",
            [("array", np.uint64), ("result", np.uint64), ("size", np.int64), ("block", np.uint64)],
            MAX_CONVERSIONS,
        ),
    ]
)


@cuda_kernel
def astype_each(gpu: CudaBackend, *arrays: Any, dtype: Any, out: Any = None) -> tuple[Any, ...]:
    """Every array converted to ``dtype``: between float32 and a 16-bit float by one launch for 64 of them."""
    kind, own = as_dtype(dtype), arrays[0].dtype
    results = tuple(gpu.empty(x.shape, kind) for x in arrays) if out is None else tuple(out)
    # The launch boundary does not see addresses in a table: what is in it is checked here.
    ours = all(x.dtype == own and x.flags.c_contiguous and x.device.id == gpu.device_number for x in arrays)
    ours = ours and all(r.dtype == kind and r.flags.c_contiguous for r in results)
    if not ours or sorted((is_narrow(own), is_narrow(kind))) != [False, True] or np.float32 not in (own, kind):
        for x, result in zip(arrays, results):
            astype(gpu, x, dtype=kind, out=result)
        return results
    pairs = [(x, r) for x, r in zip(arrays, results) if x.size]
    for start in range(0, len(pairs), MAX_CONVERSIONS):
        table = np.zeros((), _CONVERSIONS)
        block, lines = 0, []
        for x, result in pairs[start : start + MAX_CONVERSIONS]:
            lines.append((x.data.ptr, result.data.ptr, x.size, block))
            block += blocks(x.size, 4 * THREADS)
        table["count"], table["at"][: len(lines)] = len(lines), lines
        gpu.run(kernel("conversions.cu", "convert_each", A=c_type(own), R=c_type(kind)), (block,), (THREADS,), table)
    return results
