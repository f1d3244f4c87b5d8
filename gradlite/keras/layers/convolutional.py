"""Convolution layers, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlite import nn
from gradlite.keras import activations, constraints, initializers, regularizers
from gradlite.keras.layers.base import InputSpec, Layer, Shape, channels_last, positive
from gradlite.ops.convolution import explicit_padding, output_length, transposed_length
from gradlite.tensor import Tensor


def lengths(value: Any, rank: int, layer: str, name: str) -> tuple[int, ...]:
    """One positive integer or ``rank`` of them, as a tuple. Raises ValueError naming layer and argument."""
    values = tuple(value) if isinstance(value, Sequence) else (value,) * rank
    if len(values) != rank:
        raise ValueError(f"{layer} needs {name} to be one integer or {rank}. Received: {name}={value!r}.")
    return tuple(positive(v, layer, name) for v in values)


class Convolution(Layer):
    """What all convolution layers share: arguments, bias and configuration.

    Subclasses say the rank and how a kernel is shaped, and compute.
    """

    casts_integers = True
    rank = 2
    kernel_name = "kernel"
    paddings: tuple[str, ...] = ("valid", "same")

    def __init__(
        self,
        filters: int | None,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
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
        kind = type(self).__name__
        channels_last(data_format, kind)
        self.filters = None if filters is None else positive(filters, kind, "filters")
        self.kernel_size = lengths(kernel_size, self.rank, kind, "kernel_size")
        self.strides = lengths(strides, self.rank, kind, "strides")
        self.dilation_rate = lengths(dilation_rate, self.rank, kind, "dilation_rate")
        self.groups = positive(groups, kind, "groups")
        self.padding = str(padding).lower()
        if self.padding not in self.paddings:
            raise ValueError(
                f"{kind} knows padding {', '.join(map(repr, self.paddings))}. Received: padding={padding!r}."
            )
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{kind} needs strides of 1 where dilation_rate is above 1. "
                f"Received: strides={strides!r}, dilation_rate={dilation_rate!r}."
            )
        if self.filters is not None and self.filters % self.groups:
            raise ValueError(f"{kind} needs filters to be a multiple of groups. Received: {filters} and {groups}.")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _kernel_shape(self, channels: int) -> tuple[int, ...]:
        """The kernel's shape for an input of this many channels."""
        if channels % self.groups:
            raise ValueError(
                f"Layer {self.name!r}: the input's {channels} channels are not a multiple of groups={self.groups}."
            )
        assert self.filters is not None
        return (*self.kernel_size, channels // self.groups, self.filters)

    def _bias_length(self, channels: int) -> int:
        assert self.filters is not None
        return self.filters

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(f"Layer {self.name!r} needs the number of channels. Received: input shape {input_shape}.")
        self.kernel = self.add_weight(
            self._kernel_shape(channels),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name=self.kernel_name,
        )
        self._build_bias(channels)
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={-1: channels})

    def _build_bias(self, channels: int) -> None:
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (self._bias_length(channels),),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def shape_advice(self, shape: Any) -> str:
        if len(shape) == self.rank + 1:
            return f" Add a channel axis: x[..., None] has shape {(*shape, 1)}."
        return ""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = input_shape[-1]
        return (input_shape[0], *self._spatial_shape(input_shape[1:-1]), self._bias_length(channels or 0))

    def _spatial_shape(self, sizes: Sequence[int | None]) -> tuple[int | None, ...]:
        result: list[int | None] = []
        for n, k, s, d in zip(sizes, self.kernel_size, self.strides, self.dilation_rate):
            if n is None:
                result.append(None)
                continue
            padding = "same" if self.padding == "causal" else self.padding
            borders = explicit_padding(padding, (n,), (k,), (s,), (d,))[0]
            out = output_length(n, k, s, d, borders)
            if out < 1:
                raise ValueError(
                    f"Layer {self.name!r} ({type(self).__name__}): a kernel of {self.kernel_size} does not fit into "
                    f"{tuple(sizes)} with padding='valid'. Use padding='same' or a smaller kernel."
                )
            result.append(out)
        return tuple(result)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": "channels_last",
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }


