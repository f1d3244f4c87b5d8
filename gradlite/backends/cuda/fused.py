"""Kernels that are several others in a row, as one on a GPU: what lies between is not written to memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.launch import C_TYPES, blocks, c_type
from gradlite.backends.cuda.normalization import Behind, backward, behind, forward, takes, takes_statistics
from gradlite.backends.cuda.operands import (
    THREADS,
    are_floats,
    arithmetic,
    contiguous,
    kernel,
    power_of_two,
    team_for,
    writable,
)
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.cuda.totals import is_count, table_of
from gradlite.backends.reference.convolution import Padding, Pair
from gradlite.backends.reference.fused import of_the_loss

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
    if not _is_loss_of_ours(logits, labels, out):
        return gpu.fallback("sparse_softmax_cross_entropy_loss", logits, labels, out=out)
    return _mean_loss(gpu, logits, labels, None, out)


@cuda_kernel
def softmax_cross_entropy_loss(gpu: CudaBackend, logits: Any, labels: Any, *, out: Any = None) -> tuple[Any, Any, Any]:
    """The same for rows of labels."""
    if not _is_loss_of_ours(logits, labels, out):
        return gpu.fallback("softmax_cross_entropy_loss", logits, labels, out=out)
    return _mean_loss(gpu, logits, labels, None, out)


@cuda_kernel
def cross_entropy_step(
    gpu: CudaBackend,
    logits: Any,
    labels: Any,
    scale: Any,
    *totals: Any,
    values: tuple[Any, ...] = (),
    copies: tuple[Any, ...] = (),
    out: Any = None,
) -> tuple[Any, Any, Any]:
    """Both, and totals: by the same launch where it is of one block, which knows when all is done."""
    fits = _is_loss_of_ours(logits, labels, out)
    if not fits or (scale is not None and (scale.dtype != logits.dtype or scale.size != 1)):
        return gpu.fallback("cross_entropy_step", logits, labels, scale, *totals, values=values, copies=copies, out=out)
    logits, labels = contiguous(gpu, logits), contiguous(gpu, labels)
    loss, gradient, p = results = _loss_buffers(gpu, logits, out)
    added = tuple(of_the_loss(value, loss, logits, labels, p) for value in values)
    counted, table = _counted(values), None
    if totals and logits.size <= ONE_BLOCK_LOGITS and counted is not None:
        table = table_of(gpu, totals, added, copies)  # to which the loss is an array like others
    if table is None:
        _mean_loss(gpu, logits, labels, scale, results)
        if totals:
            gpu.kernels["accumulate"](*totals, values=added, copies=copies)
        return results
    name, macros = _loss_kernel(logits, labels)
    gpu.run(
        kernel("softmax_cross_entropy.cu", name + "_totals", **macros), (1,), (_threads_of_one_block(logits),), logits,
        labels, scale, loss, gradient, p, table, counted, *logits.shape,
    )  # fmt: skip
    return results


# As softmax_cross_entropy.cu numbers what is counted.
COUNTED = {None: 0, "probabilities": 1, "logits": 2}


def _counted(values: tuple[Any, ...]) -> int | None:
    """What the loss's kernel has to count for these values; None where it cannot."""
    kinds = {value[1] if isinstance(value[1], str) else "others" for value in values if is_count(value)}
    return COUNTED.get(next(iter(kinds), None)) if len(kinds) <= 1 else None


def _is_loss_of_ours(logits: Any, labels: Any, out: Any) -> bool:
    buffers = (None,) * 3 if out is None else out
    known = labels.dtype in C_TYPES if labels.ndim == 1 else labels.dtype == logits.dtype
    return are_floats(logits) and logits.size > 0 and known and writable(*buffers)


def _loss_buffers(gpu: CudaBackend, logits: Any, out: Any) -> tuple[Any, Any, Any]:
    """Where the loss, its gradient and the probabilities go."""
    buffers = (None,) * 3 if out is None else out
    shapes = (), logits.shape, logits.shape
    loss, gradient, p = (gpu.empty(shape, logits.dtype) if b is None else b for b, shape in zip(buffers, shapes))
    return loss, gradient, p


def _loss_kernel(logits: Any, labels: Any) -> tuple[str, dict[str, Any]]:
    """What the kernels' names begin with, and the macros."""
    macros = {"T": c_type(logits.dtype), "S": arithmetic(logits.dtype), "TEAM": team_for(logits.shape[1])}
    if labels.ndim == 2:
        return "softmax_cross_entropy", macros | {"L": "int"}
    return "sparse_softmax_cross_entropy", macros | {"L": c_type(labels.dtype)}


def _threads_of_one_block(logits: Any) -> int:
    """The threads of a block that takes a small batch alone: whole warps, and few where rows are. A team of a whole
    block is that block."""
    team = team_for(logits.shape[1])
    return THREADS if team == THREADS else max(32, min(power_of_two(logits.shape[0] * team), ONE_BLOCK_THREADS))


def _mean_loss(gpu: CudaBackend, logits: Any, labels: Any, scale: Any, out: Any) -> tuple[Any, Any, Any]:
    loss, gradient, p = results = _loss_buffers(gpu, logits, out)
    rows, columns = logits.shape
    name, macros = _loss_kernel(logits, labels)
    threads, count, parts = _threads_of_one_block(logits), 1, None
    if logits.size > ONE_BLOCK_LOGITS:
        threads = THREADS
        count = min(blocks(rows * macros["TEAM"], threads), LOSS_BLOCKS * gpu.multiprocessors)
    if count > 1:
        parts = gpu.empty((count,), np.dtype(np.float64 if logits.dtype.itemsize == 8 else np.float32))
    gpu.run(
        kernel("softmax_cross_entropy.cu", name + "_loss", **macros), (count,), (threads,), contiguous(gpu, logits),
        contiguous(gpu, labels), scale, loss, gradient, p, parts, rows, columns,
    )  # fmt: skip
    if parts is not None:
        gpu.run(
            kernel("softmax_cross_entropy.cu", "mean_of_parts", **macros), (1,), (THREADS,), parts, loss, count, rows
        )
    return results
