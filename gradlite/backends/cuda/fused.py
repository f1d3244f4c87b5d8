"""Kernels that are several others in a row, as one on a GPU: what lies between is not written to memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.launch import C_TYPES, blocks, c_type
from gradlite.backends.cuda.normalization import Behind, backward, behind, forward, takes, takes_statistics
from gradlite.backends.cuda.operands import THREADS, are_floats, arithmetic, contiguous, kernel, team_for, writable
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.reference.convolution import Padding, Pair

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

# An index of one byte names the taps of windows up to this size.
MOST_TAPS = 256
# A batch of up to so many logits is one block's, of the most threads there are: a second launch would take longer.
ONE_BLOCK_LOGITS, ONE_BLOCK_THREADS = 16384, 1024
# Blocks for each multiprocessor that share the rows of a larger batch.
LOSS_BLOCKS = 2


def _fuses(window: Pair, *buffers: Any) -> bool:
    return window[0] * window[1] <= MOST_TAPS and writable(*buffers)


def _index(gpu: CudaBackend, rest: Behind, index: Any) -> Any:
    """The index that a kernel returns: empty where nothing is pooled."""
    if rest.window is not None or index is not None:
        return index
    return gpu.empty((0,), np.uint8)


@cuda_kernel
def batch_norm_max_pool2d_dropout(
    gpu: CudaBackend,
    x: Any,
    gamma: Any,
    beta: Any,
    state: Any,
    *,
    epsilon: float,
    window: Pair,
    strides: Pair,
    padding: Padding,
    rate: float,
    out: Any = None,
) -> tuple[Any, Any, Any, Any]:
    """The reference's row of kernels in two launches: statistics, and all the rest."""
    buffers = (None,) * 4 if out is None else out
    if not takes(x, gamma, beta) or not _fuses(window, *buffers):
        return gpu.fallback(
            "batch_norm_max_pool2d_dropout", x, gamma, beta, state, epsilon=epsilon, window=window, strides=strides,
            padding=padding, rate=rate, out=out,
        )  # fmt: skip
    rest = behind(x, window, strides, padding, state, rate)
    y, mean, variance, index = forward(gpu, x, gamma, beta, None, state, rest, epsilon, buffers)
    return y, mean, variance, _index(gpu, rest, index)


@cuda_kernel
def batch_norm_apply_max_pool2d_dropout(
    gpu: CudaBackend,
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    state: Any,
    *,
    epsilon: float,
    window: Pair,
    strides: Pair,
    padding: Padding,
    rate: float,
    out: Any = None,
) -> tuple[Any, Any]:
    """The reference's row of kernels in one launch."""
    y, index = (None, None) if out is None else out
    fits = takes(x, gamma, beta) and takes_statistics(x, mean, variance)
    if not fits or not _fuses(window, y, index):
        return gpu.fallback(
            "batch_norm_apply_max_pool2d_dropout", x, gamma, beta, mean, variance, state, epsilon=epsilon,
            window=window, strides=strides, padding=padding, rate=rate, out=out,
        )  # fmt: skip
    rest = behind(x, window, strides, padding, state, rate)
    given = contiguous(gpu, mean), contiguous(gpu, variance)
    y, _, _, index = forward(gpu, x, gamma, beta, given, state, rest, epsilon, (y, None, None, index))
    return y, _index(gpu, rest, index)


@cuda_kernel
def batch_norm_max_pool2d_dropout_gradient(
    gpu: CudaBackend,
    gradient: Any,
    x: Any,
    gamma: Any,
    mean: Any,
    variance: Any,
    index: Any,
    state: Any,
    *,
    epsilon: float,
    window: Pair,
    strides: Pair,
    padding: Padding,
    rate: float,
    activation: str | None = None,
    out: Any = None,
) -> tuple[Any, Any, Any]:
    """The reference's gradients in two launches: sums over the pooled pixels, and dx."""
    buffers = (None,) * 3 if out is None else out
    fits = takes(x, gamma) and takes_statistics(x, mean, variance) and gradient.dtype == x.dtype
    if not fits or activation not in (None, "relu") or not _fuses(window, *buffers):
        return gpu.fallback(
            "batch_norm_max_pool2d_dropout_gradient", gradient, x, gamma, mean, variance, index, state, epsilon=epsilon,
            window=window, strides=strides, padding=padding, rate=rate, activation=activation, out=out,
        )  # fmt: skip
    rest = behind(x, window, strides, padding, state, rate)
    masked = activation == "relu"
    return backward(gpu, gradient, x, gamma, mean, variance, index, state, rest, epsilon, buffers, masked)


@cuda_kernel
def sparse_softmax_cross_entropy_loss(
    gpu: CudaBackend, logits: Any, labels: Any, *, out: Any = None
) -> tuple[Any, Any, Any]:
    """The reference's mean loss, gradient and probabilities in one launch, or two for a large batch."""
    name, buffers = "sparse_softmax_cross_entropy_loss", (None,) * 3 if out is None else out
    if not are_floats(logits) or logits.size == 0 or labels.dtype not in C_TYPES or not writable(*buffers):
        return gpu.fallback(name, logits, labels, out=out)
    shapes = (), logits.shape, logits.shape
    loss, gradient, probabilities = (
        gpu.empty(shape, logits.dtype) if b is None else b for b, shape in zip(buffers, shapes)
    )  # fmt: skip
    (rows, columns), team = logits.shape, team_for(logits.shape[1])
    small = logits.size <= ONE_BLOCK_LOGITS
    # A team of a whole block is that block.
    threads = ONE_BLOCK_THREADS if small and team < THREADS else THREADS
    needed = blocks(rows * team, threads)
    count = 1 if small else min(needed, LOSS_BLOCKS * gpu.multiprocessors)
    types = {"T": c_type(logits.dtype), "S": arithmetic(logits.dtype), "L": c_type(labels.dtype), "TEAM": team}
    parts = (
        gpu.empty((count,), np.dtype(np.float64 if logits.dtype.itemsize == 8 else np.float32)) if count > 1 else None
    )
    gpu.run(
        kernel("softmax_cross_entropy.cu", name, **types), (count,), (threads,), contiguous(gpu, logits),
        contiguous(gpu, labels), loss, gradient, probabilities, parts, rows, columns,
    )  # fmt: skip
    if parts is not None:
        gpu.run(
            kernel("softmax_cross_entropy.cu", "mean_of_parts", **types), (1,), (THREADS,), parts, loss, count, rows
        )  # fmt: skip
    return loss, gradient, probabilities
