"""Convolutions and their gradients on a GPU: which kernel runs, with which tile.

Images are (n, h, w, c). Products are implicit: pixels are gathered while tiles are loaded, and no matrix of patches
is ever written to memory. Where the window is one pixel the convolution is a product of matrices, and runs as one. See
the headers of ``kernels/conv_*.cu`` for how, and ``convolution_plan`` for tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.convolution_plan import Geometry, Padding, Pair, geometry
from gradlite.backends.cuda.convolution_variants import (
    ACTIVATIONS,
    Launch,
    accumulator,
    depthwise_launch,
    depthwise_weight_launch,
    device_of,
    gather_launch,
    merge_kernel,
    sum_launch,
    weight_launch,
)
from gradlite.backends.cuda.counters import counters_for
from gradlite.backends.cuda.launch import NARROW
from gradlite.backends.cuda.linear import dense, dense_input_gradient, dense_weight_gradient, matmul
from gradlite.backends.cuda.reductions import column_sum
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.reference.convolution import output_size

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

DTYPES = (np.dtype(np.float32), np.dtype(np.float64), *NARROW)
# A depthwise weight gradient keeps a row of taps in registers; a longer row takes the general kernel.
LONGEST_ROW = 16
# The arguments of a kernel that takes none: those of blocks, their mean and variance, counters.
NO_STATISTICS = (None,) * 4


@cuda_kernel
def conv2d(
    gpu: CudaBackend,
    x: Any,
    w: Any,
    bias: Any,
    *,
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    activation: str | None = None,
    out: Any = None,
) -> Any:
    """The reference's function: bias and activation are applied before the sums are stored."""
    shape = _output(x, w, strides, padding, dilation)
    g, structure = geometry(x.shape, w.shape, shape, strides, padding, dilation, groups)
    if structure is None or not _takes(x, w, bias) or activation not in ACTIVATIONS:
        return gpu.fallback(
            "conv2d", x, w, bias, strides=strides, padding=padding, dilation=dilation, groups=groups,
            activation=activation, out=out,
        )  # fmt: skip
    x, w, bias = _contiguous(gpu, x), _contiguous(gpu, w), _contiguous(gpu, bias)
    y = gpu.empty(g.y, x.dtype) if out is None else out
    if _is_product(w.shape, strides, padding, groups):
        return dense(gpu, x, w[0, 0], bias, activation=activation, out=y)
    if g.depthwise:
        _run(gpu, depthwise_launch(g, x.dtype, False, activation), x, w, bias, y, structure)
    else:
        _run(gpu, gather_launch(gpu, g, x, w, y, False, activation, False), x, w, bias, y, *NO_STATISTICS, structure)
    return y


