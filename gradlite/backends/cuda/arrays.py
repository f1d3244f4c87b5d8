"""Kernels that gather, scatter and join arrays on a GPU.

Indices out of range are CuPy's affair: reading them to complain would make the host wait, so they start again from the
other end. Sums of what several indices name are taken in a fixed order, never by atomics.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.assignment import assign, assign_at, astype
from gradlite.backends.cuda.elementwise import THREADS, apart, binary, computing_type, contiguous, grid_for
from gradlite.backends.cuda.launch import C_TYPES, blocks, c_type
from gradlite.backends.cuda.random import random_bits
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.cuda.sources import entry
from gradlite.backends.dtypes import promoted
from gradlite.backends.reference.arrays import is_basic
from gradlite.backends.reference.random import permutation_from_bits

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

# What rows are moved by: the widest of these that divides them, and that their addresses are aligned to.
WORDS = {16: "uint4", 8: "uint2", 4: "unsigned", 2: "unsigned short", 1: "unsigned char"}
# From this row length on a warp adds whole rows, and below single elements.
WIDE_ROW = 16
MAX_SEGMENTS = 64
SEGMENT_ELEMENTS = 4 * THREADS

_SEGMENTS = np.dtype(
    [
        ("count", np.int64),
        (
            "at",
            [("array", np.uint64), ("length", np.int64), ("first", np.int64), ("block", np.uint64)],
            MAX_SEGMENTS,
        ),
    ]
)

Shape = tuple[int, ...]


def _target(gpu: CudaBackend, out: Any, shape: Shape, dtype: np.dtype, *inputs: Any) -> Any:
    """Where a kernel may write: ``out`` if it is contiguous, of that shape and type and no input, or a new array."""
    if out is None or out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        return gpu.empty(shape, dtype)
    return out if all(apart(gpu, out, x) is x and x is not out for x in inputs) else gpu.empty(shape, dtype)


def _into(gpu: CudaBackend, out: Any, result: Any) -> Any:
    if out is None or out is result:
        return result
    assign(gpu, out, result)
    return out


def _no_kernel(x: Any, indices: Any) -> bool:
    return x.dtype not in C_TYPES or indices.dtype.kind not in "iu"


def _around(shape: Shape, axis: int) -> tuple[int, int, int]:
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


@cuda_kernel
def take(gpu: CudaBackend, x: Any, indices: Any, *, axis: int, out: Any = None) -> Any:
    """``x`` at ``indices`` along ``axis``; the shape of ``indices`` replaces that axis."""
    if _no_kernel(x, indices):
        return gpu.fallback("take", x, indices, axis=axis, out=out)
    axis %= x.ndim
    outer, length, inner = _around(x.shape, axis)
    if length == 0 and indices.size:
        raise IndexError(f"take() from no elements: axis {axis} of an array of shape {x.shape} is empty.")
    x, indices = contiguous(gpu, x), contiguous(gpu, indices)
    shape = x.shape[:axis] + indices.shape + x.shape[axis + 1 :]
    result = _target(gpu, out, shape, x.dtype, x, indices)
    rows, row_bytes = outer * indices.size, inner * x.itemsize
    if rows and row_bytes:
        bits = row_bytes | x.data.ptr | result.data.ptr
        width = min(bits & -bits, 16)
        words = row_bytes // width
        across = min(1 << (words - 1).bit_length(), THREADS)
        kernel = entry("take.cu", "take", T=c_type(x.dtype), I=c_type(indices.dtype), WORD=WORDS[width])
        grid = (blocks(rows, THREADS // across),)
        gpu.run(kernel, grid, (THREADS,), x, indices, result, rows, length, indices.size, words, across)
    return _into(gpu, out, result)


@cuda_kernel
def take_gradient(gpu: CudaBackend, gradient: Any, indices: Any, *, shape: Shape, axis: int, out: Any = None) -> Any:
    """The transpose of ``take``: zeros of ``shape`` with each row of ``gradient`` added where it was read."""
    if _no_kernel(gradient, indices):
        return gpu.fallback("take_gradient", gradient, indices, shape=shape, axis=axis, out=out)
    outer, length, row = _around(shape, axis % len(shape))
    gradient, indices = contiguous(gpu, gradient), contiguous(gpu, indices)
    result = _target(gpu, out, shape, gradient.dtype, gradient, indices)
    wide = row >= WIDE_ROW
    warps = outer * length * (blocks(row, 128) if wide else row)
    types = {"T": c_type(gradient.dtype), "C": computing_type(gradient.dtype), "I": c_type(indices.dtype)}
    kernel = entry("scatter.cu", "scatter_rows" if wide else "scatter_elements", **types)
    grid = (blocks(warps, THREADS // 32),)
    gpu.run(kernel, grid, (THREADS,), gradient, indices, result, outer, length, indices.size, row)
    return _into(gpu, out, result)


def _along(indices: Any, shape: Shape, axis: int) -> bool:
    """Whether ``indices`` names elements of every line of ``shape`` along ``axis``, without broadcasting."""
    lines = shape[:axis] + indices.shape[axis : axis + 1] + shape[axis + 1 :]
    return indices.shape == lines and shape[axis] > 0


@cuda_kernel
def take_along_axis(gpu: CudaBackend, x: Any, indices: Any, *, axis: int, out: Any = None) -> Any:
    """Elements of ``x`` named by ``indices``, an array of the same rank, along ``axis``."""
    axis %= x.ndim
    if _no_kernel(x, indices) or not _along(indices, x.shape, axis):
        return gpu.fallback("take_along_axis", x, indices, axis=axis, out=out)
    x, indices = contiguous(gpu, x), contiguous(gpu, indices)
    result = _target(gpu, out, indices.shape, x.dtype, x, indices)
    _, length, inner = _around(x.shape, axis)
    types = {"T": c_type(x.dtype), "C": computing_type(x.dtype), "I": c_type(indices.dtype)}
    kernel, k = entry("take_along.cu", "take_along", **types), indices.shape[axis]
    gpu.run(kernel, grid_for(gpu, result.size), (THREADS,), x, indices, result, result.size, length, k, inner)
    return _into(gpu, out, result)


@cuda_kernel
def take_along_axis_gradient(
    gpu: CudaBackend, gradient: Any, indices: Any, *, shape: Shape, axis: int, out: Any = None
) -> Any:
    """The transpose of ``take_along_axis``."""
    axis %= len(shape)
    if _no_kernel(gradient, indices) or not _along(indices, shape, axis) or gradient.shape != indices.shape:
        return gpu.fallback("take_along_axis_gradient", gradient, indices, shape=shape, axis=axis, out=out)
    gradient, indices = contiguous(gpu, gradient), contiguous(gpu, indices)
    result = _target(gpu, out, shape, gradient.dtype, gradient, indices)
    _, length, inner = _around(shape, axis)
    types = {"T": c_type(gradient.dtype), "C": computing_type(gradient.dtype), "I": c_type(indices.dtype)}
    kernel, k = entry("take_along.cu", "take_along_gradient", **types), indices.shape[axis]
    gpu.run(kernel, grid_for(gpu, result.size), (THREADS,), gradient, indices, result, result.size, length, k, inner)
    return _into(gpu, out, result)


@cuda_kernel
def one_hot(gpu: CudaBackend, indices: Any, *, depth: int, dtype: Any, out: Any = None) -> Any:
    """Rows of zeros with a one at each index; an index outside ``[0, depth)`` gives a row of zeros."""
    dtype = np.dtype(dtype)
    if indices.dtype.kind not in "iu" or dtype not in C_TYPES:
        return gpu.fallback("one_hot", indices, depth=depth, dtype=dtype, out=out)
    indices = contiguous(gpu, indices)
    result = _target(gpu, out, (*indices.shape, depth), dtype, indices)
    types = {"T": c_type(dtype), "C": computing_type(dtype), "I": c_type(indices.dtype)}
    kernel = entry("take_along.cu", "one_hot", **types)
    gpu.run(kernel, grid_for(gpu, result.size), (THREADS,), indices, result, result.size, depth)
    return _into(gpu, out, result)


# Indices of several parts.


def _merged(gpu: CudaBackend, index: Any, shape: Shape) -> tuple[Any, int, int] | None:
    """An index of neighbouring integer arrays, and otherwise whole axes, as indices into these axes made one.

    Returns:
        The indices, the first of the axes and their number; None for an index of another kind.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(part is None or part is Ellipsis or isinstance(part, bool) for part in parts) or len(parts) > len(shape):
        return None
    named = [i for i, part in enumerate(parts) if not (isinstance(part, slice) and part == slice(None))]
    if not named or named != list(range(named[0], named[0] + len(named))):
        return None
    combined: Any = None
    for i in named:
        part = parts[i]
        if isinstance(part, np.ndarray):
            part = gpu.asarray(part)
        if isinstance(part, slice) or shape[i] == 0 or (not isinstance(part, int) and part.dtype.kind not in "iu"):
            return None
        if len(named) == 1:
            combined = part
            break
        # Each part is made positive before they are combined; an index is wide enough for the axes made one.
        own = part % shape[i] if isinstance(part, int) else _positive(gpu, part, shape[i])
        combined = own if combined is None else _plus(gpu, _times(gpu, combined, shape[i]), own)
    return None if isinstance(combined, int) else (combined, named[0], len(named))


