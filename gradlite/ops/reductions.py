"""Operations that reduce axes: sums, extremes, products, moments, norms; and running sums."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite.autograd import as_tensor
from gradlite.ops.elementwise import abs, astype, equal, exp, floating, maximum, power, sqrt, square, where
from gradlite.ops.kernel import KernelOp
from gradlite.ops.shape import Axes, broadcast_to, concatenate, flip, moveaxis, normalize_axes, normalize_axis, reshape
from gradlite.tensor import Tensor


def _widen(g: Tensor, x: Any, axis: tuple[int, ...], keepdims: bool) -> Tensor:
    """The reduced axes of ``g`` back in place, with length 1."""
    return g if keepdims else reshape(g, tuple(1 if i in axis else n for i, n in enumerate(x.shape)))


def _spread(g: Tensor, x: Any, axis: tuple[int, ...], keepdims: bool) -> Tensor:
    """The gradient of a sum: ``g`` repeated along the axes that were summed."""
    return broadcast_to(_widen(g, x, axis, keepdims), x.shape)


def _count(shape: Sequence[int], axis: Sequence[int]) -> int:
    return math.prod(shape[i] for i in axis)


def _shared(g: Tensor, out: Tensor, x: Tensor, axis: tuple[int, ...], keepdims: bool) -> Tensor:
    """The gradient of an extreme: divided evenly among the elements that attain it."""
    attains = astype(equal(x, _widen(out, x, axis, keepdims)), g.dtype)
    return _widen(g, x, axis, keepdims) * (attains / sum(attains, axis, keepdims=True))


def _finite(out: Tensor) -> Tensor:
    """Zero in place of minus infinity, from which nothing can be subtracted."""
    return where(equal(out, -math.inf), 0, out)


_sum = KernelOp("sum", "The sum.", lambda g, out, x, axis, keepdims: _spread(g, x, axis, keepdims))
_mean = KernelOp(
    "mean",
    "The mean.",
    lambda g, out, x, axis, keepdims: _spread(g * (1 / builtins.max(_count(x.shape, axis), 1)), x, axis, keepdims),
)
_max = KernelOp(
    "max",
    "The largest.",
    lambda g, out, x, axis, keepdims: _shared(g, out, x, axis, keepdims),
    inputs=True,
    output=True,
)
_min = KernelOp(
    "min",
    "The smallest.",
    lambda g, out, x, axis, keepdims: _shared(g, out, x, axis, keepdims),
    inputs=True,
    output=True,
)
_logsumexp = KernelOp(
    "logsumexp",
    "log(sum(exp(x))).",
    lambda g, out, x, axis, keepdims: _widen(g, x, axis, keepdims) * exp(x - _finite(_widen(out, x, axis, keepdims))),
    inputs=True,
    output=True,
)
_cumsum: KernelOp = KernelOp(
    "cumsum",
    "The running sum.",
    lambda g, out, x, axis: flip(_cumsum(flip(g, axis), axis=axis), axis),
)
_argmax = KernelOp("argmax", "The position of the largest.")
_argmin = KernelOp("argmin", "The position of the smallest.")
_all = KernelOp("all", "Whether all are true.")
_any = KernelOp("any", "Whether any is true.")
_count_nonzero = KernelOp("count_nonzero", "How many are not zero.")


def _reduce(op: KernelOp, x: Any, axis: Axes, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    return op(x, axis=normalize_axes(axis, x.ndim), keepdims=builtins.bool(keepdims))


def sum(x: Any, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The sum over ``axis`` (one, several, or None for all); ``keepdims`` leaves these axes with length 1.

    >>> import gradlite
    >>> gradlite.sum(gradlite.ones((2, 3)), axis=1).numpy()
    array([3., 3.], dtype=float32)
    """
    return _reduce(_sum, x, axis, keepdims)


