"""Accuracies: how often predictions match labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite import ops
from gradlite.keras.backend import floatx
from gradlite.keras.losses.base import as_labels, class_number_hint, squeeze_or_expand_to_same_rank
from gradlite.keras.metrics.reduction_metrics import NamedMean
from gradlite.tensor import Tensor

# The private functions give booleans, which the metrics sum as they are; the public ones give floats, as Keras's do.


def _tensors(y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    y_pred = ops.as_tensor(y_pred)
    return as_labels(y_true, y_pred), y_pred


def _require_same_shape(y_true: Tensor, y_pred: Tensor, name: str) -> None:
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"{name} compares labels and predictions of one shape. Received: y_true of shape {y_true.shape} and y_pred "
            f"of shape {y_pred.shape}."
        )


def _equal(y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = squeeze_or_expand_to_same_rank(*_tensors(y_true, y_pred))
    _require_same_shape(y_true, y_pred, "accuracy")
    return ops.equal(y_true, y_pred)


def accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where label and prediction are equal, else 0, in their common shape."""
    return ops.astype(_equal(y_true, y_pred), floatx())


class Accuracy(NamedMean):
    """How often predictions equal labels.

    >>> from gradlite.keras.metrics import Accuracy
    >>> float(Accuracy()([1, 2, 3, 4], [0, 2, 3, 4]))
    0.75
    """

    _direction = "up"

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(_equal, name=name, dtype=dtype)


def _binary_matches(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    y_true, y_pred = squeeze_or_expand_to_same_rank(*_tensors(y_true, y_pred))
    _require_same_shape(y_true, y_pred, "binary_accuracy")
    return ops.equal(y_true, ops.greater(y_pred, threshold))


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    """1 where ``y_pred > threshold`` is the label (0 or 1), else 0, in their common shape.

    >>> from gradlite.keras.metrics import binary_accuracy
    >>> binary_accuracy([1.0, 0.0, 1.0], [0.9, 0.2, 0.5]).numpy()
    array([1., 1., 0.], dtype=float32)
    """
    return ops.astype(_binary_matches(y_true, y_pred, threshold), floatx())


class BinaryAccuracy(NamedMean):
    """How often predictions above ``threshold`` meet labels 1, and others labels 0.

    >>> from gradlite.keras.metrics import BinaryAccuracy
    >>> float(BinaryAccuracy()([[1], [1], [0], [0]], [[0.98], [1.0], [0.0], [0.6]]))
    0.75
    """

    _direction = "up"

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], for probabilities. Received: threshold={threshold}.")
        super().__init__(_binary_matches, name=name, dtype=dtype, threshold=threshold)
        self.threshold = threshold


def _categorical_matches(y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = _tensors(y_true, y_pred)
    if y_true.data.shape != y_pred.data.shape:
        raise ValueError(
            f"categorical_accuracy needs one-hot labels in the shape {y_pred.shape} of the predictions. Received: "
            f"y_true of shape {y_true.shape}."
            + class_number_hint(y_true.shape, y_pred.shape, "sparse_categorical_accuracy")
        )
    return ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1))


def categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where the highest score is that of the label's class: (..., k) one-hot and (..., k) -> (...).

    >>> from gradlite.keras.metrics import categorical_accuracy
    >>> categorical_accuracy([[0, 1], [1, 0]], [[0.2, 0.8], [0.3, 0.7]]).numpy()
    array([1., 0.], dtype=float32)
    """
    return ops.astype(_categorical_matches(y_true, y_pred), floatx())


class CategoricalAccuracy(NamedMean):
    """How often the highest score is that of the class which one-hot labels name.

    >>> from gradlite.keras.metrics import CategoricalAccuracy
    >>> float(CategoricalAccuracy()([[0, 1], [1, 0]], [[0.2, 0.8], [0.3, 0.7]]))
    0.5
    """

    _direction = "up"

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(_categorical_matches, name=name, dtype=dtype)


def _class_numbers(y_true: Any, y_pred: Any, name: str) -> tuple[Tensor, Tensor]:
    """Labels (...) and scores (..., k)."""
    y_true, y_pred = _tensors(y_true, y_pred)
    if y_true.data.ndim == y_pred.data.ndim and y_true.data.shape[-1:] == (1,):
        y_true = ops.squeeze(y_true, -1)
    if y_true.data.shape != y_pred.data.shape[:-1]:
        hint = " For one-hot labels use the metric without 'sparse'." if y_true.shape == y_pred.shape else ""
        raise ValueError(
            f"{name} needs class numbers of shape {y_pred.shape[:-1]} for predictions of shape {y_pred.shape}. "
            f"Received: y_true of shape {y_true.shape}.{hint}"
        )
    return y_true, y_pred


def _sparse_matches(y_true: Any, y_pred: Any) -> Tensor:
    labels, scores = _class_numbers(y_true, y_pred, "sparse_categorical_accuracy")
    return ops.equal(labels, ops.argmax(scores, axis=-1))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where the highest score is that of class ``y_true``: (...) or (..., 1) and (..., k) -> (...).

    >>> from gradlite.keras.metrics import sparse_categorical_accuracy
    >>> sparse_categorical_accuracy([1, 0], [[0.2, 0.8], [0.3, 0.7]]).numpy()
    array([1., 0.], dtype=float32)
    """
    return ops.astype(_sparse_matches(y_true, y_pred), floatx())


