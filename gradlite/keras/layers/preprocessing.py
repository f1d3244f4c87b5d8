"""Layers that prepare data: rescaling and normalization by statistics of the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite import ops
from gradlite.keras.layers.base import Layer, Shape
from gradlite.tensor import Tensor


class Rescaling(Layer):
    """``inputs * scale + offset``, in floating point.

    >>> import numpy as np
    >>> from gradlite import keras
    >>> keras.layers.Rescaling(1 / 255)(np.array([[255]], np.uint8)).numpy()
    array([[1.]], dtype=float32)
    """

    def __init__(self, scale: float, offset: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale
        self.offset = offset

    def call(self, inputs: Tensor) -> Tensor:
        y = inputs.astype(self.dtype) * self.scale
        return y + self.offset if np.any(self.offset) else y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


class Normalization(Layer):
    """``(inputs - mean) / sqrt(variance)``, with statistics given or taken from data by ``adapt``.

    Args:
        axis: the axes that keep statistics of their own; None: one mean for everything.
        mean: given instead of adapted.
        variance: given instead of adapted.
        invert: undo the normalization instead.

    >>> import numpy as np
    >>> from gradlite import keras
    >>> layer = keras.layers.Normalization()
    >>> layer.adapt(np.array([[1.0], [3.0]]))
    >>> layer([[3.0]]).numpy()
    array([[1.]], dtype=float32)
    """

    def __init__(
        self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        if (mean is None) != (variance is None):
            raise ValueError("Normalization needs both mean and variance, or neither and adapt().")
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.invert = invert
        self.mean: np.ndarray | None = None
        self.variance: np.ndarray | None = None
        self._given = mean is not None
        if mean is not None:
            self.mean, self.variance = np.asarray(mean, np.float32), np.asarray(variance, np.float32)

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Take mean and variance from ``data``: an array, or an iterable of batches."""
        if not hasattr(data, "shape"):
            data = np.concatenate([np.asarray(batch[0] if isinstance(batch, tuple) else batch) for batch in data])
        array = np.asarray(data, np.float64)
        if array.size == 0:
            raise ValueError("Normalization.adapt() received no data.")
        kept = {a % array.ndim for a in self.axis}
        axes = tuple(i for i in range(array.ndim) if i not in kept)
        self.mean = array.mean(axes, keepdims=True).astype(np.float32)
        self.variance = array.var(axes, keepdims=True).astype(np.float32)

    def build(self, input_shape: Shape) -> None:
        if self._given and self.mean is not None and self.variance is not None and self.mean.size > 1:
            kept = {a % len(input_shape) for a in self.axis}
            shape = tuple((n or 1) if i in kept else 1 for i, n in enumerate(input_shape))
            self.mean, self.variance = (np.broadcast_to(s, shape) if s.ndim else s for s in (self.mean, self.variance))

    def call(self, inputs: Tensor) -> Tensor:
        if self.mean is None or self.variance is None:
            raise ValueError(f"Normalization layer {self.name!r} has no statistics yet: call adapt(data) first.")
        # Keras divides by at least its epsilon, so that constant features do not become infinite.
        deviation = np.maximum(np.sqrt(self.variance), 1e-7)
        x = inputs.astype(self.dtype)
        mean, scale = (Tensor(s, dtype=self.dtype, device=x.device) for s in (self.mean, deviation))
        return x * scale + mean if self.invert else ops.divide(x - mean, scale)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "mean": None if self.mean is None else self.mean.tolist(),
            "variance": None if self.variance is None else self.variance.tolist(),
            "invert": self.invert,
        }
