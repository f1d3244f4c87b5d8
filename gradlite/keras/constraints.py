"""Constraints on weights: functions that an optimizer applies to a weight after each of its updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradlite import ops
from gradlite.keras.backend import epsilon
from gradlite.keras.utils.lookup import lookup, to_config
from gradlite.keras.utils.registry import CustomObjectScope
from gradlite.tensor import Tensor

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]

Axis = int | Sequence[int]


class Constraint:
    """Base of all constraints: ``constraint(w)`` gives the nearest allowed weight, of the same shape.

    The norms below are taken along ``axis``: 0 for each column of a Dense kernel (the weights into one unit),
    ``[0, 1, 2]`` for each filter of a Conv2D kernel.

    >>> import gradlite
    >>> from gradlite.keras.constraints import Constraint
    >>> class AtMostOne(Constraint):
    ...     def __call__(self, w):
    ...         return gradlite.ops.minimum(w, 1.0)
    >>> AtMostOne()(gradlite.Tensor([0.5, 3.0])).numpy()
    array([0.5, 1. ], dtype=float32)
    """

    def __call__(self, w: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} needs a method `__call__(self, w)`.")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constraint:
        """The constraint that ``get_config`` described."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class NonNeg(Constraint):
    """Negative weights become zero.

    >>> import gradlite
    >>> from gradlite.keras.constraints import NonNeg
    >>> NonNeg()(gradlite.Tensor([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """

    def __call__(self, w: Tensor) -> Tensor:
        return ops.maximum(w, 0.0)


class MinMaxNorm(Constraint):
    """Norms are brought between ``min_value`` and ``max_value``, by the fraction ``rate`` of the way at each step.

    >>> import gradlite
    >>> from gradlite.keras.constraints import MinMaxNorm
    >>> MinMaxNorm(max_value=1.0)(gradlite.Tensor([[3.0], [4.0]])).numpy().round(3)
    array([[0.6],
           [0.8]], dtype=float32)
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0) -> None:
        if not 0 <= min_value <= max_value:
            raise ValueError(
                f"Expected 0 <= min_value <= max_value. Received: min_value={min_value}, max_value={max_value}"
            )
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        norms = _norms(w, self.axis)
        wanted = ops.clip(norms, self.min_value, self.max_value)
        if self.rate != 1.0:
            wanted = ops.add(ops.multiply(wanted, self.rate), ops.multiply(norms, 1.0 - self.rate))
        return ops.multiply(w, ops.divide(wanted, ops.add(norms, epsilon())))

    def get_config(self) -> dict[str, Any]:
        return {"min_value": self.min_value, "max_value": self.max_value, "rate": self.rate, "axis": self.axis}


class MaxNorm(Constraint):
    """Norms above ``max_value`` are brought down to it (Srivastava et al. 2014).

    >>> import gradlite
    >>> from gradlite.keras.constraints import MaxNorm
    >>> MaxNorm(1.0)(gradlite.Tensor([[3.0], [4.0]])).numpy().round(3)
    array([[0.6],
           [0.8]], dtype=float32)
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        if not max_value >= 0:
            raise ValueError(f"Expected max_value >= 0. Received: max_value={max_value}")
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        norms = _norms(w, self.axis)
        return ops.multiply(w, ops.divide(ops.minimum(norms, self.max_value), ops.add(norms, epsilon())))

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


class UnitNorm(Constraint):
    """Norms are made 1.

    >>> import gradlite
    >>> from gradlite.keras.constraints import UnitNorm
    >>> UnitNorm()(gradlite.Tensor([[3.0], [4.0]])).numpy().round(3)
    array([[0.6],
           [0.8]], dtype=float32)
    """

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        return ops.divide(w, ops.add(_norms(w, self.axis), epsilon()))

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}


def _norms(w: Tensor, axis: Axis) -> Tensor:
    along = axis if isinstance(axis, int) else tuple(axis)
    return ops.sqrt(ops.sum(ops.square(w), axis=along, keepdims=True))


max_norm = MaxNorm
min_max_norm = MinMaxNorm
non_neg = NonNeg
unit_norm = UnitNorm

TABLE: dict[str, type[Constraint]] = {
    "MaxNorm": MaxNorm,
    "MinMaxNorm": MinMaxNorm,
    "NonNeg": NonNeg,
    "UnitNorm": UnitNorm,
    "max_norm": MaxNorm,
    "min_max_norm": MinMaxNorm,
    "non_neg": NonNeg,
    "unit_norm": UnitNorm,
}


def get(identifier: Any) -> Callable[[Tensor], Tensor] | None:
    """The constraint that a name, config, class, function or instance stands for; None for None.

    >>> from gradlite.keras import constraints
    >>> constraints.get("max_norm")
    MaxNorm(max_value=2, axis=0)
    """
    found: Callable[[Tensor], Tensor] | None = lookup("constraint", identifier, TABLE)
    return found


def serialize(constraint: Any) -> Any:
    """A config that ``get`` and ``deserialize`` understand."""
    return to_config("constraints", constraint)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The constraint that ``serialize`` described."""
    with CustomObjectScope(custom_objects):
        return get(config)