class SparseCategoricalAccuracy(NamedMean):
    """How often the highest score is that of the class whose number is the label.

    >>> from gradlite.keras.metrics import SparseCategoricalAccuracy
    >>> float(SparseCategoricalAccuracy()([1, 0], [[0.2, 0.8], [0.3, 0.7]]))
    0.5
    """

    _direction = "up"

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(_sparse_matches, name=name, dtype=dtype)


def _within_top_k(labels: Tensor, scores: Tensor, k: int) -> Tensor:
    """Whether fewer than ``k`` scores are above the label's; ties count for the label, and NaN scores never do."""
    labels = ops.expand_dims(ops.astype(labels, np.int64), -1)
    own = ops.take_along_axis(scores, labels, -1)
    above = ops.sum(ops.greater(scores, own), axis=-1)
    return ops.logical_and(ops.less(above, k), ops.squeeze(ops.equal(own, own), -1))


def _top_k_matches(y_true: Any, y_pred: Any, k: int = 5) -> Tensor:
    y_true, y_pred = _tensors(y_true, y_pred)
    _require_same_shape(y_true, y_pred, "top_k_categorical_accuracy")
    return _within_top_k(ops.argmax(y_true, axis=-1), y_pred, k)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Tensor:
    """1 where the label's class is among the ``k`` highest scores: (..., c) one-hot and (..., c) -> (...).

    >>> from gradlite.keras.metrics import top_k_categorical_accuracy
    >>> top_k_categorical_accuracy([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.5, 0.1, 0.4]], k=2).numpy()
    array([1., 0.], dtype=float32)
    """
    return ops.astype(_top_k_matches(y_true, y_pred, k), floatx())


class TopKCategoricalAccuracy(NamedMean):
    """How often the class that one-hot labels name is among the ``k`` highest scores.

    >>> from gradlite.keras.metrics import TopKCategoricalAccuracy
    >>> float(TopKCategoricalAccuracy(k=1)([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]]))
    0.5
    """

    _direction = "up"

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(_top_k_matches, name=name, dtype=dtype, k=k)
        self.k = k


def _sparse_top_k_matches(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Tensor:
    labels, scores = _class_numbers(y_true, y_pred, "sparse_top_k_categorical_accuracy")
    if from_sorted_ids:
        return ops.any(ops.equal(ops.expand_dims(labels, -1), scores[..., :k]), axis=-1)
    return _within_top_k(labels, scores, k)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Tensor:
    """1 where class ``y_true`` is among the ``k`` highest scores: (...) and (..., c) -> (...).

    With ``from_sorted_ids`` the predictions are class numbers, best first, rather than scores.

    >>> from gradlite.keras.metrics import sparse_top_k_categorical_accuracy
    >>> sparse_top_k_categorical_accuracy([2, 1], [[0.1, 0.9, 0.8], [0.5, 0.1, 0.4]], k=2).numpy()
    array([1., 0.], dtype=float32)
    """
    return ops.astype(_sparse_top_k_matches(y_true, y_pred, k, from_sorted_ids), floatx())


class SparseTopKCategoricalAccuracy(NamedMean):
    """How often the class whose number is the label is among the ``k`` highest scores.

    >>> from gradlite.keras.metrics import SparseTopKCategoricalAccuracy
    >>> float(SparseTopKCategoricalAccuracy(k=1)([2, 1], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]]))
    0.5
    """

    _direction = "up"

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(_sparse_top_k_matches, name=name, dtype=dtype, k=k, from_sorted_ids=from_sorted_ids)
        self.k, self.from_sorted_ids = k, from_sorted_ids
