"""Philox states, words, uniform and normal numbers, and dropout on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.launch import c_type
from gradlite.backends.cuda.operands import (
    FLOATS,
    THREADS,
    arithmetic,
    contiguous,
    grid_for,
    kernel,
    width_of,
    writable,
)
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.reference.random import dropout_threshold, mask_shape

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend


@cuda_kernel
def draw_random(gpu: CudaBackend, state: Any, *, out: Any = None) -> Any:
    """The reference's snapshot, and the state moved on, without the host reading a thing."""
    if not writable(state, out):
        return gpu.fallback("draw_random", state, out=out)
    snapshot = gpu.empty(state.shape, state.dtype) if out is None else out
    gpu.run(kernel("philox.cu", "draw_random", T="float"), (1,), (1,), state, snapshot)
    return snapshot


MAX_STATES = 64

_STATES = np.dtype([("count", np.int64), ("at", [("state", np.uint64), ("snapshot", np.uint64)], MAX_STATES)])


@cuda_kernel
def draw_random_each(gpu: CudaBackend, *states: Any, out: Any = None) -> tuple[Any, ...]:
    """The reference's snapshots, in one launch."""
    given = (None,) * len(states) if out is None else out
    if not writable(*states, *given):
        return gpu.fallback("draw_random_each", *states, out=out)
    snapshots = tuple(gpu.empty(s.shape, s.dtype) if o is None else o for s, o in zip(states, given))
    for start in range(0, len(states), MAX_STATES):
        pairs = list(zip(states, snapshots))[start : start + MAX_STATES]
        table = np.zeros((), _STATES)
        for row, (state, snapshot) in zip(table["at"], pairs):
            row["state"], row["snapshot"] = state.data.ptr, snapshot.data.ptr
        table["count"] = len(pairs)
        gpu.run(kernel("philox.cu", "draw_random_each", T="float"), (1,), (MAX_STATES,), table[()])
    return snapshots


@cuda_kernel
def random_bits(gpu: CudaBackend, state: Any, *, size: int, out: Any = None) -> Any:
    """The reference's uint32 words."""
    if not writable(out):
        return gpu.fallback("random_bits", state, size=size, out=out)
    bits = gpu.empty((size,), np.uint32) if out is None else out
    _fill(gpu, "random_bits", "float", state, bits, 4)
    return bits


@cuda_kernel
def random_uniform(gpu: CudaBackend, state: Any, *, shape: tuple[int, ...], dtype: Any, out: Any = None) -> Any:
    """The reference's uniform floats."""
    return _numbers(gpu, "random_uniform", state, shape, np.dtype(dtype), out)


@cuda_kernel
def random_normal(gpu: CudaBackend, state: Any, *, shape: tuple[int, ...], dtype: Any, out: Any = None) -> Any:
    """The reference's normal floats, up to rounding: float32 is computed in float32 here."""
    return _numbers(gpu, "random_normal", state, shape, np.dtype(dtype), out)


def _numbers(gpu: CudaBackend, name: str, state: Any, shape: tuple[int, ...], dtype: Any, out: Any) -> Any:
    if dtype not in FLOATS or not writable(out) or (out is not None and out.dtype != dtype):
        return gpu.fallback(name, state, shape=shape, dtype=dtype, out=out)
    numbers = gpu.empty(shape, dtype) if out is None else out
    _fill(gpu, name, c_type(dtype), state, numbers, 2 if dtype.itemsize == 8 else 4)
    return numbers


def _fill(gpu: CudaBackend, name: str, kind: str, state: Any, out: Any, each: int) -> None:
    grid = grid_for(gpu, -(-out.size // each))
    gpu.run(kernel("philox.cu", name, T=kind), grid, (THREADS,), contiguous(gpu, state), out, out.size)


def keep_of(dtype: Any, rate: float) -> float:
    """What dropout divides by: ``1 - rate``, rounded to the elements' type."""
    return float(dtype.type(1.0 - rate))


@cuda_kernel
def dropout(
    gpu: CudaBackend, x: Any, state: Any, *, rate: float, noise_shape: tuple[int | None, ...] | None = None,
    out: Any = None,
) -> Any:  # fmt: skip
    """The reference's dropout; the mask is drawn, never stored."""
    threshold, shape = dropout_threshold(rate), mask_shape(x.shape, noise_shape)
    axes = _shared_axes(x.shape, shape)
    if x.dtype not in FLOATS or len(axes) > 4 or not writable(out) or (out is not None and out.dtype != x.dtype):
        return gpu.fallback("dropout", x, state, rate=rate, noise_shape=noise_shape, out=out)
    x, state = contiguous(gpu, x), contiguous(gpu, state)
    y = gpu.empty(x.shape, x.dtype) if out is None else out
    macros = {"T": c_type(x.dtype), "S": arithmetic(x.dtype)}
    keep = keep_of(x.dtype, rate)
    if shape == x.shape:
        width = width_of(x.size, x, y)
        chosen = kernel("dropout.cu", "dropout", WIDTH=width, **macros)
        gpu.run(chosen, grid_for(gpu, x.size // width), (THREADS,), x, state, y, x.size, keep, threshold)
        return y
    lengths, strides = zip(*[(1, 0)] * (4 - len(axes)) + axes)
    chosen = kernel("dropout.cu", "dropout_shared", WIDTH=1, **macros)
    gpu.run(
        chosen, grid_for(gpu, x.size), (THREADS,), x, state, y, x.size, keep, threshold, *lengths[1:], *strides
    )  # fmt: skip
    return y


def _shared_axes(shape: tuple[int, ...], mask: tuple[int, ...]) -> list[tuple[int, int]]:
    """(length, stride in the mask) of the axes of x, neighbours that both share or both do not in one.

    >>> _shared_axes((2, 3, 4, 5), (2, 1, 1, 5))
    [(2, 5), (12, 0), (5, 1)]
    """
    axes: list[tuple[int, bool]] = []
    for n, m in zip(shape, mask):
        shares = m != n
        if n == 1:
            continue
        if axes and axes[-1][1] == shares:
            axes[-1] = axes[-1][0] * n, shares
        else:
            axes.append((n, shares))
    strides, step = [], 1
    for n, shares in reversed(axes):
        strides.append((n, 0 if shares else step))
        step *= 1 if shares else n
    return strides[::-1]
