"""Metrics of true and false positives at thresholds: counts, precision, recall, and points on their curves."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite import ops
from gradlite.autograd import no_grad
from gradlite.keras.losses.base import divide_or_zero
from gradlite.keras.metrics.base import Metric, accumulate
from gradlite.keras.metrics.confusion import BELOW_ALL, count, even_thresholds, parse_thresholds
from gradlite.keras.variables import Variable
from gradlite.tensor import Tensor


def _one_or_all(values: Tensor) -> Tensor:
    """A scalar for a single threshold."""
    return values[0] if values.shape[0] == 1 else values


class _Count(Metric):
    """The weight of one of the four outcomes, at one threshold or several."""

    _outcome = ""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.thresholds = parse_thresholds(thresholds, 0.5)
        self.accumulator = self.add_variable((len(self.thresholds),), dtype=np.float64, name="accumulator")

    @no_grad()
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add labels (0 or 1) and scores of one shape."""
        counts = count(y_true, y_pred, self.thresholds, sample_weight)
        accumulate(self.accumulator, getattr(counts, self._outcome))

    def result(self) -> Tensor:
        return _one_or_all(self._read(self.accumulator))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}


class TruePositives(_Count):
    """How many positives have a score above the threshold (0.5 unless given).

    >>> from gradlite.keras.metrics import TruePositives
    >>> float(TruePositives()([0, 1, 1, 1], [0.0, 1.0, 0.2, 0.9]))
    2.0
    """

    _outcome = "true_positives"


class TrueNegatives(_Count):
    """How many negatives have a score that is not above the threshold (0.5 unless given)."""

    _outcome = "true_negatives"


class FalsePositives(_Count):
    """How many negatives have a score above the threshold (0.5 unless given)."""

    _outcome = "false_positives"


class FalseNegatives(_Count):
    """How many positives have a score that is not above the threshold (0.5 unless given)."""

    _outcome = "false_negatives"


