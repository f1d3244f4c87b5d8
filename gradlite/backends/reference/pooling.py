"""Pooling of images (n, h, w, c): the largest element or the mean of every window, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradlite.backends.reference.convolution import Padding, Pair, output_size
from gradlite.backends.registry import into, reference_kernel


@reference_kernel
def max_pool2d(xp: Any, x: Any, *, window: Pair, strides: Pair, padding: Padding, out: Any = None) -> tuple[Any, Any]:
    """The maximum of every window of x (n, h, w, c), and where it is: y and index, both (n, oh, ow, c).

    ``index`` numbers the taps of the window row by row and names the first maximum (uint8, int32 for windows of more
    than 256 taps). Padding acts as minus infinity and is never named. A NaN is larger than anything; the first counts.
    """
    padded = _pad(xp, x, padding)
    inside = _pad(xp, xp.ones(x.shape, bool), padding)
    shape = (x.shape[0], *_output(x.shape, window, strides, padding), x.shape[3])
    y = xp.full(shape, -xp.inf, x.dtype)
    index = xp.zeros(shape, index_dtype(xp, window))
    found = xp.zeros(shape, bool)
    for tap, pixels in _taps(window, strides, shape):
        value = padded[pixels]
        # Neither this value nor the maximum so far may be NaN for <= to hold: a NaN replaces a number, nothing a NaN.
        larger = inside[pixels] & (~found | (~(value <= y) & (y == y)))
        y = xp.where(larger, value, y)
        index = xp.where(larger, xp.asarray(tap, index.dtype), index)
        found |= larger
    return (y, index) if out is None else (into(out[0], y), into(out[1], index))


@reference_kernel
def max_pool2d_scatter(
    xp: Any,
    gradient: Any,
    index: Any,
    *,
    input_shape: tuple[int, ...],
    window: Pair,
    strides: Pair,
    padding: Padding,
    out: Any = None,
) -> Any:
    """Adds gradient (n, oh, ow, c) to the elements of ``input_shape`` that ``index`` names, tap after tap."""
    padded = _pad(xp, xp.zeros(input_shape, gradient.dtype), padding)
    zero = xp.zeros((), gradient.dtype)
    for tap, pixels in _taps(window, strides, gradient.shape):
        padded[pixels] += xp.where(index == tap, gradient, zero)
    return into(out, _crop(xp, padded, input_shape, padding))


@reference_kernel
def max_pool2d_gather(
    xp: Any, x: Any, index: Any, *, window: Pair, strides: Pair, padding: Padding, out: Any = None
) -> Any:
    """The elements of x (n, h, w, c) that ``index`` (n, oh, ow, c) names; the transpose of max_pool2d_scatter."""
    padded = _pad(xp, x, padding)
    y = xp.zeros(index.shape, x.dtype)
    for tap, pixels in _taps(window, strides, index.shape):
        y = xp.where(index == tap, padded[pixels], y)
    return into(out, y)


@reference_kernel
def avg_pool2d(xp: Any, x: Any, *, window: Pair, strides: Pair, padding: Padding, out: Any = None) -> Any:
    """The mean of those elements of every window that are inside the image: x (n, h, w, c) -> (n, oh, ow, c)."""
    shape = (x.shape[0], *_output(x.shape, window, strides, padding), x.shape[3])
    dtype = _accumulator(xp, x.dtype)
    padded = _pad(xp, x.astype(dtype), padding)
    total = xp.zeros(shape, dtype)
    for _, pixels in _taps(window, strides, shape):
        total += padded[pixels]
    return into(out, (total / _counts(xp, x.shape, window, strides, padding, dtype)).astype(x.dtype))


@reference_kernel
def avg_pool2d_gradient(
    xp: Any,
    gradient: Any,
    *,
    input_shape: tuple[int, ...],
    window: Pair,
    strides: Pair,
    padding: Padding,
    out: Any = None,
) -> Any:
    """The transpose of avg_pool2d: gradient (n, oh, ow, c) spread over the windows of ``input_shape``."""
    dtype = _accumulator(xp, gradient.dtype)
    padded = _pad(xp, xp.zeros(input_shape, dtype), padding)
    each = gradient.astype(dtype) / _counts(xp, input_shape, window, strides, padding, dtype)
    for _, pixels in _taps(window, strides, gradient.shape):
        padded[pixels] += each
    return into(out, _crop(xp, padded, input_shape, padding).astype(gradient.dtype))


def index_dtype(xp: Any, window: Pair) -> Any:
    """One byte numbers the taps of every usual window."""
    return xp.dtype(xp.uint8 if window[0] * window[1] <= 256 else xp.int32)


def _output(shape: tuple[int, ...], window: Pair, strides: Pair, padding: Padding) -> Pair:
    oh = output_size(shape[1], window[0], strides[0], padding[0])
    return oh, output_size(shape[2], window[1], strides[1], padding[1])


def _taps(window: Pair, strides: Pair, shape: tuple[int, ...]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Every tap with the index of its pixels in the padded image, one for each of the windows of ``shape``."""
    (sh, sw), (_, oh, ow, _) = strides, shape
    for tap in range(window[0] * window[1]):
        ky, kx = divmod(tap, window[1])
        yield tap, (slice(None), slice(ky, ky + oh * sh, sh), slice(kx, kx + ow * sw, sw))


def _counts(xp: Any, shape: tuple[int, ...], window: Pair, strides: Pair, padding: Padding, dtype: Any) -> Any:
    """How many elements of every window are inside the image, (1, oh, ow, 1); 1 where none is, whose sum is 0."""
    inside = _pad(xp, xp.ones((1, *shape[1:3], 1), dtype), padding)
    counts = xp.zeros((1, *_output(shape, window, strides, padding), 1), dtype)
    for _, pixels in _taps(window, strides, counts.shape):
        counts += inside[pixels]
    return xp.maximum(counts, 1)


def _accumulator(xp: Any, dtype: Any) -> Any:
    """Sums of half-precision numbers are kept in single precision."""
    return xp.dtype(xp.float32) if dtype == xp.float16 else dtype


def _pad(xp: Any, x: Any, padding: Padding) -> Any:
    """x with zeros (False) around."""
    return xp.pad(x, ((0, 0), *padding, (0, 0)))


def _crop(xp: Any, padded: Any, shape: tuple[int, ...], padding: Padding) -> Any:
    """What ``_pad`` put the padding around."""
    (top, _), (left, _) = padding
    return xp.ascontiguousarray(padded[:, top : top + shape[1], left : left + shape[2]])
