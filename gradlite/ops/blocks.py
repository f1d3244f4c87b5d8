"""Rows of layers that are one or two kernels: convolution with statistics; normalization, pooling and dropout.

Nobody else reads what lies between such layers, so it need not be written to memory and read again: a convolution
that has its output in registers adds up the statistics for the batch normalization behind it, and the normalized
values are pooled and dropped before they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlite.autograd import Node, Op
from gradlite.ops.convolution import ACTIVATIONS, Padding, Pair, convolution_attributes, convolution_gradients
from gradlite.ops.kernel import vjp_by_definition
from gradlite.ops.normalization import batch_norm, batch_norm_gradient_definition, moments
from gradlite.ops.pooling import max_pool2d, scatter_pooled
from gradlite.ops.random import draw, dropout_as_drawn
from gradlite.random import Generator
from gradlite.tensor import Tensor

UNPOOLED: dict[str, Any] = {"window": (1, 1), "strides": (1, 1), "padding": ((0, 0), (0, 0))}


class _Conv2DStatistics(Op):
    """conv2d, and the mean and variance of each of its channels."""

    name = kernel = "conv2d_statistics"
    saves_inputs = (0, 1)
    saves_output = True
    outputs = 3

    def __init__(self, activation: str | None) -> None:
        self.activation = activation

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        g, *of_statistics = gradients
        y = node.saved_outputs()[0]
        # The statistics are functions of y: what flows into them flows on into it. Only gradients of gradients do so.
        for to, statistic in zip(of_statistics, (0, 1)):
            if to is not None:
                extra = _moment_gradient(y, to, statistic)
                g = extra if g is None else g + extra
        assert g is not None
        return convolution_gradients(node, g, y, self.activation)


def _moment_gradient(y: Tensor, gradient: Tensor, which: int) -> Tensor:
    """The gradient in y (..., c) of its mean (which = 0) or population variance (1) over all axes but the last."""
    rows = y.size // y.shape[-1]
    if which == 0:
        return gradient.broadcast_to(y.shape) / rows
    centre, _ = moments(y, tuple(range(y.ndim - 1)), False)
    return (y - centre) * gradient * (2 / rows)


_conv2d_statistics = {activation: _Conv2DStatistics(activation) for activation in (None, *ACTIVATIONS)}


def conv2d_statistics(
    x: Any, w: Any, bias: Any = None, *, activation: str | None = None, **options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """``conv2d``, and the mean and the population variance of each channel of its output.

    Args:
        x, w, bias, activation: as in ``conv2d``.
        options: ``strides``, ``padding``, ``dilation`` and ``groups``, as there.

    Returns:
        (y (n, oh, ow, f), mean (f,), variance (f,)).

    >>> import gradlite
    >>> from gradlite.ops.blocks import conv2d_statistics
    >>> y, mean, variance = conv2d_statistics(gradlite.ones((1, 3, 3, 1)), gradlite.ones((1, 1, 1, 2)))
    >>> mean.numpy(), variance.numpy()
    (array([1., 1.], dtype=float32), array([0., 0.], dtype=float32))
    """
    x, w, bias, attributes = convolution_attributes(x, w, bias, "conv2d_statistics", activation=activation, **options)
    return _conv2d_statistics[activation](x, w, bias, activation=activation, **attributes)


class _NormPoolDrop(Op):
    """Batch normalization, max pooling and dropout, as (y, mean, variance, index)."""

    name = kernel = "batch_norm_max_pool2d_dropout"
    saves_inputs = True
    saves_output = True
    outputs = 4

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        if gradients[1] is not None or gradients[2] is not None:
            return vjp_by_definition(_definition, node, gradients)
        (x, gamma, beta, state), (_, mean, variance, index) = node.saved_inputs(), node.saved_outputs()
        return [*_gradients(gradients[0], x, gamma, beta, mean, variance, index, state, node.attributes), None]


class _ApplyPoolDrop(Op):
    """The same with given statistics, which must be those of x, as (y, index)."""

    name = kernel = "batch_norm_apply_max_pool2d_dropout"
    saves_inputs = True
    saves_output = True
    outputs = 2

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        (x, gamma, beta, mean, variance, state), (_, index) = node.saved_inputs(), node.saved_outputs()
        # How the statistics depend on x is in the gradient of x, so none flows into them.
        return [
            *_gradients(gradients[0], x, gamma, beta, mean, variance, index, state, node.attributes),
            None,
            None,
            None,
        ]


class _Gradient(Op):
    """(dx, dgamma, dbeta) of both, in one or two kernels."""

    name = kernel = "batch_norm_max_pool2d_dropout_gradient"
    saves_inputs = True
    outputs = 3

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        return vjp_by_definition(_gradient_definition, node, gradients)


_norm_pool_drop, _apply_pool_drop, _gradient = _NormPoolDrop(), _ApplyPoolDrop(), _Gradient()


def _gradients(
    g: Any, x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, index: Any, state: Any, attributes: dict[str, Any]
) -> list[Tensor | None]:
    dx, dgamma, dbeta = _gradient(g, x, gamma, mean, variance, index, state, **attributes)
    return [dx, None if gamma is None else dgamma, None if beta is None else dbeta]


def _definition(
    x: Tensor, gamma: Any, beta: Any, state: Any, *, epsilon: float, rate: float, **pool: Any
) -> tuple[Tensor, Tensor, Tensor]:
    y, mean, variance = batch_norm(x, gamma, beta, epsilon)
    if pool != UNPOOLED:
        y = max_pool2d(y, **pool)
    return (y if state is None else dropout_as_drawn(y, state, rate)), mean, variance


def _gradient_definition(
    g: Tensor,
    x: Tensor,
    gamma: Any,
    mean: Tensor,
    variance: Tensor,
    index: Tensor,
    state: Any,
    *,
    epsilon: float,
    rate: float,
    **pool: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    if state is not None:
        g = dropout_as_drawn(g, state, rate)
    if pool != UNPOOLED:
        g = scatter_pooled(g, index, input_shape=x.shape, **pool)
    return batch_norm_gradient_definition(g, x, gamma, mean, variance, epsilon=epsilon)


def batch_norm_pool_dropout(
    x: Tensor,
    gamma: Any,
    beta: Any,
    epsilon: float,
    *,
    statistics: tuple[Tensor, Tensor] | None = None,
    pool: dict[str, Pair | Padding] | None = None,
    rate: float = 0.0,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalization, then max pooling, then dropout.

    Args:
        x: (n, h, w, c), or (..., c) where nothing is pooled.
        gamma, beta: (c,) or None.
        epsilon: added to the variance.
        statistics: the mean and variance of x, from ``conv2d_statistics``; computed here where they are not given.
        pool: window, strides and padding of the pooling, as its kernel takes them; None: no pooling.
        rate: of the dropout; 0: none.
        generator: where its random numbers come from.

    Returns:
        (y, mean, variance).

    >>> import gradlite
    >>> from gradlite.ops.blocks import batch_norm_pool_dropout
    >>> y, mean, variance = batch_norm_pool_dropout(gradlite.Tensor([[1.0], [3.0]]), None, None, 0.0)
    >>> y.numpy().ravel(), mean.item()
    (array([-1.,  1.], dtype=float32), 2.0)
    """
    attributes: dict[str, Any] = {"epsilon": float(epsilon), "rate": float(rate), **(pool or UNPOOLED)}
    state = draw(generator, x.backend) if rate else None
    if statistics is None:
        y, mean, variance, _ = _norm_pool_drop(x, gamma, beta, state, **attributes)
        return y, mean, variance
    y, _ = _apply_pool_drop(x, gamma, beta, *statistics, state, **attributes)
    return y, *statistics
