"""Sequential: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gradlite.autograd import no_grad
from gradlite.backends.dtypes import as_dtype
from gradlite.keras import dtype_policies
from gradlite.keras.layers import InputLayer
from gradlite.keras.layers.base import Layer, Shape
from gradlite.keras.layers.fusion import rows
from gradlite.keras.models.model import Model
from gradlite.tensor import Tensor
from gradlite.training.structure import flatten


class Sequential(Model):
    """A model whose layers follow each other.

    With ``keras.Input(shape=...)`` first, or ``input_shape=...`` in the first layer, weights exist at once; else they
    are made when the first data comes.

    Args:
        layers: the layers, in order.
        name: by default "sequential", numbered.
        dtype: the policy of the model itself, by default the global one; the layers have their own.

    >>> from gradlite import keras
    >>> model = keras.Sequential([keras.Input(shape=(784,)), keras.layers.Dense(10, activation="softmax")])
    >>> model.count_params()
    7850
    """

    _untracked = Model._untracked | {"_input", "_output_shapes"}

    def __init__(
        self,
        layers: Iterable[Layer] | Layer | None = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        self._input: InputLayer | None = None
        self._output_shapes: list[Shape | None] = []
        self._built_shape: Shape | None = None
        for layer in [layers] if isinstance(layers, Layer) else layers or ():
            self._append(layer)
        self._rebuild()

    def add(self, layer: Layer) -> None:
        """Append a layer.

        Raises:
            ValueError: for what is no layer, an Input that is not first, or a name that is taken.
        """
        self._append(layer)
        self._rebuild()

    def pop(self) -> Layer:
        """Remove the last layer and return it."""
        if not self._layers:
            raise ValueError("pop() on a model without layers.")
        layer = self._layers.pop()
        self._output_shapes = self._output_shapes[: len(self._layers)]
        return layer

    def _append(self, layer: Any) -> None:
        if isinstance(layer, InputLayer):
            if self._layers or self._input is not None:
                raise ValueError(f"Model {self.name!r} has an input already: Input must come first and once.")
            self._input = layer
            return
        if isinstance(layer, type) or not isinstance(layer, Layer):
            hint = f" Did you mean {layer.__name__}(...)?" if isinstance(layer, type) else ""
            raise ValueError(
                f"Sequential consists of layers. Received: {layer!r} of type {type(layer).__name__}.{hint}"
            )
        if any(other is not layer and other.name == layer.name for other in self._layers):
            raise ValueError(f"Model {self.name!r} has a layer named {layer.name!r} already; names must differ.")
        if not self._layers and self._input is None:
            first = layer._input if isinstance(layer, Sequential) else None
            shape = layer.given_input_shape or (first.batch_shape if first is not None else None)
            if shape is not None:
                self._input = InputLayer(batch_shape=shape, dtype=layer.dtype, name=f"{layer.name}_input")
        self._layers.append(layer)
        if not self._trainable:
            layer.trainable = False

    def _rebuild(self) -> None:
        """Build what is not built yet, if the shape of the input is known."""
        self.built = False
        if self._input is not None and self._layers:
            self.ensure_built(self._input.batch_shape)

    def build(self, input_shape: Any = None) -> None:
        """Create all weights for an input of this shape, batch axis included.

        Raises:
            ValueError: if a layer does not fit what comes before it; the message names it.
        """
        if input_shape is None:
            raise ValueError("build() needs the input's shape, such as (None, 784).")
        shape: Any = (None, *tuple(input_shape)[1:]) if self._input is None else tuple(input_shape)
        self._built_shape = shape
        self._output_shapes = []
        for layer in self._layers:
            layer.ensure_built(shape)
            shape = _output_shape(layer, shape)
            self._output_shapes.append(shape)

    def ensure_built(self, input_shape: Any) -> None:
        if not self.built:
            self.build(input_shape)

    def _to_tensors(self, inputs: Any) -> Any:
        inputs = super()._to_tensors(inputs)
        # One input may come in a list or dict, as models of several inputs get theirs.
        return next(iter(flatten(inputs))) if len(flatten(inputs)) == 1 else inputs

    def call(self, inputs: Any, training: bool = False) -> Any:
        # Layers inherit the training flag from this call.
        for part in rows(self._layers) if training else self._layers:
            inputs = part(inputs)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = input_shape
        for layer in self._layers:
            shape = layer.compute_output_shape(shape)
        return shape

    def output_shapes(self) -> list[Shape | None]:
        return self._output_shapes + [None] * (len(self._layers) - len(self._output_shapes))

    @property
    def input_shape(self) -> Shape:
        """The shape of the input, where an Input says it."""
        if self._input is None:
            raise AttributeError(f"Model {self.name!r} has no Input, so its input_shape is not fixed.")
        return self._input.batch_shape

    @property
    def output_shape(self) -> Shape | None:
        """The shape of the output, once the model is built."""
        if not self._output_shapes:
            raise AttributeError(f"Model {self.name!r} is not built, so its output_shape is not known.")
        return self._output_shapes[-1]

    def get_config(self) -> dict[str, Any]:
        from gradlite.keras.saving import serialize_keras_object

        parts = ([self._input] if self._input is not None else []) + self._layers
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self._trainable,
            "dtype": dtype_policies.serialize(self.dtype_policy),
            "layers": [serialize_keras_object(layer) for layer in parts],
        }
        if self._input is None and self.built and self._built_shape is not None:
            config["build_input_shape"] = list(self._built_shape)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Sequential:
        """A new model of the same layers, without their weights."""
        from gradlite.keras.saving import CustomObjectScope, deserialize_keras_object

        with CustomObjectScope(custom_objects):
            layers = [deserialize_keras_object(layer) for layer in config["layers"]]
        model = cls(layers, trainable=config.get("trainable", True), name=config.get("name"), dtype=config.get("dtype"))
        if config.get("build_input_shape") and not model.built:
            model.build(tuple(config["build_input_shape"]))
        return model


def _output_shape(layer: Layer, shape: Any) -> Any:
    """The layer's word on its output's shape; of a layer of the user's that has none, by running it on zeros."""
    try:
        return layer.compute_output_shape(shape)
    except NotImplementedError:
        with no_grad():
            probe = layer(
                Tensor(np.zeros([1 if n is None else n for n in shape], as_dtype(layer.compute_dtype))), training=False
            )
        return (shape[0], *probe.shape[1:])
