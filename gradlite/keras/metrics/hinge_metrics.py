"""Hinge losses as metrics, averaged over all samples seen."""

from __future__ import annotations

from typing import Any

from gradlite.keras.losses.hinge import categorical_hinge, hinge, squared_hinge
from gradlite.keras.metrics.reduction_metrics import NamedMean


class Hinge(NamedMean):
    """The mean hinge loss, see ``keras.losses.hinge``.

    >>> from gradlite.keras.metrics import Hinge
    >>> float(Hinge()([[1.0], [-1.0]], [[0.5], [-2.0]]))
    0.25
    """

    _direction = "down"

    def __init__(self, name: str | None = "hinge", dtype: Any = None) -> None:
        super().__init__(hinge, name=name, dtype=dtype)


class SquaredHinge(NamedMean):
    """The mean squared hinge loss, see ``keras.losses.squared_hinge``."""

    _direction = "down"

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None) -> None:
        super().__init__(squared_hinge, name=name, dtype=dtype)


class CategoricalHinge(NamedMean):
    """The mean hinge loss of several classes, see ``keras.losses.categorical_hinge``."""

    _direction = "down"

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None) -> None:
        super().__init__(categorical_hinge, name=name, dtype=dtype)
