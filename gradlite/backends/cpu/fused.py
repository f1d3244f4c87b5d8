"""Batch normalization with pooling and dropout behind it, on the CPU: in blocks of images, one step after the other.

Each element goes through the same passes as in the kernels of the single steps, and so has the same bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradlite.backends.cpu import normalization
from gradlite.backends.cpu.elementwise import relu_gradient
from gradlite.backends.cpu.normalization import Step
from gradlite.backends.cpu.parallel import scratch
from gradlite.backends.cpu.pooling import MaxPooling
from gradlite.backends.cpu.random import Dropping
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.reference import normalization as reference
from gradlite.backends.reference.activation import activation_gradient
from gradlite.backends.reference.convolution import Padding, Pair
from gradlite.backends.reference.fused import is_pooling
from gradlite.backends.registry import into


class _Rest:
    """What follows the normalization of x (n, ..., c): pooling, dropout, both or nothing.

    Attributes:
        pooling, dropping: how it is done; None where it is not.
        shape: that of the result.
    """

    def __init__(self, x: np.ndarray, state: Any, window: Pair, strides: Pair, padding: Padding, rate: float) -> None:
        self.x_shape = self.shape = x.shape
        self.pooling: MaxPooling | None = None
        self.dropping: Dropping | None = None
        if is_pooling(window, strides, padding):
            self.pooling = MaxPooling(x.shape, window, strides, padding)
            self.shape = x.shape[0], *self.pooling.output, x.shape[3]
        if state is not None and rate > 0:
            self.dropping = Dropping(state, rate, math.prod(self.shape))

    def buffers(self, x: np.ndarray, y: Any, index: Any) -> tuple[np.ndarray, np.ndarray]:
        """Those given, or new ones; ``index`` is empty where nothing is pooled."""
        if index is None and self.pooling is not None:
            index = np.empty(self.shape, self.pooling.index_dtype)
        elif index is None:
            index = np.empty((0,), np.uint8)
        return np.empty(self.shape, x.dtype) if y is None else y, index

    def _elements(self, images: slice) -> slice:
        each = math.prod(self.shape[1:])
        return slice(images.start * each, images.stop * each)

    def forward(self, y: np.ndarray, index: np.ndarray) -> Step | None:
        """The step from a normalized block to y and index. Where nothing is pooled, the block is in y already."""
        pooling, dropping = self.pooling, self.dropping
        if pooling is None and dropping is None:
            return None

        def step(images: slice, block: np.ndarray) -> None:
            if pooling is not None:
                pooling.pool(block.reshape(-1, *self.x_shape[1:]), y[images], index[images])
            if dropping is not None:
                flat = y[images].reshape(-1)
                dropping.apply(flat, self._elements(images), flat)

        return step

    def back(self, gradient: np.ndarray, index: np.ndarray) -> Step | None:
        """The step from the gradient to a block of the gradient behind the normalization."""
        pooling, dropping = self.pooling, self.dropping
        if pooling is None and dropping is None:
            return None
        gradient = np.ascontiguousarray(gradient)

        def step(images: slice, block: np.ndarray) -> None:
            dx, g = block.reshape(-1, *self.x_shape[1:]), gradient[images]
            if dropping is not None:
                kept = dx if pooling is None else scratch("kept", g.shape, g.dtype)
                dropping.apply(g.reshape(-1), self._elements(images), kept.reshape(-1))
                g = kept
            if pooling is not None:
                pooling.scatter(g, index[images], dx)

        return step


def _whole(step: Step | None, array: np.ndarray) -> None:
    """The step for all images at once."""
    if step is not None:
        step(slice(0, len(array)), array)


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
    rest = _Rest(x, state, window, strides, padding, rate)
    y, index = rest.buffers(x, first, to_index)
    target = y if rest.pooling is None else None
    if normalization.supported(x, gamma, beta):
        mean, variance = normalization.normalize(x, gamma, beta, target, epsilon, rest.forward(y, index))
    else:
        normalized, mean, variance = reference.batch_norm(np, x, gamma, beta, epsilon=epsilon)
        if target is not None:
            target[...] = normalized
        _whole(rest.forward(y, index), normalized)
    return y, into(to_mean, mean.astype(x.dtype)), into(to_variance, variance.astype(x.dtype)), index


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
    first, to_index = out or (None, None)
    rest = _Rest(x, state, window, strides, padding, rate)
    y, index = rest.buffers(x, first, to_index)
    target = y if rest.pooling is None else None
    if normalization.supported(x, gamma, beta, mean, variance):
        normalization.normalize_by(x, gamma, beta, mean, variance, target, epsilon, rest.forward(y, index))
    else:
        normalized = reference.batch_norm_inference(np, x, gamma, beta, mean, variance, epsilon=epsilon)
        if target is not None:
            target[...] = normalized
        _whole(rest.forward(y, index), normalized)
    return y, index


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
    step = _Rest(x, state, window, strides, padding, rate).back(gradient, index)
    rectified = activation == "relu"
    if normalization.supported(x, gradient, gamma, mean, variance):
        dx, *rest = normalization.gradients(gradient, x, gamma, mean, variance, epsilon, out, step, rectified)
    else:
        if step is not None:
            gradient = np.empty(x.shape, gradient.dtype)
            _whole(step, gradient)
        dx, *rest = reference.batch_norm_gradient(np, gradient, x, gamma, mean, variance, epsilon=epsilon, out=out)
        if rectified:
            relu_gradient(dx, x, out=dx)
    if activation not in (None, "relu"):
        dx[...] = activation_gradient(np, dx, x, activation)
    return dx, *rest
