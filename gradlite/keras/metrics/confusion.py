"""Counting true and false positives and negatives at thresholds, without reading a value on the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from gradlite import ops
from gradlite.backends import Backend
from gradlite.backends.dtypes import FLOAT_KINDS
from gradlite.keras.backend import epsilon
from gradlite.keras.losses.base import align_weights, as_labels, squeeze_or_expand_to_same_rank
from gradlite.tensor import Tensor, wrap

BELOW_ALL = -1e10  # stands for a score that no threshold lets through


def parse_thresholds(thresholds: Any, default: float) -> list[float]:
    """One threshold or several, each in [0, 1], as a list; ``default`` for None."""
    if thresholds is None:
        return [default]
    values = list(thresholds) if isinstance(thresholds, (list, tuple, np.ndarray)) else [thresholds]
    wrong = [t for t in values if t is None or not 0 <= t <= 1]
    if wrong or not values:
        raise ValueError(f"Threshold values must be in [0, 1]. Received: {wrong or values}.")
    return [float(t) for t in values]


@lru_cache(maxsize=64)
def is_even(thresholds: tuple[float, ...]) -> bool:
    """Whether these are three or more thresholds evenly spaced from 0 to 1, so that a bucket can be computed.

    An AUC's outermost thresholds lie just outside [0, 1], to let everything and nothing through.
    """
    if len(thresholds) < 3:
        return False
    even = np.linspace(0.0, 1.0, len(thresholds))
    return bool(np.allclose(np.clip(thresholds, 0.0, 1.0), even, rtol=0.0, atol=epsilon()))


def even_thresholds(number: int) -> list[float]:
    """``number`` thresholds from 0 to 1."""
    return [i / (number - 1) for i in range(number)]


class Counts:
    """What a batch adds: weights above each threshold, by label.

    Attributes:
        true_positives: (t,) or (t, labels): the weight of positives whose score is above each threshold.
        false_positives: the same of negatives.
        positives: () or (labels,): the weight of all positives.
        negatives: the same of negatives.
    """

    def __init__(self, true_positives: Tensor, false_positives: Tensor, positives: Tensor, negatives: Tensor) -> None:
        self.true_positives, self.false_positives = true_positives, false_positives
        self.positives, self.negatives = positives, negatives

    @property
    def false_negatives(self) -> Tensor:
        """Positives that are not above the threshold."""
        return self.positives - self.true_positives

    @property
    def true_negatives(self) -> Tensor:
        """Negatives that are not above the threshold."""
        return self.negatives - self.false_positives


def count(
    y_true: Any,
    y_pred: Any,
    thresholds: Sequence[float],
    sample_weight: Any = None,
    top_k: int | None = None,
    class_id: int | None = None,
    multi_label: bool = False,
    label_weights: Any = None,
) -> Counts:
    """Count a batch of labels (zero or not) and scores of one shape.

    Args:
        y_true: labels (n, ...).
        y_pred: scores of this shape; a last axis of 1 may be missing on either side.
        thresholds: a score is positive if it is greater.
        sample_weight: (n,), or of the shape of the scores.
        top_k: only the ``top_k`` highest scores of a row can be positive.
        class_id: only this column counts.
        multi_label: keep the columns of (n, labels) apart.
        label_weights: (labels,), a weight for each column.
    """
    y_pred = ops.as_tensor(y_pred)
    scores, labels = squeeze_or_expand_to_same_rank(y_pred, as_labels(y_true, y_pred))
    if labels.shape != scores.shape:
        raise ValueError(
            f"Labels and predictions must have the same shape. Received: y_true of shape {labels.shape} and y_pred of "
            f"shape {scores.shape}. Class numbers become such labels by `keras.utils.to_categorical(y, num_classes)`."
        )
    if scores.data.dtype.itemsize == 2 or scores.data.dtype.kind not in FLOAT_KINDS:
        scores = ops.astype(scores, np.float32)
    weights = ops.ones_like(scores) if sample_weight is None else align_weights(sample_weight, scores)
    if label_weights is not None:
        weights = weights * label_weights
    weights = ops.broadcast_to(weights, scores.shape)
    if top_k is not None:
        scores = _only_top_k(scores, top_k)
    if class_id is not None:
        scores, labels, weights = _column(scores, class_id), _column(labels, class_id), _column(weights, class_id)
    columns = (scores.shape[-1],) if multi_label else ()
    positive = ops.reshape(ops.not_equal(labels, 0), (-1, *columns))
    by = _by_bucket if is_even(tuple(thresholds)) else _by_comparison
    return by(positive, ops.reshape(scores, positive.shape), ops.reshape(weights, positive.shape), tuple(thresholds))


@lru_cache(maxsize=64)
def constant(values: tuple[float, ...], backend: Backend, dtype: Any = np.float64) -> Tensor:
    """A tensor of these numbers, kept on its device: what is recorded in a step must not be copied there each time."""
    return Tensor(np.asarray(values, dtype), device=backend)


def _column(x: Tensor, class_id: int) -> Tensor:
    if x.ndim < 2:
        raise ValueError(f"class_id={class_id} needs predictions of shape (n, classes). Received: shape {x.shape}.")
    return x[..., class_id]


def _only_top_k(scores: Tensor, top_k: int) -> Tensor:
    """Scores outside the ``top_k`` highest of their row pushed below every threshold; of equal ones the first stay."""
    _, chosen = ops.top_k(scores, top_k)
    kept = ops.any(ops.one_hot(chosen, scores.shape[-1], np.bool_), axis=-2)
    return ops.where(kept, scores, BELOW_ALL)


def _by_comparison(positive: Tensor, scores: Tensor, weights: Tensor, thresholds: tuple[float, ...]) -> Counts:
    """Every score compared with every threshold: (t, n, ...) booleans."""
    levels = constant(thresholds, scores.backend, scores.dtype)
    above = ops.greater(scores, ops.reshape(levels, (-1,) + (1,) * scores.ndim))
    of_positives = ops.where(positive, weights, 0.0)
    of_negatives = ops.where(positive, 0.0, weights)
    return Counts(
        ops.sum(ops.where(above, of_positives, 0.0), axis=1),
        ops.sum(ops.where(above, of_negatives, 0.0), axis=1),
        ops.sum(of_positives, axis=0),
        ops.sum(of_negatives, axis=0),
    )


def _by_bucket(positive: Tensor, scores: Tensor, weights: Tensor, thresholds: tuple[float, ...]) -> Counts:
    """For even thresholds: each score adds to one bucket, and what lies above a threshold is a sum of buckets.

    Time and memory are those of the scores, not of the scores times 200 thresholds.
    """
    number, columns = len(thresholds), math.prod(scores.shape[1:])
    # NaN becomes 0: it is above no threshold. Bucket j holds the scores in (t[j - 1], t[j]], bucket 0 those of 0.
    held = ops.where(ops.greater(scores, 0.0), ops.minimum(scores, 1.0), 0.0)
    bucket = ops.astype(ops.ceil(held * float(number - 1)), np.int64)
    if thresholds[0] < 0.0:
        bucket = ops.maximum(bucket, 1)  # the first threshold lies below 0, which is therefore above it
    place = ops.where(positive, bucket, bucket + number) * columns
    if scores.ndim > 1:
        place = place + constant(tuple(range(columns)), scores.backend, np.int64)
    added = _scatter_add(ops.reshape(weights, (-1,)), ops.reshape(place, (-1,)), 2 * number * columns)
    buckets = ops.reshape(added, (2, number, *scores.shape[1:]))
    # Reversed running sums: at j the weight in bucket j and above.
    from_here = ops.flip(ops.cumsum(ops.flip(buckets, 1), axis=1), 1)
    above = ops.concatenate([from_here[:, 1:], ops.zeros_like(from_here[:, :1])], axis=1)
    return Counts(above[0], above[1], from_here[0, 0], from_here[1, 0])


def _scatter_add(values: Tensor, places: Tensor, length: int) -> Tensor:
    """Zeros (length,) with each value (n,) added at its place: a weighted histogram."""
    backend = values.backend
    # The sum is that of an embedding's gradient, whose kernel adds in a fixed order.
    return wrap(backend.launch("take_gradient", values.data, places.data, shape=(length,), axis=0), backend)


def confusion_matrix(labels: Tensor, predictions: Tensor, num_classes: int, weights: Tensor | None = None) -> Tensor:
    """(num_classes, num_classes): the weight of samples by label (row) and prediction (column).

    Pairs of which either is outside [0, num_classes) are left out.
    """
    truth = ops.reshape(ops.astype(labels, np.int64), (-1,))
    guess = ops.reshape(ops.astype(predictions, np.int64), (-1,))
    valid = _within(truth, num_classes)
    valid = ops.logical_and(valid, _within(guess, num_classes))
    place = ops.where(valid, truth * num_classes + guess, 0)
    values = ops.astype(valid, np.float32)
    if weights is not None:
        values = ops.where(valid, ops.reshape(weights, (-1,)), 0.0)
    return ops.reshape(_scatter_add(values, place, num_classes * num_classes), (num_classes, num_classes))


def _within(x: Tensor, stop: int) -> Tensor:
    return ops.logical_and(ops.greater_equal(x, 0), ops.less(x, stop))
