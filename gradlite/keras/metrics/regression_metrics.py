"""Metrics of real-valued predictions: means of errors, their root, cosine similarity and R2."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gradlite import ops
from gradlite.autograd import no_grad
from gradlite.keras.losses.base import align_weights, divide_or_zero, same_rank_pair
from gradlite.keras.losses.regression import (
    absolute_errors,
    log_cosh,
    mean_absolute_percentage_error,
    mean_squared_logarithmic_error,
    squared_errors,
    unit_vectors,
)
from gradlite.keras.metrics.base import Metric, accumulate
from gradlite.keras.metrics.reduction_metrics import Mean, NamedMean
from gradlite.tensor import Tensor

# Means over the last axis are left to the metric's own mean: one operation fewer, and the same value.


class MeanSquaredError(NamedMean):
    """The mean of ``(y_true - y_pred)**2``.

    >>> from gradlite.keras.metrics import MeanSquaredError
    >>> float(MeanSquaredError()([[0.0], [0.0]], [[1.0], [3.0]]))
    5.0
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(squared_errors, name=name, dtype=dtype)


class RootMeanSquaredError(Mean):
    """The square root of the mean of ``(y_true - y_pred)**2``.

    >>> from gradlite.keras.metrics import RootMeanSquaredError
    >>> float(RootMeanSquaredError()([[0.0], [0.0]], [[3.0], [4.0]])) ** 2 - 12.5 < 1e-5
    True
    """

    _direction = "down"

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    @no_grad()
    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Add a batch of labels and predictions."""
        self._add(squared_errors(y_true, y_pred), sample_weight)

    def result(self) -> Tensor:
        return ops.sqrt(super().result())


class MeanAbsoluteError(NamedMean):
    """The mean of ``|y_true - y_pred|``.

    >>> from gradlite.keras.metrics import MeanAbsoluteError
    >>> float(MeanAbsoluteError()([[0.0], [0.0]], [[1.0], [3.0]]))
    2.0
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(absolute_errors, name=name, dtype=dtype)


