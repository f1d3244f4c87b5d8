"""Reductions on a GPU: sums, products, extremes and their places, means, logic and log-sum-exp over any axes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.assignment import assign
from gradlite.backends.cuda.elementwise import computing_type, contiguous
from gradlite.backends.cuda.launch import C_TYPES, blocks, c_type
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.cuda.sources import Entry, entry
from gradlite.backends.dtypes import FLOAT_KINDS

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

# No State of kernels/reductions.cuh is larger.
STATE_BYTES = 16
# What a thread takes before its sum is joined with others': bounds the rounding errors of float32 sums, too.
MOST_EACH = 64

Axis = int | tuple[int, ...] | None


@lru_cache(4096)
def plan(multiprocessors: int, outer: int, length: int, inner: int) -> tuple[int, int, int, int]:
    """How to reduce the middle axis of (outer, length, inner): threads of a block along inner, along the reduced axis
    and along outer, and how much of the reduced axis a block takes.

    Few results leave most of the GPU idle: then blocks are larger, and the reduced axis is cut into chunks, which costs
    a second launch.
    """
    columns = min(_power_of_two(inner), 32)
    few = outer * blocks(inner, columns) < multiprocessors
    rows = min(_power_of_two(blocks(length, 4)), (1024 if few else 256) // columns)
    groups = max(1, min(_power_of_two(outer), 256 // (columns * rows)))
    if length <= rows * MOST_EACH // 2:
        return columns, rows, groups, max(length, 1)
    shares = blocks(2 * multiprocessors, blocks(outer, groups) * blocks(inner, columns))
    each = min(max(blocks(length, rows * shares), MOST_EACH // 4), MOST_EACH)
    return columns, rows, groups, rows * each


def _power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()


@lru_cache(1024)
def _entry(name: str, reduction: str, of: np.dtype, computed: str, result: np.dtype) -> Entry:
    return entry("reduce.cu", name, T=c_type(of), C=computed, R=c_type(result), REDUCTION=reduction)


def run_reduction(
    gpu: CudaBackend, reduction: str, x: Any, lengths: tuple[int, int, int], computed: str, out: Any
) -> None:
    """Reduce the middle axis of the contiguous ``x``, seen as (outer, length, inner), into the contiguous ``out``."""
    outer, length, inner = lengths
    count, source, name = length, x, "reduce"
    while outer * inner:
        columns, rows, groups, chunk = plan(gpu.multiprocessors, outer, length, inner)
        chunks = max(1, blocks(length, chunk))
        states = gpu.empty((outer * chunks * inner * STATE_BYTES,), np.uint8) if chunks > 1 else None
        threads = columns * rows * groups
        gpu.run(
            _entry(name, reduction, x.dtype, computed, out.dtype),
            (blocks(outer, groups) * chunks * blocks(inner, columns),),
            (threads,),
            *(source, out if states is None else None, states, outer, length, inner, chunk, columns, rows, count),
            shared_bytes=threads * STATE_BYTES,
        )
        if states is None:
            return
        length, source, name = chunks, states, "reduce_states"


# Types.


def _types(reduction: str, dtype: np.dtype) -> tuple[str, np.dtype] | None:
    """The type computed in, as the sources call it, and the result's; None where there is no kernel for it."""
    if dtype not in C_TYPES:
        return None
    if reduction in ("Sum", "Product") and dtype.kind not in FLOAT_KINDS:
        wide = np.dtype(np.uint64 if dtype.kind == "u" else np.int64)
        return c_type(wide), wide
    if reduction == "Mean" and dtype.kind not in FLOAT_KINDS:
        return "double", np.dtype(np.float64)
    if reduction == "LogSumExp" and dtype.kind not in FLOAT_KINDS:
        return None
    if reduction in ("ArgMax", "ArgMin", "CountNonzero"):
        return computing_type(dtype), np.dtype(np.int64)
    if reduction in ("All", "Any"):
        return computing_type(dtype), np.dtype(np.bool_)
    return computing_type(dtype), dtype


# Axes.


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(a + ndim if a < 0 else a for a in ((axis,) if isinstance(axis, int) else axis))
    if len(set(axes)) < len(axes) or not all(0 <= a < ndim for a in axes):
        raise ValueError(f"axis={axis} does not name different axes of an array with {ndim} of them.")
    return axes


def _lengths(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, int, int] | None:
    """(outer, length, inner) around the run of reduced axes; None where kept axes lie between them."""
    long = [a for a in axes if shape[a] != 1]
    if not long:
        return math.prod(shape), 1, 1
    first, last = min(long), max(long)
    if any(shape[a] != 1 and a not in axes for a in range(first, last)):
        return None
    return math.prod(shape[:first]), math.prod(shape[first : last + 1]), math.prod(shape[last + 1 :])