def mean(x: Any, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over ``axis``.

    >>> import gradlite
    >>> gradlite.mean(gradlite.Tensor([1.0, 3.0])).item()
    2.0
    """
    return _reduce(_mean, x, axis, keepdims)


def var(x: Any, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """The variance over ``axis``: squared distances from the mean, summed and divided by ``count - ddof``.

    >>> import gradlite
    >>> gradlite.var(gradlite.Tensor([1.0, 3.0])).item()
    1.0
    """
    x = as_tensor(x)
    axes = normalize_axes(axis, x.ndim)
    centred = square(x - mean(x, axes, keepdims=True))
    if ddof == 0:
        return mean(centred, axes, keepdims)
    return sum(centred, axes, keepdims) / (_count(x.shape, axes) - ddof)


def std(x: Any, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """The standard deviation over ``axis``: the square root of ``var``. Where it is 0, so is its gradient.

    >>> import gradlite
    >>> gradlite.std(gradlite.Tensor([1.0, 3.0])).item()
    1.0
    """
    return _root(var(x, axis, keepdims, ddof), 2)


def max(x: Any, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The largest element over ``axis``; NaN if there is one. Elements that tie share the gradient.

    >>> import gradlite
    >>> gradlite.max(gradlite.Tensor([[1.0, 5.0], [7.0, 2.0]]), axis=0).numpy()
    array([7., 5.], dtype=float32)
    """
    return _reduce(_max, x, axis, keepdims)


def min(x: Any, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The smallest element over ``axis``; NaN if there is one. Elements that tie share the gradient.

    >>> import gradlite
    >>> gradlite.min(gradlite.Tensor([3.0, 2.0])).item()
    2.0
    """
    return _reduce(_min, x, axis, keepdims)


def prod(x: Any, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The product over ``axis``.

    Multiplied in pairs, so that the gradient is right also where elements are zero.

    >>> import gradlite
    >>> gradlite.prod(gradlite.Tensor([2.0, 3.0, 4.0])).item()
    24.0
    """
    x = as_tensor(x)
    axes = normalize_axes(axis, x.ndim)
    x = astype(x, np.empty(0, x.dtype).prod().dtype)  # small integers become int64, as in NumPy
    kept = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    for place, i in enumerate(axes):
        x = moveaxis(x, i - place, -1)
    x = reshape(x, (*kept, math.prod(x.shape[len(kept) :])))
    if x.shape[-1] == 0:
        x = concatenate([x, Tensor(np.ones((*kept, 1), x.dtype), device=x.device)], -1)
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        pairs = x[..., :half] * x[..., half : 2 * half]
        x = concatenate([pairs, x[..., 2 * half :]], -1) if x.shape[-1] % 2 else pairs
    shape = list(kept)
    if keepdims:
        for i in axes:
            shape.insert(i, 1)
    return reshape(x, tuple(shape))


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position of the largest element along ``axis`` (None: in the flattened tensor); of equal ones the first.

    >>> import gradlite
    >>> gradlite.argmax(gradlite.Tensor([[1.0, 5.0], [7.0, 2.0]]), axis=1).numpy()
    array([1, 0])
    """
    x = as_tensor(x)
    return _argmax(x, axis=None if axis is None else normalize_axis(axis, x.ndim), keepdims=keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position of the smallest element along ``axis`` (None: in the flattened tensor); of equal ones the first.

    >>> import gradlite
    >>> gradlite.argmin(gradlite.Tensor([3.0, 1.0, 2.0])).item()
    1
    """
    x = as_tensor(x)
    return _argmin(x, axis=None if axis is None else normalize_axis(axis, x.ndim), keepdims=keepdims)


def all(x: Any, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether all elements over ``axis`` are true.

    >>> import gradlite
    >>> gradlite.all(gradlite.Tensor([True, False])).item()
    False
    """
    return _reduce(_all, x, axis, keepdims)


def any(x: Any, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether any element over ``axis`` is true.

    >>> import gradlite
    >>> gradlite.any(gradlite.Tensor([True, False])).item()
    True
    """
    return _reduce(_any, x, axis, keepdims)


def count_nonzero(x: Any, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """How many elements over ``axis`` are not zero.

    >>> import gradlite
    >>> gradlite.count_nonzero(gradlite.Tensor([1, 0, 2])).item()
    2
    """
    return _reduce(_count_nonzero, x, axis, keepdims)


def cumsum(x: Any, axis: int | None = None) -> Tensor:
    """The running sum along ``axis`` (None: of the flattened tensor).

    >>> import gradlite
    >>> gradlite.cumsum(gradlite.Tensor([1.0, 2.0, 3.0])).numpy()
    array([1., 3., 6.], dtype=float32)
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    return _cumsum(x, axis=normalize_axis(axis, x.ndim))


def logsumexp(x: Any, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """``log(sum(exp(x)))`` over ``axis``, without overflow.

    >>> import gradlite
    >>> round(gradlite.logsumexp(gradlite.Tensor([1000.0, 1000.0])).item(), 3)
    1000.693
    """
    return _reduce(_logsumexp, floating(x), axis, keepdims)


def norm(x: Any, ord: float = 2, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The vector norm over ``axis``: ``sum(|x|**ord) ** (1/ord)``, the largest ``|x|`` for infinity.

    The gradient at zero is zero.

    >>> import gradlite
    >>> gradlite.norm(gradlite.Tensor([3.0, 4.0])).item()
    5.0
    """
    x = as_tensor(x)
    if ord == math.inf:
        return max(abs(x), axis, keepdims)
    if ord == 1:
        return sum(abs(x), axis, keepdims)
    if ord <= 0:
        raise ValueError(f"norm() needs ord > 0. Received: ord={ord}.")
    return _root(sum(square(x) if ord == 2 else power(abs(x), ord), axis, keepdims), ord)


def _root(total: Tensor, degree: float) -> Tensor:
    """The root of sums of powers; at zero, where it has no derivative, stepped around, so that 0 * inf gives no NaN."""
    zero = equal(total, 0)
    base = where(zero, 1, total)
    return where(zero, 0, sqrt(base) if degree == 2 else power(base, 1 / degree))


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``x`` summed over the axes along which ``shape`` was broadcast: the transpose of ``broadcast_to``."""
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and x.shape[lead + i] != 1)
    return reshape(_sum(x, axis=axes, keepdims=False), shape) if axes else reshape(x, shape)


__all__ = [
    "all", "any", "argmax", "argmin", "count_nonzero", "cumsum", "logsumexp", "max", "maximum", "mean", "min", "norm",
    "prod", "std", "sum", "sum_to", "var",
]  # fmt: skip
