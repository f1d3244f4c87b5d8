"""Pooling of images and its gradients on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.launch import c_type
from gradlite.backends.cuda.operands import (
    THREADS,
    are_floats,
    arithmetic,
    contiguous,
    grid_for,
    kernel,
    width_of,
    writable,
)
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.reference.convolution import Padding, Pair, output_size
from gradlite.backends.reference.pooling import index_dtype

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend


@cuda_kernel
def max_pool2d(
    gpu: CudaBackend, x: Any, *, window: Pair, strides: Pair, padding: Padding, out: Any = None
) -> tuple[Any, Any]:
    """The reference's maximum of every window, and its tap."""
    y, index = (None, None) if out is None else out
    if not are_floats(x) or not writable(y, index):
        return gpu.fallback("max_pool2d", x, window=window, strides=strides, padding=padding, out=out)
    x, shape = contiguous(gpu, x), pooled_shape(x.shape, window, strides, padding)
    y = gpu.empty(shape, x.dtype) if y is None else y
    index = gpu.empty(shape, index_dtype(np, window)) if index is None else index
    _run(gpu, "max_pool2d", (x, y, index), y, x.shape, shape, window, strides, padding, index.dtype)
    return y, index


@cuda_kernel
def max_pool2d_scatter(
    gpu: CudaBackend,
    gradient: Any,
    index: Any,
    *,
    input_shape: tuple[int, ...],
    window: Pair,
    strides: Pair,
    padding: Padding,
    out: Any = None,
) -> Any:
    """The reference's sum over the windows whose maximum a pixel is."""
    if not _takes(gradient, index, out):
        return gpu.fallback(
            "max_pool2d_scatter", gradient, index, input_shape=input_shape, window=window, strides=strides,
            padding=padding, out=out,
        )  # fmt: skip
    gradient, index = contiguous(gpu, gradient), contiguous(gpu, index)
    dx = gpu.empty(input_shape, gradient.dtype) if out is None else out
    arrays = gradient, index, dx
    _run(gpu, "max_pool2d_scatter", arrays, dx, input_shape, gradient.shape, window, strides, padding, index.dtype)
    return dx


@cuda_kernel
def max_pool2d_gather(
    gpu: CudaBackend, x: Any, index: Any, *, window: Pair, strides: Pair, padding: Padding, out: Any = None
) -> Any:
    """The reference's elements that the index names."""
    if not _takes(x, index, out):
        options = {"window": window, "strides": strides, "padding": padding}
        return gpu.fallback("max_pool2d_gather", x, index, out=out, **options)
    x, index = contiguous(gpu, x), contiguous(gpu, index)
    y = gpu.empty(index.shape, x.dtype) if out is None else out
    _run(gpu, "max_pool2d_gather", (x, index, y), y, x.shape, y.shape, window, strides, padding, index.dtype)
    return y


@cuda_kernel
def avg_pool2d(gpu: CudaBackend, x: Any, *, window: Pair, strides: Pair, padding: Padding, out: Any = None) -> Any:
    """The reference's mean of every window."""
    if not are_floats(x) or not writable(out):
        return gpu.fallback("avg_pool2d", x, window=window, strides=strides, padding=padding, out=out)
    x, shape = contiguous(gpu, x), pooled_shape(x.shape, window, strides, padding)
    y = gpu.empty(shape, x.dtype) if out is None else out
    _run(gpu, "avg_pool2d", (x, y), y, x.shape, shape, window, strides, padding)
    return y


@cuda_kernel
def avg_pool2d_gradient(
    gpu: CudaBackend,
    gradient: Any,
    *,
    input_shape: tuple[int, ...],
    window: Pair,
    strides: Pair,
    padding: Padding,
    out: Any = None,
) -> Any:
    """The reference's sum of the means over a pixel."""
    if not are_floats(gradient) or not writable(out):
        return gpu.fallback(
            "avg_pool2d_gradient", gradient, input_shape=input_shape, window=window, strides=strides, padding=padding,
            out=out,
        )  # fmt: skip
    gradient = contiguous(gpu, gradient)
    dx = gpu.empty(input_shape, gradient.dtype) if out is None else out
    _run(gpu, "avg_pool2d_gradient", (gradient, dx), dx, input_shape, gradient.shape, window, strides, padding)
    return dx


def pooled_shape(shape: tuple[int, ...], window: Pair, strides: Pair, padding: Padding) -> tuple[int, ...]:
    """The shape of the output for images of ``shape`` (n, h, w, c)."""
    height, width = (output_size(shape[1 + a], window[a], strides[a], padding[a]) for a in (0, 1))
    return shape[0], height, width, shape[3]


def _takes(x: Any, index: Any, out: Any) -> bool:
    return are_floats(x) and index.dtype in (np.uint8, np.int32) and writable(out)


def _run(
    gpu: CudaBackend,
    name: str,
    arrays: tuple[Any, ...],
    written: Any,
    shape: tuple[int, ...],
    pooled: tuple[int, ...],
    window: Pair,
    strides: Pair,
    padding: Padding,
    index: Any = None,
) -> None:
    """Launch over ``written``: the output pixels, in a gradient the input pixels."""
    width = width_of(shape[3], *arrays)
    macros = {
        "T": c_type(written.dtype),
        "S": arithmetic(written.dtype),
        "I": c_type(index or np.uint8),
        "WIDTH": width,
    }
    chosen = kernel(
        "pooling.cu", name, **macros, KH=window[0], KW=window[1], SH=strides[0], SW=strides[1]
    )  # fmt: skip
    count = written.size // width
    gpu.run(
        chosen, grid_for(gpu, count), (THREADS,), *arrays, count, shape[3], *shape[1:3], *pooled[1:3], padding[0][0],
        padding[1][0],
    )  # fmt: skip
