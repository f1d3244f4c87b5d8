"""Batch and layer normalization on a GPU; batch normalization with pooling and dropout behind it, for ``fused``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.channels import BLOCKS_AT_ONCE, DIRECT_ROWS, Layout, layout_for
from gradlite.backends.cuda.launch import blocks, c_type
from gradlite.backends.cuda.operands import (
    THREADS,
    are_floats,
    arithmetic,
    contiguous,
    kernel,
    width_of,
    writable,
)
from gradlite.backends.cuda.pooling import pooled_shape
from gradlite.backends.cuda.random import keep_of
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.reference.convolution import Padding, Pair
from gradlite.backends.reference.fused import is_pooling
from gradlite.backends.reference.normalization import statistics_dtype
from gradlite.backends.reference.random import dropout_threshold

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

# Slices of rows whose columns layer_norm_gradient adds up before they meet, for each multiprocessor.
LAYER_NORM_SLICES = 2


@dataclass(frozen=True)
class Behind:
    """What comes behind a batch normalization in the same kernel: max pooling, then dropout.

    Attributes:
        shape, pooled: of the images before and after the pooling; (rows, 1, 1, channels) where there is none.
        window, strides, padding: of the pooling; None where there is none.
        rate: of the dropout; 0 where there is none.
    """

    shape: tuple[int, ...]
    pooled: tuple[int, ...]
    window: Pair | None = None
    strides: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    rate: float = 0.0

    @property
    def macros(self) -> dict[str, int]:
        dropped = {"DROPPED": int(self.rate > 0)}
        if self.window is None:
            return {"POOLED": 0} | dropped
        (kh, kw), (sh, sw) = self.window, self.strides
        return {"POOLED": 1, "KH": kh, "KW": kw, "SH": sh, "SW": sw} | dropped

    @property
    def apart(self) -> bool:
        """Whether windows neither overlap nor leave gaps, and start at the image's corner."""
        return self.window is None or (self.strides == self.window and self.padding[0][0] == self.padding[1][0] == 0)

    @property
    def geometry(self) -> tuple[int, ...]:
        """The kernels' parameters from height to left."""
        return (*self.shape[1:3], *self.pooled[1:3], self.padding[0][0], self.padding[1][0])

    @property
    def rows(self) -> int:
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def outputs(self) -> int:
        return self.pooled[0] * self.pooled[1] * self.pooled[2]


def behind(x: Any, window: Pair, strides: Pair, padding: Padding, state: Any, rate: float) -> Behind:
    """What the attributes of a fused kernel mean for x (n, h, w, c), or (..., c) where nothing is pooled."""
    if state is None:
        rate = 0.0
    if not is_pooling(window, strides, padding):
        rows = x.size // x.shape[-1]
        return Behind((rows, 1, 1, x.shape[-1]), (rows, 1, 1, x.shape[-1]), rate=rate)
    return Behind(x.shape, pooled_shape(x.shape, window, strides, padding), window, strides, padding, rate)


def takes(x: Any, *parameters: Any) -> bool:
    """Whether our batch normalization takes x (..., c) and the parameters (c,) of one type or None."""
    given = [p for p in parameters if p is not None]
    if not are_floats(x) or x.ndim == 0 or x.size == 0:
        return False
    kinds = {x.dtype, np.dtype(statistics_dtype(np, x.dtype))}
    return all(p.shape == x.shape[-1:] and p.dtype == given[0].dtype for p in given) and (
        not given or given[0].dtype in kinds
    )


def _parameter_dtype(x: Any, *parameters: Any) -> Any:
    return next((p.dtype for p in parameters if p is not None), statistics_dtype(np, x.dtype))


def _dropout(x: Any, state: Any, rate: float) -> tuple[Any, float, int]:
    """(state, what is divided by, threshold) for the kernels."""
    return (state, keep_of(x.dtype, rate), dropout_threshold(rate)) if rate > 0 else (None, 1.0, 0)


