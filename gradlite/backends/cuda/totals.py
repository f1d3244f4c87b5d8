"""Totals of one number each, added to together: the table that kernels take, and the kernel that adds alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.assignment import assign, assign_add
from gradlite.backends.cuda.operands import contiguous
from gradlite.backends.cuda.reductions import counting_macros, counts
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.cuda.sources import entry

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

MAX_TOTALS = 32

# The codes of types in totals.cuh; 0 is a number that comes in the table itself, the last the count of correct rows.
_TYPES = {np.dtype(name): code for code, name in enumerate(("float64", "float32", "int64", "int32", "bool"), 1)}
_CORRECT = 6
_TABLE = np.dtype(
    [
        ("count", np.int64),
        (
            "at",
            [
                ("total", np.uint64),
                ("copy", np.uint64),
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
def accumulate(gpu: CudaBackend, *totals: Any, values: tuple[Any, ...], copies: tuple[Any, ...] = ()) -> None:
    """Add to each of the totals its value, in one launch."""
    table = table_of(gpu, totals, values, copies)
    counted = [value[1:] for value in values if is_count(value)]
    same = all(labels is counted[0][0] and scores is counted[0][1] for labels, scores in counted)
    if table is None or not same or not all(counts(labels, scores) for labels, scores in counted):
        _add_each(gpu, totals, values, copies)
    elif not counted:
        kernel = entry("accumulate.cu", "accumulate", T="float", L="int", LABEL_ROWS=0)
        gpu.run(kernel, (1,), (MAX_TOTALS,), table, None, None, 0, 0)
    else:
        labels, scores = counted[0]
        kernel = entry("accumulate.cu", "accumulate", **counting_macros(labels, scores))
        gpu.run(kernel, (1,), (1024,), table, contiguous(gpu, labels), contiguous(gpu, scores), *scores.shape)


def _add_each(gpu: CudaBackend, totals: tuple[Any, ...], values: tuple[Any, ...], copies: tuple[Any, ...]) -> None:
    """The same by several kernels."""
    for total, value, copy in zip(totals, values, copies or (None,) * len(totals)):
        if isinstance(value, tuple):
            value = gpu.kernels["count_correct" if is_count(value) else "multiply"](*value[1:])
        assign_add(gpu, total, value)
        if copy is not None:
            assign(gpu, copy, total)


def is_count(value: Any) -> bool:
    """Whether a value is to be counted: ("correct", ...)."""
    return isinstance(value, tuple) and value[0] == "correct"


def table_of(gpu: CudaBackend, totals: tuple[Any, ...], values: tuple[Any, ...], copies: tuple[Any, ...]) -> Any:
    """What kernels take as ``Totals``; None where a total or a value is not theirs.

    What belongs to a count, ("correct", ...), and how a kernel comes to it, is the kernel's own affair.
    """
    table = np.zeros((), _TABLE)
    if len(totals) > MAX_TOTALS:
        return None
    for row, total, value, copy in zip(table["at"], totals, values, copies or (None,) * len(totals)):
        parts = value if isinstance(value, tuple) else ("times", value, 1)
        number = parts[1] if parts[0] == "times" else None
        if not _fits(gpu, total, number) or (copy is not None and copy.dtype != total.dtype):
            return None
        row["total"], row["total_type"] = total.data.ptr, _TYPES[total.dtype]
        row["copy"] = 0 if copy is None else copy.data.ptr
        if number is None:
            row["value_type"] = _CORRECT
        elif isinstance(number, gpu.array_type):
            factor = parts[2]
            if factor != 1 and number.dtype.kind != "f":
                return None
            row["value"], row["value_type"], row["real"] = number.data.ptr, _TYPES[number.dtype], factor
        elif total.dtype.kind == "i":
            row["whole"] = number
        else:
            row["real"] = number
    table["count"] = len(totals)
    return table[()]


def _fits(gpu: CudaBackend, total: Any, value: Any) -> bool:
    """Whether the kernel adds as the array module would: in the total's type, without a cast that loses anything."""
    if total.dtype not in (np.float64, np.int64) or total.size != 1 or total.device.id != gpu.device_number:
        return False
    if value is None:
        return True
    if not isinstance(value, gpu.array_type):
        return total.dtype.kind == "f" or isinstance(value, (int, np.integer))
    return (
        value.size == 1
        and value.dtype in _TYPES
        and value.device.id == gpu.device_number
        and (total.dtype.kind == "f" or value.dtype.kind in "ib")
    )
