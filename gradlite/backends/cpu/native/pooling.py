"""Plans of pooling in float32: the largest of windows, what it names, and means."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.launches import Launch, Plan, Scratch
from gradlite.backends.cpu.native.operands import are_pairs, are_plain, is_plain, parts_for
from gradlite.backends.reference.convolution import Padding, Pair, output_size

UINT8 = np.dtype(np.uint8)
# Taps that a byte can number.
MOST_TAPS = 256


def _geometry(
    shape: tuple[int, ...], window: Pair, strides: Pair, padding: Padding
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The first words of all bodies, and the output's shape."""
    n, height, width, c = shape
    oh = output_size(height, window[0], strides[0], padding[0])
    ow = output_size(width, window[1], strides[1], padding[1])
    return (n, height, width, c, oh, ow, *window, *strides, padding[0][0], padding[1][0]), (n, oh, ow, c)


def _is_usable(shape: tuple[int, ...], window: Pair, result: tuple[int, ...]) -> bool:
    return len(shape) == 4 and 0 not in shape and 0 not in result and window[0] * window[1] <= MOST_TAPS


def _parts(shape: tuple[int, ...], window: Pair, most: int) -> int:
    return min(parts_for(4 * int(np.prod(shape)) * window[0] * window[1]), most)


def _buffer(out: Any, shape: tuple[int, ...], dtype: Any, *inputs: Any) -> Any:
    """A buffer to write the result to; None where the given one is none, or shares memory with what is read."""
    if out is None:
        return np.empty(shape, dtype)
    fits = is_plain(out, dtype) and out.shape == shape
    return out if fits and not any(np.may_share_memory(out, x) for x in inputs) else None


def max_pool2d(x: Any, *, window: Pair, strides: Pair, padding: Padding, out: Any = None) -> Plan | None:
    """Rows of windows by parts."""
    if not is_plain(x) or x.ndim != 4:
        return None
    words, shape = _geometry(x.shape, window, strides, padding)
    to_y, to_index = out or (None, None)
    y, index = _buffer(to_y, shape, np.dtype(np.float32), x), _buffer(to_index, shape, UINT8, x)
    if y is None or index is None or not _is_usable(x.shape, window, shape):
        return None
    parts = _parts(shape, window, shape[0] * shape[1])
    if are_pairs(window, strides, padding):
        room = Scratch(8 * shape[3] * parts)
        return Plan((y, index), [Launch("pooling.largest_of_pairs", parts, (*words, x, y, index, room))])
    return Plan((y, index), [Launch("pooling.largest", parts, (*words, x, y, index))])


def max_pool2d_scatter(
    gradient: Any,
    index: Any,
    *,
    input_shape: tuple[int, ...],
    window: Pair,
    strides: Pair,
    padding: Padding,
    out: Any = None,
) -> Plan | None:
    """Images by parts."""
    words, shape = _geometry(tuple(input_shape), window, strides, padding)
    usable = is_plain(gradient) and is_plain(index, UINT8) and gradient.shape == index.shape == shape
    dx = _buffer(out, tuple(input_shape), np.dtype(np.float32), gradient, index)
    if not usable or dx is None or not _is_usable(tuple(input_shape), window, shape):
        return None
    launch = Launch("pooling.scatter", _parts(shape, window, shape[0]), (*words, gradient, index, dx))
    return Plan(dx, [launch])


def max_pool2d_gather(
    x: Any, index: Any, *, window: Pair, strides: Pair, padding: Padding, out: Any = None
) -> Plan | None:
    """Rows of windows by parts."""
    if not is_plain(x) or x.ndim != 4 or not is_plain(index, UINT8):
        return None
    words, shape = _geometry(x.shape, window, strides, padding)
    y = _buffer(out, shape, np.dtype(np.float32), x, index)
    if y is None or index.shape != shape or not _is_usable(x.shape, window, shape):
        return None
    parts = _parts(shape, window, shape[0] * shape[1])
    return Plan(y, [Launch("pooling.gather", parts, (*words, x, index, y))])


def avg_pool2d(x: Any, *, window: Pair, strides: Pair, padding: Padding, out: Any = None) -> Plan | None:
    """Rows of windows by parts."""
    if not is_plain(x) or x.ndim != 4:
        return None
    words, shape = _geometry(x.shape, window, strides, padding)
    y = _buffer(out, shape, np.dtype(np.float32), x)
    if y is None or not _is_usable(x.shape, window, shape):
        return None
    parts = _parts(shape, window, shape[0] * shape[1])
    return Plan(y, [Launch("pooling.average", parts, (*words, x, y))])


def avg_pool2d_gradient(
    gradient: Any,
    *,
    input_shape: tuple[int, ...],
    window: Pair,
    strides: Pair,
    padding: Padding,
    out: Any = None,
) -> Plan | None:
    """Images by parts."""
    words, shape = _geometry(tuple(input_shape), window, strides, padding)
    dx = _buffer(out, tuple(input_shape), np.dtype(np.float32), gradient)
    usable = are_plain(gradient) and gradient.shape == shape and _is_usable(tuple(input_shape), window, shape)
    if not usable or dx is None:
        return None
    return Plan(dx, [Launch("pooling.average_gradient", _parts(shape, window, shape[0]), (*words, gradient, dx))])


PLANS = (max_pool2d, max_pool2d_scatter, max_pool2d_gather, avg_pool2d, avg_pool2d_gradient)
