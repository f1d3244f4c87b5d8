"""Element-wise kernels of losses that compute in their output, and in scratch memory that is kept.

The reference's formulas, operation by operation, so that every bit is the same; what they do not take goes to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.reference import arrays, softmax, special

FLOATS = (np.float32, np.float64)


def _computes_in(out: Any, shape: tuple[int, ...], dtype: Any, *inputs: Any) -> bool:
    """Whether the result, of a float type, may be computed step by step in ``out`` (None: a new array)."""
    if dtype not in FLOATS:
        return False
    if out is None:
        return True
    apart = not any(isinstance(x, np.ndarray) and np.may_share_memory(out, x) for x in inputs)
    return apart and out.shape == shape and out.dtype == dtype


@cpu_kernel
def where(condition: Any, a: Any, b: Any, *, out: Any = None) -> Any:
    """The reference's selection."""
    kind = np.result_type(a, b)
    if out is None or not _computes_in(out, out.shape, kind, condition, a, b) or np.asarray(condition).dtype != bool:
        return arrays.where(np, condition, a, b, out=out)
    np.copyto(out, b)
    np.copyto(out, a, where=condition)
    return out


@cpu_kernel
def sigmoid(x: Any, *, out: Any = None) -> Any:
    """The reference's function."""
    if not _computes_in(out, x.shape, x.dtype, x):
        return special.sigmoid(np, x, out=out)
    result = np.empty_like(x) if out is None else out
    small = parallel.scratch("sigmoid", x.shape, x.dtype)
    positive = parallel.scratch("sigmoid's sign", x.shape, np.bool_)
    np.negative(np.abs(x, out=small), out=small)
    np.exp(small, out=small)
    np.copyto(result, small)
    np.copyto(result, 1, where=np.greater_equal(x, 0, out=positive))
    np.add(small, 1, out=small)
    return np.divide(result, small, out=result)


@cpu_kernel
def softplus(x: Any, *, out: Any = None) -> Any:
    """The reference's function."""
    if not _computes_in(out, x.shape, x.dtype, x):
        return special.softplus(np, x, out=out)
    result = np.empty_like(x) if out is None else out
    small = parallel.scratch("softplus", x.shape, x.dtype)
    np.negative(np.abs(x, out=small), out=small)
    np.log1p(np.exp(small, out=small), out=small)
    np.maximum(x, 0, out=result)
    return np.add(result, small, out=result)


@cpu_kernel
def softmax_cross_entropy_gradient(gradient: Any, probabilities: Any, labels: Any, *, out: Any = None) -> Any:
    """The reference's derivative."""
    kind = probabilities.dtype
    plain = labels.dtype == kind and gradient.dtype == kind and labels.shape == probabilities.shape
    if not plain or not _computes_in(out, probabilities.shape, kind, gradient, probabilities, labels):
        return softmax.softmax_cross_entropy_gradient(np, gradient, probabilities, labels, out=out)
    result = np.empty_like(probabilities) if out is None else out
    np.multiply(probabilities, labels.sum(axis=-1, keepdims=True), out=result)
    np.subtract(result, labels, out=result)
    return np.multiply(result, gradient[:, None], out=result)
