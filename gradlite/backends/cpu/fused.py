"""Kernels that are a row of others, on the CPU: the row, by this backend's own kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.elementwise import relu_gradient
from gradlite.backends.cpu.normalization import (
    batch_norm,
    batch_norm_gradient,
    batch_norm_inference,
)
from gradlite.backends.cpu.pooling import max_pool2d, max_pool2d_scatter
from gradlite.backends.cpu.random import dropout
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.reference.activation import activation_gradient
from gradlite.backends.reference.convolution import Padding, Pair
from gradlite.backends.reference.fused import is_pooling
from gradlite.backends.registry import into


@cpu_kernel
def batch_norm_max_pool2d_dropout(
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
    """The reference's (y, mean, variance, index)."""
    first, to_mean, to_variance, to_index = out or (None,) * 4
    y, mean, variance = batch_norm(x, gamma, beta, epsilon=epsilon)
    y, index = _pool_and_drop(y, state, window, strides, padding, rate, (first, to_index))
    return y, into(to_mean, mean), into(to_variance, variance), index


@cpu_kernel
def batch_norm_apply_max_pool2d_dropout(
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
    """The reference's (y, index)."""
    y = batch_norm_inference(x, gamma, beta, mean, variance, epsilon=epsilon)
    return _pool_and_drop(y, state, window, strides, padding, rate, out or (None, None))


@cpu_kernel
def batch_norm_max_pool2d_dropout_gradient(
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
    """The reference's (dx, dgamma, dbeta)."""
    if state is not None and rate > 0:
        gradient = dropout(gradient, state, rate=rate)
    if is_pooling(window, strides, padding):
        options: dict[str, Any] = {"window": window, "strides": strides, "padding": padding}
        gradient = max_pool2d_scatter(gradient, index, input_shape=x.shape, **options)
    dx, dgamma, dbeta = batch_norm_gradient(gradient, x, gamma, mean, variance, epsilon=epsilon, out=out)
    if activation == "relu":
        relu_gradient(dx, x, out=dx)
    elif activation is not None:
        dx[...] = activation_gradient(np, dx, x, activation)
    return dx, dgamma, dbeta


def _pool_and_drop(
    y: Any, state: Any, window: Pair, strides: Pair, padding: Padding, rate: float, out: tuple[Any, Any]
) -> tuple[Any, Any]:
    """(y, index) of what follows a normalization; index is empty where nothing is pooled."""
    index = np.empty((0,), np.uint8)
    if is_pooling(window, strides, padding):
        y, index = max_pool2d(y, window=window, strides=strides, padding=padding)
    if state is not None and rate > 0:
        y = dropout(y, state, rate=rate, out=out[0])
    elif out[0] is not None:
        y = into(out[0], y)
    return y, into(out[1], index)
