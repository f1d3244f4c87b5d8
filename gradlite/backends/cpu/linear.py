"""Matrix products on the CPU: NumPy's BLAS, one thread a call, called from the pool that all kernels share.

Two pools in turn, OpenBLAS's and ours, wait for each other's sleeping or spinning threads, which costs more than a
small product; so the product is cut here, along its longer side, and BLAS computes each part alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.elementwise import activate_in_place, relu_gradient
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.reference.activation import activation_gradient

# OpenBLAS keeps products of up to this many multiplications in the calling thread by itself.
BLAS_STAYS_ALONE = 262_144
# Fewer operations than this take one core some 0.2 ms, and are over before a second thread has helped much.
WORTH_A_THREAD = 20_000_000
# Parts begin at multiples of this, the widest tile of BLAS's kernels.
BLOCK = 16


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray, bias: np.ndarray | None = None) -> None:
    """``out = a @ b + bias`` for (n, k) and (k, m): BLAS takes transposed and sliced operands without a copy."""
    n, k = a.shape
    m = b.shape[1]

    def part(t: int, threads: int) -> None:
        if m >= n:
            blocks = parallel.share(-(-m // BLOCK), t, threads)
            span = slice(blocks.start * BLOCK, blocks.stop * BLOCK)
            right, result, shift = b[:, span], out[:, span], None if bias is None else bias[span]
            np.matmul(a, right, out=result)
        else:
            blocks = parallel.share(-(-n // BLOCK), t, threads)
            span = slice(blocks.start * BLOCK, blocks.stop * BLOCK)
            result, shift = out[span], bias
            np.matmul(a[span], b, out=result)
        if shift is not None:
            np.add(result, shift, out=result)

    multiplications = n * k * m
    if multiplications <= BLAS_STAYS_ALONE:
        part(0, 1)
    elif 2 * multiplications < WORTH_A_THREAD:
        with parallel.single_threaded_blas:
            part(0, 1)
    else:
        parallel.run(part, parts=-(-max(n, m) // BLOCK))


@cpu_kernel
def matmul(a: Any, b: Any, *, out: Any = None) -> Any:
    """The reference's product; two matrices of one floating-point type go through the pool."""
    if a.ndim != 2 or b.ndim != 2 or a.dtype != b.dtype or a.dtype not in (np.float32, np.float64):
        return np.matmul(a, b, out=out)
    if out is None:
        out = np.empty((a.shape[0], b.shape[1]), a.dtype)
    product(a, b, out)
    return out


@cpu_kernel
def dense(x: Any, kernel: Any, bias: Any, *, activation: str | None = None, out: Any = None) -> Any:
    """The reference's layer; the bias is added to each part of the product while it is in cache."""
    rows = x.reshape(-1, x.shape[-1])
    shape = x.shape[:-1] + (kernel.shape[-1],)
    if rows.dtype != kernel.dtype or rows.dtype not in (np.float32, np.float64):
        product_of_two_types = np.matmul(rows, kernel)
        result = product_of_two_types if bias is None else product_of_two_types + bias
    else:
        flat = None if out is None else out.reshape(rows.shape[0], -1)
        result = np.empty((rows.shape[0], kernel.shape[1]), rows.dtype) if flat is None else flat
        product(rows, kernel, result, bias)
    activate_in_place(result, activation)
    if result.shape != shape:
        result = result.reshape(shape)
    if out is None:
        return result
    if not np.shares_memory(out, result):
        out[...] = result
    return out


@cpu_kernel
def dense_input_gradient(gradient: Any, y: Any, kernel: Any, *, activation: str | None = None, out: Any = None) -> Any:
    """The reference's, through the pool."""
    return dense(_inner(gradient, y, activation), kernel.T, None, out=out)


@cpu_kernel
def dense_weight_gradient(
    x: Any, gradient: Any, y: Any, *, activation: str | None = None, out: Any = None
) -> tuple[Any, Any]:
    """The reference's, through the pool."""
    inner = _inner(gradient, y, activation).reshape(-1, gradient.shape[-1])
    to_kernel, to_bias = (None, None) if out is None else out
    return matmul(x.reshape(-1, x.shape[-1]).T, inner, out=to_kernel), np.sum(inner, axis=0, out=to_bias)


def _inner(gradient: Any, y: Any, activation: str | None) -> Any:
    """The gradient in front of the activation."""
    return relu_gradient(gradient, y) if activation == "relu" else activation_gradient(np, gradient, y, activation)