class MeanAbsolutePercentageError(NamedMean):
    """The mean of ``100 * |y_true - y_pred| / max(|y_true|, epsilon)``.

    >>> from gradlite.keras.metrics import MeanAbsolutePercentageError
    >>> float(MeanAbsolutePercentageError()([[2.0]], [[3.0]]))
    50.0
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None) -> None:
        super().__init__(mean_absolute_percentage_error, name=name, dtype=dtype)


class MeanSquaredLogarithmicError(NamedMean):
    """The mean of ``(log(1 + y_true) - log(1 + y_pred))**2``."""

    _direction = "down"

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None) -> None:
        super().__init__(mean_squared_logarithmic_error, name=name, dtype=dtype)


class LogCoshError(NamedMean):
    """The mean of ``log(cosh(y_pred - y_true))``."""

    _direction = "down"

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(log_cosh, name=name, dtype=dtype)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """The cosine of the angle between the vectors along ``axis``; the loss of this name is minus that."""
    y_true, y_pred = same_rank_pair(y_true, y_pred)
    return ops.sum(unit_vectors(y_true, axis) * unit_vectors(y_pred, axis), axis=axis)


class CosineSimilarity(NamedMean):
    """The mean cosine of the angle between labels and predictions, 1 for the same direction.

    >>> from gradlite.keras.metrics import CosineSimilarity
    >>> float(CosineSimilarity()([[0.0, 1.0], [1.0, 0.0]], [[0.0, 3.0], [-2.0, 0.0]]))
    0.0
    """

    _direction = "up"

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(cosine_similarity, name=name, dtype=dtype, axis=axis)


class R2Score(Metric):
    """The coefficient of determination: 1 minus the residual over the total sum of squares; 1 is perfect.

    Args:
        class_aggregation: how the columns of the output are combined: ``"uniform_average"``,
            ``"variance_weighted_average"`` or None (one score for each column).
        num_regressors: the number of inputs of the model, for the adjusted score; 0 for the ordinary one.
        name: the key in logs.
        dtype: the type of the result.

    >>> from gradlite.keras.metrics import R2Score
    >>> round(float(R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]])), 4)
    0.5714
    """

    _direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        known = (None, "uniform_average", "variance_weighted_average")
        if class_aggregation not in known:
            raise ValueError(f"class_aggregation must be one of {known}. Received: {class_aggregation!r}.")
        if num_regressors < 0:
            raise ValueError(f"num_regressors must not be negative. Received: {num_regressors}.")
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self.num_samples = self.add_variable(dtype=np.float64, name="num_samples")
        self._built = False

    def _build(self, columns: int) -> None:
        self.squared_sum = self.add_variable((columns,), dtype=np.float64, name="squared_sum")
        self.sum = self.add_variable((columns,), dtype=np.float64, name="sum")
        self.total_mse = self.add_variable((columns,), dtype=np.float64, name="residual")
        self.count = self.add_variable((columns,), dtype=np.float64, name="count")
        self._built = True

    @no_grad()
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add labels and predictions (n, columns), weighted by (n,) or (n, columns)."""
        y_true, y_pred = same_rank_pair(y_true, y_pred)
        if y_pred.ndim != 2 or y_true.shape != y_pred.shape:
            raise ValueError(
                f"R2Score expects labels and predictions of one shape (batch_size, output_dim). Received: y_true of "
                f"shape {y_true.shape} and y_pred of shape {y_pred.shape}."
            )
        if not self._built:
            self._build(y_pred.shape[1])
        # In float64: the total sum of squares is a small difference of large sums.
        truth, guess = ops.astype(y_true, np.float64), ops.astype(y_pred, np.float64)
        weights = ops.ones_like(truth) if sample_weight is None else align_weights(sample_weight, truth)
        weighted = truth * weights
        accumulate(self.sum, ops.sum(weighted, axis=0))
        accumulate(self.squared_sum, ops.sum(truth * weighted, axis=0))
        accumulate(self.total_mse, ops.sum(ops.square(truth - guess) * weights, axis=0))
        accumulate(self.count, ops.sum(ops.broadcast_to(weights, truth.shape), axis=0))
        self.num_samples.move_to(truth.backend)
        accumulate(self.num_samples, truth.size)

    def result(self) -> Tensor:
        """The score. Before the first batch 0."""
        if not self._built:
            return ops.zeros(())
        total = self.squared_sum - self.sum * divide_or_zero(self.sum, self.count)
        flat = ops.equal(total, 0)
        # A column of equal labels has nothing to explain: 1 if it is met exactly, else 0, as before any label.
        met = ops.logical_and(ops.equal(self.total_mse, 0), ops.greater(self.count, 0))
        edge = ops.astype(met, np.float64)
        scores = ops.where(flat, edge, 1.0 - self.total_mse / ops.where(flat, 1.0, total))
        if self.class_aggregation == "uniform_average":
            scores = ops.mean(scores)
        elif self.class_aggregation == "variance_weighted_average":
            scores = divide_or_zero(ops.sum(total * scores), ops.sum(total))
        return ops.astype(self._adjusted(scores), self.dtype)

    def _adjusted(self, scores: Tensor) -> Tensor:
        """``1 - (1 - R2) (n - 1) / (n - p - 1)`` for p regressors (Theil, 1961)."""
        if not self.num_regressors:
            return scores
        samples = float(self.num_samples)
        if samples == 0:
            return scores
        if samples - self.num_regressors - 1 <= 0:
            warnings.warn(
                f"{samples:.0f} samples are too few for the adjusted R2 of {self.num_regressors} regressors; the "
                "ordinary R2 is given instead.",
                UserWarning,
                stacklevel=3,
            )
            return scores
        return 1.0 - (1.0 - scores) * ((samples - 1.0) / (samples - self.num_regressors - 1.0))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "class_aggregation": self.class_aggregation,
            "num_regressors": self.num_regressors,
        }
