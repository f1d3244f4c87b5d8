"""Convolutions of images (n, h, w, c) and their two gradients: one small matrix product per kernel tap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradlite.backends.reference.activation import activate
from gradlite.backends.reference.normalization import moments
from gradlite.backends.registry import into, reference_kernel

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def output_size(size: int, kernel: int, stride: int, padding: Pair, dilation: int = 1) -> int:
    """How many windows fit along an axis of ``size`` (Dumoulin and Visin, 2016, relationship 15); 0 where none does.

    >>> output_size(5, 3, 2, (0, 1))
    2
    """
    return max(0, (size + sum(padding) - (kernel - 1) * dilation - 1) // stride + 1)


@reference_kernel
def conv2d(
    xp: Any,
    x: Any,
    w: Any,
    bias: Any,
    *,
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    activation: str | None = None,
    out: Any = None,
) -> Any:
    """Cross-correlation of x (n, h, w, c) with w (kh, kw, c // groups, f), plus bias (f,) or None: (n, oh, ow, f).

    Then the activation, one of those in ``activation.py``, or None.
    """
    n, height, width, _ = x.shape
    kh, kw, _, f = w.shape
    oh = output_size(height, kh, strides[0], padding[0], dilation[0])
    ow = output_size(width, kw, strides[1], padding[1], dilation[1])
    y = xp.zeros((groups, n * oh * ow, f // groups), _accumulator(xp, x.dtype))
    padded = _padded(xp, x, padding)
    for ky, kx, window in _taps((kh, kw), (oh, ow), strides, dilation):
        y += xp.matmul(_by_group(padded[window], groups, y.dtype), _tap_weights(w, ky, kx, groups, y.dtype))
    y = _from_groups(y, (n, oh, ow, f))
    if bias is not None:
        y = y + bias
    return into(out, xp.ascontiguousarray(activate(xp, y, activation).astype(x.dtype)))


@reference_kernel
def conv2d_statistics(
    xp: Any,
    x: Any,
    w: Any,
    bias: Any,
    *,
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    activation: str | None = None,
    out: Any = None,
) -> tuple[Any, Any, Any]:
    """conv2d, with the mean (f,) and the population variance (f,) of its output's channels: (y, mean, variance).

    The statistics are those of ``batch_norm``, taken after the activation, so that ``batch_norm_inference`` with them
    completes a batch normalization.
    """
    first, *rest = out or (None, None, None)
    y = conv2d(
        xp, x, w, bias, strides=strides, padding=padding, dilation=dilation, groups=groups, activation=activation,
        out=first,
    )  # fmt: skip
    mean, variance, _ = moments(xp, y, (0, 1, 2))
    mean, variance = (into(buffer, value.reshape(-1)) for buffer, value in zip(rest or (None, None), (mean, variance)))
    return y, mean, variance


@reference_kernel
def conv2d_input_gradient(
    xp: Any,
    gradient: Any,
    w: Any,
    *,
    input_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Any = None,
) -> Any:
    """The transpose of conv2d in x: gradient (n, oh, ow, f) goes back to ``input_shape`` (n, h, w, c)."""
    n, height, width, c = input_shape
    _, oh, ow, _ = gradient.shape
    (top, bottom), (left, right) = padding
    dtype = _accumulator(xp, gradient.dtype)
    padded = xp.zeros((n, top + height + bottom, left + width + right, c), dtype)
    by_group = _by_group(gradient, groups, dtype)
    for ky, kx, window in _taps(w.shape[:2], (oh, ow), strides, dilation):
        taps = xp.matmul(by_group, _tap_weights(w, ky, kx, groups, dtype).swapaxes(1, 2))
        padded[window] += _from_groups(taps, (n, oh, ow, c))
    inside = padded[:, top : top + height, left : left + width]
    return into(out, xp.ascontiguousarray(inside.astype(gradient.dtype)))


@reference_kernel
def conv2d_weight_gradient(
    xp: Any,
    x: Any,
    gradient: Any,
    *,
    kernel_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Any = None,
) -> Any:
    """The transpose of conv2d in w: x (n, h, w, c) and gradient (n, oh, ow, f) give ``kernel_shape``."""
    kh, kw, c, f = kernel_shape
    dtype = _accumulator(xp, x.dtype)
    result = xp.zeros((kh, kw, c, f), dtype)
    by_group = _by_group(gradient, groups, dtype)
    padded = _padded(xp, x, padding)
    for ky, kx, window in _taps((kh, kw), gradient.shape[1:3], strides, dilation):
        product = xp.matmul(_by_group(padded[window], groups, dtype).swapaxes(1, 2), by_group)
        result[ky, kx] = product.swapaxes(0, 1).reshape(c, f)
    return into(out, result.astype(x.dtype))


def _taps(kernel: Pair, output: Pair, strides: Pair, dilation: Pair) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
    """Every tap (ky, kx) with the index of the pixels that it meets in the padded image, one for each output."""
    (kh, kw), (oh, ow), (sh, sw), (dh, dw) = kernel, output, strides, dilation
    for ky in range(kh):
        for kx in range(kw):
            rows = slice(ky * dh, ky * dh + oh * sh, sh)
            columns = slice(kx * dw, kx * dw + ow * sw, sw)
            # A stop past the padded image would be cut there, where the last step ends anyway.
            yield ky, kx, (slice(None), rows, columns)


def _accumulator(xp: Any, dtype: Any) -> Any:
    """Sums of half-precision products are kept in single precision."""
    return xp.dtype(xp.float32) if dtype == xp.float16 else dtype


def _padded(xp: Any, x: Any, padding: Padding) -> Any:
    return xp.pad(x, ((0, 0), *padding, (0, 0)))


def _by_group(x: Any, groups: int, dtype: Any) -> Any:
    """(n, h, w, c) -> (groups, n * h * w, c // groups)."""
    n, h, w, c = x.shape
    return x.astype(dtype).reshape(n * h * w, groups, c // groups).swapaxes(0, 1)


def _from_groups(x: Any, shape: tuple[int, ...]) -> Any:
    """(groups, n * h * w, c // groups) -> ``shape`` (n, h, w, c)."""
    return x.swapaxes(0, 1).reshape(shape)


def _tap_weights(w: Any, ky: int, kx: int, groups: int, dtype: Any) -> Any:
    """w (kh, kw, c // groups, f) at one tap: (groups, c // groups, f // groups)."""
    _, _, c, f = w.shape
    return w[ky, kx].astype(dtype).reshape(c, groups, f // groups).swapaxes(0, 1)
