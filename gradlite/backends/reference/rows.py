"""Reference kernels that read the samples of a step."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from gradlite.backends.registry import reference_kernel
from gradlite.backends.rows import Rows


@reference_kernel
def select_rows(xp: ModuleType, position: Any, *, rows: Rows, size: int, out: Any = None) -> Any:
    """The ``size`` samples from number ``position`` of the order on, of every array: a tuple of arrays (size, ...).

    ``position`` is an int64 array (), which the host need not know. Behind the last sample comes the first.
    """
    numbers = (position + xp.arange(size)) % len(rows.arrays[0])
    if rows.order is not None:
        numbers = xp.take(rows.order, numbers)
    results = tuple(xp.take(array, numbers, axis=0) for array in rows.arrays)
    if out is None:
        return results
    for target, result in zip(out if isinstance(out, tuple) else (out,), results):
        target[...] = result
    return out if isinstance(out, tuple) else (out,)