def _positive(gpu: CudaBackend, part: Any, length: int) -> Any:
    wide = part if part.dtype == np.int64 else astype(gpu, part, dtype=np.int64)
    return binary(gpu, "remainder", wide, length)


def _times(gpu: CudaBackend, a: Any, length: int) -> Any:
    return a * length if isinstance(a, int) else binary(gpu, "multiply", a, length)


def _plus(gpu: CudaBackend, a: Any, b: Any) -> Any:
    return a + b if isinstance(a, int) and isinstance(b, int) else binary(gpu, "add", a, b)


def _joined(shape: Shape, first: int, count: int) -> Shape:
    return (*shape[:first], math.prod(shape[first : first + count]), *shape[first + count :])


@cuda_kernel
def gather(gpu: CudaBackend, x: Any, *, index: Any, out: Any = None) -> Any:
    """``x[index]`` for an index that holds arrays: a copy."""
    merged = _merged(gpu, index, x.shape)
    if merged is None:
        return gpu.fallback("gather", x, index=index, out=out)
    indices, first, count = merged
    return take(gpu, contiguous(gpu, x).reshape(_joined(x.shape, first, count)), indices, axis=first, out=out)


@cuda_kernel
def scatter(gpu: CudaBackend, values: Any, *, index: Any, shape: Shape, out: Any = None) -> Any:
    """Zeros of ``shape``, with ``values`` added at ``index``; a position named twice receives both.

    The order of the sums is fixed, but for indices with arrays in places that are no neighbours.
    """
    if is_basic(index) or _is_mask(index):
        result = gpu.empty(shape, values.dtype) if out is None else out
        assign(gpu, result, 0)
        assign_at(gpu, result, values, index=index)
        return result
    merged = _merged(gpu, index, shape)
    if merged is None:
        return gpu.fallback("scatter", values, index=index, shape=shape, out=out)
    indices, first, count = merged
    joined = _joined(shape, first, count)
    result = take_gradient(gpu, values, indices, shape=joined, axis=first).reshape(shape)
    return _into(gpu, out, result)


