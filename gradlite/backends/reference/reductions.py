"""Reference kernels that reduce: what the array module has no function for under that name and meaning."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from gradlite.backends.registry import into, reference_kernel


@reference_kernel
def mean(xp: ModuleType, x: Any, *, axis: tuple[int, ...] | None, keepdims: bool, out: Any = None) -> Any:
    """The arithmetic mean over ``axis``."""
    return into(out, xp.mean(x, axis=axis, keepdims=keepdims))


@reference_kernel
def logsumexp(xp: ModuleType, x: Any, *, axis: tuple[int, ...] | None, keepdims: bool, out: Any = None) -> Any:
    """``log(sum(exp(x)))`` without overflow: the maximum is taken out first, and where it is not finite, not."""
    peak = xp.max(x, axis=axis, keepdims=True)
    shift = xp.where(xp.isfinite(peak), peak, 0).astype(x.dtype)
    total = xp.sum(xp.exp(x - shift), axis=axis, keepdims=True)
    # The logarithm of an exact zero is wanted here: every element was minus infinity.
    result = xp.where(total > 0, xp.log(xp.where(total > 0, total, 1)), -xp.inf).astype(x.dtype) + shift
    result = xp.where(xp.isnan(total), total, result)
    if not keepdims:
        result = result.reshape(xp.sum(x, axis=axis).shape if axis is not None else ())
    return into(out, result)


@reference_kernel
def count_nonzero(xp: ModuleType, x: Any, *, axis: tuple[int, ...] | None, keepdims: bool, out: Any = None) -> Any:
    """How many elements differ from zero."""
    return into(out, xp.sum(x != 0, axis=axis, keepdims=keepdims))


@reference_kernel
def count_correct(xp: ModuleType, labels: Any, scores: Any, *, out: Any = None) -> Any:
    """How many rows of ``scores`` (n, k) are largest where ``labels`` say: int64, ().

    The labels are integers (n,), or rows (n, k) that are largest there.
    """
    places = labels if labels.ndim == 1 else xp.argmax(labels, axis=1)
    return into(out, xp.sum(xp.equal(places, xp.argmax(scores, axis=1)), dtype="int64"))
