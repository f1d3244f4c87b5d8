"""Losses of real-valued predictions: squared, absolute and relative errors, robust ones, similarity, divergences."""

from __future__ import annotations

import math
from typing import Any

from gradlite import ops
from gradlite.keras.backend import epsilon
from gradlite.keras.losses.base import ELEMENTS, LABEL_CHECKS, NamedLoss, same_rank_pair
from gradlite.keras.losses.labels import check_counts, check_same_shape
from gradlite.tensor import Tensor


def squared_errors(y_true: Any, y_pred: Any) -> Tensor:
    """``(y_true - y_pred)**2``, element by element."""
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    return ops.square(y_pred - y_true)


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean((y_true - y_pred)**2)`` over the last axis: (..., d) and (..., d) -> (...).

    >>> from gradlite.keras.losses import mean_squared_error
    >>> mean_squared_error([[0.0, 1.0]], [[2.0, 1.0]]).numpy()
    array([2.], dtype=float32)
    """
    return ops.mean(squared_errors(y_true, y_pred), axis=-1)


def absolute_errors(y_true: Any, y_pred: Any) -> Tensor:
    """``|y_true - y_pred|``, element by element."""
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    return ops.abs(y_pred - y_true)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(|y_true - y_pred|)`` over the last axis.

    >>> from gradlite.keras.losses import mean_absolute_error
    >>> mean_absolute_error([[0.0, 1.0]], [[2.0, 1.0]]).numpy()
    array([1.], dtype=float32)
    """
    return ops.mean(absolute_errors(y_true, y_pred), axis=-1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Tensor:
    """``100 * mean(|y_true - y_pred| / max(|y_true|, epsilon))`` over the last axis.

    >>> from gradlite.keras.losses import mean_absolute_percentage_error
    >>> mean_absolute_percentage_error([[2.0]], [[3.0]]).numpy()
    array([50.], dtype=float32)
    """
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    relative = ops.abs((y_true - y_pred) / ops.maximum(ops.abs(y_true), epsilon()))
    return 100.0 * ops.mean(relative, axis=-1)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean((log(1 + y_true) - log(1 + y_pred))**2)`` over the last axis; values below epsilon count as epsilon.

    >>> from gradlite.keras.losses import mean_squared_logarithmic_error
    >>> round(mean_squared_logarithmic_error([[0.0]], [[1.718282]]).item(), 4)
    1.0
    """
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    difference = ops.log1p(ops.maximum(y_pred, epsilon())) - ops.log1p(ops.maximum(y_true, epsilon()))
    return ops.mean(ops.square(difference), axis=-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """``e**2 / 2`` for errors up to ``delta``, then straight: ``delta * |e| - delta**2 / 2`` (Huber, 1964).

    >>> from gradlite.keras.losses import huber
    >>> huber([[0.0], [0.0]], [[0.5], [3.0]]).numpy()
    array([0.125, 2.5  ], dtype=float32)
    """
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    error = y_pred - y_true
    size = ops.abs(error)
    values = ops.where(size <= delta, 0.5 * ops.square(error), delta * size - 0.5 * delta * delta)
    return ops.mean(values, axis=-1)


def log_cosh(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(log(cosh(e)))`` over the last axis for errors e, as ``|e| + softplus(-2 |e|) - log 2``: no overflow.

    >>> from gradlite.keras.losses import log_cosh
    >>> round(log_cosh([[0.0]], [[1000.0]]).item(), 3)
    999.307
    """
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    # Of |e|, so that a large negative error does not lose its digits in e + 2 |e|.
    error = ops.abs(y_pred - y_true)
    return ops.mean(error + ops.softplus(-2.0 * error) - math.log(2.0), axis=-1)


def unit_vectors(x: Tensor, axis: int) -> Tensor:
    """``x`` divided by its 2-norm along ``axis``. A zero vector stays zero and gets no gradient, rather than NaN."""
    squared = ops.sum(ops.square(x), axis=axis, keepdims=True)
    nonzero = ops.greater(squared, 1e-24)
    return x * ops.where(nonzero, ops.rsqrt(ops.where(nonzero, squared, 1.0)), 0.0)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Minus the cosine of the angle between the vectors along ``axis``: -1 for the same direction.

    >>> from gradlite.keras.losses import cosine_similarity
    >>> cosine_similarity([[1.0, 0.0]], [[2.0, 0.0]]).numpy()
    array([-1.], dtype=float32)
    """
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    return -ops.sum(unit_vectors(y_true, axis) * unit_vectors(y_pred, axis), axis=axis)


def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """``sum(y_true * log(y_true / y_pred))`` over the last axis, both held in [epsilon, 1].

    The Kullback-Leibler divergence of a predicted distribution from the true one.

    >>> from gradlite.keras.losses import kl_divergence
    >>> kl_divergence([[0.5, 0.5]], [[0.5, 0.5]]).numpy()
    array([0.], dtype=float32)
    """
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    y_true, y_pred = ops.clip(y_true, epsilon(), 1.0), ops.clip(y_pred, epsilon(), 1.0)
    return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


def poisson(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(y_pred - y_true * log(y_pred + epsilon))`` over the last axis.

    The negative log-likelihood of counts ``y_true`` under rates ``y_pred``, without its constant term.

    >>> from gradlite.keras.losses import poisson
    >>> poisson([[0.0, 2.0]], [[1.0, 1.0]]).numpy()
    array([0.9999999], dtype=float32)
    """
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    return ops.mean(y_pred - y_true * ops.log(y_pred + epsilon()), axis=-1)


ELEMENTS.update({mean_squared_error: squared_errors, mean_absolute_error: absolute_errors})
LABEL_CHECKS.update(
    dict.fromkeys(
        (
            mean_squared_error, mean_absolute_error, mean_absolute_percentage_error, mean_squared_logarithmic_error,
            huber, log_cosh, cosine_similarity, kl_divergence,
        ),
        check_same_shape,
    )
)  # fmt: skip
LABEL_CHECKS[poisson] = check_counts

_Reduction = str | None


class MeanSquaredError(NamedLoss):
    """The mean of squared errors, see ``mean_squared_error``.

    >>> from gradlite.keras.losses import MeanSquaredError
    >>> MeanSquaredError()([[0.0], [1.0]], [[2.0], [1.0]]).item()
    2.0
    """

    def __init__(
        self, reduction: _Reduction = "sum_over_batch_size", name: str = "mean_squared_error", dtype: Any = None
    ) -> None:
        super().__init__(mean_squared_error, reduction, name, dtype)


class MeanAbsoluteError(NamedLoss):
    """The mean of absolute errors, see ``mean_absolute_error``."""

    def __init__(
        self, reduction: _Reduction = "sum_over_batch_size", name: str = "mean_absolute_error", dtype: Any = None
    ) -> None:
        super().__init__(mean_absolute_error, reduction, name, dtype)


class MeanAbsolutePercentageError(NamedLoss):
    """The mean of relative errors in percent, see ``mean_absolute_percentage_error``."""

    def __init__(
        self,
        reduction: _Reduction = "sum_over_batch_size",
        name: str = "mean_absolute_percentage_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


class MeanSquaredLogarithmicError(NamedLoss):
    """The mean of squared differences of logarithms, see ``mean_squared_logarithmic_error``."""

    def __init__(
        self,
        reduction: _Reduction = "sum_over_batch_size",
        name: str = "mean_squared_logarithmic_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


class Huber(NamedLoss):
    """Squared errors near zero, absolute ones beyond ``delta``, see ``huber``."""

    def __init__(
        self,
        delta: float = 1.0,
        reduction: _Reduction = "sum_over_batch_size",
        name: str = "huber_loss",
        dtype: Any = None,
    ) -> None:
        if not delta > 0:
            raise ValueError(f"Huber needs delta > 0. Received: delta={delta}.")
        super().__init__(huber, reduction, name, dtype, delta=delta)


class LogCosh(NamedLoss):
    """The logarithm of the hyperbolic cosine of errors, see ``log_cosh``."""

    def __init__(
        self, reduction: _Reduction = "sum_over_batch_size", name: str = "log_cosh", dtype: Any = None
    ) -> None:
        super().__init__(log_cosh, reduction, name, dtype)


class CosineSimilarity(NamedLoss):
    """Minus the cosine between labels and predictions, see ``cosine_similarity``."""

    def __init__(
        self,
        axis: int = -1,
        reduction: _Reduction = "sum_over_batch_size",
        name: str = "cosine_similarity",
        dtype: Any = None,
    ) -> None:
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)


class KLDivergence(NamedLoss):
    """The Kullback-Leibler divergence, see ``kl_divergence``."""

    def __init__(
        self, reduction: _Reduction = "sum_over_batch_size", name: str = "kl_divergence", dtype: Any = None
    ) -> None:
        super().__init__(kl_divergence, reduction, name, dtype)


class Poisson(NamedLoss):
    """The negative log-likelihood of counts, see ``poisson``."""

    def __init__(self, reduction: _Reduction = "sum_over_batch_size", name: str = "poisson", dtype: Any = None) -> None:
        super().__init__(poisson, reduction, name, dtype)
