"""Normalization by statistics: over the batch, over the last axis, over groups of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite.autograd import Node, Op
from gradlite.ops.elementwise import floating, rsqrt, square
from gradlite.ops.kernel import KernelOp, vjp_by_definition
from gradlite.ops.reductions import mean
from gradlite.ops.shape import expand_dims, reshape
from gradlite.tensor import Tensor


def _normalize(x: Tensor, gamma: Any, beta: Any, centre: Tensor, variance: Tensor, epsilon: float) -> Tensor:
    y = (x - centre) * rsqrt(variance + epsilon)
    if gamma is not None:
        y = y * gamma
    return y if beta is None else y + beta


def moments(x: Tensor, axis: tuple[int, ...], keepdims: bool) -> tuple[Tensor, Tensor]:
    """Mean and population variance, in two passes: E[x^2] - E[x]^2 loses everything when the mean is large."""
    centre = mean(x, axis, keepdims=True)
    variance = mean(square(x - centre), axis, keepdims=keepdims)
    return (centre if keepdims else reshape(centre, variance.shape)), variance


def _batch_norm_definition(x: Tensor, gamma: Any, beta: Any, *, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    centre, variance = moments(x, tuple(range(x.ndim - 1)), False)
    return _normalize(x, gamma, beta, centre, variance, epsilon), centre, variance


def _layer_norm_definition(x: Tensor, gamma: Any, beta: Any, *, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    centre, variance = moments(x, (x.ndim - 1,), True)
    y = _normalize(x, gamma, beta, centre, variance, epsilon)
    return y, reshape(centre, x.shape[:-1]), reshape(variance, x.shape[:-1])


def _gradient_definition(
    g: Tensor, x: Tensor, gamma: Any, centre: Tensor, variance: Tensor, epsilon: float, axis: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients in the input, the scale and the shift (Ioffe and Szegedy 2015, section 3; Ba et al. 2016)."""
    deviation = rsqrt(variance + epsilon)
    normalized = (x - centre) * deviation
    scaled = g if gamma is None else g * gamma
    inner = scaled - mean(scaled, axis, True) - normalized * mean(scaled * normalized, axis, True)
    rows = tuple(range(x.ndim - 1))
    return inner * deviation, (g * normalized).sum(rows), g.sum(rows)


