"""Activations as layers."""

from __future__ import annotations

from typing import Any

from gradlite import nn, ops
from gradlite.keras import activations, constraints, initializers, regularizers
from gradlite.keras.layers.base import InputSpec, Layer, Shape
from gradlite.tensor import Tensor


class _Elementwise(Layer):
    """A layer whose output has the shape of its input."""

    casts_integers = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class Activation(_Elementwise):
    """An activation by name or function.

    >>> from gradlite import keras
    >>> keras.layers.Activation("relu")([[-1.0, 1.0]]).numpy()
    array([[0., 1.]], dtype=float32)
    """

    def __init__(self, activation: Any, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activations.get(activation)

    def call(self, inputs: Tensor) -> Tensor:
        return self.activation(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


class ReLU(_Elementwise):
    """``x`` where ``x >= threshold``, else ``negative_slope * (x - threshold)``; at most ``max_value``.

    >>> from gradlite import keras
    >>> keras.layers.ReLU(max_value=1.0)([[-1.0, 0.5, 3.0]]).numpy()
    array([[0. , 0.5, 1. ]], dtype=float32)
    """

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        for name, value in (("max_value", max_value), ("negative_slope", negative_slope), ("threshold", threshold)):
            if value is not None and value < 0:
                raise ValueError(f"ReLU needs {name} not to be negative. Received: {name}={value}.")
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold

    def call(self, inputs: Tensor) -> Tensor:
        if not self.threshold and not self.negative_slope:
            y = nn.relu(inputs)
        else:
            below = (inputs - self.threshold) * self.negative_slope
            y = ops.where(inputs >= self.threshold, inputs, below)
        return y if self.max_value is None else ops.clip(y, None, self.max_value)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_value": self.max_value,
            "negative_slope": self.negative_slope,
            "threshold": self.threshold,
        }


class LeakyReLU(_Elementwise):
    """``x`` where positive, else ``negative_slope * x``. (The string "leaky_relu" uses slope 0.2, as in Keras.)

    >>> from gradlite import keras
    >>> keras.layers.LeakyReLU()([[-1.0, 1.0]]).numpy()
    array([[-0.3,  1. ]], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        negative_slope = options.pop("alpha", negative_slope)
        super().__init__(**options)
        if negative_slope is None or negative_slope < 0:
            raise ValueError(
                f"LeakyReLU needs negative_slope not to be negative. Received: negative_slope={negative_slope}."
            )
        self.negative_slope = float(negative_slope)

    def call(self, inputs: Tensor) -> Tensor:
        return nn.leaky_relu(inputs, self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "negative_slope": self.negative_slope}


class ELU(_Elementwise):
    """``x`` where positive, else ``alpha * (exp(x) - 1)``.

    >>> from gradlite import keras
    >>> keras.layers.ELU()([[2.0]]).numpy()
    array([[2.]], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = float(alpha)

    def call(self, inputs: Tensor) -> Tensor:
        return nn.elu(inputs, self.alpha)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


class PReLU(_Elementwise):
    """``x`` where positive, else ``alpha * x`` with an ``alpha`` that is learned (He et al., 2015).

    Args:
        alpha_initializer, alpha_regularizer, alpha_constraint: as in ``Dense``.
        shared_axes: axes along which one alpha serves; ``[1, 2]`` for one a channel of images.

    >>> from gradlite import keras
    >>> keras.layers.PReLU()([[-1.0, 1.0]]).numpy()
    array([[-0.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        self.shared_axes = None if shared_axes is None else _listed(shared_axes)

    def build(self, input_shape: Shape) -> None:
        shape = [1 if i in (self.shared_axes or ()) else n for i, n in enumerate(input_shape)][1:]
        if None in shape:
            raise ValueError(
                f"PReLU layer {self.name!r} needs all lengths but the batch's: name others in shared_axes. "
                f"Received: {input_shape}."
            )
        self.alpha = self.add_weight(
            [n for n in shape if n is not None],
            self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
            name="alpha",
        )
        lengths = {i: n for i, n in enumerate(shape, 1) if n is not None and i not in (self.shared_axes or ())}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=lengths)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.where(inputs > 0, inputs, inputs * self.alpha)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": regularizers.serialize(self.alpha_regularizer),
            "alpha_constraint": constraints.serialize(self.alpha_constraint),
            "shared_axes": self.shared_axes,
        }


def _listed(axes: Any) -> list[int]:
    return [axes] if isinstance(axes, int) else list(axes)


class Softmax(_Elementwise):
    """Softmax along an axis.

    >>> from gradlite import keras
    >>> keras.layers.Softmax()([[0.0, 0.0]]).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def call(self, inputs: Tensor) -> Tensor:
        return activations.softmax(inputs, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
