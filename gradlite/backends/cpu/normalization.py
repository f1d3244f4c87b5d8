"""Batch normalization on the CPU: blocks of rows that stay in cache, statistics merged from blocks in a fixed order.

Rows of few channels are joined: k rows of c channels are read as one row of k c numbers, against vectors repeated k
times. NumPy's inner loops, and the ones-vector products that sum columns, want rows of some thousand numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.placement import PAGE, placed
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.reference import normalization as reference

# Floats in a block, long enough that threads seldom queue for the interpreter between two passes; and in a joined row.
BLOCK = 262_144
JOINED_ROW = 1024
# Less than this is faster as a handful of plain NumPy calls: the reference.
SMALL = 16384


class _Blocks:
    """How an input of `rows` rows of `channels` is cut; the cut depends on the shape alone, so results do too."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.channels = shape[-1]
        self.rows = int(np.prod(shape[:-1], dtype=np.int64))
        self.joined = max(1, JOINED_ROW // max(1, self.channels))
        self.step = max(self.joined, BLOCK // max(1, self.channels) // self.joined * self.joined)
        # Rows beyond the last whole joined row are a block of their own.
        self.whole = self.rows // self.joined * self.joined
        self.count = (self.whole + self.step - 1) // self.step + (self.whole < self.rows)

    def of(self, thread: int, threads: int) -> Iterator[tuple[int, slice, int]]:
        """(number, span of rows, rows joined to one) of the blocks of a thread."""
        for i in parallel.share(self.count, thread, threads):
            start = i * self.step
            if start < self.whole:
                yield i, slice(start, min(start + self.step, self.whole)), self.joined
            else:
                yield i, slice(self.whole, self.rows), 1

    def sums(self, dtype: Any) -> np.ndarray:
        """Zeros for one sum per block and column of joined rows."""
        return np.zeros((self.count, self.joined * self.channels), dtype)

    def join(self, rows: np.ndarray, joined: int) -> np.ndarray:
        return rows.reshape(-1, joined * self.channels)


def _supported(*arrays: Any) -> bool:
    """Enough of float32 or float64, one dtype for all."""
    dtype, size = arrays[0].dtype, arrays[0].size
    return dtype in (np.float32, np.float64) and size >= SMALL and all(a is None or a.dtype == dtype for a in arrays)


class _Vectors:
    """Per-channel vectors of one thread, repeated for joined rows, placed for passes that write to `target`."""

    def __init__(self, vectors: tuple[np.ndarray, ...], blocks: _Blocks, target: np.ndarray) -> None:
        self.channels = blocks.channels
        self.rows = [
            placed(f"batch_norm_vector_{i}", blocks.joined * blocks.channels, target) for i in range(len(vectors))
        ]
        for row, vector in zip(self.rows, vectors):
            row.reshape(blocks.joined, blocks.channels)[...] = vector

    def of(self, joined: int) -> list[np.ndarray]:
        return [row[: joined * self.channels] for row in self.rows]


def _flat(x: Any, blocks: _Blocks) -> np.ndarray:
    return np.ascontiguousarray(x).reshape(blocks.rows, blocks.channels)


def _statistics(x: np.ndarray, blocks: _Blocks) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population variance in float64.

    Every column of joined rows in every block is centred on its own mean, of some dozen numbers; then all are merged by
    the update of Chan, Golub and LeVeque (1979).
    """
    means, squares = blocks.sums(x.dtype), blocks.sums(x.dtype)
    sizes = np.zeros((blocks.count, blocks.joined, 1))

    def work(thread: int, threads: int) -> None:
        ones = np.ones(blocks.step, x.dtype)
        centred = placed("batch_norm", blocks.step * blocks.channels, x, PAGE // 4)
        mean = placed("batch_norm_mean", blocks.joined * blocks.channels, centred)
        for i, span, joined in blocks.of(thread, threads):
            rows = blocks.join(x[span], joined)
            n, width = rows.shape
            m, c = mean[:width], centred[: rows.size].reshape(n, width)
            np.dot(ones[:n], rows, out=m)
            np.multiply(m, 1.0 / n, out=m)
            np.subtract(rows, m, out=c)
            np.multiply(c, c, out=c)
            np.dot(ones[:n], c, out=squares[i, :width])
            means[i, :width], sizes[i, :joined] = m, n

    parallel.run(work, parts=blocks.count, work=4 * x.size)
    weights, groups = sizes.reshape(-1, 1), means.reshape(-1, blocks.channels).astype(np.float64)
    mean = (weights * groups).sum(axis=0) / blocks.rows
    spread = (weights * np.square(groups - mean)).sum(axis=0)
    return mean, (squares.reshape(groups.shape).sum(axis=0, dtype=np.float64) + spread) / blocks.rows


def _scaled(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, out: np.ndarray, blocks: _Blocks) -> None:
    """out = x scale + shift: one pass less than (x - mean) scale + beta, and an error of the same order as the rounding
    of the mean to x's dtype, eps |mean| scale."""

    def work(thread: int, threads: int) -> None:
        vectors = _Vectors((scale, shift), blocks, out)
        for _, span, joined in blocks.of(thread, threads):
            scales, shifts = vectors.of(joined)
            target = blocks.join(out[span], joined)
            np.multiply(blocks.join(x[span], joined), scales, out=target)
            np.add(target, shifts, out=target)

    parallel.run(work, parts=blocks.count, work=4 * x.size)


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
    if not _supported(x):
        mean, variance, _ = reference.moments(np, x, tuple(range(x.ndim - 1)))
        return mean.reshape(-1), variance.reshape(-1)
    blocks = _Blocks(x.shape)
    mean, variance = _statistics(_flat(x, blocks), blocks)
    return mean.astype(x.dtype), variance.astype(x.dtype)


@cpu_kernel
def batch_norm(x: Any, gamma: Any, beta: Any, *, epsilon: float, out: Any = None) -> tuple[Any, Any, Any]:
    """The reference's (y, mean, variance)."""
    if not _supported(x, gamma, beta):
        return reference.batch_norm(np, x, gamma, beta, epsilon=epsilon, out=out)
    blocks = _Blocks(x.shape)
    flat = _flat(x, blocks)
    mean, variance = _statistics(flat, blocks)
    y_out, mean_out, variance_out = out or (None, None, None)
    y = _buffer(y_out, x.shape, x.dtype)
    scale, shift = _scale_and_shift(gamma, beta, mean, variance, epsilon, x.dtype)
    _scaled(flat, scale, shift, y.reshape(flat.shape), blocks)
    means, variances = _buffer(mean_out, mean.shape, x.dtype), _buffer(variance_out, mean.shape, x.dtype)
    means[...], variances[...] = mean, variance
    return y, means, variances


@cpu_kernel
def batch_norm_inference(
    x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> Any:
    """The reference's y."""
    if not _supported(x, gamma, beta, mean, variance):
        return reference.batch_norm_inference(np, x, gamma, beta, mean, variance, epsilon=epsilon, out=out)
    blocks = _Blocks(x.shape)
    flat, y = _flat(x, blocks), _buffer(out, x.shape, x.dtype)
    scale, shift = _scale_and_shift(gamma, beta, mean.astype(np.float64), variance, epsilon, x.dtype)
    _scaled(flat, scale, shift, y.reshape(flat.shape), blocks)
    return y


@cpu_kernel
def batch_norm_gradient(
    gradient: Any, x: Any, gamma: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> tuple[Any, Any, Any]:
    """The reference's (dx, dgamma, dbeta)."""
    if not _supported(x, gradient, gamma, mean, variance):
        return reference.batch_norm_gradient(np, gradient, x, gamma, mean, variance, epsilon=epsilon, out=out)
    blocks = _Blocks(x.shape)
    flat, g = _flat(x, blocks), _flat(gradient, blocks)
    dx_out, dgamma_out, dbeta_out = out or (None, None, None)
    dx = _buffer(dx_out, x.shape, x.dtype)
    dgamma, dbeta = (_buffer(o, mean.shape, x.dtype) for o in (dgamma_out, dbeta_out))

    inverse = 1.0 / np.sqrt(variance.astype(np.float64) + epsilon)
    sum_g, sum_gc = _gradient_sums(g, flat, mean, blocks)
    dgamma[...], dbeta[...] = sum_gc * inverse, sum_g

    # dx = scale (g - mean(g) - z mean(g z)) with z = (x - mean) inverse, as scale g + slope x + offset.
    scale = inverse if gamma is None else inverse * gamma
    slope = -scale * inverse**2 * sum_gc / blocks.rows
    offset = -scale * sum_g / blocks.rows - slope * mean
    vectors = tuple(v.astype(x.dtype) for v in (scale, slope, offset))
    _input_gradient(g, flat, vectors, dx.reshape(flat.shape), blocks)
    return dx, dgamma, dbeta


def _gradient_sums(g: np.ndarray, x: np.ndarray, mean: np.ndarray, blocks: _Blocks) -> tuple[np.ndarray, np.ndarray]:
    """sum(g) and sum(g (x - mean)) over the rows, in float64."""
    sums = blocks.sums(x.dtype), blocks.sums(x.dtype)

    def work(thread: int, threads: int) -> None:
        ones = np.ones(blocks.step, x.dtype)
        product = placed("batch_norm", blocks.step * blocks.channels, x, PAGE // 4)
        means = _Vectors((mean,), blocks, product)
        for i, span, joined in blocks.of(thread, threads):
            rows, gradients = blocks.join(x[span], joined), blocks.join(g[span], joined)
            n, width = rows.shape
            p = product[: rows.size].reshape(n, width)
            np.subtract(rows, means.of(joined)[0], out=p)
            np.multiply(p, gradients, out=p)
            np.dot(ones[:n], gradients, out=sums[0][i, :width])
            np.dot(ones[:n], p, out=sums[1][i, :width])

    parallel.run(work, parts=blocks.count, work=6 * x.size)
    first, second = (part.reshape(-1, blocks.channels).sum(axis=0, dtype=np.float64) for part in sums)
    return first, second


def _input_gradient(
    g: np.ndarray, x: np.ndarray, vectors: tuple[np.ndarray, ...], out: np.ndarray, blocks: _Blocks
) -> None:
    """out = scale g + slope x + offset."""

    def work(thread: int, threads: int) -> None:
        product = placed("batch_norm", blocks.step * blocks.channels, x, PAGE // 4)
        repeated = _Vectors(vectors, blocks, product)
        for _, span, joined in blocks.of(thread, threads):
            scale, slope, offset = repeated.of(joined)
            rows, target = blocks.join(x[span], joined), blocks.join(out[span], joined)
            p = product[: rows.size].reshape(rows.shape)
            np.multiply(rows, slope, out=p)
            np.add(p, offset, out=p)
            np.multiply(blocks.join(g[span], joined), scale, out=target)
            np.add(target, p, out=target)

    parallel.run(work, parts=blocks.count, work=6 * x.size)
