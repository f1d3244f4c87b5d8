"""Maximum-margin losses: hinge, squared hinge and its form for several classes."""

from __future__ import annotations

from typing import Any

from gradlite import ops
from gradlite.keras.losses.base import LABEL_CHECKS, NamedLoss, same_rank_pair
from gradlite.keras.losses.labels import check_one_hot, check_same_shape
from gradlite.tensor import Tensor


def _signs(y_true: Tensor) -> Tensor:
    """Labels of 0 and 1 only as -1 and 1; others as they are. Decided on the device, without reading a value."""
    binary = ops.all(ops.logical_or(ops.equal(y_true, 0), ops.equal(y_true, 1)))
    return ops.where(binary, 2.0 * y_true - 1.0, y_true)


def _shortfalls(y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    return ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0)


def hinge(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(max(1 - y_true * y_pred, 0))`` over the last axis, for labels -1 and 1; 0 and 1 are converted.

    >>> from gradlite.keras.losses import hinge
    >>> hinge([[1.0], [-1.0]], [[0.5], [-2.0]]).numpy()
    array([0.5, 0. ], dtype=float32)
    """
    return ops.mean(_shortfalls(y_true, y_pred), axis=-1)


def squared_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(max(1 - y_true * y_pred, 0)**2)`` over the last axis.

    >>> from gradlite.keras.losses import squared_hinge
    >>> squared_hinge([[1.0]], [[0.5]]).numpy()
    array([0.25], dtype=float32)
    """
    return ops.mean(ops.square(_shortfalls(y_true, y_pred)), axis=-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """How far the score of the true class fails to exceed the best other one by 1; (..., k) one-hot -> (...).

    ``max(max((1 - y_true) * y_pred) - sum(y_true * y_pred) + 1, 0)``

    >>> from gradlite.keras.losses import categorical_hinge
    >>> categorical_hinge([[0.0, 1.0]], [[0.5, 1.0]]).numpy()
    array([0.5], dtype=float32)
    """
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    right = ops.sum(y_true * y_pred, axis=-1)
    wrong = ops.max((1.0 - y_true) * y_pred, axis=-1)
    return ops.maximum(wrong - right + 1.0, 0.0)


LABEL_CHECKS.update({hinge: check_same_shape, squared_hinge: check_same_shape, categorical_hinge: check_one_hot})


class Hinge(NamedLoss):
    """The hinge loss, see ``hinge``.

    >>> from gradlite.keras.losses import Hinge
    >>> Hinge()([[1.0], [-1.0]], [[0.5], [-2.0]]).item()
    0.25
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "hinge", dtype: Any = None) -> None:
        super().__init__(hinge, reduction, name, dtype)


class SquaredHinge(NamedLoss):
    """The squared hinge loss, see ``squared_hinge``."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "squared_hinge", dtype: Any = None
    ) -> None:
        super().__init__(squared_hinge, reduction, name, dtype)


class CategoricalHinge(NamedLoss):
    """The hinge loss of several classes, see ``categorical_hinge``."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "categorical_hinge", dtype: Any = None
    ) -> None:
        super().__init__(categorical_hinge, reduction, name, dtype)
