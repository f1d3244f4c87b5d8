"""The plan of gathering a step's samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.launches import Launch, Plan
from gradlite.backends.cpu.native.operands import INT64, is_plain, parts_for
from gradlite.backends.cpu.rows import MOST_ARRAYS, CpuRows


def select_rows(position: Any, *, rows: Any, size: int, out: Any = None) -> Plan | None:
    """Whole samples, byte by byte, whatever their types."""
    if not isinstance(rows, CpuRows) or not 0 < len(rows.arrays) <= MOST_ARRAYS or not is_plain(position, INT64):
        return None
    if rows.order is not None and not is_plain(rows.order, INT64):
        return None
    if out is None:
        out = tuple(np.empty((size, *array.shape[1:]), array.dtype) for array in rows.arrays)
    elif not isinstance(out, tuple):
        out = (out,)
    if not all(target.flags.c_contiguous for target in out):
        return None
    places = [word for target in out for word in (target, target.nbytes // size)]
    parts = min(parts_for(2 * sum(target.nbytes for target in out)), size)
    return Plan(out, [Launch("rows.select", parts, (rows.table, position, size, len(out), *places))])


PLANS = (select_rows,)
