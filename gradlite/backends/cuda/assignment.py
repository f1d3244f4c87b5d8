"""Kernels that select, convert and assign, element by element: where, astype, copy, assign, assign_add, pad."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.elementwise import (
    THREADS,
    TYPES,
    apart,
    binary,
    broadcast,
    computing_type,
    fresh,
    grid_for,
    kind_of,
    loop,
    map_unary,
    number,
)
from gradlite.backends.cuda.launch import Strided, c_type
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.cuda.sources import Entry, entry
from gradlite.backends.cuda.strided import layout
from gradlite.backends.dtypes import FLOAT_KINDS, as_dtype
from gradlite.backends.reference.arrays import is_basic

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend


@cuda_kernel
def copy(gpu: CudaBackend, x: Any, *, out: Any = None) -> Any:
    """A C-contiguous copy."""
    return fresh(gpu, x) if out is None else astype(gpu, x, dtype=x.dtype, out=out)


@cuda_kernel
def astype(gpu: CudaBackend, x: Any, *, dtype: Any, out: Any = None) -> Any:
    """``x`` converted to ``dtype``, always a copy."""
    dtype = as_dtype(dtype) if out is None else out.dtype
    if x.dtype not in TYPES or dtype not in TYPES or (out is not None and out.shape != x.shape):
        return gpu.fallback("astype", x, dtype=dtype, out=out)
    result = gpu.empty(x.shape, dtype) if out is None else out
    source = x if out is None else apart(gpu, out, x)
    if not map_unary(gpu, "identity", source, result, computing_type(x.dtype)):
        return gpu.fallback("astype", x, dtype=dtype, out=out)
    return result


@cuda_kernel
def assign(gpu: CudaBackend, target: Any, value: Any) -> None:
    """Write ``value``, an array that broadcasts or a number, into ``target``."""
    if isinstance(value, gpu.array_type):
        done = _assign_array(gpu, target, value)
    else:
        done = target.dtype in TYPES and isinstance(value, (bool, int, float, np.generic)) and fill(gpu, target, value)
    if not done:
        gpu.fallback("assign", target, value)


def _assign_array(gpu: CudaBackend, target: Any, value: Any) -> bool:
    if value.dtype not in TYPES or target.dtype not in TYPES or value.ndim > target.ndim:
        return False
    if broadcast(target.shape, value.shape) != target.shape:
        return False
    return map_unary(gpu, "identity", apart(gpu, target, value), target, computing_type(value.dtype))


@lru_cache(1024)
def _fill_entry(name: str, computed: str, result: np.dtype) -> Entry:
    # A is not read: its kernels of this module are not launched.
    return entry("unary.cu", name, A=c_type(result), C=computed, R=c_type(result), OPERATION="op_identity")


def fill(gpu: CudaBackend, target: Any, value: Any) -> bool:
    """Write the number ``value`` everywhere; False where there is no kernel for it."""
    computed = computing_type(target.dtype)
    if target.dtype.kind not in FLOAT_KINDS:
        if isinstance(value, (float, np.floating)):
            computed = "double"
        elif number(value, target.dtype) is None:
            return False
    if target.size == 0:
        return True
    value = value.item() if isinstance(value, np.generic) else value
    if target.flags.c_contiguous:
        grid = grid_for(gpu, target.size, 4)
        gpu.run(_fill_entry("fill", computed, target.dtype), grid, (THREADS,), value, target, target.size)
        return True
    arrangement = layout(target.shape, target)
    if arrangement is None:
        return False
    kernel = _fill_entry("fill_strided", computed, target.dtype)
    gpu.run(kernel, grid_for(gpu, target.size), (THREADS,), value, Strided(target), arrangement)
    return True


@cuda_kernel
def assign_add(gpu: CudaBackend, target: Any, value: Any) -> None:
    """Add ``value`` to ``target``, in the type that both promote to, as long as ``target`` can hold that kind."""
    binary(gpu, "add", target, value, target)


@cuda_kernel
def assign_at(gpu: CudaBackend, target: Any, value: Any, *, index: Any) -> None:
    """``target[index] = value``."""
    if is_basic(index):
        assign(gpu, target[index], value)
    else:
        gpu.fallback("assign_at", target, value, index=index)


CONDITIONS = (np.dtype(np.bool_), np.dtype(np.int32))


@lru_cache(1024)
def _where_entry(condition: np.dtype, a: np.dtype, b: np.dtype, computed: np.dtype, result: np.dtype) -> Entry:
    types = {"M": c_type(condition), "A": c_type(a), "B": c_type(b)}
    return entry("where.cu", "where", **types, C=computing_type(computed), R=c_type(result))


@cuda_kernel
def where(gpu: CudaBackend, condition: Any, a: Any, b: Any, *, out: Any = None) -> Any:
    """``a`` where ``condition`` holds, else ``b``, with broadcasting."""
    arrays = [x if isinstance(x, gpu.array_type) else None for x in (condition, a, b)]
    # `add` has the promotion of `where`, but for booleans, which stay booleans in both.
    types = loop("add", kind_of(gpu, a), kind_of(gpu, b))
    if types is None or arrays[0] is None or condition.dtype not in CONDITIONS:
        return gpu.fallback("where", condition, a, b, out=out)
    dtype = types[1]
    values = [0 if x is not None else number(y, dtype) for x, y in zip(arrays[1:], (a, b))]
    shape = broadcast(*(x.shape for x in arrays if x is not None))
    result = gpu.empty(shape, dtype) if out is None else out
    if None in values or result.shape != shape or result.dtype not in TYPES:
        return gpu.fallback("where", condition, a, b, out=out)
    if result.size == 0:
        return result
    if out is not None:
        arrays = [None if x is None else apart(gpu, out, x) for x in arrays]
    arrangement = layout(shape, *arrays, result)
    if arrangement is None:
        return gpu.fallback("where", condition, a, b, out=out)
    kinds = [dtype if x is None else x.dtype for x in arrays]
    mask, first, second = (None if x is None else Strided(x) for x in arrays)
    kernel = _where_entry(*kinds, dtype, result.dtype)
    grid = grid_for(gpu, result.size)
    gpu.run(kernel, grid, (THREADS,), mask, first, values[0], second, values[1], Strided(result), arrangement)
    return result


@cuda_kernel
def pad(gpu: CudaBackend, x: Any, *, widths: tuple[tuple[int, int], ...], value: float, out: Any = None) -> Any:
    """``x`` with ``widths[axis] = (before, after)`` elements of ``value`` around it."""
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, widths))
    result = gpu.empty(shape, x.dtype) if out is None else out
    source = x if out is None else apart(gpu, out, x)
    assign(gpu, result, value)
    assign(gpu, result[tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, widths))], source)
    return result
