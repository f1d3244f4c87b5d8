"""Pooling on a CPU: a few images at a time, tap by tap, so that the taps after the first find their image in cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradlite.backends.cpu.elementwise import mask_of
from gradlite.backends.cpu.parallel import PASS, run, scratch, share
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.cpu.windows import tap_range
from gradlite.backends.reference.convolution import Padding, Pair, output_size
from gradlite.backends.reference.pooling import index_dtype

# What a chunk of images may take, to stay in a core's second-level cache with its output and scratch.
CHUNK_BYTES = 1 << 18

Tap = tuple[int, tuple[slice, ...], tuple[slice, ...]]


class MaxPooling:
    """The maxima of the windows of x (n, h, w, c), and the way back; for any number of images at a time.

    Attributes:
        output: oh and ow.
    """

    def __init__(self, shape: tuple[int, ...], window: Pair, strides: Pair, padding: Padding) -> None:
        self.output = oh, ow = _output(shape, window, strides, padding)
        self.taps = _taps(shape[1:3], self.output, window, strides, padding)
        self.index_dtype = index_dtype(np, window)
        # The first tap inside the image, for every window: where all values are minus infinity, it is the maximum.
        rows = np.maximum(padding[0][0] - np.arange(oh) * strides[0], 0)
        columns = np.maximum(padding[1][0] - np.arange(ow) * strides[1], 0)
        first = (rows[:, None] * window[1] + columns).clip(0, window[0] * window[1] - 1)
        self.first = first[:, :, None].astype(self.index_dtype)
        self.four = window == strides == (2, 2) and padding == ((0, 0), (0, 0))
        self.apart = window[0] <= strides[0] and window[1] <= strides[1]
        self.covered = self.apart and _covers(self.taps, shape)

    def pool(self, x: np.ndarray, y: np.ndarray, index: np.ndarray) -> None:
        """The maxima to y, and which taps they are to index, both (n, oh, ow, c)."""
        if self.four and _max_of_four(x, y, index):
            return
        y[...] = -np.inf
        index[...] = self.first
        for tap, outs, ins in self.taps:
            value, best = x[ins], y[outs]
            # Neither the value nor the maximum so far may be NaN for <= to hold: a NaN replaces a number.
            larger = ~(value <= best) & (best == best)
            np.copyto(best, value, where=larger)
            np.copyto(index[outs], np.asarray(tap, index.dtype), where=larger)

    def scatter(self, gradient: np.ndarray, index: np.ndarray, dx: np.ndarray) -> None:
        """gradient (n, oh, ow, c) added up in dx (n, h, w, c) at the elements that index names, tap after tap."""
        if not self.covered:
            dx[...] = 0
        integer = np.dtype(f"i{dx.itemsize}")
        for tap, outs, ins in self.taps:
            # Bits are masked, not multiplied by 0 or 1, which an infinite gradient would turn into NaN.
            mask, bits = _tap_mask(index[outs], tap, integer), gradient[outs].view(integer)
            if self.apart:
                np.bitwise_and(bits, mask, out=dx[ins].view(integer))
            else:
                np.bitwise_and(bits, mask, out=mask)
                target = dx[ins]
                target += mask.view(dx.dtype)


@cpu_kernel
def max_pool2d(
    x: np.ndarray,
    *,
    window: Pair,
    strides: Pair,
    padding: Padding,
    out: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of every window of x (n, h, w, c), and which tap it is: y and index, both (n, oh, ow, c)."""
    pooling = MaxPooling(x.shape, window, strides, padding)
    if out is None:
        shape = len(x), *pooling.output, x.shape[3]
        out = np.empty(shape, x.dtype), np.empty(shape, pooling.index_dtype)
    y, index = out

    def part(t: int, threads: int) -> None:
        for i in _chunks(x, t, threads):
            pooling.pool(x[i], y[i], index[i])

    run(part, parts=len(x), work=4 * PASS * x.size)
    return out


def _max_of_four(x: np.ndarray, y: np.ndarray, index: np.ndarray) -> bool:
    """Windows of 2 x 2 that do not overlap, without a masked copy. False, and nothing of use, where there is a NaN."""
    _, oh, ow, _ = y.shape
    x = x[:, : 2 * oh, : 2 * ow]
    a, b, c, d = x[:, ::2, ::2], x[:, ::2, 1::2], x[:, 1::2, ::2], x[:, 1::2, 1::2]
    below = scratch("below", y.shape, y.dtype)
    # Which of a and b, which of c and d, which of the pairs: 0 for the first, also in a tie.
    upper, lower, pair = scratch("bits", (3, *y.shape), bool)
    np.greater(b, a, out=upper)
    np.maximum(a, b, out=y)
    np.greater(d, c, out=lower)
    np.maximum(c, d, out=below)
    np.greater(below, y, out=pair)
    np.maximum(y, below, out=y)
    # The maximum passes a NaN on, but comparisons do not name it.
    if y.size and np.isnan(y.max()):
        return False
    # index = 2 * pair + (lower if pair else upper), in logical operations on bytes
    lower ^= upper
    lower &= pair
    lower ^= upper
    bits = pair.view(np.uint8)
    np.add(bits, bits, out=index)
    index += lower.view(np.uint8)
    return True


