"""Plans of convolutions in float32: by Winograd's algorithm where that pays, else as they are defined."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gradlite.backends.cpu.native import direct, winograd
from gradlite.backends.cpu.native.direct import Before, Behind, Window
from gradlite.backends.cpu.native.launches import Launch, Plan
from gradlite.backends.cpu.native.normalization import are_vectors, coefficients
from gradlite.backends.cpu.native.operands import are_pairs, are_plain
from gradlite.backends.cpu.native.target import host_target
from gradlite.backends.reference.convolution import Padding, Pair, output_size
from gradlite.backends.reference.fused import is_pooling

# Output channels that fill less than this part of a vector are computed by other means.
FEWEST_OF_LANES = 3


def conv2d(
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
) -> Plan | None:
    """One group, rectified or as it is."""
    window = _forward_window(x, w, strides, padding, dilation)
    if activation not in (None, "relu") or not are_plain(x, w, bias, out) or groups != 1 or window.is_empty:
        return None
    return _convolve(window, x, w, False, Behind(bias, activation == "relu"), out, window.output_shape)


def conv2d_batch_norm_max_pool2d(
    x: Any,
    w: Any,
    bias: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    *,
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    activation: str | None,
    epsilon: float,
    window: Pair,
    pool_strides: Pair,
    pool_padding: Padding,
    out: Any = None,
) -> Plan | None:
    """The convolution, which normalizes what it writes, and pools it where its tiles are made of pairs of pixels."""
    place = _forward_window(x, w, strides, padding, dilation)
    if activation not in (None, "relu") or not are_plain(x, w, bias, out) or groups != 1 or place.is_empty:
        return None
    if not _are_parameters(place.f, gamma, beta, mean, variance):
        return None
    shape, pooled = place.output_shape, is_pooling(window, pool_strides, pool_padding)
    if pooled:
        shape = (place.n, place.oh // 2, place.ow // 2, place.f)
        in_tiles = winograd.outputs_of_tiles(place) and are_pairs(window, pool_strides, pool_padding)
        if not in_tiles or 0 in shape:
            return None
    scale, offset, factors = coefficients(place.f, gamma, beta, mean, variance, epsilon)
    plan = _convolve(place, x, w, False, Behind(bias, activation == "relu", scale, offset, pooled), out, shape)
    return plan and Plan(plan.result, [factors, *plan.launches])


def conv2d_statistics(
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
) -> Plan | None:
    """The convolution, and its channels' mean and variance."""
    window = _forward_window(x, w, strides, padding, dilation)
    y, mean, variance = out or (None, None, None)
    plain = are_plain(x, w, bias, y, mean, variance)
    if activation not in (None, "relu") or not plain or groups != 1 or window.is_empty:
        return None
    mean = _buffer(mean, (window.f,))
    variance = _buffer(variance, (window.f,))
    behind = Behind(bias, activation == "relu", mean=mean, variance=variance)
    plan = _convolve(window, x, w, False, behind, y, window.output_shape)
    return plan and Plan((plan.result, mean, variance), plan.launches)


def normalized_conv2d_statistics(
    x: Any,
    w: Any,
    bias: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    *,
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    activation: str | None,
    epsilon: float,
    out: Any = None,
) -> Plan | None:
    """By tiles: the strips that they read are normalized when they are filled."""
    window = _forward_window(x, w, strides, padding, dilation)
    y, y_mean, y_variance = out or (None, None, None)
    plain = are_plain(x, w, bias, y, y_mean, y_variance) and _are_parameters(window.c, gamma, beta, mean, variance)
    if activation not in (None, "relu") or not plain or groups != 1 or window.is_empty:
        return None
    m = winograd.outputs_of_tiles(window)
    if not m:
        return None
    y = _buffer(y, window.output_shape)
    y_mean = _buffer(y_mean, (window.f,))
    y_variance = _buffer(y_variance, (window.f,))
    scale, offset, factors = coefficients(window.c, gamma, beta, mean, variance, epsilon)
    behind = Behind(bias, activation == "relu", mean=y_mean, variance=y_variance)
    launches = winograd.convolve(m, window, x, w, False, behind, y, Before(scale, offset))
    return Plan((y, y_mean, y_variance), [factors, *launches])


def normalized_conv2d_parameter_gradients(
    x: Any,
    gradient: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    *,
    kernel_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    epsilon: float,
    out: Any = None,
) -> Plan | None:
    """Likewise."""
    dw, db = out or (None, None)
    plain = are_plain(x, gradient, dw, db) and _are_parameters(x.shape[-1], gamma, beta, mean, variance)
    if not plain or groups != 1 or 0 in (*x.shape, *gradient.shape):
        return None
    window = _gradient_window(x, gradient, kernel_shape, strides, padding, dilation)
    m = winograd.outputs_of_tiles(window)
    if not m:
        return None
    dw = _buffer(dw, kernel_shape)
    db = _buffer(db, gradient.shape[-1:])
    scale, offset, factors = coefficients(window.c, gamma, beta, mean, variance, epsilon)
    launches = winograd.correlate(m, window, x, gradient, dw, db, Before(scale, offset))
    return Plan((dw, db), [factors, *launches])


