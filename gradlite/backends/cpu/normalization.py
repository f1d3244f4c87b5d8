"""Batch normalization on the CPU: blocks of whole images, statistics merged from blocks in a fixed order.

Rows of few channels are joined: k rows of c channels are read as one row of k c numbers, against vectors repeated k
times. NumPy's inner loops want rows of some thousand numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.elementwise import mask_rectified
from gradlite.backends.cpu.placement import PAGE, placed
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.cpu.statistics import BlockStatistics, ones
from gradlite.backends.reference import normalization as reference

# Floats in a block, long enough that threads seldom queue for the interpreter between two passes; and in a joined row.
BLOCK = 262_144
JOINED_ROW = 8192
# Less than this is faster as a handful of plain NumPy calls: the reference.
SMALL = 32768

# As many passes as pooling or its reverse take the time of.
PASSES_OF_A_STEP = 4

# What else is done to a block, of some images (a slice of the batch): ``step(images, block)``.
Step = Callable[[slice, np.ndarray], None]


class _Blocks:
    """How an input (n, ..., channels) is cut, between images; by its shape alone, so that results depend on no more.

    Attributes:
        channels, rows: the input as a matrix.
        joined: how many rows make a joined row.
        largest: the rows of the largest block.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.channels, self.image, self.rows = shape[-1], math.prod(shape[1:-1]), math.prod(shape[:-1])
        self.joined = max(1, JOINED_ROW // max(1, self.channels))
        unit = self.image if len(shape) > 2 else self.joined
        self.largest = max(unit, BLOCK // max(1, self.channels) // max(1, unit) * unit)
        self.count = -(-self.rows // max(1, self.largest))

    def of(self, thread: int, threads: int) -> Iterator[tuple[int, slice]]:
        """The numbers and the rows of the blocks of a thread."""
        for i in parallel.share(self.count, thread, threads):
            yield i, slice(i * self.largest, min((i + 1) * self.largest, self.rows))

    def images(self, rows: slice) -> slice:
        return slice(rows.start // self.image, rows.stop // self.image)

    def pieces(self, *matrices: np.ndarray) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Matrices of a block's rows in joined rows, then those that are left: (rows joined to one, the matrices)."""
        n = len(matrices[0])
        whole = n // self.joined * self.joined
        if whole:
            yield self.joined, [m[:whole].reshape(-1, self.joined * self.channels) for m in matrices]
        if whole < n:
            yield 1, [m[whole:] for m in matrices]


def supported(*arrays: Any) -> bool:
    """Enough of float32 or float64, one dtype for all."""
    dtype, size = arrays[0].dtype, arrays[0].size
    return dtype in (np.float32, np.float64) and size >= SMALL and all(a is None or a.dtype == dtype for a in arrays)


class _Vectors:
    """Per-channel vectors, repeated for joined rows; made before the threads begin, who would wait for each other."""

    def __init__(self, blocks: _Blocks, *vectors: np.ndarray) -> None:
        self.channels = blocks.channels
        self.rows = [np.tile(vector, blocks.joined) for vector in vectors]

    def of(self, joined: int) -> list[np.ndarray]:
        return [row[: joined * self.channels] for row in self.rows]


def _flat(x: Any, blocks: _Blocks) -> np.ndarray:
    return np.ascontiguousarray(x).reshape(blocks.rows, blocks.channels)


def _scratch(blocks: _Blocks, like: np.ndarray) -> np.ndarray:
    """Room for one block."""
    size = min(blocks.largest, blocks.rows) * blocks.channels
    return placed("batch_norm", size, like, PAGE // 4).reshape(-1, blocks.channels)


def _statistics(x: np.ndarray, blocks: _Blocks, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population variance."""
    statistics = BlockStatistics(2 * blocks.count, blocks.channels, x.dtype)

    def work(thread: int, threads: int) -> None:
        for i, span in blocks.of(thread, threads):
            for number, (_, (rows,)) in enumerate(blocks.pieces(x[span])):
                statistics.note(2 * i + number, rows)

    parallel.run(work, parts=blocks.count, work=4 * parallel.PASS * x.size)
    return statistics.merged(dtype)


def _scaled(
    x: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    out: np.ndarray | None,
    blocks: _Blocks,
    then: Step | None = None,
) -> None:
    """out = x scale + shift: one pass less than (x - mean) scale + beta, and an error of the same order as the rounding
    of the mean to x's dtype, eps |mean| scale.

    Without `out` a block is in scratch memory, until `then` was called with it.
    """

    vectors = _Vectors(blocks, scale, shift)

    def work(thread: int, threads: int) -> None:
        room = _scratch(blocks, x) if out is None else out
        for _, span in blocks.of(thread, threads):
            block = room[: span.stop - span.start] if out is None else out[span]
            for joined, (rows, target) in blocks.pieces(x[span], block):
                scales, shifts = vectors.of(joined)
                np.multiply(rows, scales, out=target)
                np.add(target, shifts, out=target)
            if then is not None:
                then(blocks.images(span), block)

    passes = 2 if then is None else 2 + PASSES_OF_A_STEP
    parallel.run(work, parts=blocks.count, work=passes * parallel.PASS * x.size)


def _scale_and_shift(
    gamma: Any, beta: Any, mean: np.ndarray, variance: np.ndarray, epsilon: float, dtype: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The normalization as x scale + shift, prepared in float64."""
    scale = 1.0 / np.sqrt(variance.astype(np.float64) + epsilon)
    if gamma is not None:
        scale = scale * gamma
    shift = -mean * scale if beta is None else beta - mean * scale
    return scale.astype(dtype), shift.astype(dtype)


def _buffer(out: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.empty(shape, dtype) if out is None else out


def channel_statistics(x: Any) -> tuple[Any, Any]:
    """The mean and population variance of every channel (c,) of x (..., c), as ``batch_norm`` returns them."""
    if not supported(x):
        mean, variance, _ = reference.moments(np, x, tuple(range(x.ndim - 1)))
        return mean.reshape(-1), variance.reshape(-1)
    blocks = _Blocks(x.shape)
    return _statistics(_flat(x, blocks), blocks, x.dtype)


@cpu_kernel
def batch_norm(x: Any, gamma: Any, beta: Any, *, epsilon: float, out: Any = None) -> tuple[Any, Any, Any]:
    """The reference's (y, mean, variance)."""
    if not supported(x, gamma, beta):
        return reference.batch_norm(np, x, gamma, beta, epsilon=epsilon, out=out)
    y_out, mean_out, variance_out = out or (None, None, None)
    y = _buffer(y_out, x.shape, x.dtype)
    mean, variance = normalize(x, gamma, beta, y, epsilon)
    means, variances = _buffer(mean_out, mean.shape, x.dtype), _buffer(variance_out, mean.shape, x.dtype)
    means[...], variances[...] = mean, variance
    return y, means, variances


def normalize(
    x: Any, gamma: Any, beta: Any, y: np.ndarray | None, epsilon: float, then: Step | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Write the batch normalization of x to ``y``; the mean and variance, in float64. ``then`` is called with every
    block while it is in cache; without ``y`` that is all that is done with it."""
    blocks = _Blocks(x.shape)
    flat = _flat(x, blocks)
    mean, variance = _statistics(flat, blocks)
    scale, shift = _scale_and_shift(gamma, beta, mean, variance, epsilon, x.dtype)
    _scaled(flat, scale, shift, None if y is None else y.reshape(flat.shape), blocks, then)
    return mean, variance


@cpu_kernel
def batch_norm_inference(
    x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> Any:
    """The reference's y."""
    if not supported(x, gamma, beta, mean, variance):
        return reference.batch_norm_inference(np, x, gamma, beta, mean, variance, epsilon=epsilon, out=out)
    y = _buffer(out, x.shape, x.dtype)
    normalize_by(x, gamma, beta, mean, variance, y, epsilon)
    return y


def normalize_by(
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    y: np.ndarray | None,
    epsilon: float,
    then: Step | None = None,
) -> None:
    """``normalize`` by the given mean and variance."""
    blocks = _Blocks(x.shape)
    flat = _flat(x, blocks)
    scale, shift = _scale_and_shift(gamma, beta, mean.astype(np.float64), variance, epsilon, x.dtype)
    _scaled(flat, scale, shift, None if y is None else y.reshape(flat.shape), blocks, then)


@cpu_kernel
def batch_norm_gradient(
    gradient: Any, x: Any, gamma: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> tuple[Any, Any, Any]:
    """The reference's (dx, dgamma, dbeta)."""
    if not supported(x, gradient, gamma, mean, variance):
        return reference.batch_norm_gradient(np, gradient, x, gamma, mean, variance, epsilon=epsilon, out=out)
    return gradients(gradient, x, gamma, mean, variance, epsilon, out)


def gradients(
    gradient: Any,
    x: Any,
    gamma: Any,
    mean: Any,
    variance: Any,
    epsilon: float,
    out: Any,
    first: Step | None = None,
    rectified: bool = False,
) -> tuple[Any, Any, Any]:
    """The kernel's (dx, dgamma, dbeta). ``first`` writes the gradient of a block of images where dx will be, if there
    is none; a rectified x lets through what is above 0."""
    blocks = _Blocks(x.shape)
    dx_out, dgamma_out, dbeta_out = out or (None, None, None)
    dx = _buffer(dx_out, x.shape, x.dtype)
    dgamma, dbeta = (_buffer(o, mean.shape, x.dtype) for o in (dgamma_out, dbeta_out))
    flat, result = _flat(x, blocks), dx.reshape(blocks.rows, blocks.channels)
    g = result if first is not None else _flat(gradient, blocks)

    inverse = 1.0 / np.sqrt(variance.astype(np.float64) + epsilon)
    sum_g, sum_gc = _gradient_sums(g, flat, mean, blocks, first)
    dgamma[...], dbeta[...] = sum_gc * inverse, sum_g

    # dx = scale (g - mean(g) - z mean(g z)) with z = (x - mean) inverse, as scale g + slope x + offset.
    scale = inverse if gamma is None else inverse * gamma
    slope = -scale * inverse**2 * sum_gc / blocks.rows
    offset = -scale * sum_g / blocks.rows - slope * mean
    vectors = tuple(v.astype(x.dtype) for v in (scale, slope, offset))
    _input_gradient(g, flat, vectors, result, blocks, rectified)
    return dx, dgamma, dbeta


def _gradient_sums(
    g: np.ndarray, x: np.ndarray, mean: np.ndarray, blocks: _Blocks, first: Step | None
) -> tuple[np.ndarray, np.ndarray]:
    """sum(g) and sum(g (x - mean)) over the rows, in float64."""
    # For every block: joined rows and rows that are left, by channel.
    sums = np.zeros((2, blocks.count, 2, blocks.channels), x.dtype)

    means = _Vectors(blocks, mean)

    def work(thread: int, threads: int) -> None:
        room = _scratch(blocks, x)
        for i, span in blocks.of(thread, threads):
            if first is not None:
                first(blocks.images(span), g[span])
            products = room[: span.stop - span.start]
            for number, (joined, (rows, p, gradients)) in enumerate(blocks.pieces(x[span], products, g[span])):
                np.subtract(rows, means.of(joined)[0], out=p)
                np.multiply(p, gradients, out=p)
                for total, terms in zip(sums, (gradients, p)):
                    columns = np.dot(ones(len(terms), x.dtype), terms).reshape(joined, -1)
                    np.dot(ones(joined, x.dtype), columns, out=total[i, number])

    passes = 4 if first is None else 4 + PASSES_OF_A_STEP
    parallel.run(work, parts=blocks.count, work=passes * parallel.PASS * x.size)
    first_sum, second_sum = (part.sum(axis=(0, 1), dtype=np.float64) for part in sums)
    return first_sum, second_sum


def _input_gradient(
    g: np.ndarray,
    x: np.ndarray,
    vectors: tuple[np.ndarray, ...],
    out: np.ndarray,
    blocks: _Blocks,
    rectified: bool,
) -> None:
    """out = scale g + slope x + offset, where x is above 0 if it is rectified."""

    repeated = _Vectors(blocks, *vectors)

    def work(thread: int, threads: int) -> None:
        room = _scratch(blocks, x)
        for _, span in blocks.of(thread, threads):
            products = room[: span.stop - span.start]
            for joined, (rows, p, gradients, target) in blocks.pieces(x[span], products, g[span], out[span]):
                scale, slope, offset = repeated.of(joined)
                np.multiply(rows, slope, out=p)
                np.add(p, offset, out=p)
                np.multiply(gradients, scale, out=target)
                np.add(target, p, out=target)
            if rectified:
                mask_rectified(out[span].reshape(-1), x[span].reshape(-1), out[span].reshape(-1))

    passes = 8 if rectified else 4
    parallel.run(work, parts=blocks.count, work=passes * parallel.PASS * x.size)