@cpu_kernel
def max_pool2d_scatter(
    gradient: np.ndarray,
    index: np.ndarray,
    *,
    input_shape: tuple[int, ...],
    window: Pair,
    strides: Pair,
    padding: Padding,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Adds gradient (n, oh, ow, c) to the elements of ``input_shape`` that ``index`` names, tap after tap."""
    dx = np.empty(input_shape, gradient.dtype) if out is None else out
    pooling = MaxPooling(input_shape, window, strides, padding)

    def part(t: int, threads: int) -> None:
        for i in _chunks(dx, t, threads):
            pooling.scatter(gradient[i], index[i], dx[i])

    run(part, parts=input_shape[0], work=4 * PASS * gradient.size * window[0] * window[1])
    return dx


@cpu_kernel
def max_pool2d_gather(
    x: np.ndarray,
    index: np.ndarray,
    *,
    window: Pair,
    strides: Pair,
    padding: Padding,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The elements of x (n, h, w, c) that ``index`` (n, oh, ow, c) names; the transpose of max_pool2d_scatter."""
    y = np.empty(index.shape, x.dtype) if out is None else out
    taps = _taps(x.shape[1:3], index.shape[1:3], window, strides, padding)
    integer = f"i{x.itemsize}"

    def part(t: int, threads: int) -> None:
        for i in _chunks(x, t, threads):
            y[i] = 0
            for tap, outs, ins in taps:
                # Every output takes bits from one tap alone.
                mask, bits = _tap_mask(index[i][outs], tap, integer), y[i][outs].view(integer)
                np.bitwise_and(x[i][ins].view(integer), mask, out=mask)
                bits |= mask

    run(part, parts=x.shape[0], work=4 * PASS * index.size * window[0] * window[1])
    return y


@cpu_kernel
def avg_pool2d(
    x: np.ndarray, *, window: Pair, strides: Pair, padding: Padding, out: np.ndarray | None = None
) -> np.ndarray:
    """The mean of those elements of every window that are inside the image: x (n, h, w, c) -> (n, oh, ow, c)."""
    n, height, width, c = x.shape
    oh, ow = _output(x.shape, window, strides, padding)
    y = np.empty((n, oh, ow, c), x.dtype) if out is None else out
    dtype = np.dtype(np.float32) if x.dtype == np.float16 else x.dtype
    taps = _taps((height, width), (oh, ow), window, strides, padding)
    counts = _counts(taps, (oh, ow), dtype)

    def part(t: int, threads: int) -> None:
        for i in _chunks(x, t, threads):
            total = y[i] if dtype == y.dtype else np.empty(y[i].shape, dtype)
            total[...] = 0
            for _, outs, ins in taps:
                target = total[outs]
                target += x[i][ins]
            np.divide(total, counts, out=y[i], casting="same_kind")

    run(part, parts=n, work=PASS * y.size * window[0] * window[1])
    return y


@cpu_kernel
def avg_pool2d_gradient(
    gradient: np.ndarray,
    *,
    input_shape: tuple[int, ...],
    window: Pair,
    strides: Pair,
    padding: Padding,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The transpose of avg_pool2d: gradient (n, oh, ow, c) spread over the windows of ``input_shape``."""
    dx = np.empty(input_shape, gradient.dtype) if out is None else out
    dtype = np.dtype(np.float32) if gradient.dtype == np.float16 else gradient.dtype
    taps = _taps(input_shape[1:3], gradient.shape[1:3], window, strides, padding)
    counts = _counts(taps, gradient.shape[1:3], dtype)

    def part(t: int, threads: int) -> None:
        for i in _chunks(dx, t, threads):
            total = dx[i] if dtype == dx.dtype else np.empty(dx[i].shape, dtype)
            total[...] = 0
            each = np.divide(gradient[i], counts, out=scratch("product", gradient[i].shape, dtype))
            for _, outs, ins in taps:
                target = total[ins]
                target += each[outs]
            if total.dtype != dx.dtype:
                dx[i] = total

    run(part, parts=input_shape[0], work=PASS * gradient.size * window[0] * window[1])
    return dx


def _output(shape: tuple[int, ...], window: Pair, strides: Pair, padding: Padding) -> Pair:
    oh = output_size(shape[1], window[0], strides[0], padding[0])
    return oh, output_size(shape[2], window[1], strides[1], padding[1])


def _taps(size: tuple[int, ...], output: tuple[int, ...], window: Pair, strides: Pair, padding: Padding) -> list[Tap]:
    """Every tap with the windows for which it is inside the image, and the elements of the image it is there."""
    taps: list[Tap] = []
    for tap in range(window[0] * window[1]):
        ky, kx = divmod(tap, window[1])
        outs_y, ins_y = tap_range(size[0], output[0], strides[0], ky - padding[0][0])
        outs_x, ins_x = tap_range(size[1], output[1], strides[1], kx - padding[1][0])
        if outs_y.start < outs_y.stop and outs_x.start < outs_x.stop:
            taps.append((tap, (slice(None), outs_y, outs_x), (slice(None), ins_y, ins_x)))
    return taps


def _counts(taps: list[Tap], output: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """How many taps of every window are inside the image, (1, oh, ow, 1); 1 where none is, whose sum is 0."""
    counts = np.zeros((1, *output, 1), dtype)
    for _, outs, _ in taps:
        counts[outs] += 1
    return np.maximum(counts, 1)


def _covers(taps: list[Tap], shape: tuple[int, ...]) -> bool:
    """Whether windows that lie apart reach every element of the image."""
    reached = np.zeros((1, *shape[1:3]), bool)
    for _, _, ins in taps:
        reached[ins] = True
    return bool(reached.all())


def _chunks(x: np.ndarray, t: int, threads: int) -> Iterator[slice]:
    """The images of thread t, some at a time."""
    images = share(len(x), t, threads)
    size = max(1, CHUNK_BYTES // max(1, x[:1].nbytes))
    for start in range(images.start, images.stop, size):
        yield slice(start, min(start + size, images.stop))


def _tap_mask(index: np.ndarray, tap: int, integer: Any) -> np.ndarray:
    """Integers of all ones where index == tap, else 0, in a scratch buffer."""
    return mask_of(np.equal(index, tap, out=scratch("chosen", index.shape, bool)), integer)
