"""Focal losses: cross-entropies in which easy examples count less (Lin et al., 2017)."""

from __future__ import annotations

from typing import Any

from gradlite import ops
from gradlite.keras.backend import epsilon
from gradlite.keras.losses.base import LABEL_CHECKS, NamedLoss, as_prediction, same_rank_pair
from gradlite.keras.losses.crossentropy import check_smoothing, shares, smooth_classes
from gradlite.keras.losses.labels import check_binary, check_one_hot
from gradlite.tensor import Tensor


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """``-sum(alpha * (1 - p)**gamma * y_true * log(p))``: easy examples count less (Lin et al., 2017).

    >>> from gradlite.keras.losses import categorical_focal_crossentropy
    >>> round(categorical_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.0433
    """
    y_pred = as_prediction(y_pred)
    labels = smooth_classes(y_true, y_pred, label_smoothing, axis)
    p = shares(ops.softmax(y_pred, axis) if from_logits else y_pred, axis)
    return ops.sum(ops.power(1.0 - p, gamma) * alpha * -labels * ops.log(p), axis=axis)


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Binary cross-entropy times ``(1 - p_t)**gamma``, where p_t is the probability of the label (Lin et al., 2017).

    With ``apply_class_balancing`` positives are weighted by ``alpha`` and negatives by ``1 - alpha``.

    >>> from gradlite.keras.losses import binary_focal_crossentropy
    >>> round(binary_focal_crossentropy([[1.0]], [[0.5]]).item(), 4)
    0.1733
    """
    labels, scores = same_rank_pair(y_true, y_pred)
    if label_smoothing:
        labels = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
    p = ops.sigmoid(scores) if from_logits else scores
    held = ops.clip(p, epsilon(), 1.0 - epsilon())
    losses = -(labels * ops.log(held) + (1.0 - labels) * ops.log(1.0 - held))
    losses = losses * ops.power(1.0 - (labels * p + (1.0 - labels) * (1.0 - p)), gamma)
    if apply_class_balancing:
        losses = losses * (labels * alpha + (1.0 - labels) * (1.0 - alpha))
    return ops.mean(losses, axis=axis)


LABEL_CHECKS.update({categorical_focal_crossentropy: check_one_hot, binary_focal_crossentropy: check_binary})


class CategoricalFocalCrossentropy(NamedLoss):
    """The focal loss of one-hot labels, see ``categorical_focal_crossentropy``."""

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            categorical_focal_crossentropy, reduction, name, dtype,
            alpha=alpha, gamma=gamma, from_logits=from_logits, label_smoothing=check_smoothing(label_smoothing),
            axis=axis,
        )  # fmt: skip
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis
        self.alpha, self.gamma = alpha, gamma


class BinaryFocalCrossentropy(NamedLoss):
    """The focal loss of labels in [0, 1], see ``binary_focal_crossentropy``."""

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            binary_focal_crossentropy, reduction, name, dtype,
            apply_class_balancing=apply_class_balancing, alpha=alpha, gamma=gamma, from_logits=from_logits,
            label_smoothing=check_smoothing(label_smoothing), axis=axis,
        )  # fmt: skip
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis
        self.apply_class_balancing, self.alpha, self.gamma = apply_class_balancing, alpha, gamma