def forward(
    gpu: CudaBackend,
    x: Any,
    gamma: Any,
    beta: Any,
    given: tuple[Any, Any] | None,
    state: Any,
    rest: Behind,
    epsilon: float,
    out: tuple[Any, Any, Any, Any],
) -> tuple[Any, Any, Any, Any]:
    """(y, mean, variance, index) of a batch normalization and what is behind it, in two launches, or in one where the
    statistics are ``given`` or the rows are few. Entries of ``out`` that are None are allocated."""
    x, gamma, beta, state = (contiguous(gpu, a) for a in (x, gamma, beta, state))
    channels, dtype = x.shape[-1], statistics_dtype(np, x.dtype)
    y, mean, variance, index = out
    pooled = rest.window is not None
    y = gpu.empty(rest.pooled if pooled else x.shape, x.dtype) if y is None else y
    mean, variance = given or (
        gpu.empty((channels,), dtype) if mean is None else mean,
        gpu.empty((channels,), dtype) if variance is None else variance,
    )
    index = gpu.empty(rest.pooled, np.uint8) if pooled and index is None else index
    width = min(width_of(channels, x, y, *([index] if pooled else [])), 16 // dtype.itemsize)
    direct = given is None and rest.rows <= DIRECT_ROWS
    rows = rest.outputs if given else rest.rows
    layout = layout_for(gpu.multiprocessors, x.dtype.itemsize, channels, width, rows, direct)
    statistics, partial = "GIVEN" if given else "DIRECT" if direct else "SLICES", None
    macros = _macros(x, _parameter_dtype(x, gamma, beta), layout, rest) | {"STATISTICS": statistics}
    if statistics == "SLICES":
        partial = gpu.empty((2, layout.slices, channels), dtype)
        grid = layout.slices, layout.tiles
        gpu.run(
            kernel("batch_norm.cu", "batch_norm_moments", **macros), grid, layout.block, x, partial, rest.rows,
            channels, layout.rows_each,
        )  # fmt: skip
    draw, keep, threshold = _dropout(x, state, rest.rate)
    grid = layout.grid(gpu.multiprocessors, rest.outputs)
    gpu.run(
        kernel("batch_norm.cu", "batch_norm_apply", **macros), grid, layout.block, x, gamma, beta, draw, partial, mean,
        variance, y, index if pooled else None, rest.rows, rest.outputs, channels, *rest.geometry, layout.slices,
        layout.rows_each, epsilon, keep, threshold,
    )  # fmt: skip
    return y, mean, variance, index


def backward(
    gpu: CudaBackend,
    gradient: Any,
    x: Any,
    gamma: Any,
    mean: Any,
    variance: Any,
    index: Any,
    state: Any,
    rest: Behind,
    epsilon: float,
    out: tuple[Any, Any, Any],
    masked: bool = False,
) -> tuple[Any, Any, Any]:
    """(dx, dgamma, dbeta) of ``forward``, in two launches, or in one where the rows are few. With ``masked``, x is the
    output of a relu, and dx the gradient before that."""
    arrays = gradient, x, gamma, mean, variance, index, state
    gradient, x, gamma, mean, variance, index, state = (contiguous(gpu, a) for a in arrays)
    channels, kind, pooled = x.shape[-1], _parameter_dtype(x, gamma), rest.window is not None
    dx = gpu.empty(x.shape, x.dtype) if out[0] is None else out[0]
    dgamma, dbeta = (gpu.empty((channels,), kind) if o is None else o for o in out[1:])
    width = min(width_of(channels, gradient, x, dx, *([index] if pooled else [])), 16 // mean.dtype.itemsize)
    direct = rest.outputs <= DIRECT_ROWS and rest.rows <= 4 * DIRECT_ROWS
    layout = layout_for(gpu.multiprocessors, x.dtype.itemsize, channels, width, rest.outputs, direct)
    macros = _macros(x, kind, layout, rest)
    macros |= {"SUMS": "DIRECT" if direct else "SLICES", "APART": int(rest.apart), "MASKED": int(masked)}
    draw, keep, threshold = _dropout(x, state, rest.rate)
    index, partial = index if pooled else None, None
    if not direct:
        partial = gpu.empty((2, layout.slices, channels), mean.dtype)
        gpu.run(
            kernel("batch_norm_gradient.cu", "batch_norm_sums", **macros), (layout.slices, layout.tiles), layout.block,
            gradient, x, mean, index, draw, partial, rest.outputs, channels, *rest.geometry, layout.rows_each, keep,
            threshold,
        )  # fmt: skip
    # A thread has one window or one pixel at a time; GRADIENT_BLOCKS of the kernel.
    at_once = 1 if pooled or x.dtype.itemsize == 8 else BLOCKS_AT_ONCE
    grid = layout.grid(gpu.multiprocessors, rest.outputs if rest.apart and rest.outputs else rest.rows, at_once)
    gpu.run(
        kernel("batch_norm_gradient.cu", "batch_norm_input_gradient", **macros), grid, layout.block, gradient, x, gamma,
        mean, variance, index, draw, partial, dx, dgamma, dbeta, rest.rows, rest.outputs, channels, *rest.geometry,
        layout.slices, epsilon, keep, threshold,
    )  # fmt: skip
    return dx, dgamma, dbeta


def _macros(x: Any, parameter: Any, layout: Layout, rest: Behind) -> dict[str, Any]:
    types = {"T": c_type(x.dtype), "S": arithmetic(x.dtype), "P": c_type(parameter)}
    return types | {"WIDTH": layout.width} | rest.macros


def _plain(x: Any) -> Behind:
    return behind(x, (1, 1), (1, 1), ((0, 0), (0, 0)), None, 0.0)


@cuda_kernel
def batch_norm(
    gpu: CudaBackend, x: Any, gamma: Any, beta: Any, *, epsilon: float, out: Any = None
) -> tuple[Any, Any, Any]:
    """The reference's normalization over all axes but the last."""
    buffers = (None, None, None) if out is None else out
    if not takes(x, gamma, beta) or not writable(*buffers):
        return gpu.fallback("batch_norm", x, gamma, beta, epsilon=epsilon, out=out)
    return forward(gpu, x, gamma, beta, None, None, _plain(x), epsilon, (*buffers, None))[:3]


@cuda_kernel
def batch_norm_inference(
    gpu: CudaBackend, x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> Any:
    """The reference's normalization by given statistics."""
    if not takes(x, gamma, beta) or not takes_statistics(x, mean, variance) or not writable(out):
        return gpu.fallback("batch_norm_inference", x, gamma, beta, mean, variance, epsilon=epsilon, out=out)
    given = contiguous(gpu, mean), contiguous(gpu, variance)
    return forward(gpu, x, gamma, beta, given, None, _plain(x), epsilon, (out, None, None, None))[0]


def takes_statistics(x: Any, *statistics: Any) -> bool:
    """Whether mean and variance are those of x (..., c)."""
    dtype = statistics_dtype(np, x.dtype)
    return all(s.dtype == dtype and s.shape == x.shape[-1:] for s in statistics)


@cuda_kernel
def batch_norm_gradient(
    gpu: CudaBackend, gradient: Any, x: Any, gamma: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> tuple[Any, Any, Any]:
    """The reference's gradients of ``batch_norm``."""
    buffers = (None, None, None) if out is None else out
    fits = takes(x, gamma) and takes_statistics(x, mean, variance) and gradient.dtype == x.dtype
    if not fits or not writable(*buffers):
        return gpu.fallback("batch_norm_gradient", gradient, x, gamma, mean, variance, epsilon=epsilon, out=out)
    return backward(gpu, gradient, x, gamma, mean, variance, None, None, _plain(x), epsilon, buffers)


@cuda_kernel
def layer_norm(
    gpu: CudaBackend, x: Any, gamma: Any, beta: Any, *, epsilon: float, out: Any = None
) -> tuple[Any, Any, Any]:
    """The reference's normalization over the last axis."""
    buffers = (None, None, None) if out is None else out
    if not takes(x, gamma, beta) or not writable(*buffers):
        return gpu.fallback("layer_norm", x, gamma, beta, epsilon=epsilon, out=out)
    dtype, columns = statistics_dtype(np, x.dtype), x.shape[-1]
    rows, team = x.size // columns, _team(columns)
    shapes = (x.shape, x.dtype), (x.shape[:-1], dtype), (x.shape[:-1], dtype)
    y, mean, variance = (gpu.empty(*s) if b is None else b for b, s in zip(buffers, shapes))
    gpu.run(
        _layer_norm_kernel("layer_norm", x, _parameter_dtype(x, gamma, beta), team), (blocks(rows * team, THREADS),),
        (THREADS,), *(contiguous(gpu, a) for a in (x, gamma, beta)), y, mean, variance, rows, columns, epsilon,
    )  # fmt: skip
    return y, mean, variance


@cuda_kernel
def layer_norm_gradient(
    gpu: CudaBackend, gradient: Any, x: Any, gamma: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> tuple[Any, Any, Any]:
    """The reference's gradients of ``layer_norm``, in two launches."""
    buffers = (None, None, None) if out is None else out
    dtype = statistics_dtype(np, x.dtype)
    fits = takes(x, gamma) and gradient.dtype == x.dtype and mean.dtype == variance.dtype == dtype
    if not fits or not writable(*buffers):
        return gpu.fallback("layer_norm_gradient", gradient, x, gamma, mean, variance, epsilon=epsilon, out=out)
    columns, kind = x.shape[-1], _parameter_dtype(x, gamma)
    rows, team = x.size // columns, _team(columns)
    shapes = (x.shape, x.dtype), ((columns,), kind), ((columns,), kind)
    dx, dgamma, dbeta = (gpu.empty(*s) if b is None else b for b, s in zip(buffers, shapes))
    each = blocks(rows, LAYER_NORM_SLICES * gpu.multiprocessors)
    slices = blocks(rows, each)
    parts = gpu.empty((2, slices, columns), dtype)
    arrays = [contiguous(gpu, a) for a in (gradient, x, gamma, mean, variance)]
    gpu.run(
        _layer_norm_kernel("layer_norm_gradient", x, kind, team), (slices,), (THREADS,), *arrays, dx, parts, rows,
        columns, each, epsilon,
    )  # fmt: skip
    gpu.run(
        _layer_norm_kernel("layer_norm_parameters", x, kind, team), (blocks(columns, 32),), (32, 8), parts, dgamma,
        dbeta, slices, columns,
    )  # fmt: skip
    return dx, dgamma, dbeta


def _team(columns: int) -> int:
    """A warp up to 1024 columns, else a block."""
    return 32 if columns <= 1024 else THREADS


def _layer_norm_kernel(name: str, x: Any, parameter: Any, team: int) -> Any:
    macros = {"T": c_type(x.dtype), "S": arithmetic(x.dtype), "P": c_type(parameter), "TEAM": team}
    return kernel("layer_norm.cu", name, **macros)
