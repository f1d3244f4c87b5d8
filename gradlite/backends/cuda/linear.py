"""Matrix products and dense layers on a GPU."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.gemm import ACTIVATIONS, multiply
from gradlite.backends.cuda.operands import FLOATS, contiguous, writable
from gradlite.backends.cuda.registry import cuda_kernel

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

# Rows, columns and depths are 32-bit in the kernels, offsets 64-bit.
MOST = 2**31 - 1


@cuda_kernel
def matmul(gpu: CudaBackend, a: Any, b: Any, *, out: Any = None) -> Any:
    """NumPy's product of two float arrays: of vectors, matrices, and stacks of matrices that broadcast."""
    if not _are_ours(a, b) or a.ndim == 0 or b.ndim == 0 or not _fits(a, b, out):
        return gpu.fallback("matmul", a, b) if out is None else gpu.fallback("matmul", a, b, out=out)
    left = a[None] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = batch + a.shape[-2:-1] * (a.ndim > 1) + b.shape[-1:] * (b.ndim > 1)
    result = gpu.empty(shape, a.dtype) if out is None else out
    multiply(gpu, left, right, result)
    return result


@cuda_kernel
def dense(gpu: CudaBackend, x: Any, kernel: Any, bias: Any, *, activation: str | None = None, out: Any = None) -> Any:
    """The reference's layer; bias and activation are applied to the sums before they are stored."""
    arrays = (x, kernel) if bias is None else (x, kernel, bias)
    if not _are_ours(*arrays) or activation not in ACTIVATIONS or not writable(out):
        return gpu.fallback("dense", x, kernel, bias, activation=activation, out=out)
    y = gpu.empty(x.shape[:-1] + kernel.shape[-1:], x.dtype) if out is None else out
    rows = _rows(gpu, x)
    multiply(gpu, rows, kernel, y, bias=contiguous(gpu, bias), activation=activation)
    return y


@cuda_kernel
def dense_input_gradient(
    gpu: CudaBackend, gradient: Any, y: Any, kernel: Any, *, activation: str | None = None, out: Any = None
) -> Any:
    """The reference's; the activation's derivative is applied to the gradient as it is loaded."""
    arrays = (gradient, kernel) if activation is None else (gradient, kernel, y)
    if not _are_ours(*arrays) or activation not in ACTIVATIONS or not writable(out):
        return gpu.fallback("dense_input_gradient", gradient, y, kernel, activation=activation, out=out)
    dx = gpu.empty(gradient.shape[:-1] + kernel.shape[:1], gradient.dtype) if out is None else out
    outputs = None if activation is None else _rows(gpu, y)
    multiply(gpu, _rows(gpu, gradient), kernel.T, dx, derivative_a=activation, outputs=outputs)
    return dx


@cuda_kernel
def dense_weight_gradient(
    gpu: CudaBackend, x: Any, gradient: Any, y: Any, *, activation: str | None = None, out: Any = None
) -> tuple[Any, Any]:
    """The reference's; the bias's gradient is summed from the tiles that the product loads anyway."""
    arrays = (x, gradient) if activation is None else (x, gradient, y)
    to_kernel, to_bias = (None, None) if out is None else out
    # Without features no tile of the product is computed, and none sums the bias's gradient.
    if not _are_ours(*arrays) or activation not in ACTIVATIONS or not writable(to_kernel, to_bias) or not x.shape[-1]:
        return gpu.fallback("dense_weight_gradient", x, gradient, y, activation=activation, out=out)
    if out is None:
        to_kernel = gpu.empty(x.shape[-1:] + gradient.shape[-1:], x.dtype)
        to_bias = gpu.empty(gradient.shape[-1:], x.dtype)
    outputs = None if activation is None else _rows(gpu, y)
    multiply(
        gpu, _rows(gpu, x).T, _rows(gpu, gradient), to_kernel, derivative_b=activation, outputs=outputs,
        column_sums=to_bias,
    )  # fmt: skip
    return to_kernel, to_bias


def _are_ours(*arrays: Any) -> bool:
    """Whether the kernels have the arrays' type, which must be one, and their sizes."""
    dtype = arrays[0].dtype
    return dtype in FLOATS and all(x.dtype == dtype and all(n <= MOST for n in x.shape) for x in arrays)


def _fits(a: Any, b: Any, out: Any) -> bool:
    """Whether shapes are such that nothing is left for the array module to refuse, and the kernel can write to
    ``out``."""
    inner = b.shape[0] if b.ndim == 1 else b.shape[-2]
    return a.shape[-1] == inner and (out is None or (out.flags.c_contiguous and out.dtype == a.dtype))


def _rows(gpu: CudaBackend, x: Any) -> Any:
    """``x`` as a matrix, all axes but the last as one: a view where it is contiguous."""
    if x.ndim == 2:
        return x
    return contiguous(gpu, x).reshape(prod(x.shape[:-1]), x.shape[-1])
