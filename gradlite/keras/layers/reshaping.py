"""Layers that change shape: Flatten, Reshape, Permute, padding, cropping and enlarging."""

from __future__ import annotations

import math
from typing import Any

from gradlite import nn, ops
from gradlite.keras.layers.base import InputSpec, Layer, Shape, channels_last, positive
from gradlite.keras.layers.convolutional import lengths
from gradlite.tensor import Tensor


class Flatten(Layer):
    """All axes but the first joined: (n, ...) -> (n, product).

    >>> from gradlite import keras
    >>> keras.layers.Flatten().compute_output_shape((None, 28, 28))
    (None, 784)
    """

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        channels_last(data_format, "Flatten")
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else math.prod(n for n in rest if n is not None))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": "channels_last"}


class Reshape(Layer):
    """The elements of every sample in another shape; one length may be -1.

    >>> from gradlite import keras
    >>> keras.layers.Reshape((2, -1)).compute_output_shape((None, 6))
    (None, 2, 3)
    """

    def __init__(self, target_shape: Any, **options: Any) -> None:
        super().__init__(**options)
        self.target_shape = (target_shape,) if isinstance(target_shape, int) else tuple(target_shape)
        if self.target_shape.count(-1) > 1:
            raise ValueError(f"Reshape knows one length of -1. Received: target_shape={self.target_shape}.")

    def call(self, inputs: Tensor) -> Tensor:
        return ops.reshape(inputs, (inputs.shape[0], *self.compute_output_shape(inputs.shape)[1:]))  # type: ignore[arg-type]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if None in input_shape[1:]:
            return (input_shape[0], *(None if n == -1 else n for n in self.target_shape))
        size = math.prod(n for n in input_shape[1:] if n is not None)
        known = math.prod(n for n in self.target_shape if n != -1)
        if size % known if -1 in self.target_shape and known else size != known:
            raise ValueError(
                f"Layer {self.name!r} cannot reshape samples of shape {input_shape[1:]} into {self.target_shape}."
            )
        return (input_shape[0], *(size // known if n == -1 else n for n in self.target_shape))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_shape": self.target_shape}


class Permute(Layer):
    """The axes of every sample in another order, counted from 1.

    >>> from gradlite import keras
    >>> keras.layers.Permute((2, 1)).compute_output_shape((None, 3, 5))
    (None, 5, 3)
    """

    def __init__(self, dims: Any, **options: Any) -> None:
        super().__init__(**options)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"Permute needs every axis from 1 once. Received: dims={dims}.")
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.transpose(inputs, (0, *self.dims))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *(input_shape[i] for i in self.dims))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dims": self.dims}


class RepeatVector(Layer):
    """Every sample ``n`` times: (batch, features) -> (batch, n, features).

    >>> from gradlite import keras
    >>> keras.layers.RepeatVector(3).compute_output_shape((None, 5))
    (None, 3, 5)
    """

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        self.n = positive(n, "RepeatVector", "n")
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.broadcast_to(ops.expand_dims(inputs, 1), (inputs.shape[0], self.n, inputs.shape[1]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.n, input_shape[1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n": self.n}


def _borders(value: Any, layer: str, name: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """``n``, ``(rows, columns)`` or ``((top, bottom), (left, right))`` as the last."""
    pairs = (value, value) if isinstance(value, int) else tuple(value)
    if len(pairs) == 2:
        both = [(p, p) if isinstance(p, int) else tuple(p) for p in pairs]
        if all(len(p) == 2 and min(p) >= 0 for p in both):
            return (both[0][0], both[0][1]), (both[1][0], both[1][1])
    raise ValueError(
        f"{layer} needs {name} to be a number, two, or ((top, bottom), (left, right)). Received: {name}={value!r}."
    )


class ZeroPadding2D(Layer):
    """Zeros around images: (n, h, w, c) -> (n, h + top + bottom, w + left + right, c).

    >>> from gradlite import keras
    >>> keras.layers.ZeroPadding2D(1).compute_output_shape((None, 4, 4, 3))
    (None, 6, 6, 3)
    """

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        channels_last(data_format, "ZeroPadding2D")
        self.padding = _borders(padding, "ZeroPadding2D", "padding")
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.pad(inputs, ((0, 0), *self.padding, (0, 0)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = [None if n is None else n + a + b for n, (a, b) in zip(input_shape[1:3], self.padding)]
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding, "data_format": "channels_last"}


class Cropping2D(Layer):
    """Borders of images cut off: (n, h, w, c) -> (n, h - top - bottom, w - left - right, c).

    >>> from gradlite import keras
    >>> keras.layers.Cropping2D(1).compute_output_shape((None, 4, 4, 3))
    (None, 2, 2, 3)
    """

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        channels_last(data_format, "Cropping2D")
        self.cropping = _borders(cropping, "Cropping2D", "cropping")
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Tensor) -> Tensor:
        self.compute_output_shape(inputs.shape)  # raises where nothing would be left
        (top, bottom), (left, right) = self.cropping
        _, height, width, _ = inputs.shape
        return inputs[:, top : height - bottom, left : width - right]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = [None if n is None else n - a - b for n, (a, b) in zip(input_shape[1:3], self.cropping)]
        if any(n is not None and n < 1 for n in sizes):
            raise ValueError(f"Layer {self.name!r} cuts off all of an input of shape {input_shape}: {self.cropping}.")
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cropping": self.cropping, "data_format": "channels_last"}


class UpSampling2D(Layer):
    """Images enlarged by whole factors: (n, h, w, c) -> (n, h * size[0], w * size[1], c).

    Args:
        size: factors for height and width.
        data_format: only "channels_last".
        interpolation: "nearest" or "bilinear".

    >>> from gradlite import keras
    >>> keras.layers.UpSampling2D().compute_output_shape((None, 4, 4, 3))
    (None, 8, 8, 3)
    """

    def __init__(
        self, size: Any = (2, 2), data_format: str | None = None, interpolation: str = "nearest", **options: Any
    ) -> None:
        super().__init__(**options)
        channels_last(data_format, "UpSampling2D")
        self.size = lengths(size, 2, "UpSampling2D", "size")
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"UpSampling2D knows 'nearest' and 'bilinear'. Received: interpolation={interpolation!r}.")
        self.interpolation = interpolation
        self.casts_integers = interpolation == "bilinear"
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Tensor) -> Tensor:
        return nn.upsample2d(inputs, self.size, self.interpolation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = [None if n is None else n * s for n, s in zip(input_shape[1:3], self.size)]
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "data_format": "channels_last",
            "interpolation": self.interpolation,
        }


class UpSampling1D(Layer):
    """Every step of a sequence repeated: (n, length, c) -> (n, length * size, c).

    >>> from gradlite import keras
    >>> keras.layers.UpSampling1D(3).compute_output_shape((None, 4, 2))
    (None, 12, 2)
    """

    def __init__(self, size: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.size = positive(size, "UpSampling1D", "size")
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.repeat(inputs, self.size, 1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        n = input_shape[1]
        return (input_shape[0], None if n is None else n * self.size, input_shape[2])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}
