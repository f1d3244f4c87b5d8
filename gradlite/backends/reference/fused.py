"""Kernels that are several others in a row, which a backend may run as one: what lies between is not written to memory.

What they mean is the row of kernels, and nothing else.
"""

from __future__ import annotations

from typing import Any

from gradlite.backends.reference.activation import activation_gradient
from gradlite.backends.reference.arrays import accumulate
from gradlite.backends.reference.convolution import Padding, Pair, conv2d, conv2d_statistics, conv2d_weight_gradient
from gradlite.backends.reference.linear import column_sum, dense_weight_gradient
from gradlite.backends.reference.normalization import batch_norm, batch_norm_gradient, batch_norm_inference
from gradlite.backends.reference.optimizers import adam
from gradlite.backends.reference.pooling import max_pool2d, max_pool2d_scatter
from gradlite.backends.reference.random import dropout
from gradlite.backends.reference.softmax import (
    softmax_cross_entropy,
    softmax_cross_entropy_gradient,
    sparse_softmax_cross_entropy,
    sparse_softmax_cross_entropy_gradient,
)
from gradlite.backends.registry import into, reference_kernel


def is_pooling(window: Pair, strides: Pair, padding: Padding) -> bool:
    """Whether a pooling with these attributes does anything."""
    return window != (1, 1) or strides != (1, 1) or any(map(any, padding))


def _pool_and_drop(
    xp: Any, x: Any, state: Any, window: Pair, strides: Pair, padding: Padding, rate: float
) -> tuple[Any, Any]:
    """(y, index), for index see `max_pool2d`; it is empty, (0,), where nothing is pooled."""
    index = xp.empty((0,), xp.uint8)
    if is_pooling(window, strides, padding):
        x, index = max_pool2d(xp, x, window=window, strides=strides, padding=padding)
    return x if state is None or rate == 0 else dropout(xp, x, state, rate=rate), index


@reference_kernel
def conv2d_parameter_gradients(
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
) -> tuple[Any, Any]:
    """The gradients of conv2d in kernel and bias, `conv2d_weight_gradient` and `column_sum`: of ``kernel_shape``, and
    (f,)."""
    options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    to_kernel, to_bias = out or (None, None)
    dw = conv2d_weight_gradient(xp, x, gradient, kernel_shape=kernel_shape, out=to_kernel, **options)
    return dw, column_sum(xp, gradient, out=to_bias)


@reference_kernel
def conv2d_batch_norm_max_pool2d(
    xp: Any,
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
) -> Any:
    """`conv2d`, then `batch_norm_inference`, then `max_pool2d`, whose ``strides`` and ``padding`` are ``pool_strides``
    and ``pool_padding`` here. A window and strides of (1, 1) without padding pool nothing."""
    options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    y = conv2d(xp, x, w, bias, activation=activation, **options)
    y = batch_norm_inference(xp, y, gamma, beta, mean, variance, epsilon=epsilon)
    if is_pooling(window, pool_strides, pool_padding):
        y, _ = max_pool2d(xp, y, window=window, strides=pool_strides, padding=pool_padding)
    return into(out, y)


@reference_kernel
def normalized_conv2d_statistics(
    xp: Any,
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
) -> tuple[Any, Any, Any]:
    """`conv2d_statistics` of what `batch_norm_inference` makes of x with these parameters (c,)."""
    x = batch_norm_inference(xp, x, gamma, beta, mean, variance, epsilon=epsilon)
    options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    return conv2d_statistics(xp, x, w, bias, activation=activation, out=out, **options)


@reference_kernel
def normalized_conv2d_parameter_gradients(
    xp: Any,
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
) -> tuple[Any, Any]:
    """`conv2d_parameter_gradients` of what `batch_norm_inference` makes of x with these parameters (c,)."""
    x = batch_norm_inference(xp, x, gamma, beta, mean, variance, epsilon=epsilon)
    options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    return conv2d_parameter_gradients(xp, x, gradient, kernel_shape=kernel_shape, out=out, **options)