def reduce(gpu: CudaBackend, name: str, reduction: str, x: Any, axis: Axis, keepdims: bool, out: Any) -> Any:
    """Reduce ``axis`` of ``x``; ``name`` is the kernel to fall back to."""
    types = _types(reduction, x.dtype)
    if types is None:
        return gpu.fallback(name, x, axis=axis, keepdims=keepdims, out=out)
    computed, dtype = types
    axes = _axes(axis, x.ndim)
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape)) if keepdims else tuple(x.shape[a] for a in kept)
    if reduction in ("Max", "Min", "ArgMax", "ArgMin") and any(x.shape[a] == 0 for a in axes):
        raise ValueError(f"{name}() of no elements: an array of shape {x.shape} has nothing along axis={axis}.")
    lengths = _lengths(x.shape, axes)
    if lengths is None:
        x = x.transpose(kept + axes)
        lengths = math.prod(x.shape[: len(kept)]), math.prod(x.shape[len(kept) :]), 1
    x = contiguous(gpu, x)
    direct = out is not None and out.shape == shape and out.dtype == dtype and out.flags.c_contiguous
    result = out if direct else gpu.empty(shape, dtype)
    run_reduction(gpu, reduction, x, lengths, computed, result)
    if out is None or direct:
        return result
    assign(gpu, out, result)
    return out


# The kernels.

WITH_OPTIONAL_AXIS = {"sum": "Sum", "prod": "Product", "max": "Max", "min": "Min", "all": "All", "any": "Any"}
PLACES = {"argmax": "ArgMax", "argmin": "ArgMin"}
WITH_AXIS = {"mean": "Mean", "logsumexp": "LogSumExp", "count_nonzero": "CountNonzero"}


def _enter(name: str, reduction: str) -> None:
    def optional(gpu: CudaBackend, x: Any, *, axis: Axis = None, keepdims: bool = False, out: Any = None) -> Any:
        return reduce(gpu, name, reduction, x, axis, keepdims, out)

    def required(gpu: CudaBackend, x: Any, *, axis: Axis, keepdims: bool, out: Any = None) -> Any:
        return reduce(gpu, name, reduction, x, axis, keepdims, out)

    kernel = required if name in WITH_AXIS else optional
    kernel.__name__, kernel.__doc__ = name, f"The reduction {name} over ``axis``."
    cuda_kernel(kernel)


for _name, _reduction in {**WITH_OPTIONAL_AXIS, **PLACES, **WITH_AXIS}.items():
    _enter(_name, _reduction)


@cuda_kernel
def column_sum(gpu: CudaBackend, x: Any, *, out: Any = None) -> Any:
    """The sum over all axes but the last: (..., m) -> (m,)."""
    return reduce(gpu, "sum", "Sum", x, tuple(range(x.ndim - 1)), False, out)


# One block counts; more scores than this are for kernels that fill the device.
MOST_COUNTED = 1 << 20
COUNTED_LABELS = tuple(map(np.dtype, ("int64", "int32", "uint8")))
COUNTED_ROWS = tuple(map(np.dtype, ("float32", "float64")))


def counts(labels: Any, scores: Any) -> bool:
    """Whether kernels of one block count for these labels, class numbers or rows, and scores."""
    rows = labels.ndim == 2
    ours = scores.dtype == np.float32 if rows else scores.dtype in C_TYPES and scores.dtype.kind in FLOAT_KINDS
    known = labels.dtype in (COUNTED_ROWS if rows else COUNTED_LABELS)
    return ours and known and 0 < scores.size <= MOST_COUNTED and labels.shape == scores.shape[: labels.ndim]


def counting_macros(labels: Any, scores: Any) -> dict[str, Any]:
    """The macros of kernels that count."""
    return {"T": c_type(scores.dtype), "L": c_type(labels.dtype), "LABEL_ROWS": int(labels.ndim == 2)}


@cuda_kernel
def count_correct(gpu: CudaBackend, labels: Any, scores: Any, *, out: Any = None) -> Any:
    """How many rows of ``scores`` (n, k) are largest where ``labels``, (n,) or (n, k), say."""
    if not counts(labels, scores):
        # By kernels of ours rather than the array module's, so that a captured step stays one graph.
        places = labels if labels.ndim == 1 else gpu.kernels["argmax"](labels, axis=1)
        matches = gpu.kernels["equal"](places, gpu.kernels["argmax"](scores, axis=1))
        return gpu.kernels["sum"](matches, axis=None, out=out)
    count = gpu.empty((), np.int64) if out is None else out
    kernel = entry("count_correct.cu", "count_correct", **counting_macros(labels, scores))
    gpu.run(kernel, (1,), (1024,), contiguous(gpu, labels), contiguous(gpu, scores), count, *scores.shape)
    return count
