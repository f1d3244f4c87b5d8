"""Reference kernels of linear algebra beyond ``matmul``."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

from gradlite.backends.registry import into, reference_kernel

# Planning an Einstein sum takes as long as this many products in a plain loop.
EINSUM_PLAIN_LOOP = 100_000


@reference_kernel
def einsum(xp: ModuleType, *operands: Any, subscripts: str, out: Any = None) -> Any:
    """Einstein summation: a large one as matrix products, pairs contracted in a good order."""
    lengths: dict[str, int] = {}
    for term, operand in zip(subscripts.partition("->")[0].split(","), operands):
        lengths.update(zip(term, operand.shape))
    large = len(operands) > 2 or (len(operands) == 2 and math.prod(lengths.values()) > EINSUM_PLAIN_LOOP)
    result = xp.einsum(subscripts, *operands, optimize=large)
    # Of one operand that is only transposed the array module gives a view.
    return into(out, xp.array(result, copy=True) if out is None and len(operands) == 1 else result)


@reference_kernel
def dense(xp: ModuleType, x: Any, kernel: Any, bias: Any, *, out: Any = None) -> Any:
    """``x @ kernel + bias`` over the last axis of ``x``: (..., n) x (n, m) + (m,) -> (..., m). ``bias`` may be None."""
    rows = x.reshape(-1, x.shape[-1])
    flat = None if out is None else out.reshape(rows.shape[0], -1)
    result = xp.matmul(rows, kernel, out=flat)
    if bias is not None:
        result += bias
    return result.reshape(x.shape[:-1] + (kernel.shape[-1],)) if out is None else out


@reference_kernel
def column_sum(xp: ModuleType, x: Any, *, out: Any = None) -> Any:
    """The sum over all axes but the last: (..., m) -> (m,)."""
    return xp.sum(x.reshape(-1, x.shape[-1]), axis=0, out=out)
