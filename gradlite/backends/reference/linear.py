"""Reference kernels of linear algebra beyond ``matmul``."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

from gradlite.backends.reference.activation import activate, activation_gradient
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
def dense(xp: ModuleType, x: Any, kernel: Any, bias: Any, *, activation: str | None = None, out: Any = None) -> Any:
    """``activation(x @ kernel + bias)`` over the last axis of ``x``: (..., n) x (n, m) + (m,) -> (..., m).

    ``bias`` may be None; the activations are those of ``activation.py``.
    """
    rows = x.reshape(-1, x.shape[-1])
    flat = None if out is None else out.reshape(rows.shape[0], -1)
    result = xp.matmul(rows, kernel, out=flat)
    if bias is not None:
        result += bias
    if activation is not None:
        result[...] = activate(xp, result, activation)
    return result.reshape(x.shape[:-1] + (kernel.shape[-1],)) if out is None else out


@reference_kernel
def dense_input_gradient(
    xp: ModuleType, gradient: Any, y: Any, kernel: Any, *, activation: str | None = None, out: Any = None
) -> Any:
    """The gradient of ``dense`` in ``x``: ``(gradient * activation'(y)) @ kernel.T``, (..., m) -> (..., n).

    ``y`` is the output of ``dense``; None where there is no activation.
    """
    inner = activation_gradient(xp, gradient, y, activation)
    return dense(xp, inner, kernel.T, None, out=out)


@reference_kernel
def dense_weight_gradient(
    xp: ModuleType, x: Any, gradient: Any, y: Any, *, activation: str | None = None, out: Any = None
) -> tuple[Any, Any]:
    """The gradients of ``dense`` in ``kernel`` and ``bias``, (n, m) and (m,), for x (..., n) and gradient (..., m).

    With ``g = gradient * activation'(y)`` over all leading axes: ``x.T @ g`` and the column sums of ``g``.
    """
    rows = x.reshape(-1, x.shape[-1])
    inner = activation_gradient(xp, gradient, y, activation).reshape(-1, gradient.shape[-1])
    to_kernel, to_bias = (None, None) if out is None else out
    return xp.matmul(rows.T, inner, out=to_kernel), column_sum(xp, inner, out=to_bias)


@reference_kernel
def column_sum(xp: ModuleType, x: Any, *, out: Any = None) -> Any:
    """The sum over all axes but the last: (..., m) -> (m,)."""
    return xp.sum(x.reshape(-1, x.shape[-1]), axis=0, out=out)