@cuda_kernel
def conv2d_statistics(
    gpu: CudaBackend,
    x: Any,
    w: Any,
    bias: Any,
    *,
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    activation: str | None = None,
    out: Any = None,
) -> tuple[Any, Any, Any]:
    """The reference's function: each block leaves the statistics of its pixels, which the last of them merges, or a
    second kernel where there are many."""
    shape = _output(x, w, strides, padding, dilation)
    g, structure = geometry(x.shape, w.shape, shape, strides, padding, dilation, groups)
    if structure is None or not _takes(x, w, bias) or activation not in ACTIVATIONS:
        y, mean, variance = gpu.fallback(
            "conv2d_statistics", x, w, bias, strides=strides, padding=padding, dilation=dilation, groups=groups,
            activation=activation, out=out,
        )  # fmt: skip
        return y, mean, variance
    x, w, bias = _contiguous(gpu, x), _contiguous(gpu, w), _contiguous(gpu, bias)
    y, mean, variance = out or (None, None, None)
    f, kind = g.y[3], accumulator(x.dtype)
    y = gpu.empty(g.y, x.dtype) if y is None else y
    mean = gpu.empty((f,), kind) if mean is None else mean
    variance = gpu.empty((f,), kind) if variance is None else variance
    launch = gather_launch(gpu, g, x, w, y, False, activation, True)
    count, slabs, groups = launch.grid
    partials = gpu.empty((count * slabs * groups * launch.record_size(kind.itemsize),), kind)
    if launch.merges:
        _run(gpu, launch, x, w, bias, y, partials, mean, variance, counters_for(gpu, slabs * groups), structure)
    else:
        _run(gpu, launch, x, w, bias, y, partials, None, None, None, structure)
        grid, sizes = (launch.columns // 8, slabs * groups), (count, slabs, f // groups, g.pixels)
        gpu.run(merge_kernel(kind, launch.columns), grid, (1024,), partials, mean, variance, *sizes)
    return y, mean, variance


@cuda_kernel
def conv2d_input_gradient(
    gpu: CudaBackend,
    gradient: Any,
    w: Any,
    *,
    input_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Any = None,
) -> Any:
    """The reference's function: the forward gather, from the gradient and with the taps in reverse."""
    g, structure = geometry(tuple(input_shape), w.shape, gradient.shape, strides, padding, dilation, groups)
    if structure is None or not _takes(gradient, w):
        return gpu.fallback(
            "conv2d_input_gradient", gradient, w, input_shape=input_shape, strides=strides, padding=padding,
            dilation=dilation, groups=groups, out=out,
        )  # fmt: skip
    gradient, w = _contiguous(gpu, gradient), _contiguous(gpu, w)
    dx = gpu.empty(g.x, gradient.dtype) if out is None else out
    if _is_product(w.shape, strides, padding, groups):
        return dense_input_gradient(gpu, gradient, None, w[0, 0], out=dx)
    if g.depthwise:
        _run(gpu, depthwise_launch(g, gradient.dtype, True, None), gradient, w, None, dx, structure)
    else:
        launch = gather_launch(gpu, g, gradient, w, dx, True, None, False)
        _run(gpu, launch, gradient, w, None, dx, *NO_STATISTICS, structure)
    return dx


@cuda_kernel
def conv2d_weight_gradient(
    gpu: CudaBackend,
    x: Any,
    gradient: Any,
    *,
    kernel_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Any = None,
) -> Any:
    """The reference's function: a sum over pixels, cut into ranges that are added in order."""
    g, structure = geometry(x.shape, tuple(kernel_shape), gradient.shape, strides, padding, dilation, groups)
    if structure is None or not _takes(x, gradient):
        return gpu.fallback(
            "conv2d_weight_gradient", x, gradient, kernel_shape=kernel_shape, strides=strides, padding=padding,
            dilation=dilation, groups=groups, out=out,
        )  # fmt: skip
    x, gradient = _contiguous(gpu, x), _contiguous(gpu, gradient)
    dw = gpu.empty(g.w, x.dtype) if out is None else out
    if _is_product(g.w, strides, padding, groups):
        matmul(gpu, x.reshape(-1, g.w[2]).T, gradient.reshape(-1, g.w[3]), out=dw[0, 0])
    elif _is_depthwise(g):
        split = depthwise_weight_launch(device_of(gpu), g, x.dtype)
        sums = dw if split.ranges == 1 else gpu.empty((split.ranges, dw.size), accumulator(dw.dtype))
        _run(gpu, split.launch, x, gradient, sums, split.length, structure)
        _add_ranges(gpu, sums, split.ranges, dw, None)
    else:
        _weight_gradient(gpu, g, structure, x, gradient, dw, None)
    return dw


@cuda_kernel
def conv2d_parameter_gradients(
    gpu: CudaBackend,
    x: Any,
    gradient: Any,
    *,
    kernel_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Any = None,
) -> tuple[Any, Any]:
    """The reference's gradients of kernel and bias: the bias's is summed from the tiles that the other loads anyway."""
    options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    g, structure = geometry(x.shape, tuple(kernel_shape), gradient.shape, **options)
    if structure is None or not _takes(x, gradient):
        dw, db = gpu.fallback("conv2d_parameter_gradients", x, gradient, kernel_shape=kernel_shape, out=out, **options)
        return dw, db
    x, gradient = _contiguous(gpu, x), _contiguous(gpu, gradient)
    dw, db = (gpu.empty(g.w, x.dtype), gpu.empty(g.w[3:], x.dtype)) if out is None else out
    if _is_product(g.w, strides, padding, groups):
        rows = x.reshape(-1, g.w[2]), gradient.reshape(-1, g.w[3])
        dense_weight_gradient(gpu, *rows, None, out=(dw[0, 0], db))
    elif _is_depthwise(g):
        conv2d_weight_gradient(gpu, x, gradient, kernel_shape=kernel_shape, out=dw, **options)
        column_sum(gpu, gradient, out=db)
    else:
        _weight_gradient(gpu, g, structure, x, gradient, dw, db)
    return dw, db


def _weight_gradient(
    gpu: CudaBackend, g: Geometry, structure: Any, x: Any, gradient: Any, dw: Any, db: Any | None
) -> None:
    """Write the gradients of kernel and bias (unless that is None). Of several ranges of pixels each leaves a row of
    sums in a workspace: those of the kernel, then those of the bias."""
    split = weight_launch(gpu, g, x, gradient, dw)
    to_kernel, to_bias, size, sums = dw, db, 0, None
    if split.ranges > 1:
        size = dw.size + (0 if db is None else db.size)
        sums = to_kernel = gpu.empty((split.ranges * size,), accumulator(dw.dtype))
        to_bias = None if db is None else sums[dw.size :]
    _run(gpu, split.launch, x, gradient, to_kernel, to_bias, split.length, split.ranges, size, structure)
    _add_ranges(gpu, sums, split.ranges, dw, db)


def _add_ranges(gpu: CudaBackend, sums: Any, ranges: int, dw: Any, db: Any | None) -> None:
    """Add the rows of a workspace where there are several."""
    if ranges > 1:
        size = dw.size + (0 if db is None else db.size)
        _run(gpu, sum_launch(device_of(gpu), dw.dtype, size, ranges), sums, dw, db, dw.size, size, ranges)


def _is_depthwise(g: Geometry) -> bool:
    """Whether the kernel of depthwise weight gradients takes it."""
    return g.depthwise and g.w[1] <= LONGEST_ROW


def _run(gpu: CudaBackend, launch: Launch, *arguments: Any) -> None:
    gpu.run(launch.kernel, launch.grid, (launch.threads,), *arguments, shared_bytes=launch.shared_bytes)


def _is_product(kernel: tuple[int, ...], strides: Pair, padding: Padding, groups: int) -> bool:
    """Whether every pixel is multiplied by itself with one matrix (c, f): the kernels of matrix products do that."""
    return kernel[:2] == (1, 1) and strides == (1, 1) and not any(map(any, padding)) and groups == 1


def _output(x: Any, w: Any, strides: Pair, padding: Padding, dilation: Pair) -> tuple[int, ...]:
    rows, columns = (output_size(*axis) for axis in zip(x.shape[1:3], w.shape[:2], strides, padding, dilation))
    return x.shape[0], rows, columns, w.shape[3]


def _takes(first: Any, *others: Any) -> bool:
    """Whether there is a kernel for arrays of these dtypes."""
    return first.dtype in DTYPES and all(a is None or a.dtype == first.dtype for a in others)


def _contiguous(gpu: CudaBackend, array: Any) -> Any:
    return array if array is None or array.flags.c_contiguous else gpu.launch("copy", array)
