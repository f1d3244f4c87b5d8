"""AUC: the area under the ROC or precision-recall curve, from counts at many thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite import ops
from gradlite.autograd import no_grad
from gradlite.keras.backend import epsilon
from gradlite.keras.losses.base import divide_or_zero
from gradlite.keras.metrics.confusion import constant, even_thresholds
from gradlite.keras.metrics.confusion_metrics import FourCounts
from gradlite.tensor import Tensor


class AUC(FourCounts):
    """The area under a curve of rates over thresholds: 1 for perfect scores, 0.5 on the ROC curve for random ones.

    Args:
        num_thresholds: at how many thresholds, evenly spaced in [0, 1], the curve is known.
        curve: ``"ROC"`` (recall over false-positive rate), ``"PR"`` (precision over recall) or ``"PRGAIN"``
            (Flach and Kull, 2015).
        summation_method: ``"interpolation"`` (trapezoids; on the PR curve the formula of Davis and Goadrich, 2006),
            ``"minoring"`` or ``"majoring"`` (the lower or higher end of each interval).
        name: the key in logs.
        dtype: the type of the result.
        thresholds: values in (0, 1) to use instead of evenly spaced ones; 0 and 1 are added.
        multi_label: whether the columns of (n, labels) have curves of their own, whose areas are averaged.
        num_labels: the number of columns, if known, with ``multi_label``.
        label_weights: a weight for each column.
        from_logits: whether predictions are logits, which the sigmoid makes probabilities.

    >>> from gradlite.keras.metrics import AUC
    >>> float(AUC(num_thresholds=3)([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9]))
    0.75
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.curve = _one_of("curve", curve.upper(), ("ROC", "PR", "PRGAIN"))
        methods = ("interpolation", "minoring", "majoring")
        self.summation_method = _one_of("summation_method", summation_method.lower(), methods)
        self._given = None if thresholds is None else sorted(float(t) for t in thresholds)
        if self._given is None and num_thresholds <= 1:
            raise ValueError(f"Argument `num_thresholds` must be an integer > 1. Received: {num_thresholds}.")
        if any(not 0 <= t <= 1 for t in self._given or ()):
            raise ValueError(f"thresholds must be in [0, 1]. Received: {thresholds}.")
        inner = even_thresholds(num_thresholds)[1:-1] if self._given is None else self._given
        # The outermost ones let everything and nothing through, scores of exactly 0 and 1 included.
        self.thresholds = [-epsilon(), *inner, 1.0 + epsilon()]
        self.num_thresholds = len(self.thresholds)
        if num_labels and not multi_label:
            raise ValueError("`num_labels` is needed only when `multi_label` is True.")
        self.multi_label, self.num_labels = multi_label, num_labels
        self.label_weights = None if label_weights is None else [float(w) for w in label_weights]
        self.from_logits = from_logits
        self._built = False
        if num_labels or not multi_label:
            self._build(num_labels)

    def _build(self, num_labels: int | None) -> None:
        self._add_counts((self.num_thresholds, num_labels) if num_labels else (self.num_thresholds,))
        self._built = True

    @no_grad()
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add labels (0 or 1) and scores of one shape."""
        y_pred = ops.as_tensor(y_pred)
        if self.multi_label and (y_pred.ndim != 2 or (self.num_labels or y_pred.shape[1]) != y_pred.shape[1]):
            raise ValueError(
                f"AUC with multi_label=True needs predictions of shape (n, {self.num_labels or 'labels'}). "
                f"Received: shape {y_pred.shape}."
            )
        if not self._built:
            self._build(y_pred.shape[1])
        if self.from_logits:
            y_pred = ops.sigmoid(y_pred)
        self._accumulate(
            y_true, y_pred, self.thresholds, sample_weight, multi_label=self.multi_label,
            label_weights=None if self.multi_label else self._weights(y_pred),
        )  # fmt: skip

    def _weights(self, like: Tensor) -> Tensor | None:
        if self.label_weights is None:
            return None
        return constant(tuple(self.label_weights), like.backend, np.float32)

    def result(self) -> Tensor:
        """The area; before the first batch 0."""
        if not self._built:
            return ops.zeros(())
        if self.curve == "PR" and self.summation_method == "interpolation":
            pieces = self._interpolated_precision()
        else:
            x, y = self._points()
            low, high = y[1:], y[:-1]
            heights = {
                "interpolation": lambda: (low + high) * 0.5,
                "minoring": lambda: ops.minimum(low, high),
                "majoring": lambda: ops.maximum(low, high),
            }[self.summation_method]()
            pieces = (x[:-1] - x[1:]) * heights
        areas = ops.sum(pieces, axis=0)
        if self.multi_label:
            weights = self._weights(areas)
            areas = ops.mean(areas) if weights is None else divide_or_zero(ops.sum(areas * weights), ops.sum(weights))
        return ops.astype(areas, self.dtype)

    def _points(self) -> tuple[Tensor, Tensor]:
        """The curve (x, y), from the lowest threshold to the highest."""
        tp, fp, tn, fn = self.true_positives, self.false_positives, self.true_negatives, self.false_negatives
        if self.curve == "ROC":
            return divide_or_zero(fp, fp + tn), self._recalls()
        if self.curve == "PR":
            return self._recalls(), self._precisions()
        odds = divide_or_zero(tp + fn, tn + fp)
        none = ops.equal(tp, 0)
        recall_gain = ops.where(none, 0.0, 1.0 - odds * divide_or_zero(fn, tp))
        precision_gain = ops.where(none, 1.0, 1.0 - odds * divide_or_zero(fp, tp))
        return ops.maximum(recall_gain, 0.0), precision_gain

    def _interpolated_precision(self) -> Tensor:
        """The areas of the intervals of the PR curve, along which true and false positives change in proportion.

        With tp = a + b p for the number p = tp + fp of predictions, the integral of tp / p over recall is
        ``b (dtp + a log(p1 / p2)) / positives``.
        """
        tp, predicted = self.true_positives, self.true_positives + self.false_positives
        gained = tp[:-1] - tp[1:]
        upper, lower = predicted[:-1], predicted[1:]
        slope = divide_or_zero(gained, ops.maximum(upper - lower, 0.0))
        intercept = tp[1:] - slope * lower
        both = ops.logical_and(ops.greater(upper, 0), ops.greater(lower, 0))
        ratio = ops.where(both, upper / ops.where(both, lower, 1.0), 1.0)
        area = slope * (gained + intercept * ops.log(ratio))
        return divide_or_zero(area, ops.maximum(tp[1:] + self.false_negatives[1:], 0.0))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": self.label_weights,
            "from_logits": self.from_logits,
            **({} if self._given is None else {"thresholds": self._given}),
        }


def _one_of(argument: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"Invalid {argument}: {value!r}. Expected one of {', '.join(map(repr, known))}.")
    return value
