"""Layer: weights, a computation, and how the two are built, called, described and saved."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradlite.autograd import Op, is_recomputing
from gradlite.autograd.modes import mode
from gradlite.backends.dtypes import FLOAT_KINDS, as_dtype, is_narrow
from gradlite.keras import activations, constraints, dtype_policies, initializers, regularizers
from gradlite.keras.layers.tracking import Tracked
from gradlite.keras.utils.naming import unique_name
from gradlite.keras.variables import Autocast, Variable
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


class Layer(Tracked):
    """The base of all layers and models. Subclass it, create weights in ``build`` and compute in ``call``.

    Args:
        name: by default the class's in snake case, numbered.
        trainable: whether the weights are trained.
        dtype: what weights are and what is computed in: a type, or a policy such as "mixed_float16"; by default the
            global policy (see ``keras.mixed_precision.set_global_policy``).
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
        super().__init__(trainable)
        self._losses: list[Tensor] = []
        self.name = name or unique_name(type(self).__name__)
        self.path = self.name
        self.dtype_policy = dtype
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.input_spec: InputSpec | None = None
        self.built = False
        self.autocast = bool(options.pop("autocast", True))
        self.given_input_shape = _input_shape(options)
        if options:
            raise ValueError(f"Unrecognized keyword arguments passed to {type(self).__name__}: {options}")
        self._training_place = _training_place(type(self))

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "build" in vars(cls):
            cls.build = _marking_as_built(cls.build)  # type: ignore[method-assign]

    # To be overridden.

    def build(self, input_shape: Any) -> None:
        """Create the weights for an input of this shape (None where a length is not known), unless there are some."""

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
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self._trainable,
            "dtype": dtype_policies.serialize(self.dtype_policy),
        }
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A new layer with the arguments of ``config``."""
        return cls(**config)

    # Types.

    @property
    def dtype_policy(self) -> dtype_policies.DTypePolicy:
        """What weights are and what is computed in. May be set, to anything that ``dtype=`` takes, before the layer is
        built: weights that are there keep their type."""
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, policy: Any) -> None:
        self._dtype_policy = dtype_policies.get(policy)
        self._compute_dtype = as_dtype(self._dtype_policy.compute_dtype)

    @property
    def dtype(self) -> str:
        """The name of the weights' type."""
        return self._dtype_policy.variable_dtype

    variable_dtype = dtype

    @property
    def compute_dtype(self) -> str:
        """The name of the type that is computed in; floating-point inputs are converted to it."""
        return self._dtype_policy.compute_dtype

    input_dtype = compute_dtype

    def weights_cast(self) -> Autocast | None:
        """What has the weights read in the type that is computed in, if that is another one than theirs."""
        mixed = self.autocast and self._dtype_policy.compute_dtype != self._dtype_policy.variable_dtype
        return Autocast(self._compute_dtype) if mixed else None

    def shape_advice(self, shape: Sequence[int | None]) -> str:
        """A sentence, after a space, on what to do about an input of a shape that does not fit."""
        return ""

    def __getstate__(self) -> dict[str, Any]:
        # Activations such as relu are operations, which a pickled layer or a copy names rather than holds.
        state = dict(vars(self))
        state.pop("_kept_steps", None)  # recorded steps belong to this object's memory
        if isinstance(state.get("activation"), Op):
            state["activation"] = activations.serialize(state["activation"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if isinstance(state.get("activation"), str):
            vars(self)["activation"] = activations.get(state["activation"])

    # Calling.

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        inputs = self.prepared(inputs)
        outer, place = _call.training, self._training_place
        if place is not None and place < len(args):
            training = outer if args[place] is None else args[place]
            args = (*args[:place], training, *args[place + 1 :])
        else:
            training = kwargs.pop("training", None)
            training = outer if training is None else training
            if place is not None:
                kwargs["training"] = training
        if _call.depth == 0:
            self.clear_losses()
        outer_cast = mode.autocast
        _call.training, _call.depth, mode.autocast = bool(training), _call.depth + 1, self.weights_cast()
        try:
            outputs = self.call(inputs, *args, **kwargs)
        finally:
            _call.training, _call.depth, mode.autocast = outer, _call.depth - 1, outer_cast
        if self.activity_regularizer is not None:
            for y in _tensors(outputs):
                # Sums of many squares leave float16's range.
                y = y.astype(np.float32) if is_narrow(y.data.dtype) else y
                self.add_loss(self.activity_regularizer(y) / y.shape[0])
        return outputs

    def prepared(self, inputs: Any) -> Any:
        """The inputs as ``call`` gets them: Tensors of this layer's type and of a shape that it takes; builds it."""
        inputs = self._to_tensors(inputs)
        if not self.built:
            self.ensure_built(shape_of(inputs))
        if self.input_spec is not None:
            self._check_input(shape_of(inputs))
        return inputs

    def _to_tensors(self, inputs: Any) -> Any:
        """Arrays as Tensors, floating-point numbers in the type that is computed in."""
        if isinstance(inputs, Tensor):
            kind = inputs.data.dtype
            if kind == self._compute_dtype or not self.autocast:
                return inputs
            if kind.kind not in FLOAT_KINDS and not self.casts_integers:
                return inputs
            return inputs.astype(self._compute_dtype)
        if isinstance(inputs, dict):
            return {key: self._to_tensors(x) for key, x in inputs.items()}
        if isinstance(inputs, (list, tuple)) and any(hasattr(x, "shape") for x in inputs):
            return [self._to_tensors(x) for x in inputs]
        # Data of the host go where the weights are; data on a GPU stay there.
        weight = None if hasattr(inputs, "__cuda_array_interface__") else next(iter(self.weights), None)
        return self._to_tensors(Tensor(inputs, device=None if weight is None else weight.backend))

    def ensure_built(self, input_shape: Any) -> None:
        """Build the layer for this input shape, if it is not built yet."""
        if self.built:
            return
        if self.input_spec is not None:
            self._check_input(input_shape)
        self.build(input_shape)
        self.built = True
        self.name_paths(self.path)

    def _check_input(self, shape: Any) -> None:
        assert self.input_spec is not None
        if not isinstance(shape, tuple):
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}) takes one input. Received: a {type(shape).__name__} of "
                f"{len(shape)} inputs, of shapes {shape}. Merge them first, for instance with Concatenate()."
            )
        self.input_spec.check(shape, self)

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
        autocast: bool = True,
    ) -> Variable:
        """Create a weight of this layer.

        Args:
            shape: of the weight.
            initializer: name, object or function ``(shape, dtype) -> array``; by default "glorot_uniform" for floats.
            dtype: by default the layer's ``variable_dtype``.
            trainable: whether gradients are computed for it.
            regularizer: adds a penalty on it to the loss.
            constraint: applied to it after every update.
            name: what messages, summaries and files call it.
            autocast: whether operations in ``call`` read it in the type that the layer computes in.
        """
        kind = as_dtype(dtype or self.variable_dtype)
        if initializer is None:
            initializer = "glorot_uniform" if kind.kind in FLOAT_KINDS else "zeros"
        variable = Variable(
            initializers.get(initializer),
            shape=tuple(shape),
            dtype=kind.name,
            trainable=trainable,
            name=name,
            regularizer=regularizers.get(regularizer),
            constraint=constraints.get(constraint),
            autocast=autocast,
        )
        variable.path = f"{self.path}/{name}"
        self._track_variable(variable, trainable)
        return variable

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


def _tensors(outputs: Any) -> list[Tensor]:
    """All outputs of a layer that may give one, or a list or dict of them."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    return [y for part in outputs for y in _tensors(part)] if isinstance(outputs, (list, tuple)) else [outputs]


def _marking_as_built(build: Callable[..., Any]) -> Callable[..., Any]:
    """``build`` for callers that do not know whether the layer is built: it does nothing then."""

    @functools.wraps(build)
    def build_once(self: Layer, *args: Any, **kwargs: Any) -> None:
        if not self.built:
            build(self, *args, **kwargs)
            self.built = True
            self.name_paths(self.path)

    return build_once


_training_places: dict[type, int | None] = {}


def _training_place(layer: type[Layer]) -> int | None:
    """Where ``training`` is among the arguments of ``call`` behind the inputs; None if it has none."""
    if layer not in _training_places:
        parameters = inspect.signature(layer.call).parameters
        place = list(parameters).index("training") - 2 if "training" in parameters else None
        if place is not None and parameters["training"].kind is inspect.Parameter.KEYWORD_ONLY:
            place = sys.maxsize
        _training_places[layer] = place
    return _training_places[layer]


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
