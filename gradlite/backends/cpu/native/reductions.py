"""Plans of sums in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.launches import Launch, Plan, Scratch
from gradlite.backends.cpu.native.operands import are_plain, is_plain, parts_for


def column_sum(x: Any, *, out: Any = None) -> Plan | None:
    """Rows by parts; then the parts."""
    if not is_plain(x) or x.ndim == 0 or x.size == 0 or not are_plain(out):
        return None
    columns = x.shape[-1]
    if out is not None and out.shape != (columns,):
        return None
    out = np.empty((columns,), np.float32) if out is None else out
    parts = parts_for(4 * x.size)
    room, adding = sums_of_parts(columns, parts, out)
    return Plan(out, [Launch("reductions.column_sums", parts, (x.size // columns, columns, x, *room)), *adding])


def sums_of_parts(columns: int, parts: int, out: Any) -> tuple[tuple[Any, ...], list[Launch]]:
    """What bodies take that add up the columns of a part: totals, and room for a row; and the launch that makes of them
    the sums (columns,) of all. Nothing where ``out`` is None."""
    if out is None:
        return (None, None), []
    totals = Scratch(8 * parts * columns)
    adding = Launch("reductions.sum_of_parts", 1, (columns, parts, totals, out))
    return (totals, Scratch(4 * parts * columns)), [adding]


PLANS = (column_sum,)