def _buffer(out: Any, shape: tuple[int, ...]) -> Any:
    """What a result goes into."""
    return np.empty(shape, np.float32) if out is None else out


def _are_parameters(c: int, gamma: Any, beta: Any, mean: Any, variance: Any) -> bool:
    """Whether these are what a normalization of c channels takes."""
    return mean is not None and variance is not None and are_vectors(c, gamma, beta, mean, variance)


def conv2d_input_gradient(
    gradient: Any,
    w: Any,
    *,
    input_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Any = None,
) -> Plan | None:
    """At stride 1: a convolution of the gradient with the kernel turned round."""
    n, height, width, c = input_shape
    _, oh, ow, f = gradient.shape
    kh, kw = w.shape[:2]
    if not are_plain(gradient, w, out) or groups != 1 or tuple(strides) != (1, 1):
        return None
    if 0 in (n, height, width, oh, ow, c, f):
        return None
    top, left = (kh - 1) * dilation[0] - padding[0][0], (kw - 1) * dilation[1] - padding[1][0]
    window = Window(n, oh, ow, f, height, width, c, kh, kw, 1, 1, *dilation, top, left)
    return _convolve(window, gradient, w, True, Behind(), out, input_shape)


def conv2d_weight_gradient(
    x: Any,
    gradient: Any,
    *,
    kernel_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Any = None,
) -> Plan | None:
    """Inputs times gradients, summed over all pixels; in one group."""
    if not are_plain(x, gradient, out) or groups != 1 or 0 in (*x.shape, *gradient.shape):
        return None
    out = _buffer(out, kernel_shape)
    return Plan(out, _correlate(x, gradient, kernel_shape, strides, padding, dilation, out, None))


def conv2d_parameter_gradients(
    x: Any,
    gradient: Any,
    *,
    kernel_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Any = None,
) -> Plan | None:
    """The kernel's and the bias's."""
    dw, db = out or (None, None)
    if not are_plain(x, gradient, dw, db) or groups != 1 or 0 in (*x.shape, *gradient.shape):
        return None
    dw = _buffer(dw, kernel_shape)
    db = _buffer(db, gradient.shape[-1:])
    return Plan((dw, db), _correlate(x, gradient, kernel_shape, strides, padding, dilation, dw, db))


def _forward_window(x: Any, w: Any, strides: Pair, padding: Padding, dilation: Pair) -> Window:
    """The window that a convolution of x with w has."""
    n, height, width, c = x.shape
    kh, kw, _, f = w.shape
    (top, _), (left, _) = padding
    oh = output_size(height, kh, strides[0], padding[0], dilation[0])
    ow = output_size(width, kw, strides[1], padding[1], dilation[1])
    return Window(n, height, width, c, oh, ow, f, kh, kw, *strides, *dilation, top, left)


def _convolve(window: Window, x: Any, w: Any, turned: bool, behind: Behind, out: Any, shape: Any) -> Plan | None:
    m = winograd.outputs_of_tiles(window)
    if not m and window.f < host_target().lanes // FEWEST_OF_LANES:
        return None
    out = _buffer(out, shape)
    convolve = partial(winograd.convolve, m) if m else direct.convolve
    return Plan(out, convolve(window, x, w, turned, behind, out))


def _gradient_window(
    x: Any, gradient: Any, kernel_shape: Any, strides: Pair, padding: Padding, dilation: Pair
) -> Window:
    """The window of a convolution whose output's gradient is given."""
    n, height, width, c = x.shape
    _, oh, ow, f = gradient.shape
    kh, kw = kernel_shape[:2]
    return Window(n, height, width, c, oh, ow, f, kh, kw, *strides, *dilation, padding[0][0], padding[1][0])


def _correlate(
    x: Any, gradient: Any, kernel_shape: Any, strides: Pair, padding: Padding, dilation: Pair, dw: Any, db: Any
) -> list[Launch]:
    window = _gradient_window(x, gradient, kernel_shape, strides, padding, dilation)
    m = winograd.outputs_of_tiles(window)
    return winograd.correlate(m, window, x, gradient, dw, db) if m else direct.correlate(window, x, gradient, dw, db)


PLANS = (
    *(conv2d, conv2d_statistics, conv2d_batch_norm_max_pool2d),
    *(conv2d_input_gradient, conv2d_weight_gradient, conv2d_parameter_gradients),
    *(normalized_conv2d_statistics, normalized_conv2d_parameter_gradients),
)
