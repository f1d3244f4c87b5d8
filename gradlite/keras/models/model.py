"""Model: a layer that can be trained, saved and described."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from gradlite.autograd import no_grad
from gradlite.backends.dtypes import as_dtype
from gradlite.keras import dtype_policies
from gradlite.keras.layers.base import Layer, Shape
from gradlite.keras.utils.summary import summary_text
from gradlite.tensor import Tensor
from gradlite.training.trainer import Trainer


class Model(Trainer):
    """The base of models: subclass it, make layers in ``__init__`` and use them in ``call``.

    >>> import numpy as np
    >>> from gradlite import keras
    >>> class Classifier(keras.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = keras.layers.Dense(8, activation="relu")
    ...         self.out = keras.layers.Dense(2, activation="softmax")
    ...     def call(self, inputs):
    ...         return self.out(self.hidden(inputs))
    >>> Classifier().predict(np.zeros((3, 4)), verbose=0).shape
    (3, 2)
    """

    _untracked = Trainer._untracked | {"_built_shape"}
    _built_shape: Any = None

    def __init__(self, *args: Any, name: str | None = None, trainable: bool = True, **options: Any) -> None:
        if args or "inputs" in options or "outputs" in options:
            raise ValueError(
                "Models are not made from inputs and outputs yet: use keras.Sequential([...]), or subclass keras.Model "
                "and write call(inputs)."
            )
        super().__init__(name=name, trainable=trainable, **options)

    @property
    def layers(self) -> list[Layer]:
        """The layers directly within the model."""
        return list(self._layers)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of this name, or at this place.

        Raises:
            ValueError: if there is none.
        """
        if (name is None) == (index is None):
            raise ValueError(f"get_layer() needs a name or an index. Received: name={name!r}, index={index!r}.")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(f"There is no layer {index}: the model has {len(self.layers)}.")
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(f"There is no layer {name!r}. The layers are: {', '.join(x.name for x in self.layers)}.")

    def build(self, input_shape: Any) -> None:
        """Create the weights, by running the model once on zeros of this shape (None counts as 1)."""
        if type(self).call is Layer.call:
            return
        self._built_shape = _any_batch(input_shape)
        with no_grad():
            self.call(_zeros(input_shape, self.compute_dtype))

    def ensure_built(self, input_shape: Any) -> None:
        # The first call makes the weights: a run on zeros before it would be a second one.
        if type(self).build is Model.build:
            self._built_shape = _any_batch(input_shape)
            self.built = True
            return
        super().ensure_built(input_shape)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self.built:
            return super().__call__(inputs, *args, **kwargs)
        try:
            outputs = super().__call__(inputs, *args, **kwargs)
        except BaseException:
            self.built = False  # some layers may have no weights yet
            raise
        self.name_paths(self.path)
        return outputs

    def output_shapes(self) -> list[Shape | None]:
        """The output shape of every layer, as far as known, for ``summary``."""
        return [None for _ in self.layers]

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """Print a table of the layers, their output shapes and numbers of parameters; ``print_fn`` gets one string."""
        text = summary_text(self, line_length, positions, expand_nested, show_trainable, layer_range)
        if print_fn is None:
            print(text, end="")
        else:
            print_fn(text)

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True, zipped: bool | None = None) -> None:
        """Write the model to a ``.keras`` file; see ``keras.saving.save_model``."""
        from gradlite.keras.saving import save_model

        save_model(self, filepath, overwrite)

    def save_weights(
        self, filepath: str | os.PathLike[str], overwrite: bool = True, max_shard_size: Any = None
    ) -> None:
        """Write the weights to a ``.weights.npz`` or ``.weights.h5`` file."""
        from gradlite.keras.saving import save_weights

        save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: str | os.PathLike[str], skip_mismatch: bool = False, **options: Any) -> None:
        """Read weights written by ``save_weights``. Nothing is changed unless everything fits."""
        from gradlite.keras.saving import load_weights

        load_weights(self, filepath, skip_mismatch)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; a subclass with arguments of its own adds them."""
        return {
            "name": self.name,
            "trainable": self._trainable,
            "dtype": dtype_policies.serialize(self.dtype_policy),
        }

    def get_build_config(self) -> dict[str, Any] | None:
        """What ``build`` needs to make the weights again, for a model that was built by running it."""
        if type(self).build is not Model.build or self._built_shape is None:
            return None
        return {"input_shape": self._built_shape}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Make the weights that the model had when ``get_build_config`` was called."""
        self.build(config["input_shape"])

    def to_json(self, **options: Any) -> str:
        """The architecture as JSON text."""
        import json

        from gradlite.keras.saving import serialize_keras_object

        return json.dumps(serialize_keras_object(self), **options)


def _any_batch(shape: Any) -> Any:
    """The shape, or shapes, with None for the number of samples."""
    if isinstance(shape, dict):
        return {key: _any_batch(value) for key, value in shape.items()}
    if isinstance(shape, (list, tuple)) and shape and isinstance(shape[0], (list, tuple)):
        return [_any_batch(value) for value in shape]
    return (None, *tuple(shape)[1:])


def _zeros(shape: Any, dtype: str) -> Any:
    if isinstance(shape, dict):
        return {key: _zeros(value, dtype) for key, value in shape.items()}
    if isinstance(shape, list) and shape and isinstance(shape[0], (tuple, list)):
        return [_zeros(value, dtype) for value in shape]
    return Tensor(np.zeros([1 if n is None else n for n in shape], as_dtype(dtype)))
