"""Cross-entropies and divergences as metrics: the losses of the same names, averaged over all samples seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite import ops
from gradlite.keras.losses.crossentropy import (
    binary_crossentropies,
    categorical_crossentropy,
    check_smoothing,
    sparse_categorical_crossentropy,
)
from gradlite.keras.losses.regression import kl_divergence, poisson
from gradlite.keras.metrics.reduction_metrics import NamedMean
from gradlite.tensor import Tensor


class KLDivergence(NamedMean):
    """The mean Kullback-Leibler divergence, see ``keras.losses.kl_divergence``."""

    _direction = "down"

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None) -> None:
        super().__init__(kl_divergence, name=name, dtype=dtype)


class Poisson(NamedMean):
    """The mean Poisson loss, see ``keras.losses.poisson``."""

    _direction = "down"

    def __init__(self, name: str | None = "poisson", dtype: Any = None) -> None:
        super().__init__(poisson, name=name, dtype=dtype)


class BinaryCrossentropy(NamedMean):
    """The mean cross-entropy of labels in [0, 1], see ``keras.losses.binary_crossentropy``.

    >>> from gradlite.keras.metrics import BinaryCrossentropy
    >>> round(float(BinaryCrossentropy()([[0.0], [1.0]], [[0.5], [0.5]])), 4)
    0.6931
    """

    _direction = "down"

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        super().__init__(
            binary_crossentropies, name=name, dtype=dtype,
            from_logits=from_logits, label_smoothing=check_smoothing(label_smoothing),
        )  # fmt: skip
        self.from_logits, self.label_smoothing = from_logits, label_smoothing


class CategoricalCrossentropy(NamedMean):
    """The mean cross-entropy of one-hot labels, see ``keras.losses.categorical_crossentropy``.

    >>> from gradlite.keras.metrics import CategoricalCrossentropy
    >>> round(float(CategoricalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]])), 4)
    0.6931
    """

    _direction = "down"

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        super().__init__(
            categorical_crossentropy, name=name, dtype=dtype,
            from_logits=from_logits, label_smoothing=check_smoothing(label_smoothing), axis=axis,
        )  # fmt: skip
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


class SparseCategoricalCrossentropy(NamedMean):
    """The mean cross-entropy of class numbers, see ``keras.losses.sparse_categorical_crossentropy``.

    With ``ignore_class`` the mean is taken over the labels that are not ignored.

    >>> from gradlite.keras.metrics import SparseCategoricalCrossentropy
    >>> round(float(SparseCategoricalCrossentropy()([0, 1], [[0.5, 0.5], [0.5, 0.5]])), 4)
    0.6931
    """

    _direction = "down"

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(
            sparse_categorical_crossentropy, name=name, dtype=dtype,
            from_logits=from_logits, ignore_class=ignore_class, axis=axis,
        )  # fmt: skip
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis

    def _mask(self, y_true: Tensor, y_pred: Tensor) -> Tensor | None:
        if self.ignore_class is None:
            return None
        labels = ops.squeeze(y_true, self.axis) if y_true.ndim == y_pred.ndim else y_true
        return ops.not_equal(ops.astype(labels, np.int64), self.ignore_class)