def _is_mask(index: Any) -> bool:
    """Whether an index is one array of booleans, which names no position twice."""
    part = index[0] if isinstance(index, tuple) and len(index) == 1 else index
    return getattr(part, "dtype", None) == np.bool_


# Joining arrays.


def _copy_segments(
    gpu: CudaBackend, arrays: list[Any], lengths: list[int], firsts: list[int], rows: int, stride: int, out: Any
) -> None:
    """Copy contiguous arrays of out's type, each (rows, length), to rows of ``out`` that are ``stride`` apart."""
    kernel = entry("segments.cu", "copy_segments", T=c_type(out.dtype))
    entries = [part for part in zip(arrays, lengths, firsts) if rows * part[1]]
    for start in range(0, len(entries), MAX_SEGMENTS):
        block, lines = 0, []
        for array, length, first in entries[start : start + MAX_SEGMENTS]:
            lines.append((array.data.ptr, length, first, block))
            block += blocks(rows * length, SEGMENT_ELEMENTS)
        table = np.zeros((), _SEGMENTS)  # CuPy passes an array of one structure by value
        table["count"], table["at"][: len(lines)] = len(lines), lines
        gpu.run(kernel, (block,), (THREADS,), out, rows, stride, table)


def _copyable(gpu: CudaBackend, array: Any, out: Any) -> bool:
    """Whether an array can be an entry of the table, whose addresses the launch boundary does not see."""
    return (
        isinstance(array, gpu.array_type)
        and array.dtype == out.dtype
        and array.flags.c_contiguous
        and array.device.id == gpu.device_number
    )


