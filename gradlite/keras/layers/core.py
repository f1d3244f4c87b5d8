"""Core layers: Input, Dense, Embedding, Lambda."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradlite import nn, ops
from gradlite.backends.dtypes import FLOAT_KINDS
from gradlite.keras import activations, constraints, initializers, regularizers
from gradlite.keras.backend import floatx
from gradlite.keras.layers.base import InputSpec, Layer, Shape, positive
from gradlite.tensor import Tensor


class InputLayer(Layer):
    """The place where data enters a model: holds its shape and type.

    Args:
        shape: without the batch axis; None for lengths that vary.
        batch_size: the length of the batch axis, if it is fixed.
        dtype: of the data.
        batch_shape: the whole shape, instead of ``shape`` and ``batch_size``.
        name: by default "input_layer", numbered.

    >>> from gradlite import keras
    >>> keras.Input(shape=(28, 28)).batch_shape
    (None, 28, 28)
    """

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        batch_shape: Any = None,
        name: str | None = None,
        input_shape: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype or floatx())
        shape = input_shape if shape is None else shape
        if (shape is None) == (batch_shape is None):
            raise ValueError(
                f"Input needs either shape or batch_shape. Received: shape={shape!r}, batch_shape={batch_shape!r}."
            )
        full = tuple(batch_shape) if batch_shape is not None else (batch_size, *_as_tuple(shape))
        for n in full:
            if n is not None and (not isinstance(n, (int, np.integer)) or n < 0):
                raise ValueError(f"Input needs a shape of lengths and None. Received: {full}.")
        self.batch_shape: Shape = full
        self.built = True

    @property
    def shape(self) -> Shape:
        """The shape of the data, batch axis included."""
        return self.batch_shape

    def call(self, inputs: Tensor) -> Tensor:
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {"batch_shape": self.batch_shape, "dtype": self.dtype, "name": self.name}


def _as_tuple(shape: Any) -> tuple[int | None, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    batch_shape: Any = None,
    name: str | None = None,
) -> InputLayer:
    """The first element of a Sequential model: the shape of its data without the batch axis; see ``InputLayer``."""
    return InputLayer(shape=shape, batch_size=batch_size, dtype=dtype, batch_shape=batch_shape, name=name)


class Dense(Layer):
    """A fully connected layer: ``activation(inputs @ kernel + bias)`` over the last axis.

    Args:
        units: the length of the output's last axis.
        activation: name or function; None for none.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer: how weights start.
        kernel_regularizer, bias_regularizer: penalties added to the loss.
        kernel_constraint, bias_constraint: applied after each update.
        options: ``name``, ``trainable``, ``dtype``, ``activity_regularizer``, ``input_shape``.

    Input (..., n), output (..., units). Weights: kernel (n, units), bias (units,).

    >>> from gradlite import keras
    >>> keras.layers.Dense(3)([[1.0, 2.0]]).shape
    (1, 3)
    """

    casts_integers = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **options)
        self.units = positive(units, "Dense", "units")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: Shape) -> None:
        fan_in = input_shape[-1]
        if fan_in is None:
            raise ValueError(
                f"Dense layer {self.name!r} needs the length of the input's last axis. Received: {input_shape}."
            )
        self.kernel = self.add_weight(
            (fan_in, self.units),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (self.units,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )
        self.input_spec = InputSpec(min_ndim=2, axes={-1: fan_in})

    def call(self, inputs: Tensor) -> Tensor:
        fused = activations.in_kernel(self.activation)
        y = nn.dense(inputs, self.kernel, self.bias, activation=fused)
        return y if fused else self.activation(y)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def shape_advice(self, shape: Any) -> str:
        if self.built and len(shape) > 2 and None not in shape[1:] and np.prod(shape[1:]) == self.kernel.shape[0]:
            return " Put a Flatten() layer first, or reshape the data to (n, " + str(self.kernel.shape[0]) + ")."
        return ""

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }


class Embedding(Layer):
    """A table of vectors, looked up by number.

    Args:
        input_dim: the number of rows; indices are in [0, input_dim).
        output_dim: the length of a row.
        embeddings_initializer, embeddings_regularizer, embeddings_constraint: as in ``Dense``.
        mask_zero: kept for Keras's signature; masks are not passed on, True is refused.

    Input: integers (...), output (..., output_dim).

    >>> from gradlite import keras
    >>> keras.layers.Embedding(10, 4)([[1, 2, 3]]).shape
    (1, 3, 4)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        **options: Any,
    ) -> None:
        options.pop("input_length", None)
        super().__init__(**options)
        if mask_zero:
            raise ValueError("Embedding: masks are not supported. Received: mask_zero=True.")
        self.input_dim = positive(input_dim, "Embedding", "input_dim")
        self.output_dim = positive(output_dim, "Embedding", "output_dim")
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)

    def build(self, input_shape: Shape) -> None:
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
            name="embeddings",
        )

    def call(self, inputs: Tensor) -> Tensor:
        if inputs.dtype.kind in FLOAT_KINDS:
            inputs = inputs.astype(np.int64)
        try:
            return ops.take(self.embeddings, inputs, axis=0)
        except IndexError:
            raise ValueError(
                f"Embedding layer {self.name!r} has {self.input_dim} rows, numbered from 0. Received: numbers from "
                f"{int(ops.min(inputs))} to {int(ops.max(inputs))}. Make input_dim larger than the largest."
            ) from None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": regularizers.serialize(self.embeddings_regularizer),
            "embeddings_constraint": constraints.serialize(self.embeddings_constraint),
        }


class Lambda(Layer):
    """A function as a layer. It has no weights, and is not saved in files: a file carries no code.

    Args:
        function: takes and returns Tensors.
        output_shape: the output's shape without the batch axis, or a function of the input shape; None: as the input.
        arguments: further keyword arguments of the function.

    >>> from gradlite import keras
    >>> keras.layers.Lambda(lambda x: x * 2)([[1.0]]).numpy()
    array([[2.]], dtype=float32)
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        arguments: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not callable(function):
            raise ValueError(f"Lambda needs a function. Received: {function!r}.")
        self.function = function
        self.output_shape = output_shape
        self.arguments = arguments or {}

    def call(self, inputs: Any) -> Any:
        return self.function(inputs, **self.arguments)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if self.output_shape is None:
            return input_shape
        if callable(self.output_shape):
            return self.output_shape(input_shape)
        return (input_shape[0], *self.output_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "function": self.function,
            "output_shape": self.output_shape,
            "arguments": self.arguments,
        }
