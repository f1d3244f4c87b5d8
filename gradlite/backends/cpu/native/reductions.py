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
    totals, blocks = Scratch(8 * parts * columns), Scratch(4 * parts * columns)
    first = Launch("reductions.column_sums", parts, (x.size // columns, columns, x, totals, blocks))
    return Plan(out, [first, Launch("reductions.sum_of_parts", 1, (columns, parts, totals, out))])


PLANS = (column_sum,)
