"""Activation functions beyond relu, sigmoid, tanh and softplus: composed of elementwise operations."""

from __future__ import annotations

import math
from typing import Any

from gradlite.autograd import as_tensor
from gradlite.ops.elementwise import abs, clip, erf, expm1, relu, sigmoid, softplus, sqrt, tanh, where
from gradlite.ops.indexing import sort
from gradlite.tensor import Tensor

# Klambauer et al. 2017, equation 14: the fixed point of mean 0 and variance 1.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """``x`` where positive, else ``negative_slope * x`` (Maas et al., 2013).

    >>> import gradlite
    >>> gradlite.leaky_relu(gradlite.Tensor([-1.0, 2.0])).numpy()
    array([-0.2,  2. ], dtype=float32)
    """
    x = as_tensor(x)
    return where(x > 0, x, x * negative_slope)


def relu6(x: Any) -> Tensor:
    """``min(max(x, 0), 6)``."""
    return clip(as_tensor(x), 0.0, 6.0)


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """``x`` where positive, else ``alpha * (exp(x) - 1)`` (Clevert et al., 2016)."""
    x = as_tensor(x)
    # The unused branch is held at 0, so that exp of a large x cannot overflow.
    return where(x > 0, x, expm1(where(x > 0, 0, x)) * alpha)


def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """``x`` where positive, else ``alpha * (exp(x / alpha) - 1)`` (Barron, 2017)."""
    x = as_tensor(x)
    return where(x > 0, x, expm1(where(x > 0, 0, x) / alpha) * alpha)


def selu(x: Any) -> Tensor:
    """``scale * elu(x, alpha)`` with the constants that keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    return elu(x, SELU_ALPHA) * SELU_SCALE


def gelu(x: Any, approximate: bool = False) -> Tensor:
    """``x * P(X <= x)`` for a standard normal X (Hendrycks and Gimpel, 2016), exact or by their tanh formula.

    >>> import gradlite
    >>> round(gradlite.gelu(gradlite.Tensor(1.0)).item(), 4)
    0.8413
    """
    x = as_tensor(x)
    if approximate:
        return x * 0.5 * (tanh((x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)) + 1)
    return x * 0.5 * (erf(x * math.sqrt(0.5)) + 1)


def silu(x: Any) -> Tensor:
    """``x * sigmoid(x)``, also called swish (Ramachandran et al., 2017)."""
    x = as_tensor(x)
    return x * sigmoid(x)


def mish(x: Any) -> Tensor:
    """``x * tanh(softplus(x))`` (Misra, 2019)."""
    x = as_tensor(x)
    return x * tanh(softplus(x))


def softsign(x: Any) -> Tensor:
    """``x / (1 + |x|)``."""
    x = as_tensor(x)
    return x / (abs(x) + 1)


def hard_sigmoid(x: Any) -> Tensor:
    """``relu6(x + 3) / 6``: straight from 0 at -3 to 1 at 3."""
    return relu6(as_tensor(x) + 3) / 6


def hard_silu(x: Any) -> Tensor:
    """``x * hard_sigmoid(x)`` (Howard et al., 2019)."""
    x = as_tensor(x)
    return x * hard_sigmoid(x)


def hard_tanh(x: Any) -> Tensor:
    """``x`` held between -1 and 1."""
    return clip(as_tensor(x), -1.0, 1.0)


def hard_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """``x`` where ``|x| > threshold``, else 0."""
    x = as_tensor(x)
    return where(abs(x) > threshold, x, 0)


def soft_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """``x`` moved towards zero by ``threshold``, 0 where it is nearer than that."""
    x = as_tensor(x)
    return where(x > threshold, x - threshold, where(x < -threshold, x + threshold, 0))


def tanh_shrink(x: Any) -> Tensor:
    """``x - tanh(x)``."""
    x = as_tensor(x)
    return x - tanh(x)


def threshold(x: Any, threshold: float, default_value: float) -> Tensor:
    """``x`` where it is above ``threshold``, else ``default_value``."""
    x = as_tensor(x)
    return where(x > threshold, x, default_value)


def log_sigmoid(x: Any) -> Tensor:
    """``log(sigmoid(x))``, without underflow."""
    return -softplus(-as_tensor(x))


def squareplus(x: Any, b: float = 4.0) -> Tensor:
    """``(x + sqrt(x * x + b)) / 2`` (Barron, 2021)."""
    x = as_tensor(x)
    return (x + sqrt(x * x + b)) * 0.5


def sparse_plus(x: Any) -> Tensor:
    """0 below -1, ``(x + 1)**2 / 4`` up to 1, then ``x``."""
    x = as_tensor(x)
    return where(x <= -1, 0, where(x < 1, (x + 1) * (x + 1) * 0.25, x))


def sparse_sigmoid(x: Any) -> Tensor:
    """0 below -1, ``(x + 1) / 2`` up to 1, then 1."""
    x = as_tensor(x)
    return where(x <= -1, 0, where(x >= 1, 1, (x + 1) * 0.5))


def glu(x: Any, axis: int = -1) -> Tensor:
    """The first half along an axis, times the sigmoid of the second (Dauphin et al., 2017)."""
    first, second = as_tensor(x).split(2, axis)
    return first * sigmoid(second)


def sparsemax(x: Any, axis: int = -1) -> Tensor:
    """The point of the probability simplex nearest to ``x`` (Martins and Astudillo, 2016)."""
    z = as_tensor(x).swapaxes(axis, -1)
    ordered = sort(z, -1, descending=True)
    cumulative = ordered.cumsum(-1)
    counts = Tensor([float(i + 1) for i in range(z.shape[-1])], dtype=z.dtype, device=z.device)
    support = (ordered * counts + 1 > cumulative).astype(z.dtype)
    size = support.sum(-1, keepdims=True)
    level = ((ordered * support).sum(-1, keepdims=True) - 1) / size
    return relu(z - level).swapaxes(axis, -1)
