"""Sums and means of values, and means of functions of labels and predictions.

Totals and counts are kept in float64, where Keras keeps float32: float32 cannot count beyond 2**24, 16.8 million
samples (adding 1 to it changes nothing), and loses digits of the total long before. It is two numbers per metric.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradlite import ops
from gradlite.autograd import no_grad
from gradlite.backends.dtypes import FLOAT_KINDS
from gradlite.keras.backend import floatx
from gradlite.keras.losses.base import align_weights, as_labels
from gradlite.keras.metrics.base import Metric, accumulate
from gradlite.tensor import Tensor


class Sum(Metric):
    """The sum of values times their weights.

    >>> from gradlite.keras.metrics import Sum
    >>> float(Sum()([1.0, 2.0, 3.0], sample_weight=[1.0, 0.0, 1.0]))
    4.0
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable(dtype=np.float64, name="total")

    @no_grad()
    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add ``values`` (n, ...), weighted by ``sample_weight`` (n,) or of the values' shape."""
        values = ops.as_tensor(values)
        if sample_weight is not None:
            values = values * align_weights(sample_weight, values)
        accumulate(self.total, ops.sum(values))

    def result(self) -> Tensor:
        return self._read(self.total)


class Mean(Metric):
    """The weighted mean of values: of all samples seen since the last reset.

    Values (n, ...) count as n samples, each the mean over its other axes.

    >>> from gradlite.keras.metrics import Mean
    >>> mean = Mean()
    >>> mean.update_state([1.0, 3.0])
    >>> mean.update_state([8.0])
    >>> float(mean.result())
    4.0
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable(dtype=np.float64, name="total")
        self.count = self.add_variable(dtype=np.float64, name="count")

    @no_grad()
    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add ``values`` (n, ...), weighted by ``sample_weight`` (n,) or of the values' shape."""
        self._add(ops.as_tensor(values), sample_weight)

    def _add(self, values: Tensor, sample_weight: Any, mask: Tensor | None = None) -> None:
        if values.backend is not self.total.backend:
            self.move_to(values.backend)
        size, samples = values.data.size, values.data.shape[0] if values.data.ndim else 1
        if mask is None and isinstance(sample_weight, (int, float)):
            # One number for all, as the loss of a batch is weighted by its size: nothing to sum.
            accumulate(
                self.total, _per_sample(ops.sum(values) if values.data.ndim else values, samples, size) * sample_weight
            )
            accumulate(self.count, samples * sample_weight)
            return
        weights = None if sample_weight is None else align_weights(sample_weight, values)
        if mask is not None:
            kept = ops.astype(mask, values.dtype if values.dtype.kind in FLOAT_KINDS else floatx())
            weights = kept if weights is None else weights * kept
        if weights is None:
            accumulate(self.total, _per_sample(ops.sum(values), samples, size))
            accumulate(self.count, samples)
        else:
            accumulate(self.total, _per_sample(ops.sum(values * weights), samples, size))
            # A weight that is broadcast counts once for each value that it multiplies.
            accumulate(self.count, _per_sample(ops.sum(weights), samples, weights.data.size))

    def result(self) -> Tensor:
        # Where the count is 0 the total is too: no sample, or none of any weight.
        return ops.astype(self.total / ops.where(ops.equal(self.count, 0), 1.0, self.count), self.dtype)


def _per_sample(total: Tensor, samples: int, elements: int) -> Tensor:
    """The sum over samples of the means of their elements, from the sum over all elements."""
    return total if elements in (samples, 0) else total * (samples / elements)


class MeanMetricWrapper(Mean):
    """The mean of ``fn(y_true, y_pred, **kwargs)``, a function of single samples such as those of ``keras.losses``.

    >>> from gradlite import keras
    >>> metric = keras.metrics.MeanMetricWrapper(keras.losses.mean_squared_error, name="mse")
    >>> float(metric([[0.0], [0.0]], [[1.0], [3.0]]))
    5.0
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        self._fn = fn
        self._fn_kwargs = kwargs
        if getattr(fn, "__module__", "").startswith("gradlite.keras.losses"):
            self._direction = "down"

    @no_grad()
    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Add a batch of labels and predictions."""
        y_pred = ops.as_tensor(y_pred)
        y_true = as_labels(y_true, y_pred)
        values = ops.as_tensor(self._fn(y_true, y_pred, **self._fn_kwargs))
        self._add(values, sample_weight, self._mask(y_true, y_pred))

    def _mask(self, y_true: Tensor, y_pred: Tensor) -> Tensor | None:
        """Which values count; None for all."""
        return None

    def get_config(self) -> dict[str, Any]:
        from gradlite.keras.saving import serialize_keras_object

        return {
            **super().get_config(),
            "fn": serialize_keras_object(self._fn),
            **serialize_keras_object(self._fn_kwargs),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        from gradlite.keras.saving import deserialize_keras_object

        return cls(**(deserialize_keras_object(config) if "fn" in config else config))


class NamedMean(MeanMetricWrapper):
    """A mean metric of this package: its config holds the constructor's arguments, not the function."""

    def get_config(self) -> dict[str, Any]:
        return {**Metric.get_config(self), **self._fn_kwargs}
