"""Layer: weights, a computation, and how the two are built, called, described and saved."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradlite.autograd import as_tensor, is_recomputing
from gradlite.keras import backend, constraints, initializers, regularizers
from gradlite.keras.utils.naming import unique_name
from gradlite.keras.variables import Variable
from gradlite.tensor import Tensor

Shape = tuple[int | None, ...]


class _Call(threading.local):
    """The call that is running in this thread: layers within it inherit its training flag."""

    training: bool = False
    depth: int = 0


_call = _Call()


class InputSpec:
    """What a layer asks of its input's shape.

    Args:
        ndim: the exact number of axes.
        min_ndim: the least number of axes.
        axes: lengths that axes must have.
    """

    def __init__(
        self, ndim: int | None = None, min_ndim: int | None = None, axes: dict[int, int] | None = None
    ) -> None:
        self.ndim = ndim
        self.min_ndim = min_ndim
        self.axes = axes or {}

    def check(self, shape: Sequence[int | None], layer: Layer) -> None:
        """Raise ValueError, naming the layer, both shapes and what to do, if ``shape`` does not fit."""
        problem = None
        if self.ndim is not None and len(shape) != self.ndim:
            problem = f"expected {self.ndim} axes"
        elif self.min_ndim is not None and len(shape) < self.min_ndim:
            problem = f"expected at least {self.min_ndim} axes"
        else:
            for axis, length in self.axes.items():
                if shape[axis] is not None and shape[axis] != length:
                    problem = f"expected axis {axis} to have length {length}"
        if problem is not None:
            raise ValueError(
                f"The input of layer {layer.name!r} ({type(layer).__name__}) does not fit: {problem}, "
                f"but the input has shape {tuple(shape)}.{layer.shape_advice(shape)}"
            )


class Layer:
    """The base of all layers and models. Subclass it, create weights in ``build`` and compute in ``call``.

    Args:
        name: by default the class's in snake case, numbered.
        trainable: whether the weights are trained.
        dtype: of weights and computation; by default ``keras.backend.floatx()``.
        activity_regularizer: a function of the output, added to the loss.

    >>> from gradlite import keras
    >>> class Scale(keras.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight(shape=input_shape[-1:], initializer="ones", name="factor")
    ...     def call(self, inputs):
    ...         return inputs * self.factor
    >>> layer = Scale()
    >>> layer([[1.0, 2.0]]).numpy()
    array([[1., 2.]], dtype=float32)
    >>> layer.count_params()
    2
    """

    # Whether integers are converted too. Layers that only move elements leave them: bytes stay bytes until read.
    casts_integers = False

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        activity_regularizer: Any = None,
        **options: Any,
    ) -> None:
        self._trainable_variables: list[Variable] = []
        self._non_trainable_variables: list[Variable] = []
        self._layers: list[Layer] = []
        self._metrics: list[Any] = []
        self._losses: list[Tensor] = []
        self.name = name or unique_name(type(self).__name__)
        self.path = self.name
        self._trainable = bool(trainable)
        self.dtype = np.dtype(dtype or backend.floatx()).name
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.input_spec: InputSpec | None = None
        self.built = False
        self.autocast = options.pop("autocast", True)
        self.given_input_shape = _input_shape(options)
        if options:
            raise ValueError(f"Unrecognized keyword arguments passed to {type(self).__name__}: {options}")
        self._takes_training = _takes_training(type(self))

    # To be overridden.

    def build(self, input_shape: Any) -> None:
        """Create the weights for an input of this shape (None where a length is not known)."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; ``training`` is passed where the signature has it."""
        raise NotImplementedError(f"{type(self).__name__} needs a call(inputs).")

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output for an input of this shape, found without computing anything."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what shape it makes: give it a compute_output_shape(input_shape)."
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again, without its weights; ``from_config`` is the way back."""
        config: dict[str, Any] = {"name": self.name, "trainable": self._trainable, "dtype": self.dtype}
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A new layer with the arguments of ``config``."""
        return cls(**config)

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        """A sentence, after a space, on what to do about an input of a shape that does not fit."""
        return ""

    # Calling.

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        inputs = self._to_tensors(inputs)
        if not self.built:
            self.ensure_built(shape_of(inputs))
        if self.input_spec is not None:
            self.input_spec.check(inputs.shape, self)
        training = kwargs.pop("training", None)
        outer = _call.training
        if training is None:
            training = outer
        if self._takes_training:
            kwargs["training"] = training
        if _call.depth == 0:
            self.clear_losses()
        _call.training, _call.depth = bool(training), _call.depth + 1
        try:
            outputs = self.call(inputs, *args, **kwargs)
        finally:
            _call.training, _call.depth = outer, _call.depth - 1
        if self.activity_regularizer is not None:
            self.add_loss(self.activity_regularizer(outputs) / outputs.shape[0])
        return outputs

    def _to_tensors(self, inputs: Any) -> Any:
        """Arrays as Tensors, floating-point numbers in this layer's type."""
        if isinstance(inputs, Tensor):
            kind = inputs.data.dtype
            if kind == self.dtype or not self.autocast or (kind.kind != "f" and not self.casts_integers):
                return inputs
            return inputs.astype(self.dtype)
        if isinstance(inputs, dict):
            return {key: self._to_tensors(x) for key, x in inputs.items()}
        if isinstance(inputs, (list, tuple)) and any(hasattr(x, "shape") for x in inputs):
            return [self._to_tensors(x) for x in inputs]
        return self._to_tensors(as_tensor(inputs))

    def ensure_built(self, input_shape: Any) -> None:
        """Build the layer for this input shape, if it is not built yet."""
        if self.built:
            return
        if self.input_spec is not None and isinstance(input_shape, tuple):
            self.input_spec.check(input_shape, self)
        self.build(input_shape)
        self.built = True
        self.name_paths(self.path)

    def name_paths(self, path: str) -> None:
        """Give this layer and all below it the path ``path``, as in ``sequential/dense/kernel``."""
        self.path = path
        for variable in self.own_weights:
            variable.path = f"{path}/{variable.name}"
        for layer in self._layers:
            layer.name_paths(f"{path}/{layer.name}")

    # Weights.

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        name: str = "variable",
    ) -> Variable:
        """Create a weight of this layer.

        Args:
            shape: of the weight.
            initializer: name, object or function ``(shape, dtype) -> array``; by default "glorot_uniform" for floats.
            dtype: by default the layer's.
            trainable: whether gradients are computed for it.
            regularizer: adds a penalty on it to the loss.
            constraint: applied to it after every update.
            name: what messages, summaries and files call it.
        """
        kind = np.dtype(dtype or self.dtype)
        if initializer is None:
            initializer = "glorot_uniform" if kind.kind == "f" else "zeros"
        variable = Variable(
            initializers.get(initializer),
            shape=tuple(shape),
            dtype=kind.name,
            trainable=trainable,
            name=name,
            regularizer=regularizers.get(regularizer),
            constraint=constraints.get(constraint),
        )
        variable.path = f"{self.path}/{name}"
        self._track_variable(variable, trainable)
        return variable

    def _track_variable(self, variable: Variable, trainable: bool) -> None:
        variables = self._trainable_variables if trainable else self._non_trainable_variables
        if not any(v is variable for v in variables):
            variables.append(variable)
        if trainable:
            variable.trainable = self._trainable

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if not name.startswith("_"):
            for item in value if isinstance(value, (list, tuple)) else [value]:
                self._track(item)
            if isinstance(value, dict):
                for item in value.values():
                    self._track(item)

    def _track(self, item: Any) -> None:
        if isinstance(item, Layer):
            if not any(layer is item for layer in self._layers):
                self._layers.append(item)
        elif isinstance(item, Variable):
            self._track_variable(item, item.trainable)
        elif hasattr(item, "update_state") and hasattr(item, "result"):
            self._metrics.append(item)

    @property
    def trainable(self) -> bool:
        """Whether the weights of this layer, and of those within, are trained."""
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        self._trainable = bool(trainable)
        for variable in self._trainable_variables:
            variable.trainable = self._trainable
        for layer in self._layers:
            layer.trainable = trainable

    def flatten_layers(self) -> Iterator[Layer]:
        """This layer and all within it, each once."""
        seen: set[int] = set()
        stack: list[Layer] = [self]
        while stack:
            layer = stack.pop()
            if id(layer) not in seen:
                seen.add(id(layer))
                yield layer
                stack.extend(reversed(layer._layers))

    @property
    def own_weights(self) -> list[Variable]:
        """The weights of this layer itself, without those of layers within it."""
        return self._trainable_variables + self._non_trainable_variables

    @property
    def weights(self) -> list[Variable]:
        """All weights, layer by layer."""
        return [v for layer in self.flatten_layers() for v in layer.own_weights]

    variables = weights

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that are trained."""
        return [v for v in self.weights if v.trainable]

    trainable_variables = trainable_weights

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that are not trained: statistics, and those of frozen layers."""
        return [v for v in self.weights if not v.trainable]

    non_trainable_variables = non_trainable_weights

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights, in the order of ``get_weights``. Nothing is changed unless all shapes fit."""
        variables = self.weights
        arrays = [np.asarray(w) for w in weights]
        if len(arrays) != len(variables):
            raise ValueError(
                f"Layer {self.name!r} has {len(variables)} weights. set_weights() received: {len(arrays)}."
            )
        for variable, array in zip(variables, arrays):
            if array.shape != variable.shape:
                raise ValueError(f"Weight {variable.path!r} has shape {variable.shape}. Received: {array.shape}.")
        for variable, array in zip(variables, arrays):
            variable.assign(array)

    def count_params(self) -> int:
        """The number of elements of all weights."""
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} has no weights yet: call it on data, build(input_shape), or put an Input first."
            )
        return sum(v.size for v in self.weights)

    # Losses and metrics of the layer's own.

    def add_loss(self, loss: Any) -> None:
        """Add a scalar Tensor computed in ``call`` to what is minimised."""
        if not is_recomputing():
            self._losses.extend(loss if isinstance(loss, (list, tuple)) else [loss])

    def clear_losses(self) -> None:
        """Forget the losses of earlier calls."""
        for layer in self.flatten_layers():
            if layer._losses:
                layer._losses = []

    @property
    def losses(self) -> list[Tensor]:
        """What is added to the loss: that of ``add_loss`` and activity regularizers, and of weight regularizers."""
        found = [loss for layer in self.flatten_layers() for loss in layer._losses]
        penalties = [v.regularizer(v) for v in self.trainable_weights if v.regularizer is not None]
        return found + penalties

    @property
    def metrics(self) -> list[Any]:
        """Metrics that this layer and those within it own."""
        return [metric for layer in self.flatten_layers() for metric in layer._metrics]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def shape_of(inputs: Any) -> Any:
    """The shape of a Tensor; of lists and dicts of them in the same structure."""
    if isinstance(inputs, dict):
        return {key: shape_of(x) for key, x in inputs.items()}
    if isinstance(inputs, (list, tuple)):
        return [shape_of(x) for x in inputs]
    return inputs.shape


def _input_shape(options: dict[str, Any]) -> Shape | None:
    """What ``input_shape=``, ``batch_input_shape=`` or ``input_dim=`` of a first layer say, with the batch axis."""
    if "batch_input_shape" in options:
        return tuple(options.pop("batch_input_shape"))
    if "input_shape" in options:
        shape = options.pop("input_shape")
        return (None, *((shape,) if isinstance(shape, int) else shape))
    if "input_dim" in options:
        return (None, options.pop("input_dim"))
    return None


_signatures: dict[type, bool] = {}


def _takes_training(layer: type[Layer]) -> bool:
    """Whether ``call`` has a ``training`` argument."""
    if layer not in _signatures:
        parameters = inspect.signature(layer.call).parameters
        _signatures[layer] = "training" in parameters
    return _signatures[layer]


def positive(value: Any, layer: str, name: str) -> int:
    """``value``, which must be a positive integer. Raises ValueError naming layer and argument."""
    if isinstance(value, (bool, float)) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{layer} needs {name} to be a positive integer. Received: {name}={value!r}.")
    return int(value)


def channels_last(data_format: str | None, layer: str) -> None:
    """Refuse any layout but NHWC."""
    if data_format not in (None, "channels_last"):
        raise ValueError(
            f"{layer} works on channels-last images (n, h, w, c). Received: data_format={data_format!r}; "
            "transpose the data with np.moveaxis(x, 1, -1)."
        )
