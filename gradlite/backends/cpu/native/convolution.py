"""Plans of convolutions in float32: by Winograd's algorithm where that pays, else as they are defined."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gradlite.backends.cpu.native import direct, winograd
from gradlite.backends.cpu.native.direct import Behind, Window
from gradlite.backends.cpu.native.launches import Plan
from gradlite.backends.cpu.native.normalization import are_vectors, channel_statistics, coefficients
from gradlite.backends.cpu.native.operands import are_pairs, are_plain
from gradlite.backends.cpu.native.reductions import column_sum
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
    if mean is None or variance is None or not are_vectors(place.f, gamma, beta, mean, variance):
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
    first, mean, variance = out or (None, None, None)
    options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    plan = conv2d(x, w, bias, activation=activation, out=first, **options)
    if plan is None or not are_plain(mean, variance):
        return None
    f = w.shape[3]
    mean = np.empty((f,), np.float32) if mean is None else mean
    variance = np.empty((f,), np.float32) if variance is None else variance
    return Plan((plan.result, mean, variance), [*plan.launches, *channel_statistics(plan.result, mean, variance)])


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
    n, height, width, c = x.shape
    _, oh, ow, f = gradient.shape
    kh, kw = kernel_shape[:2]
    if not are_plain(x, gradient, out) or groups != 1 or 0 in (n, oh, ow, c, f):
        return None
    top, left = padding[0][0], padding[1][0]
    window = Window(n, height, width, c, oh, ow, f, kh, kw, *strides, *dilation, top, left)
    out = np.empty(kernel_shape, np.float32) if out is None else out
    m = winograd.outputs_of_tiles(window)
    correlate = winograd.correlate(m, window, x, gradient, out) if m else direct.correlate(window, x, gradient, out)
    return Plan(out, correlate)


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
    to_kernel, to_bias = out or (None, None)
    options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    kernel = conv2d_weight_gradient(x, gradient, kernel_shape=kernel_shape, out=to_kernel, **options)
    bias = column_sum(gradient, out=to_bias)
    if kernel is None or bias is None:
        return None
    return Plan((kernel.result, bias.result), [*kernel.launches, *bias.launches])


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
    out = np.empty(shape, np.float32) if out is None else out
    convolve = partial(winograd.convolve, m) if m else direct.convolve
    return Plan(out, convolve(window, x, w, turned, behind, out))


PLANS = (
    *(conv2d, conv2d_statistics, conv2d_batch_norm_max_pool2d),
    *(conv2d_input_gradient, conv2d_weight_gradient, conv2d_parameter_gradients),
)