class _Ratio(Metric):
    """True positives divided by true positives and one kind of errors."""

    _direction = "up"
    _errors = ""

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.top_k, self.class_id = top_k, class_id
        self.thresholds = parse_thresholds(thresholds, 0.5 if top_k is None else BELOW_ALL)
        shape = (len(self.thresholds),)
        self.true_positives = self.add_variable(shape, dtype=np.float64, name="true_positives")
        self._wrong = self.add_variable(shape, dtype=np.float64, name=self._errors)

    @no_grad()
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add labels (0 or 1) and scores of one shape."""
        counts = count(y_true, y_pred, self.thresholds, sample_weight, self.top_k, self.class_id)
        accumulate(self.true_positives, counts.true_positives)
        accumulate(self._wrong, getattr(counts, self._errors))

    def result(self) -> Tensor:
        ratios = divide_or_zero(self.true_positives, self.true_positives + self._wrong)
        return _one_or_all(ops.astype(ratios, self.dtype))

    def get_config(self) -> dict[str, Any]:
        own = {"thresholds": self.init_thresholds, "top_k": self.top_k, "class_id": self.class_id}
        return {**super().get_config(), **own}


class Precision(_Ratio):
    """The share of predictions above the threshold that are right; 0 if there are none.

    Args:
        thresholds: one or several in [0, 1]; 0.5 by default, and none with ``top_k``.
        top_k: count only the ``top_k`` highest scores of each row as positive.
        class_id: look at this column only.
        name: the key in logs.
        dtype: the type of the result.

    >>> from gradlite.keras.metrics import Precision
    >>> round(float(Precision()([0, 1, 1, 1], [1.0, 0.0, 1.0, 1.0])), 4)
    0.6667
    """

    _errors = "false_positives"

    @property
    def false_positives(self) -> Variable:
        """The weight of negatives above each threshold."""
        return self._wrong


class Recall(_Ratio):
    """The share of positives that have a score above the threshold; 0 if there are none. Arguments as ``Precision``.

    >>> from gradlite.keras.metrics import Recall
    >>> round(float(Recall()([0, 1, 1, 1], [1.0, 0.0, 1.0, 1.0])), 4)
    0.6667
    """

    _errors = "false_negatives"

    @property
    def false_negatives(self) -> Variable:
        """The weight of positives that are not above each threshold."""
        return self._wrong


class FourCounts(Metric):
    """All four outcomes at many thresholds: what curves are made of."""

    _direction = "up"

    def _add_counts(self, shape: tuple[int, ...]) -> None:
        self.true_positives = self.add_variable(shape, dtype=np.float64, name="true_positives")
        self.false_positives = self.add_variable(shape, dtype=np.float64, name="false_positives")
        self.true_negatives = self.add_variable(shape, dtype=np.float64, name="true_negatives")
        self.false_negatives = self.add_variable(shape, dtype=np.float64, name="false_negatives")

    def _accumulate(self, *arguments: Any, **options: Any) -> None:
        counts = count(*arguments, **options)
        accumulate(self.true_positives, counts.true_positives)
        accumulate(self.false_positives, counts.false_positives)
        accumulate(self.true_negatives, counts.true_negatives)
        accumulate(self.false_negatives, counts.false_negatives)

    def _recalls(self) -> Tensor:
        return divide_or_zero(self.true_positives, self.true_positives + self.false_negatives)

    def _precisions(self) -> Tensor:
        return divide_or_zero(self.true_positives, self.true_positives + self.false_positives)

    def _specificities(self) -> Tensor:
        return divide_or_zero(self.true_negatives, self.true_negatives + self.false_positives)


class _BestUnderConstraint(FourCounts):
    """The best value of one rate over the thresholds at which another reaches a given value."""

    def __init__(
        self, argument: str, value: float, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if not 0 <= value <= 1:
            raise ValueError(f"Argument `{argument}` must be in the range [0, 1]. Received: {argument}={value}.")
        if num_thresholds <= 0:
            raise ValueError(f"Argument `num_thresholds` must be an integer > 0. Received: {num_thresholds}.")
        self._argument, self.value = argument, value
        self.num_thresholds, self.class_id = num_thresholds, class_id
        self.thresholds = [0.5] if num_thresholds == 1 else even_thresholds(num_thresholds)
        self._add_counts((len(self.thresholds),))

    @no_grad()
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add labels (0 or 1) and scores of one shape."""
        self._accumulate(y_true, y_pred, self.thresholds, sample_weight, class_id=self.class_id)

    def _best(self, rates: Tensor, constrained: Tensor) -> Tensor:
        # Rates are rounded once to the result's type, so that 0.7 reached exactly counts as reached.
        reached = ops.greater_equal(ops.astype(constrained, np.float32), np.float32(self.value))
        return ops.astype(ops.max(ops.where(reached, rates, 0.0)), self.dtype)

    def get_config(self) -> dict[str, Any]:
        own = {self._argument: self.value, "num_thresholds": self.num_thresholds, "class_id": self.class_id}
        return {**super().get_config(), **own}


class SensitivityAtSpecificity(_BestUnderConstraint):
    """The highest recall at a threshold where the specificity is at least ``specificity``."""

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("specificity", specificity, num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(self._recalls(), self._specificities())


class SpecificityAtSensitivity(_BestUnderConstraint):
    """The highest specificity at a threshold where the recall is at least ``sensitivity``."""

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("sensitivity", sensitivity, num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(self._specificities(), self._recalls())


class PrecisionAtRecall(_BestUnderConstraint):
    """The highest precision at a threshold where the recall is at least ``recall``."""

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("recall", recall, num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(self._precisions(), self._recalls())


class RecallAtPrecision(_BestUnderConstraint):
    """The highest recall at a threshold where the precision is at least ``precision``."""

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("precision", precision, num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(self._recalls(), self._precisions())
