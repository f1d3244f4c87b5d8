"""Totals of one number each, added to together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.assignment import assign_add
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.cuda.sources import entry

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

MAX_TOTALS = 32

# The codes of types in accumulate.cu; 0 is a number that comes in the table itself.
_TYPES = {np.dtype(name): code for code, name in enumerate(("float64", "float32", "int64", "int32", "bool"), 1)}
_TABLE = np.dtype(
    [
        ("count", np.int64),
        (
            "at",
            [
                ("total", np.uint64),
                ("value", np.uint64),
                ("real", np.float64),
                ("whole", np.int64),
                ("total_type", np.int32),
                ("value_type", np.int32),
            ],
            MAX_TOTALS,
        ),
    ]
)


@cuda_kernel
def accumulate(gpu: CudaBackend, *arrays: Any) -> None:
    """Add to each of the totals, the first half of ``arrays``, its value, of the second half."""
    half = len(arrays) // 2
    pairs = list(zip(arrays[:half], arrays[half:]))
    if not all(_fits(gpu, total, value) for total, value in pairs):
        for total, value in pairs:
            assign_add(gpu, total, value)
        return
    for start in range(0, half, MAX_TOTALS):
        table = np.zeros((), _TABLE)
        for row, (total, value) in zip(table["at"], pairs[start : start + MAX_TOTALS]):
            row["total"], row["total_type"] = total.data.ptr, _TYPES[total.dtype]
            if isinstance(value, gpu.array_type):
                row["value"], row["value_type"] = value.data.ptr, _TYPES[value.dtype]
            elif total.dtype.kind == "i":
                row["whole"] = value
            else:
                row["real"] = value
        table["count"] = min(MAX_TOTALS, half - start)
        gpu.run(entry("accumulate.cu", "accumulate"), (1,), (MAX_TOTALS,), table[()])


def _fits(gpu: CudaBackend, total: Any, value: Any) -> bool:
    """Whether the kernel adds as the array module would: in the total's type, without a cast that loses anything."""
    if total.dtype not in (np.float64, np.int64) or total.size != 1 or total.device.id != gpu.device_number:
        return False
    if not isinstance(value, gpu.array_type):
        return total.dtype.kind == "f" or isinstance(value, (int, np.integer))
    return (
        value.size == 1
        and value.dtype in _TYPES
        and value.device.id == gpu.device_number
        and (total.dtype.kind == "f" or value.dtype.kind in "ib")
    )