@cuda_kernel
def pack(gpu: CudaBackend, *arrays: Any, offsets: tuple[int, ...], out: Any) -> Any:
    """Write each array, flattened, into the 1-D ``out`` from its offset on, in out's dtype."""
    if out.dtype not in C_TYPES or not out.flags.c_contiguous:
        return gpu.fallback("pack", *arrays, offsets=offsets, out=out)
    ready, firsts = [], []
    for array, offset in zip(arrays, offsets):
        if offset < 0 or offset + array.size > out.size:
            raise ValueError(f"pack() of {array.size} elements at {offset} into an array of {out.size} elements.")
        if _copyable(gpu, array, out):
            ready.append(array)
            firsts.append(offset)
        else:
            assign(gpu, out[offset : offset + array.size].reshape(array.shape), array)
    _copy_segments(gpu, ready, [a.size for a in ready], firsts, 1, 0, out)
    return out


@cuda_kernel
def concatenate(gpu: CudaBackend, *arrays: Any, axis: int, out: Any = None) -> Any:
    """The arrays one after the other along ``axis``."""
    first = arrays[0]
    dtype = promoted(*(a.dtype for a in arrays))
    if dtype not in C_TYPES or any(a.ndim != first.ndim for a in arrays) or not -first.ndim <= axis < first.ndim:
        return gpu.fallback("concatenate", *arrays, axis=axis, out=out)
    axis %= first.ndim
    rest = first.shape[:axis], first.shape[axis + 1 :]
    shape = (*rest[0], sum(a.shape[axis] for a in arrays), *rest[1])
    if any((a.shape[:axis], a.shape[axis + 1 :]) != rest for a in arrays) or (out is not None and out.shape != shape):
        return gpu.fallback("concatenate", *arrays, axis=axis, out=out)
    result = _target(gpu, out, shape, dtype, *arrays)
    ready = [a if _copyable(gpu, a, result) else astype(gpu, a, dtype=dtype) for a in arrays]
    inner = math.prod(rest[1])
    lengths = [a.shape[axis] * inner for a in arrays]
    firsts = [sum(lengths[:i]) for i in range(len(lengths))]
    _copy_segments(gpu, ready, lengths, firsts, math.prod(rest[0]), shape[axis] * inner, result)
    return _into(gpu, out, result)


@cuda_kernel
def random_permutation(gpu: CudaBackend, state: Any, *, size: int, out: Any = None) -> Any:
    """The numbers 0 to size - 1 in random order, int64: the order that sorts ``size`` random 64-bit keys."""
    bits = random_bits(gpu, state, size=2 * size)
    return _into(gpu, out, permutation_from_bits(gpu.xp, bits))
