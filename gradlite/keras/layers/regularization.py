"""Layers that disturb their input in training: dropout and noise."""

from __future__ import annotations

import math
from typing import Any

from gradlite import nn
from gradlite.keras.layers.base import InputSpec, Layer, Shape, channels_last
from gradlite.ops.random import random_normal
from gradlite.random import Generator
from gradlite.tensor import Tensor


class _Random(Layer):
    """A layer with random numbers of its own, by seed."""

    casts_integers = True

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.seed = seed
        self._generator = Generator(seed)

    @property
    def generator(self) -> Generator:
        """Where the layer's random numbers come from."""
        return self._generator

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def __getstate__(self) -> dict[str, Any]:
        # A generator that has drawn refers to a device, which is not copied; a copy goes on from the same draw.
        generator = Generator(self._generator.seed, self._generator.stream)
        generator.state = Tensor(self._generator.state).numpy()
        return {**super().__getstate__(), "_generator": generator}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


def _rate(rate: float, layer: str) -> float:
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
        raise ValueError(f"{layer} needs a rate in [0, 1]. Received: rate={rate!r}.")
    return float(rate)


class Dropout(_Random):
    """In training, sets elements to 0 with probability ``rate`` and divides the others by ``1 - rate``.

    Args:
        rate: in [0, 1].
        noise_shape: shape of the mask, with 1 for axes that are dropped together and None for the input's length.
        seed: for the same masks in every run.

    >>> from gradlite import keras
    >>> keras.layers.Dropout(0.5)([[1.0, 2.0]], training=False).numpy()
    array([[1., 2.]], dtype=float32)
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed, **options)
        self.rate = _rate(rate, "Dropout")
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or self.rate == 0:
            return inputs
        return nn.dropout(inputs, self.rate, self.noise_shape, self._generator)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "noise_shape": self.noise_shape}


class SpatialDropout1D(_Random):
    """Dropout of whole channels of sequences (n, length, c).

    >>> from gradlite import keras
    >>> keras.layers.SpatialDropout1D(0.5).compute_output_shape((None, 8, 3))
    (None, 8, 3)
    """

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed, **options)
        self.rate = _rate(rate, "SpatialDropout1D")
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or self.rate == 0:
            return inputs
        return nn.dropout(inputs, self.rate, (None, 1, None), self._generator)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


class SpatialDropout2D(_Random):
    """Dropout of whole channels of images (n, h, w, c) (Tompson et al., 2015).

    >>> from gradlite import keras
    >>> keras.layers.SpatialDropout2D(0.5).compute_output_shape((None, 8, 8, 3))
    (None, 8, 8, 3)
    """

    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed, **options)
        channels_last(data_format, "SpatialDropout2D")
        self.rate = _rate(rate, "SpatialDropout2D")
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or self.rate == 0:
            return inputs
        return nn.dropout(inputs, self.rate, (None, 1, 1, None), self._generator)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


class GaussianNoise(_Random):
    """In training, adds normal noise of the given standard deviation.

    >>> from gradlite import keras
    >>> keras.layers.GaussianNoise(1.0)([[1.0]], training=False).numpy()
    array([[1.]], dtype=float32)
    """

    def __init__(self, stddev: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed, **options)
        if stddev < 0:
            raise ValueError(f"GaussianNoise needs stddev not to be negative. Received: stddev={stddev}.")
        self.stddev = float(stddev)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or self.stddev == 0:
            return inputs
        return inputs + random_normal(inputs, 0.0, self.stddev, self._generator)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev}


class GaussianDropout(_Random):
    """In training, multiplies by normal noise of mean 1 and variance ``rate / (1 - rate)`` (Srivastava et al., 2014).

    >>> from gradlite import keras
    >>> keras.layers.GaussianDropout(0.5)([[1.0]], training=False).numpy()
    array([[1.]], dtype=float32)
    """

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed, **options)
        self.rate = _rate(rate, "GaussianDropout")
        if self.rate == 1:
            raise ValueError("GaussianDropout needs a rate below 1: its noise would be infinite.")

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or self.rate == 0:
            return inputs
        return inputs * random_normal(inputs, 1.0, math.sqrt(self.rate / (1 - self.rate)), self._generator)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}
