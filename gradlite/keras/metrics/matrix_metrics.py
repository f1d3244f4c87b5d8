"""Metrics of classes counted against each other: the confusion matrix, intersection over union, and F scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite import ops
from gradlite.autograd import no_grad
from gradlite.backends.dtypes import FLOAT_KINDS
from gradlite.keras.backend import epsilon
from gradlite.keras.losses.base import align_weights, as_labels, divide_or_zero, same_rank_pair
from gradlite.keras.metrics.base import Metric, accumulate
from gradlite.keras.metrics.confusion import confusion_matrix, constant
from gradlite.tensor import Tensor


class ConfusionMatrix(Metric):
    """How often class i (row) was predicted as class j (column), counted over all batches.

    Args:
        num_classes: the number of classes k.
        name: the key in logs.
        dtype: the type of the result.
        threshold: with one output unit and two classes, the score above which class 1 is predicted.

    Labels are class numbers (n,) or (n, 1), or one-hot rows (n, k); predictions are scores (n, k), single scores (n, 1)
    of class 1, or class numbers (integers in the shape of the labels). More axes after the first are samples too.

    >>> from gradlite.keras.metrics import ConfusionMatrix
    >>> ConfusionMatrix(2)([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]).numpy()
    array([[1., 0.],
           [1., 1.]], dtype=float32)
    """

    def __init__(
        self, num_classes: int, name: str | None = "confusion_matrix", dtype: Any = None, threshold: float = 0.5
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if num_classes < 2:
            raise ValueError(f"ConfusionMatrix needs two classes or more. Received: num_classes={num_classes}.")
        self.num_classes, self.threshold = num_classes, threshold
        self.matrix = self.add_variable((num_classes, num_classes), dtype=np.float64, name="matrix")

    @no_grad()
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of labels and predictions, weighted by (n,) or the labels' shape."""
        y_pred = ops.as_tensor(y_pred)
        y_true = as_labels(y_true, y_pred)
        predictions = self._predicted(y_pred)
        # Labels of the predictions' shape are class numbers, also where their last axis happens to have k entries.
        one_hot = y_true.shape == (*predictions.shape, self.num_classes)
        labels = ops.argmax(y_true, axis=-1) if one_hot else _without_last_one(y_true, predictions.ndim)
        if labels.shape != predictions.shape:
            raise ValueError(
                f"ConfusionMatrix({self.num_classes}) needs labels and predictions of the same samples. Received: "
                f"y_true of shape {y_true.shape} and y_pred of shape {y_pred.shape}."
            )
        weights = None
        if sample_weight is not None:
            weights = ops.broadcast_to(align_weights(sample_weight, labels), labels.shape)
        accumulate(self.matrix, confusion_matrix(labels, predictions, self.num_classes, weights))

    def _predicted(self, y_pred: Tensor) -> Tensor:
        """Class numbers without an axis for the classes."""
        if y_pred.dtype.kind not in FLOAT_KINDS:
            return _without_last_one(y_pred, 1) if y_pred.ndim == 2 else y_pred
        if y_pred.ndim > 1 and y_pred.shape[-1] == self.num_classes:
            return ops.argmax(y_pred, axis=-1)
        y_pred = _without_last_one(y_pred, y_pred.ndim - 1) if y_pred.ndim > 1 else y_pred
        return ops.greater(y_pred, self.threshold) if self.num_classes == 2 else y_pred

    def result(self) -> Tensor:
        return self._read(self.matrix)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes, "threshold": self.threshold}


def _without_last_one(x: Tensor, ndim: int) -> Tensor:
    """``x`` with ``ndim`` axes, if that takes leaving out a last axis of length 1."""
    return ops.squeeze(x, -1) if x.ndim == ndim + 1 and x.shape[-1] == 1 else x


class IoU(Metric):
    """Intersection over union of classes, averaged over ``target_class_ids``: ``tp / (tp + fp + fn)`` of each.

    Args:
        num_classes: the number of classes.
        target_class_ids: the classes to average over; those that never occur are left out.
        name: the key in logs.
        dtype: the type of the result.
        ignore_class: a label whose places do not count.
        sparse_y_true: whether labels are class numbers, rather than one-hot.
        sparse_y_pred: whether predictions are class numbers, rather than scores.
        axis: where the classes are in one-hot labels and scores.

    >>> from gradlite.keras.metrics import IoU
    >>> round(float(IoU(num_classes=2, target_class_ids=[0])([0, 0, 1, 1], [0, 1, 0, 1])), 4)
    0.3333
    """

    _direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if not all(0 <= i < num_classes for i in target_class_ids):
            raise ValueError(f"target_class_ids must be in [0, {num_classes}). Received: {list(target_class_ids)}.")
        self.num_classes, self.target_class_ids, self.ignore_class = num_classes, list(target_class_ids), ignore_class
        self.sparse_y_true, self.sparse_y_pred, self.axis = sparse_y_true, sparse_y_pred, axis
        self.total_cm = self.add_variable((num_classes, num_classes), dtype=np.float64, name="total_confusion_matrix")

    @no_grad()
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of labels and predictions."""
        y_pred = ops.as_tensor(y_pred)
        labels = as_labels(y_true, y_pred)
        labels = labels if self.sparse_y_true else ops.argmax(labels, axis=self.axis)
        guesses = y_pred if self.sparse_y_pred else ops.argmax(y_pred, axis=self.axis)
        if labels.size != guesses.size:
            raise ValueError(
                f"{type(self).__name__} needs one label for each prediction. Received: {labels.size} labels in y_true "
                f"and {guesses.size} predictions in y_pred; see sparse_y_true and sparse_y_pred."
            )
        weights = None
        if sample_weight is not None:
            weights = ops.broadcast_to(align_weights(sample_weight, labels), labels.shape)
        if self.ignore_class is not None:
            kept = ops.astype(ops.not_equal(ops.astype(labels, np.int64), self.ignore_class), np.float32)
            weights = kept if weights is None else weights * kept
        accumulate(self.total_cm, confusion_matrix(labels, guesses, self.num_classes, weights))

    def result(self) -> Tensor:
        backend, k = self.total_cm.backend, self.num_classes
        matched = ops.sum(self.total_cm * constant(tuple(np.eye(k).ravel()), backend).reshape(k, k), axis=0)
        union = ops.sum(self.total_cm, axis=0) + ops.sum(self.total_cm, axis=1) - matched
        asked = constant(tuple(float(i in self.target_class_ids) for i in range(k)), backend)
        seen = asked * ops.astype(ops.greater(union, 0), np.float64)
        return ops.astype(divide_or_zero(ops.sum(divide_or_zero(matched, union) * asked), ops.sum(seen)), self.dtype)

    def get_config(self) -> dict[str, Any]:
        names = ("num_classes", "target_class_ids", "ignore_class", "sparse_y_true", "sparse_y_pred", "axis")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class MeanIoU(IoU):
    """Intersection over union, averaged over all classes that occur. Arguments as ``IoU``.

    >>> from gradlite.keras.metrics import MeanIoU
    >>> round(float(MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1])), 4)
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        return {key: value for key, value in super().get_config().items() if key != "target_class_ids"}


