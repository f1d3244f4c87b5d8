"""Pooling layers, channels last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlite import nn, ops
from gradlite.keras.layers.base import InputSpec, Layer, Shape, channels_last
from gradlite.keras.layers.convolutional import lengths
from gradlite.ops.convolution import explicit_padding, output_length
from gradlite.tensor import Tensor


class _Pooling(Layer):
    """What window pooling layers share; subclasses say the rank and the function."""

    casts_integers = True
    rank = 2
    function: Callable[..., Tensor]

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        kind = type(self).__name__
        channels_last(data_format, kind)
        self.pool_size = lengths(pool_size, self.rank, kind, "pool_size")
        self.strides = self.pool_size if strides is None else lengths(strides, self.rank, kind, "strides")
        self.padding = str(padding).lower()
        if self.padding not in ("valid", "same"):
            raise ValueError(f"{kind} knows padding 'valid' and 'same'. Received: padding={padding!r}.")
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Tensor) -> Tensor:
        one = self.rank == 1
        window, strides = (self.pool_size[0], self.strides[0]) if one else (self.pool_size, self.strides)
        return type(self).function(inputs, window, strides, self.padding)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        result: list[int | None] = []
        for n, k, s in zip(input_shape[1:-1], self.pool_size, self.strides):
            if n is None:
                result.append(None)
                continue
            out = output_length(n, k, s, 1, explicit_padding(self.padding, (n,), (k,), (s,), (1,))[0])
            if out < 1:
                raise ValueError(
                    f"Layer {self.name!r} ({type(self).__name__}): a window of {self.pool_size} does not fit into an "
                    f"input of shape {input_shape}. Use padding='same' or fewer pooling layers."
                )
            result.append(out)
        return (input_shape[0], *result, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": "channels_last",
        }


class MaxPooling1D(_Pooling):
    """The largest element of every window of a sequence: (n, length, c) -> (n, out, c).

    Arguments as in ``MaxPooling2D``.

    >>> from gradlite import keras
    >>> keras.layers.MaxPooling1D(2).compute_output_shape((None, 7, 3))
    (None, 3, 3)
    """

    rank = 1
    function = staticmethod(nn.max_pool1d)


class MaxPooling2D(_Pooling):
    """The largest element of every window: (n, h, w, c) -> (n, oh, ow, c).

    Args:
        pool_size: height and width of the window, one number or two.
        strides: its steps; None for its size.
        padding: "valid" or "same".
        data_format: only "channels_last".

    >>> from gradlite import keras
    >>> keras.layers.MaxPooling2D().compute_output_shape((None, 32, 32, 3))
    (None, 16, 16, 3)
    """

    function = staticmethod(nn.max_pool2d)


class AveragePooling1D(_Pooling):
    """The mean of every window of a sequence, without padding: (n, length, c) -> (n, out, c).

    >>> from gradlite import keras
    >>> keras.layers.AveragePooling1D(2).compute_output_shape((None, 7, 3))
    (None, 3, 3)
    """

    rank = 1
    function = staticmethod(nn.avg_pool1d)


class AveragePooling2D(_Pooling):
    """The mean of every window, without padding: (n, h, w, c) -> (n, oh, ow, c). Arguments as in ``MaxPooling2D``.

    >>> from gradlite import keras
    >>> keras.layers.AveragePooling2D(2).compute_output_shape((None, 32, 32, 3))
    (None, 16, 16, 3)
    """

    function = staticmethod(nn.avg_pool2d)


class _GlobalPooling(Layer):
    """What pooling over all places shares."""

    casts_integers = True
    rank = 2
    function: Callable[..., Tensor]

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **options: Any) -> None:
        super().__init__(**options)
        channels_last(data_format, type(self).__name__)
        self.keepdims = keepdims
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Tensor) -> Tensor:
        return type(self).function(inputs, tuple(range(1, self.rank + 1)), self.keepdims)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        places = (1,) * self.rank if self.keepdims else ()
        return (input_shape[0], *places, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": "channels_last", "keepdims": self.keepdims}


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest element of every channel of a sequence: (n, length, c) -> (n, c).

    >>> from gradlite import keras
    >>> keras.layers.GlobalMaxPooling1D().compute_output_shape((None, 7, 3))
    (None, 3)
    """

    rank = 1
    function = staticmethod(ops.max)


class GlobalMaxPooling2D(_GlobalPooling):
    """The largest element of every channel: (n, h, w, c) -> (n, c), or (n, 1, 1, c) with ``keepdims``.

    >>> from gradlite import keras
    >>> keras.layers.GlobalMaxPooling2D().compute_output_shape((None, 8, 8, 3))
    (None, 3)
    """

    function = staticmethod(ops.max)


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of every channel of a sequence: (n, length, c) -> (n, c).

    >>> from gradlite import keras
    >>> keras.layers.GlobalAveragePooling1D().compute_output_shape((None, 7, 3))
    (None, 3)
    """

    rank = 1
    function = staticmethod(ops.mean)


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of every channel: (n, h, w, c) -> (n, c), or (n, 1, 1, c) with ``keepdims``.

    >>> from gradlite import keras
    >>> keras.layers.GlobalAveragePooling2D(keepdims=True).compute_output_shape((None, 8, 8, 3))
    (None, 1, 1, 3)
    """

    function = staticmethod(ops.mean)