def batch_norm_gradient_definition(
    g: Tensor, x: Tensor, gamma: Any, centre: Tensor, variance: Tensor, *, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _gradient_definition(g, x, gamma, centre, variance, epsilon, tuple(range(x.ndim - 1)))


def _layer_norm_gradient_definition(
    g: Tensor, x: Tensor, gamma: Any, centre: Tensor, variance: Tensor, *, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    wide = expand_dims(centre, -1), expand_dims(variance, -1)
    return _gradient_definition(g, x, gamma, *wide, epsilon, (x.ndim - 1,))


class _Norm(Op):
    """(x, gamma, beta) -> (normalized, mean, variance) in one kernel."""

    saves_inputs = True
    saves_output = True
    outputs = 3

    def __init__(self, name: str, definition: Any, gradient: Op) -> None:
        self.name = self.kernel = name
        self.definition = definition
        self.gradient = gradient

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        if gradients[1] is not None or gradients[2] is not None:
            return vjp_by_definition(self.definition, node, gradients)
        (x, gamma, beta), (_, centre, variance) = node.saved_inputs(), node.saved_outputs()
        dx, dgamma, dbeta = self.gradient(gradients[0], x, gamma, centre, variance, **node.attributes)
        return [dx, None if gamma is None else dgamma, None if beta is None else dbeta]


class _NormGradient(Op):
    """(gradient, x, gamma, mean, variance) -> gradients in x, gamma and beta in one kernel."""

    saves_inputs = True
    outputs = 3

    def __init__(self, name: str, definition: Any) -> None:
        self.name = self.kernel = name
        self.definition = definition

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        return vjp_by_definition(self.definition, node, gradients)


_batch_norm = _Norm(
    "batch_norm", _batch_norm_definition, _NormGradient("batch_norm_gradient", batch_norm_gradient_definition)
)
_layer_norm = _Norm(
    "layer_norm", _layer_norm_definition, _NormGradient("layer_norm_gradient", _layer_norm_gradient_definition)
)


def _inference_gradient(
    g: Tensor, out: Any, x: Tensor, gamma: Any, beta: Any, centre: Any, variance: Any, epsilon: float
) -> Tensor:
    scale = rsqrt(variance + epsilon)
    return g * (scale if gamma is None else scale * gamma)


_batch_norm_inference = KernelOp(
    "batch_norm_inference",
    "Normalization by given statistics.",
    _inference_gradient,
    lambda g, out, x, gamma, beta, centre, variance, epsilon: g * ((x - centre) * rsqrt(variance + epsilon)),
    lambda g, out, x, gamma, beta, centre, variance, epsilon: g,
    lambda g, out, x, gamma, beta, centre, variance, epsilon: -_inference_gradient(
        g, out, x, gamma, beta, centre, variance, epsilon
    ),
    lambda g, out, x, gamma, beta, centre, variance, epsilon: (
        _inference_gradient(g, out, x, gamma, beta, centre, variance, epsilon)
        * (centre - x) * 0.5 / (variance + epsilon)
    ),
    inputs=True,
)  # fmt: skip


def _check_channels(x: Tensor, name: str, **parameters: Any) -> None:
    for key, value in parameters.items():
        if value is not None and np.shape(value) != x.shape[-1:]:
            raise ValueError(f"{name}() needs {key} of shape {x.shape[-1:]}. Received: {np.shape(value)}.")


def batch_norm(x: Any, gamma: Any = None, beta: Any = None, epsilon: float = 1e-3) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalization over all axes but the last, by the batch's own statistics.

    ``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`` (Ioffe and Szegedy, 2015), with the population
    variance, computed from centred values.

    Args:
        x: (..., c).
        gamma: (c,) or None.
        beta: (c,) or None.
        epsilon: added to the variance.

    Returns:
        y (..., c), mean (c,), variance (c,).

    >>> import gradlite
    >>> y, mean, variance = gradlite.batch_norm(gradlite.Tensor([[1.0], [3.0]]), epsilon=0.0)
    >>> y.numpy().ravel(), mean.item(), variance.item()
    (array([-1.,  1.], dtype=float32), 2.0, 1.0)
    """
    x = floating(x)
    _check_channels(x, "batch_norm", gamma=gamma, beta=beta)
    return _batch_norm(x, gamma, beta, epsilon=float(epsilon))


def batch_norm_inference(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float = 1e-3) -> Tensor:
    """Batch normalization by given statistics, as in inference; arguments as in ``batch_norm``.

    >>> import gradlite
    >>> gradlite.batch_norm_inference(gradlite.Tensor([[5.0]]), None, None, gradlite.Tensor([3.0]),
    ...     gradlite.Tensor([4.0]), epsilon=0.0).item()
    1.0
    """
    x = floating(x)
    _check_channels(x, "batch_norm_inference", gamma=gamma, beta=beta, mean=mean, variance=variance)
    return _batch_norm_inference(x, gamma, beta, mean, variance, epsilon=float(epsilon))


def layer_norm(x: Any, gamma: Any = None, beta: Any = None, epsilon: float = 1e-3) -> Tensor:
    """Layer normalization over the last axis (Ba, Kiros and Hinton, 2016).

    Args:
        x: (..., c).
        gamma: (c,) or None.
        beta: (c,) or None.
        epsilon: added to the variance.

    Returns:
        (..., c).

    >>> import gradlite
    >>> gradlite.layer_norm(gradlite.Tensor([[1.0, 3.0]]), epsilon=0.0).numpy()
    array([[-1.,  1.]], dtype=float32)
    """
    x = floating(x)
    _check_channels(x, "layer_norm", gamma=gamma, beta=beta)
    return _layer_norm(x, gamma, beta, epsilon=float(epsilon))[0]


def group_norm(x: Any, groups: int, gamma: Any = None, beta: Any = None, epsilon: float = 1e-3) -> Tensor:
    """Group normalization: statistics of each sample over all places and one group of channels (Wu and He, 2018).

    Args:
        x: (n, ..., c).
        groups: divides c.
        gamma: (c,) or None.
        beta: (c,) or None.
        epsilon: added to the variance.

    Returns:
        (n, ..., c).

    >>> import gradlite
    >>> gradlite.group_norm(gradlite.ones((2, 4, 4, 6)), groups=3).shape
    (2, 4, 4, 6)
    """
    x = floating(x)
    _check_channels(x, "group_norm", gamma=gamma, beta=beta)
    channels = x.shape[-1]
    if groups < 1 or channels % groups:
        raise ValueError(f"group_norm() needs groups that divide the {channels} channels. Received: groups={groups}.")
    parts = reshape(x, (x.shape[0], -1, groups, channels // groups))
    centre, variance = moments(parts, (1, 3), True)
    y = reshape(_normalize(parts, None, None, centre, variance, epsilon), x.shape)
    if gamma is not None:
        y = y * gamma
    return y if beta is None else y + beta