class FBetaScore(Metric):
    """The weighted harmonic mean of precision and recall: ``(1 + b**2) P R / (b**2 P + R)``.

    Args:
        average: over the columns: None (one score each), ``"micro"`` (all columns counted together), ``"macro"``
            (their plain mean) or ``"weighted"`` (by the number of positives).
        beta: how much more recall weighs than precision.
        threshold: the score above which a column is predicted; None: the highest score of each row is.
        name: the key in logs.
        dtype: the type of the result.

    >>> from gradlite.keras.metrics import FBetaScore
    >>> scores = FBetaScore(beta=2.0, threshold=0.5)([[1, 1], [1, 0]], [[0.2, 0.6], [0.6, 0.8]])
    >>> [round(s, 4) for s in scores.tolist()]
    [0.5556, 0.8333]
    """

    _direction = "up"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(f"average must be None, 'micro', 'macro' or 'weighted'. Received: {average!r}.")
        if not beta > 0:
            raise ValueError(f"beta must be > 0. Received: beta={beta}.")
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1]. Received: threshold={threshold}.")
        self.average, self.beta, self.threshold = average, beta, threshold
        self._built = False

    def _build(self, columns: int) -> None:
        shape = () if self.average == "micro" else (columns,)
        self.true_positives = self.add_variable(shape, dtype=np.float64, name="true_positives")
        self.false_positives = self.add_variable(shape, dtype=np.float64, name="false_positives")
        self.false_negatives = self.add_variable(shape, dtype=np.float64, name="false_negatives")
        self.intermediate_weights = self.add_variable(shape, dtype=np.float64, name="intermediate_weights")
        self._built = True

    @no_grad()
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add labels (0 or 1) and scores (n, columns), weighted by (n,)."""
        truth, scores = same_rank_pair(y_true, y_pred)
        if scores.ndim != 2 or truth.shape != scores.shape:
            raise ValueError(
                f"{type(self).__name__} expects labels and scores of one shape (batch_size, output_dim). Received: "
                f"y_true of shape {truth.shape} and y_pred of shape {scores.shape}."
            )
        if not self._built:
            self._build(scores.shape[1])
        if self.threshold is None:
            highest = ops.greater_equal(scores, ops.max(scores, axis=-1, keepdims=True))
            chosen = ops.logical_and(highest, ops.greater(ops.abs(scores), 1e-9))
        else:
            chosen = ops.greater(scores, self.threshold)
        guess = ops.astype(chosen, truth.dtype)
        weights = ops.ones_like(truth) if sample_weight is None else align_weights(sample_weight, truth)
        axis = None if self.average == "micro" else 0
        matched = guess * truth * weights
        accumulate(self.true_positives, ops.sum(matched, axis=axis))
        accumulate(self.false_positives, ops.sum(guess * weights - matched, axis=axis))
        accumulate(self.false_negatives, ops.sum(truth * weights - matched, axis=axis))
        accumulate(self.intermediate_weights, ops.sum(truth * weights, axis=axis))

    def result(self) -> Tensor:
        """The score; before the first batch 0."""
        if not self._built:
            return ops.zeros(())
        precision = self.true_positives / (self.true_positives + self.false_positives + epsilon())
        recall = self.true_positives / (self.true_positives + self.false_negatives + epsilon())
        square = self.beta**2
        scores = (1.0 + square) * precision * recall / (square * precision + recall + epsilon())
        if self.average == "weighted":
            share = self.intermediate_weights / (ops.sum(self.intermediate_weights) + epsilon())
            scores = ops.sum(scores * share)
        elif self.average is not None:
            scores = ops.mean(scores)
        return ops.astype(scores, self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "average": self.average, "beta": self.beta, "threshold": self.threshold}


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall. Arguments as ``FBetaScore``.

    >>> from gradlite.keras.metrics import F1Score
    >>> round(float(F1Score(average="macro")([[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]])), 4)
    1.0
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average=average, beta=1.0, threshold=threshold, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {key: value for key, value in super().get_config().items() if key != "beta"}
