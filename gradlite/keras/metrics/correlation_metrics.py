"""Correlations between labels and predictions along an axis, averaged over all samples seen."""

from __future__ import annotations

from typing import Any

from gradlite import ops
from gradlite.keras.backend import epsilon
from gradlite.keras.losses.base import same_rank_pair
from gradlite.keras.metrics.reduction_metrics import NamedMean
from gradlite.tensor import Tensor


def _centred(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The mean along ``axis``, and the distances from it."""
    mean = ops.mean(x, axis=axis, keepdims=True)
    return mean, x - mean


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """The covariance along ``axis`` divided by both standard deviations: 1 for a rising straight line.

    >>> from gradlite.keras.metrics import pearson_correlation
    >>> pearson_correlation([[0.0, 1.0, 0.5]], [[0.1, 0.9, 0.5]]).numpy().round(4)
    array([1.], dtype=float32)
    """
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    (_, a), (_, b) = _centred(y_true, axis), _centred(y_pred, axis)
    product = ops.sum(ops.square(a), axis=axis) * ops.sum(ops.square(b), axis=axis)
    return ops.sum(a * b, axis=axis) / ops.sqrt(product)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """``2 cov / (var + var + (difference of means)**2)`` along ``axis``: 1 only where both are equal (Lin, 1989).

    >>> from gradlite.keras.metrics import concordance_correlation
    >>> concordance_correlation([[0.0, 1.0, 0.5]], [[0.0, 1.0, 0.5]]).numpy().round(4)
    array([1.], dtype=float32)
    """
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    (mean_a, a), (mean_b, b) = _centred(y_true, axis), _centred(y_pred, axis)
    spread = ops.mean(ops.square(a) + ops.square(b), axis=axis, keepdims=True) + ops.square(mean_a - mean_b)
    return ops.mean(2.0 * a * b / (spread + epsilon()), axis=axis)


class PearsonCorrelation(NamedMean):
    """The mean Pearson correlation, see ``pearson_correlation``."""

    _direction = "up"

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(pearson_correlation, name=name, dtype=dtype, axis=axis)
        self.axis = axis


class ConcordanceCorrelation(NamedMean):
    """The mean concordance correlation, see ``concordance_correlation``."""

    _direction = "up"

    def __init__(self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(concordance_correlation, name=name, dtype=dtype, axis=axis)
        self.axis = axis
