"""Rows of layers in a Sequential that are computed together in training, because kernels for the whole row exist.

Such a row is a 2-D convolution with its relu and the batch normalization behind it, or a batch normalization, in either
case with the max pooling and the dropout that follow. In inference, and for layers of a subclass or with a setting that
the kernels do not know, each layer computes by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gradlite.autograd.modes import mode
from gradlite.keras import activations
from gradlite.keras.layers.activation import Activation, ReLU
from gradlite.keras.layers.base import Layer
from gradlite.keras.layers.convolutional import Conv2D
from gradlite.keras.layers.normalization import BatchNormalization
from gradlite.keras.layers.pooling import MaxPooling2D
from gradlite.keras.layers.regularization import Dropout
from gradlite.ops.blocks import batch_norm_pool_dropout, conv2d_statistics
from gradlite.ops.pooling import pooling_attributes
from gradlite.tensor import Tensor


class Row:
    """Layers that are computed together: ``norm``, and what there is around it."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)
        self._rest = list(layers)
        self.convolution: Any = self._take(_is_convolution)
        self.relu: Any = self._take(_is_relu) if self.convolution is not None else None
        self.norm: Any = self._take(_is_norm)
        self.pooling: Any = self._take(_is_pooling)
        self.dropout: Any = self._take(_is_dropout)

    def _take(self, fits: Any) -> Any:
        return self._rest.pop(0) if self._rest and fits(self._rest[0]) else None

    @property
    def length(self) -> int:
        """How many of the layers given make up the row; 1 or less where there is none."""
        return len(self.layers) - len(self._rest) if self.norm is not None else 0

    def __call__(self, x: Tensor) -> Tensor:
        """What the layers compute one after the other, in training."""
        x = self.layers[0].prepared(x)
        outer_cast, mode.autocast = mode.autocast, self.layers[0].weights_cast()
        try:
            return self._computed(x)
        finally:
            mode.autocast = outer_cast

    def _computed(self, x: Tensor) -> Tensor:
        statistics: tuple[Tensor, Tensor] | None = None
        if self.convolution is not None:
            x, mean, variance = _convolve(self.convolution, self.relu is not None, x)
            statistics = mean, variance
        norm, pooling, dropout = self.norm, self.pooling, self.dropout
        pool = None
        if pooling is not None:
            pool = pooling_attributes(x, pooling.pool_size, pooling.strides, pooling.padding, pooling.name)
        y, mean, variance = batch_norm_pool_dropout(
            x,
            norm.gamma,
            norm.beta,
            norm.epsilon,
            statistics=statistics,
            pool=pool,
            rate=0.0 if dropout is None else dropout.rate,
            generator=None if dropout is None else dropout.generator,
        )
        norm.update_averages(mean, variance)
        return y


def rows(layers: Sequence[Layer]) -> Iterator[Any]:
    """The layers in order, single or as rows."""
    start = 0
    while start < len(layers):
        row = Row(layers[start : start + 5]) if isinstance(layers[start], (Conv2D, BatchNormalization)) else None
        if row is not None and row.length > 1 and _alike(layers[start : start + row.length]):
            yield row
            start += row.length
        else:
            yield layers[start]
            start += 1


def _convolve(layer: Conv2D, relu: bool, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return conv2d_statistics(
        x,
        layer.kernel,
        layer.bias,
        strides=layer.strides,
        padding=layer.padding,
        dilation=layer.dilation_rate,
        groups=layer.groups,
        activation="relu" if relu else activations.in_kernel(layer.activation),
    )


def _alike(layers: Sequence[Layer]) -> bool:
    """Whether nothing happens between the layers: no change of type, no penalty on what passes."""
    policy = layers[0].dtype_policy
    return all(layer.built and layer.dtype_policy == policy and not layer.activity_regularizer for layer in layers)


def _is_convolution(layer: Layer) -> bool:
    if type(layer) is not Conv2D:
        return False
    return layer.activation is activations.linear or activations.in_kernel(layer.activation) is not None


def _is_relu(layer: Layer) -> bool:
    if type(layer) is Activation:
        return layer.activation is activations.relu
    return type(layer) is ReLU and (layer.max_value, layer.negative_slope, layer.threshold) == (None, 0, 0)


def _is_norm(layer: Layer) -> bool:
    return type(layer) is BatchNormalization and layer.trainable and layer.axis == -1


def _is_pooling(layer: Layer) -> bool:
    return type(layer) is MaxPooling2D


def _is_dropout(layer: Layer) -> bool:
    return type(layer) is Dropout and layer.noise_shape is None and 0 < layer.rate < 1
