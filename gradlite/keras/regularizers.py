"""Penalties on weights and activities, added to the loss; written in operations, so that they differentiate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradlite import ops
from gradlite.keras.utils.lookup import lookup, to_config
from gradlite.keras.utils.registry import CustomObjectScope
from gradlite.tensor import Tensor

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]


class Regularizer:
    """Base of all regularizers: ``regularizer(x)`` gives a scalar Tensor.

    Subclass it with ``__call__`` and, to be saved, ``get_config``.

    >>> import gradlite
    >>> from gradlite.keras.regularizers import Regularizer
    >>> class MeanSquare(Regularizer):
    ...     def __call__(self, x):
    ...         return gradlite.ops.mean(x * x)
    >>> MeanSquare()(gradlite.Tensor([1.0, 3.0])).item()
    5.0
    """

    def __call__(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} needs a method `__call__(self, x)`.")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regularizer:
        """The regularizer that ``get_config`` described."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class L1L2(Regularizer):
    """``l1 * sum(abs(x)) + l2 * sum(x**2)``, both factors 0 unless given.

    >>> import gradlite
    >>> from gradlite.keras.regularizers import L1L2
    >>> L1L2(l1=1.0, l2=2.0)(gradlite.Tensor([1.0, -3.0])).item()
    24.0
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = _factor("l1", 0.0 if l1 is None else l1)
        self.l2 = _factor("l2", 0.0 if l2 is None else l2)

    def __call__(self, x: Tensor) -> Tensor:
        terms = []
        if self.l1:
            terms.append(ops.multiply(ops.sum(ops.abs(x)), self.l1))
        if self.l2:
            terms.append(ops.multiply(ops.sum(ops.square(x)), self.l2))
        if not terms:
            return ops.multiply(ops.sum(x), 0.0)
        return terms[0] if len(terms) == 1 else ops.add(*terms)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


class L1(Regularizer):
    """``l1 * sum(abs(x))``: drives weights to zero one by one.

    >>> import gradlite
    >>> from gradlite.keras.regularizers import L1
    >>> L1(0.5)(gradlite.Tensor([1.0, -3.0])).item()
    2.0
    """

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = _factor("l1", 0.01 if l1 is None else l1)

    def __call__(self, x: Tensor) -> Tensor:
        return ops.multiply(ops.sum(ops.abs(x)), self.l1)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(Regularizer):
    """``l2 * sum(x**2)``: keeps weights small. Note that the gradient is ``2 * l2 * x``.

    >>> import gradlite
    >>> from gradlite.keras.regularizers import L2
    >>> L2(0.5)(gradlite.Tensor([1.0, -3.0])).item()
    5.0
    """

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = _factor("l2", 0.01 if l2 is None else l2)

    def __call__(self, x: Tensor) -> Tensor:
        return ops.multiply(ops.sum(ops.square(x)), self.l2)

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """``factor`` times the mean absolute cosine between different rows (or columns) of a matrix.

    >>> import gradlite
    >>> from gradlite.keras.regularizers import OrthogonalRegularizer
    >>> OrthogonalRegularizer(factor=1.0)(gradlite.Tensor([[1.0, 0.0], [1.0, 1.0]])).numpy().round(4)
    np.float32(0.7071)
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = _factor("factor", factor)
        if mode not in ("rows", "columns"):
            raise ValueError(f'Invalid value for argument `mode`. Expected "rows" or "columns". Received: mode={mode}')
        self.mode = mode

    def __call__(self, x: Tensor) -> Tensor:
        if len(x.shape) != 2:
            raise ValueError(f"Inputs to OrthogonalRegularizer must have rank 2. Received: shape={tuple(x.shape)}")
        vectors = x if self.mode == "rows" else ops.transpose(x)  # (n, length)
        squared = ops.sum(ops.square(vectors), axis=1, keepdims=True)
        unit = ops.multiply(vectors, ops.rsqrt(ops.maximum(squared, 1e-12)))
        cosines = ops.matmul(unit, ops.transpose(unit))  # (n, n), each pair twice and each vector with itself once
        n = vectors.shape[0]
        twice = ops.subtract(ops.sum(ops.abs(cosines)), ops.sum(ops.square(unit)))
        return ops.multiply(twice, self.factor / max(n * (n - 1), 1))

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "mode": self.mode}


def _factor(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0 or math.isinf(value):
        raise ValueError(
            f"Invalid value for argument {name}: expected a non-negative float. Received: {name}={value!r}"
        )
    return float(value)


l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer

TABLE: dict[str, type[Regularizer]] = {
    "L1": L1,
    "L2": L2,
    "L1L2": L1L2,
    "OrthogonalRegularizer": OrthogonalRegularizer,
    "l1": L1,
    "l2": L2,
    "l1l2": L1L2,
    "l1_l2": L1L2,
    "orthogonal_regularizer": OrthogonalRegularizer,
}


def get(identifier: Any) -> Callable[[Tensor], Tensor] | None:
    """The regularizer that a name, config, class, function or instance stands for; None for None.

    >>> from gradlite.keras import regularizers
    >>> regularizers.get("l2")
    L2(l2=0.01)
    """
    found: Callable[[Tensor], Tensor] | None = lookup("regularizer", identifier, TABLE)
    return found


def serialize(regularizer: Any) -> Any:
    """A config that ``get`` and ``deserialize`` understand."""
    return to_config("regularizers", regularizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The regularizer that ``serialize`` described."""
    with CustomObjectScope(custom_objects):
        return get(config)
