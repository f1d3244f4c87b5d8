"""Means and variances of channels from blocks of rows, each centred on its own means, merged in a fixed order."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.parallel import scratch
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.reference import linear as reference

# Rows that are summed as one product: few enough for float32, many enough for the calls.
ROWS = 4096


@lru_cache(maxsize=64)
def ones(count: int, dtype: Any) -> np.ndarray:
    """A vector of ones. BLAS adds up the rows of a matrix as its product with ones faster than NumPy does."""
    vector = np.ones(count, dtype)
    vector.flags.writeable = False
    return vector


class BlockStatistics:
    """Mean and population variance of ``channels``, from ``count`` blocks that threads take note of in any order."""

    def __init__(self, count: int, channels: int, dtype: Any) -> None:
        self.channels = channels
        self.sizes = np.zeros((count, 1))
        self.means, self.squares = np.zeros((count, channels), dtype), np.zeros((count, channels))

    def note(self, number: int, rows: np.ndarray) -> None:
        """Block ``number`` is rows (n, k * channels): k rows of the channels side by side.

        Its columns are summed first, then the k sums of each channel, those of squares in float64. Rows are centred on
        the channels' means, whose rounding, eps |mean|, adds its square to a variance.
        """
        n, width = rows.shape
        k, dtype = width // self.channels, rows.dtype
        sums, mean = scratch("sums of columns", (width,), dtype), self.means[number]
        np.dot(ones(n, dtype), rows, out=sums)
        np.dot(ones(k, dtype), sums.reshape(k, self.channels), out=mean)
        np.multiply(mean, 1.0 / (n * k), out=mean)
        np.copyto(sums.reshape(k, self.channels), mean)
        centred = scratch("centred", rows.shape, dtype)
        np.subtract(rows, sums, out=centred)
        np.square(centred, out=centred)
        np.dot(ones(n, dtype), centred, out=sums)
        np.dot(ones(k, np.float64), sums.reshape(k, self.channels).astype(np.float64), out=self.squares[number])
        self.sizes[number] = n * k

    def merged(self, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
        """(mean, variance) of all blocks, computed in float64, by the update of Chan, Golub and LeVeque (1979)."""
        total = self.sizes.sum()
        means = self.means.astype(np.float64)
        mean = (self.sizes * means).sum(axis=0) / total
        spread = (self.sizes * np.square(means - mean)).sum(axis=0)
        variance = (self.squares.sum(axis=0) + spread) / total
        return mean.astype(dtype), variance.astype(dtype)


@cpu_kernel
def column_sum(x: Any, *, out: Any = None) -> Any:
    """The reference's sums, by blocks of rows."""
    channels = x.shape[-1]
    if x.dtype not in (np.float32, np.float64) or not x.flags.c_contiguous or x.size // max(1, channels) < 2:
        return reference.column_sum(np, x, out=out)
    rows = x.reshape(-1, channels)
    blocks = -(-len(rows) // ROWS)
    sums = np.empty((blocks, channels), x.dtype)

    def part(t: int, threads: int) -> None:
        for i in parallel.share(blocks, t, threads):
            block = rows[i * ROWS : (i + 1) * ROWS]
            np.dot(ones(len(block), x.dtype), block, out=sums[i])

    parallel.run(part, parts=blocks, work=parallel.PASS * x.size)
    return np.sum(sums, axis=0, out=out)