@reference_kernel
def batch_norm_max_pool2d_dropout(
    xp: Any,
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
    """`batch_norm`, then `max_pool2d`, then `dropout` of x (n, h, w, c) -> (y, mean (c,), variance (c,), index).

    y and index are (n, oh, ow, c). A window and strides of (1, 1) without padding pool nothing: then x may have any
    shape (..., c), and index is empty, (0,). `state` None or `rate` 0 drop nothing.
    """
    y, mean, variance = batch_norm(xp, x, gamma, beta, epsilon=epsilon)
    y, index = _pool_and_drop(xp, y, state, window, strides, padding, rate)
    y, mean, variance, index = (into(o, v) for o, v in zip(out or (None,) * 4, (y, mean, variance, index)))
    return y, mean, variance, index


@reference_kernel
def batch_norm_apply_max_pool2d_dropout(
    xp: Any,
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
    """`batch_norm_max_pool2d_dropout` with statistics (c,) that are known already, from `conv2d_statistics` or from
    training -> (y, index)."""
    y = batch_norm_inference(xp, x, gamma, beta, mean, variance, epsilon=epsilon)
    y, index = _pool_and_drop(xp, y, state, window, strides, padding, rate)
    y, index = (into(o, v) for o, v in zip(out or (None, None), (y, index)))
    return y, index


@reference_kernel
def batch_norm_max_pool2d_dropout_gradient(
    xp: Any,
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
    """(dx of x's shape, dgamma (c,), dbeta (c,)) of `batch_norm_max_pool2d_dropout`, given its input, what it returned
    and its state; the gradient has y's shape. The statistics depend on x. With an `activation`, x is what that
    returned, and dx the gradient in front of it."""
    if state is not None and rate > 0:
        gradient = dropout(xp, gradient, state, rate=rate)
    if is_pooling(window, strides, padding):
        options: dict[str, Any] = {"window": window, "strides": strides, "padding": padding}
        gradient = max_pool2d_scatter(xp, gradient, index, input_shape=x.shape, **options)
    dx, dgamma, dbeta = batch_norm_gradient(xp, gradient, x, gamma, mean, variance, epsilon=epsilon)
    dx = activation_gradient(xp, dx, x, activation)
    dx, dgamma, dbeta = (into(o, v) for o, v in zip(out or (None, None, None), (dx, dgamma, dbeta)))
    return dx, dgamma, dbeta


@reference_kernel
def dense_weight_gradient_adam(
    xp: Any,
    parameter: Any,
    gradient: Any,
    m: Any,
    v: Any,
    bias_gradient: Any,
    x: Any,
    y: Any,
    learning_rate: Any,
    step: Any,
    *,
    activation: str | None,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """`dense_weight_gradient`, whose second result goes into ``bias_gradient``, and `adam` with the first.

    ``parameter``, ``m`` and ``v`` have as many elements as the layer's kernel, in its order."""
    dw, db = dense_weight_gradient(xp, x, gradient, y, activation=activation)
    bias_gradient[...] = db
    betas: dict[str, float] = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    adam(xp, parameter, dw.reshape(parameter.shape), m, v, None, learning_rate, step, **betas)


@reference_kernel
def sparse_softmax_cross_entropy_loss(xp: Any, logits: Any, labels: Any, *, out: Any = None) -> tuple[Any, Any, Any]:
    """The mean over a batch of `sparse_softmax_cross_entropy`, forward and backward in one.

    -> (mean loss (), its gradient in the logits (n, k), softmax(logits) (n, k)) for logits (n, k) and integer labels
    (n,) below k.
    """
    losses, p = sparse_softmax_cross_entropy(xp, logits, labels)
    share = xp.full(losses.shape, 1 / max(losses.size, 1), losses.dtype)
    gradient = sparse_softmax_cross_entropy_gradient(xp, share, p, labels)
    loss = losses.mean(dtype="float64").astype(losses.dtype)
    loss, gradient, p = (into(o, v) for o, v in zip(out or (None, None, None), (loss, gradient, p)))
    return loss, gradient, p


@reference_kernel
def softmax_cross_entropy_loss(xp: Any, logits: Any, labels: Any, *, out: Any = None) -> tuple[Any, Any, Any]:
    """The mean over a batch of `softmax_cross_entropy`, forward and backward in one.

    -> (mean loss (), its gradient in the logits (n, k), softmax(logits) (n, k)) for logits and labels (n, k).
    """
    losses, p = softmax_cross_entropy(xp, logits, labels)
    share = xp.full(losses.shape, 1 / max(losses.size, 1), losses.dtype)
    gradient = softmax_cross_entropy_gradient(xp, share, p, labels)
    loss = losses.mean(dtype="float64").astype(losses.dtype)
    loss, gradient, p = (into(o, v) for o, v in zip(out or (None, None, None), (loss, gradient, p)))
    return loss, gradient, p


@reference_kernel
def cross_entropy_step(
    xp: Any,
    logits: Any,
    labels: Any,
    scale: Any,
    *totals: Any,
    values: tuple[Any, ...] = (),
    copies: tuple[Any, ...] = (),
    out: Any = None,
) -> tuple[Any, Any, Any]:
    """`sparse_softmax_cross_entropy_loss` of labels (n,), or `softmax_cross_entropy_loss` of labels (n, k), with its
    gradient times `scale` (() or None), and then `accumulate`.

    Values may also be ("times", "loss", number), of the mean loss, and ("correct", "probabilities") or ("correct",
    "logits"), of the labels and those. -> (mean loss (), gradient (n, k), probabilities (n, k)).
    """
    function = sparse_softmax_cross_entropy_loss if labels.ndim == 1 else softmax_cross_entropy_loss
    loss, gradient, p = function(xp, logits, labels)
    if scale is not None:
        gradient = gradient * scale
    loss, gradient, p = (into(o, v) for o, v in zip(out or (None, None, None), (loss, gradient, p)))
    if totals:
        values = tuple(of_the_loss(value, loss, logits, labels, p) for value in values)
        accumulate(xp, *totals, values=values, copies=copies)
    return loss, gradient, p


def of_the_loss(value: Any, loss: Any, logits: Any, labels: Any, probabilities: Any) -> Any:
    """A value of `cross_entropy_step` as `accumulate` takes it."""
    if not isinstance(value, tuple) or not isinstance(value[1], str):
        return value
    if value[0] == "times":
        return "times", loss, value[2]
    return "correct", labels, logits if value[1] == "logits" else probabilities