class Conv1D(Convolution):
    """1-D convolution of sequences (n, length, c) -> (n, out, filters).

    Arguments as in ``Conv2D``; ``padding`` may also be "causal".

    >>> from gradlite import keras
    >>> keras.layers.Conv1D(4, 3, padding="causal").compute_output_shape((None, 10, 2))
    (None, 10, 4)
    """

    rank = 1
    paddings = ("valid", "same", "causal")

    def call(self, inputs: Tensor) -> Tensor:
        y = nn.conv1d(
            inputs,
            self.kernel,
            self.bias,
            strides=self.strides[0],
            padding=self.padding,
            dilation=self.dilation_rate[0],
            groups=self.groups,
        )
        return self.activation(y)


class Conv2D(Convolution):
    """2-D convolution of images (n, h, w, c) -> (n, oh, ow, filters).

    Args:
        filters: the number of output channels.
        kernel_size: height and width, one number or two.
        strides: steps of the window.
        padding: "valid" or "same" (TensorFlow's).
        data_format: only "channels_last".
        dilation_rate: distance of the kernel's taps.
        groups: separate groups of channels.
        activation: name or function.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint:
            as in ``Dense``.

    Weights: kernel (kh, kw, c // groups, filters), bias (filters,).

    >>> from gradlite import keras
    >>> keras.layers.Conv2D(8, (3, 3), padding="same").compute_output_shape((None, 32, 32, 3))
    (None, 32, 32, 8)
    """

    def call(self, inputs: Tensor) -> Tensor:
        fused = activations.in_kernel(self.activation)
        y = nn.conv2d(
            inputs,
            self.kernel,
            self.bias,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            groups=self.groups,
            activation=fused,
        )
        return y if fused else self.activation(y)


class _ConvTranspose(Convolution):
    """What transposed convolutions share."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        **options: Any,
    ) -> None:
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate, **options)
        self.output_padding: tuple[int, ...] | None = None
        if output_padding is not None:
            values = (output_padding,) * self.rank if isinstance(output_padding, int) else tuple(output_padding)
            if len(values) != self.rank or any(v >= s for v, s in zip(values, self.strides)):
                raise ValueError(
                    f"{type(self).__name__} needs output_padding below the strides {self.strides}. "
                    f"Received: output_padding={output_padding!r}."
                )
            self.output_padding = values

    def _kernel_shape(self, channels: int) -> tuple[int, ...]:
        assert self.filters is not None
        return (*self.kernel_size, self.filters, channels)

    def _spatial_shape(self, sizes: Sequence[int | None]) -> tuple[int | None, ...]:
        extras = self.output_padding or (None,) * self.rank
        return tuple(
            None if n is None else transposed_length(n, k, s, d, self.padding, extra)[0]
            for n, k, s, d, extra in zip(sizes, self.kernel_size, self.strides, self.dilation_rate, extras)
        )

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "output_padding": self.output_padding}
        del config["groups"]
        return config


class Conv1DTranspose(_ConvTranspose):
    """Transposed 1-D convolution: (n, length, c) -> (n, out, filters); arguments as in ``Conv2DTranspose``.

    >>> from gradlite import keras
    >>> keras.layers.Conv1DTranspose(4, 3, strides=2, padding="same").compute_output_shape((None, 5, 2))
    (None, 10, 4)
    """

    rank = 1

    def call(self, inputs: Tensor) -> Tensor:
        y = nn.conv1d_transpose(
            inputs,
            self.kernel,
            self.bias,
            strides=self.strides[0],
            padding=self.padding,
            output_padding=None if self.output_padding is None else self.output_padding[0],
            dilation=self.dilation_rate[0],
        )
        return self.activation(y)


class Conv2DTranspose(_ConvTranspose):
    """Transposed 2-D convolution, which enlarges images: (n, h, w, c) -> (n, oh, ow, filters).

    Args:
        filters, kernel_size, activation, use_bias and the initializers, regularizers and constraints: as in ``Conv2D``.
        strides: the factors by which the image grows.
        padding: "valid" or "same".
        output_padding: added to the output's size, less than the strides.
        dilation_rate: distance of the kernel's taps.

    Weights: kernel (kh, kw, filters, c), bias (filters,).

    >>> from gradlite import keras
    >>> keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same").compute_output_shape((None, 5, 5, 2))
    (None, 10, 10, 4)
    """

    def call(self, inputs: Tensor) -> Tensor:
        y = nn.conv2d_transpose(
            inputs,
            self.kernel,
            self.bias,
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation_rate,
        )
        return self.activation(y)
