"""Cross-entropies of class numbers, distributions and binary labels, stable wherever the logits are known.

Softmax and sigmoid activations leave their input on their output, as ``y_pred.logits``. From it a cross-entropy is
computed in one piece, ``logsumexp(x) - x[label]``, which neither overflows nor underflows; gradients then flow to the
logits directly. Probabilities of unknown origin are clipped to [epsilon, 1 - epsilon] first, as Keras does.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gradlite import ops
from gradlite.keras.backend import epsilon
from gradlite.keras.losses.base import (
    BATCH_MEANS,
    ELEMENTS,
    LABEL_CHECKS,
    NamedLoss,
    as_labels,
    as_prediction,
    class_number_hint,
    same_rank_pair,
)
from gradlite.keras.losses.labels import Shape, check_binary, check_class_numbers, check_one_hot
from gradlite.ops.classification import softmax_cross_entropy_loss, sparse_softmax_cross_entropy_loss
from gradlite.ops.shape import normalize_axis
from gradlite.tensor import Tensor


def _logits(y_pred: Tensor, from_logits: bool, activation: str, axis: int = -1) -> Tensor | None:
    """The logits behind ``y_pred``: itself, the input of the activation that made it, or None if not known."""
    known = y_pred.logits
    if from_logits:
        if known is not None:
            warnings.warn(
                f"The loss has from_logits=True, but the predictions come from a {known[0]} activation and are "
                "probabilities. Remove the activation, or from_logits=True.",
                UserWarning,
                stacklevel=3,
            )
        return y_pred
    if known is None or known[0] != activation:
        return None
    # The activation's softmax runs over the last axis.
    if activation == "softmax" and axis not in (-1, y_pred.data.ndim - 1):
        return None
    return known[1]


def shares(y_pred: Tensor, axis: int) -> Tensor:
    """Scores divided by their sum and held in [epsilon, 1 - epsilon]."""
    return ops.clip(y_pred / ops.sum(y_pred, axis=axis, keepdims=True), epsilon(), 1.0 - epsilon())


def _classes_last(x: Tensor, axis: int) -> Tensor:
    return x if axis in (-1, x.data.ndim - 1) else ops.moveaxis(x, axis, -1)


def _class_numbers(y_true: Any, y_pred: Tensor, axis: int) -> Tensor:
    """Labels as integers in the shape of ``y_pred`` without its class axis."""
    labels = as_labels(y_true, y_pred)
    if labels.dtype.kind not in "iu":
        labels = ops.astype(labels, np.int64)
    place = normalize_axis(axis, y_pred.data.ndim)
    if labels.data.ndim == y_pred.data.ndim and labels.shape[place] == 1:
        labels = ops.squeeze(labels, place)
    expected = y_pred.shape[:place] + y_pred.shape[place + 1 :]
    if labels.shape != expected:
        hint = ""
        if labels.shape == y_pred.shape:
            hint = " If they are one-hot, use 'categorical_crossentropy'."
        raise ValueError(
            f"sparse_categorical_crossentropy needs class numbers of shape {expected} for y_pred of shape "
            f"{y_pred.shape}. Received: y_true of shape {labels.shape}.{hint}"
        )
    return labels


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Tensor:
    """``-log(p[label])`` for class numbers: y_true (...) or (..., 1) and y_pred (..., k) -> (...).

    Args:
        y_true: integers in [0, k).
        y_pred: probabilities, or logits with ``from_logits=True``.
        from_logits: whether ``y_pred`` are logits.
        ignore_class: a label, -1 or 255 perhaps, whose places get loss 0.
        axis: where the classes are.

    >>> from gradlite.keras.losses import sparse_categorical_crossentropy
    >>> sparse_categorical_crossentropy([0, 1], [[0.0, 1000.0], [-1.0, -1.0]], from_logits=True).numpy().round(4)
    array([1.000e+03, 6.931e-01], dtype=float32)
    """
    y_pred = as_prediction(y_pred)
    labels = _class_numbers(y_true, y_pred, axis)
    valid = None
    if ignore_class is not None:
        labels = ops.astype(labels, np.int64)  # an unsigned type cannot be compared with -1
        valid = ops.not_equal(labels, ignore_class)
        labels = ops.where(valid, labels, 0)
    logits = _logits(y_pred, from_logits, "softmax", axis)
    if logits is not None:
        losses = ops.sparse_softmax_cross_entropy(labels, _classes_last(logits, axis))
    else:
        scores = _classes_last(y_pred, axis)
        picked = ops.take_along_axis(scores, ops.expand_dims(labels, -1), -1)
        share = ops.squeeze(picked / ops.sum(scores, axis=-1, keepdims=True), -1)
        losses = -ops.log(ops.clip(share, epsilon(), 1.0 - epsilon()))
    return losses if valid is None else ops.where(valid, losses, 0.0)


def _mean_of_classes(
    y_true: Any, y_pred: Tensor, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Tensor | None:
    """The mean of ``sparse_categorical_crossentropy`` over a batch of rows, which with its gradient is one kernel."""
    if ignore_class is not None or y_pred.ndim != 2 or axis not in (-1, 1) or not y_pred.size:
        return None
    logits = _logits(y_pred, from_logits, "softmax", axis)
    if logits is None:
        return None
    return sparse_softmax_cross_entropy_loss(_class_numbers(y_true, y_pred, axis), logits)


BATCH_MEANS[sparse_categorical_crossentropy] = _mean_of_classes


def smooth_classes(y_true: Any, y_pred: Tensor, label_smoothing: float, axis: int) -> Tensor:
    """One-hot labels in the dtype of the predictions, ``label_smoothing`` of them spread evenly over the classes."""
    labels = ops.astype(as_labels(y_true, y_pred), y_pred.data.dtype)
    if labels.data.shape != y_pred.data.shape:
        raise ValueError(
            f"categorical_crossentropy needs one-hot labels in the shape {y_pred.shape} of y_pred. Received: y_true of "
            f"shape {labels.shape}." + class_number_hint(labels.shape, y_pred.shape)
        )
    if label_smoothing:
        labels = labels * (1.0 - label_smoothing) + label_smoothing / y_pred.shape[axis]
    return labels


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """``-sum(y_true * log(p))`` over the classes: (..., k) and (..., k) -> (...).

    Args:
        y_true: one-hot rows, or distributions.
        y_pred: probabilities, or logits with ``from_logits=True``.
        from_logits: whether ``y_pred`` are logits.
        label_smoothing: the share s of ``y_true * (1 - s) + s / k`` (Szegedy et al., 2016).
        axis: where the classes are.

    >>> from gradlite.keras.losses import categorical_crossentropy
    >>> round(categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.6931
    """
    y_pred = as_prediction(y_pred)
    labels = smooth_classes(y_true, y_pred, label_smoothing, axis)
    logits = _logits(y_pred, from_logits, "softmax", axis)
    if logits is not None:
        return ops.softmax_cross_entropy(_classes_last(labels, axis), _classes_last(logits, axis))
    return -ops.sum(labels * ops.log(shares(y_pred, axis)), axis=axis)


def _mean_of_rows(
    y_true: Any, y_pred: Tensor, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor | None:
    """The mean of ``categorical_crossentropy`` over a batch of rows, which with its gradient is one kernel."""
    if y_pred.ndim != 2 or axis not in (-1, 1) or not y_pred.size:
        return None
    logits = _logits(y_pred, from_logits, "softmax", axis)
    if logits is None:
        return None
    return softmax_cross_entropy_loss(smooth_classes(y_true, y_pred, label_smoothing, axis), logits)


BATCH_MEANS[categorical_crossentropy] = _mean_of_rows


def binary_crossentropies(y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0) -> Tensor:
    """``-y_true * log(p) - (1 - y_true) * log(1 - p)``, element by element."""
    y_pred = as_prediction(y_pred)
    logits = _logits(y_pred, from_logits, "sigmoid")
    labels, source = same_rank_pair(y_true, y_pred if logits is None else logits)
    if label_smoothing:
        labels = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if logits is not None:
        if labels.data.shape != source.data.shape:
            labels, source = _broadcast_pair(labels, source)
        return ops.sigmoid_cross_entropy(labels, source)
    p = ops.clip(source, epsilon(), 1.0 - epsilon())
    return -(labels * ops.log(p) + (1.0 - labels) * ops.log(1.0 - p))


def _broadcast_pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    shape = np.broadcast_shapes(a.shape, b.shape)
    return ops.broadcast_to(a, shape), ops.broadcast_to(b, shape)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """The mean of ``-y_true * log(p) - (1 - y_true) * log(1 - p)`` over ``axis``: (..., d) and (..., d) -> (...).

    Args:
        y_true: labels in [0, 1].
        y_pred: probabilities, or logits with ``from_logits=True``.
        from_logits: whether ``y_pred`` are logits.
        label_smoothing: the share s of ``y_true * (1 - s) + s / 2``.
        axis: the axis of the mean.

    >>> from gradlite.keras.losses import binary_crossentropy
    >>> round(binary_crossentropy([[1.0]], [[0.5]]).item(), 4)
    0.6931
    """
    return ops.mean(binary_crossentropies(y_true, y_pred, from_logits, label_smoothing), axis=axis)


def kind_of_labels(y_true_shape: Shape, y_pred_shape: Shape) -> str:
    """``"binary"``, ``"sparse_categorical"`` or ``"categorical"``, by the rule of Keras for labels and an output.

    One output unit is binary; labels of lower rank than the output, or with a last axis of 1, are class numbers.

    >>> from gradlite.keras.losses import kind_of_labels
    >>> kind_of_labels((32, 10), (32, 10))
    'categorical'
    """
    if len(y_pred_shape) < 2 or y_pred_shape[-1] == 1:
        return "binary"
    if len(y_true_shape) < len(y_pred_shape) or y_true_shape[-1] == 1:
        return "sparse_categorical"
    return "categorical"


_BY_KIND = {
    "binary": (binary_crossentropy, check_binary),
    "sparse_categorical": (sparse_categorical_crossentropy, check_class_numbers),
    "categorical": (categorical_crossentropy, check_one_hot),
}


def crossentropy(y_true: Any, y_pred: Any) -> Tensor:
    """The binary, sparse or categorical cross-entropy, whichever the shapes mean (see ``kind_of_labels``).

    >>> from gradlite.keras.losses import crossentropy
    >>> crossentropy([1, 0], [[0.5, 0.5], [0.5, 0.5]]).numpy().round(4)
    array([0.6931, 0.6931], dtype=float32)
    """
    y_pred = as_prediction(y_pred)
    y_true = as_labels(y_true, y_pred)
    return _BY_KIND[kind_of_labels(y_true.shape, y_pred.shape)][0](y_true, y_pred)


def _check_any_kind(y_true: np.ndarray, output_shape: Shape, name: str = "") -> None:
    _BY_KIND[kind_of_labels(y_true.shape, output_shape)][1](y_true, output_shape, name)


ELEMENTS[binary_crossentropy] = binary_crossentropies
LABEL_CHECKS.update(
    {
        sparse_categorical_crossentropy: check_class_numbers,
        categorical_crossentropy: check_one_hot,
        binary_crossentropy: check_binary,
        crossentropy: _check_any_kind,
    }
)


class SparseCategoricalCrossentropy(NamedLoss):
    """The cross-entropy of class numbers, see ``sparse_categorical_crossentropy``.

    With ``ignore_class`` a mean is taken over the labels that are not ignored.

    >>> from gradlite.keras.losses import SparseCategoricalCrossentropy
    >>> round(SparseCategoricalCrossentropy()([0, 1], [[0.5, 0.5], [0.5, 0.5]]).item(), 4)
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            sparse_categorical_crossentropy, reduction, name, dtype,
            from_logits=from_logits, ignore_class=ignore_class, axis=axis,
        )  # fmt: skip
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis

    def mask(self, y_true: Any, y_pred: Any) -> Tensor | None:
        if self.ignore_class is None:
            return None
        labels = ops.astype(_class_numbers(y_true, y_pred, self.axis), np.int64)
        return ops.not_equal(labels, self.ignore_class)


class CategoricalCrossentropy(NamedLoss):
    """The cross-entropy of one-hot labels or distributions, see ``categorical_crossentropy``.

    >>> from gradlite.keras.losses import CategoricalCrossentropy
    >>> CategoricalCrossentropy(from_logits=True)([[0.0, 1.0]], [[0.0, 1000.0]]).item()
    0.0
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            categorical_crossentropy, reduction, name, dtype,
            from_logits=from_logits, label_smoothing=check_smoothing(label_smoothing), axis=axis,
        )  # fmt: skip
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


class BinaryCrossentropy(NamedLoss):
    """The cross-entropy of labels in [0, 1], see ``binary_crossentropy``.

    >>> from gradlite.keras.losses import BinaryCrossentropy
    >>> round(BinaryCrossentropy()([0.0, 1.0], [0.5, 0.5]).item(), 4)
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            binary_crossentropy, reduction, name, dtype,
            from_logits=from_logits, label_smoothing=check_smoothing(label_smoothing), axis=axis,
        )  # fmt: skip
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


def check_smoothing(label_smoothing: float) -> float:
    """``label_smoothing``, if it lies in [0, 1]; else ValueError."""
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be a number in [0, 1]. Received: {label_smoothing!r}.")
    return label_smoothing
