"""Layers that prepare data: rescaling and normalization by statistics of the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite import ops
from gradlite.keras.layers.base import InputSpec, Layer, Shape
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
        y = inputs.astype(self.compute_dtype) * self.scale
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
        self.axis = None if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.invert = invert
        self._given = None if mean is None else (np.asarray(mean, np.float32), np.asarray(variance, np.float32))
        self._adapted = False

    def _kept(self, ndim: int) -> list[int]:
        return sorted(a % ndim for a in self.axis or ())

    def build(self, input_shape: Shape) -> None:
        kept = self._kept(len(input_shape))
        lengths = [input_shape[a] for a in kept]
        if None in lengths:
            raise ValueError(f"Layer {self.name!r} needs the lengths of axes {kept}. Received: shape {input_shape}.")
        shape = [n for n in lengths if n is not None]
        self._broadcast = [n or 1 if i in kept else 1 for i, n in enumerate(input_shape)]
        if self._given is None:
            self.adapt_mean = self.add_weight(shape, "zeros", trainable=False, name="mean")
            self.adapt_variance = self.add_weight(shape, "ones", trainable=False, name="variance")
            # Keras has a count of batches beside them, which files hold.
            self.count = self.add_weight((), "zeros", dtype="int32", trainable=False, name="count")
        self.input_spec = InputSpec(ndim=len(input_shape), axes=dict(zip(kept, shape)))

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Take mean and variance from ``data``: an array, or an iterable of batches."""
        if self._given is not None:
            raise ValueError(f"Normalization layer {self.name!r} was given its mean and variance, and cannot adapt.")
        if not hasattr(data, "shape"):
            data = np.concatenate([np.asarray(batch[0] if isinstance(batch, tuple) else batch) for batch in data])
        array = np.asarray(data, np.float64)
        if array.size == 0:
            raise ValueError("Normalization.adapt() received no data.")
        self.build((None, *array.shape[1:]))
        axes = tuple(i for i in range(array.ndim) if i not in self._kept(array.ndim))
        self.adapt_mean.assign(array.mean(axes))
        self.adapt_variance.assign(array.var(axes))
        self._adapted = True

    def _statistics(self) -> tuple[Any, Any]:
        if self._given is not None:
            return self._given
        # Weights that were never assigned to, by adapt() or from a file, say nothing about any data.
        self._adapted = self._adapted or self.adapt_mean.version > 0
        if not self._adapted:
            raise ValueError(f"Normalization layer {self.name!r} has no statistics yet: call adapt(data) first.")
        return self.adapt_mean, self.adapt_variance

    def call(self, inputs: Tensor) -> Tensor:
        x = inputs.astype(self.compute_dtype)
        mean, variance = (
            ops.reshape(Tensor(s, dtype=self.compute_dtype, device=x.device), self._broadcast if np.size(s) > 1 else ())
            for s in self._statistics()
        )
        # Keras divides by at least its epsilon, so that constant features do not become infinite.
        deviation = ops.maximum(ops.sqrt(variance), 1e-7)
        return x * deviation + mean if self.invert else ops.divide(x - mean, deviation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "mean": None if self._given is None else self._given[0].tolist(),
            "variance": None if self._given is None else self._given[1].tolist(),
            "invert": self.invert,
        }
