"""Layers that merge several inputs, and the functions of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from gradlite import ops
from gradlite.keras.layers.base import Layer, Shape
from gradlite.tensor import Tensor


class _Merge(Layer):
    """Combines a list of inputs that broadcast, element by element."""

    # Sums of bytes would overflow. Layers that only choose among elements leave integers as they are.
    casts_integers = True

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        self._check(inputs)
        return self._merge(list(inputs))

    def _merge(self, inputs: list[Tensor]) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} needs a _merge(inputs).")

    def _check(self, inputs: Any) -> None:
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise ValueError(f"{type(self).__name__} layer {self.name!r} needs a list of at least two inputs.")

    def compute_output_shape(self, input_shape: Any) -> Shape:
        first, *others = input_shape
        return reduce(_broadcast, others, tuple(first))


def _broadcast(a: Shape, b: Shape) -> Shape:
    if len(a) != len(b):
        raise ValueError(f"Inputs to be merged need the same number of axes. Received: shapes {a} and {b}.")
    result: list[int | None] = []
    for n, m in zip(a, b):
        if n is not None and m is not None and n != m and 1 not in (n, m):
            raise ValueError(f"Inputs of shapes {a} and {b} cannot be merged.")
        result.append(m if n in (1, None) and m is not None else n)
    return tuple(result)


class Add(_Merge):
    """The sum of the inputs.

    >>> from gradlite import keras, ones
    >>> keras.layers.Add()([ones((1, 2)), ones((1, 2))]).numpy()
    array([[2., 2.]], dtype=float32)
    """

    def _merge(self, inputs: list[Tensor]) -> Tensor:
        return reduce(ops.add, inputs)


class Subtract(_Merge):
    """The first of two inputs minus the second.

    >>> from gradlite import keras, ones
    >>> keras.layers.Subtract()([ones((1, 2)), ones((1, 2))]).numpy()
    array([[0., 0.]], dtype=float32)
    """

    def _check(self, inputs: Any) -> None:
        super()._check(inputs)
        if len(inputs) != 2:
            raise ValueError(f"Subtract layer {self.name!r} needs exactly two inputs. Received: {len(inputs)}.")

    def _merge(self, inputs: list[Tensor]) -> Tensor:
        return inputs[0] - inputs[1]


class Multiply(_Merge):
    """The product of the inputs.

    >>> from gradlite import keras, ones
    >>> keras.layers.Multiply()([ones((1, 2)), ones((1, 2)) * 3]).numpy()
    array([[3., 3.]], dtype=float32)
    """

    def _merge(self, inputs: list[Tensor]) -> Tensor:
        return reduce(ops.multiply, inputs)


class Average(_Merge):
    """The mean of the inputs.

    >>> from gradlite import keras, ones
    >>> keras.layers.Average()([ones((1, 2)), ones((1, 2)) * 3]).numpy()
    array([[2., 2.]], dtype=float32)
    """

    def _merge(self, inputs: list[Tensor]) -> Tensor:
        return reduce(ops.add, inputs) / len(inputs)


class Maximum(_Merge):
    """The largest of the inputs.

    >>> from gradlite import keras, ones
    >>> keras.layers.Maximum()([ones((1, 2)), ones((1, 2)) * 3]).numpy()
    array([[3., 3.]], dtype=float32)
    """

    casts_integers = False

    def _merge(self, inputs: list[Tensor]) -> Tensor:
        return reduce(ops.maximum, inputs)


class Minimum(_Merge):
    """The smallest of the inputs.

    >>> from gradlite import keras, ones
    >>> keras.layers.Minimum()([ones((1, 2)), ones((1, 2)) * 3]).numpy()
    array([[1., 1.]], dtype=float32)
    """

    casts_integers = False

    def _merge(self, inputs: list[Tensor]) -> Tensor:
        return reduce(ops.minimum, inputs)


class Concatenate(_Merge):
    """The inputs one after the other along an axis.

    >>> from gradlite import keras, ones
    >>> keras.layers.Concatenate()([ones((1, 2)), ones((1, 3))]).shape
    (1, 5)
    """

    casts_integers = False

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def _merge(self, inputs: list[Tensor]) -> Tensor:
        return ops.concatenate(inputs, self.axis)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = list(input_shape[0])
        joined = [s[self.axis] for s in input_shape]
        shape[self.axis] = None if None in joined else int(np.sum(joined))
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


def add(inputs: Sequence[Any], **options: Any) -> Tensor:
    """The sum of the inputs; see ``Add``."""
    return Add(**options)(inputs)


def subtract(inputs: Sequence[Any], **options: Any) -> Tensor:
    """The first of two inputs minus the second; see ``Subtract``."""
    return Subtract(**options)(inputs)


def multiply(inputs: Sequence[Any], **options: Any) -> Tensor:
    """The product of the inputs; see ``Multiply``."""
    return Multiply(**options)(inputs)


def average(inputs: Sequence[Any], **options: Any) -> Tensor:
    """The mean of the inputs; see ``Average``."""
    return Average(**options)(inputs)


def maximum(inputs: Sequence[Any], **options: Any) -> Tensor:
    """The largest of the inputs; see ``Maximum``."""
    return Maximum(**options)(inputs)


def minimum(inputs: Sequence[Any], **options: Any) -> Tensor:
    """The smallest of the inputs; see ``Minimum``."""
    return Minimum(**options)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **options: Any) -> Tensor:
    """The inputs one after the other along an axis; see ``Concatenate``."""
    return Concatenate(axis=axis, **options)(inputs)
