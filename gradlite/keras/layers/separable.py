"""Depthwise and separable convolution layers, channels last."""

from __future__ import annotations

from typing import Any

from gradlite import nn
from gradlite.keras import constraints, initializers, regularizers
from gradlite.keras.layers.base import positive
from gradlite.keras.layers.convolutional import Convolution
from gradlite.tensor import Tensor


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments ``depthwise_initializer`` and so on, under the names that ``Convolution`` uses."""
    return {key.replace("depthwise_", "kernel_"): value for key, value in options.items()}


def _depthwise_names(config: dict[str, Any]) -> dict[str, Any]:
    """The way back from ``_renamed``."""
    return {key if key == "kernel_size" else key.replace("kernel_", "depthwise_"): v for key, v in config.items()}


class DepthwiseConv2D(Convolution):
    """Every channel convolved with kernels of its own: (n, h, w, c) -> (n, oh, ow, c * depth_multiplier).

    Args:
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias: as in ``Conv2D``.
        depth_multiplier: kernels for each channel.
        options: ``depthwise_initializer``, ``depthwise_regularizer``, ``depthwise_constraint`` and those of the bias.

    Weights: kernel (kh, kw, c, depth_multiplier), bias (c * depth_multiplier,).

    >>> from gradlite import keras
    >>> keras.layers.DepthwiseConv2D(3, depth_multiplier=2).compute_output_shape((None, 8, 8, 3))
    (None, 6, 6, 6)
    """

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        **options: Any,
    ) -> None:
        super().__init__(None, kernel_size, strides, padding, data_format, dilation_rate, **_renamed(options))
        self.depth_multiplier = positive(depth_multiplier, "DepthwiseConv2D", "depth_multiplier")

    def _kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel_size, channels, self.depth_multiplier)

    def _bias_length(self, channels: int) -> int:
        return channels * self.depth_multiplier

    def call(self, inputs: Tensor) -> Tensor:
        y = nn.depthwise_conv2d(
            inputs,
            self.kernel,
            self.bias,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
        )
        return self.activation(y)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["filters"], config["groups"]
        return {**_depthwise_names(config), "depth_multiplier": self.depth_multiplier}


class SeparableConv2D(Convolution):
    """A depthwise convolution followed by a 1 x 1 convolution: (n, h, w, c) -> (n, oh, ow, filters).

    Args:
        filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias: as in ``Conv2D``.
        depth_multiplier: depthwise kernels for each channel.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: of the first kernel.
        pointwise_initializer, pointwise_regularizer, pointwise_constraint: of the second.

    Weights: depthwise_kernel (kh, kw, c, depth_multiplier), pointwise_kernel (1, 1, c * depth_multiplier, filters) and
    bias (filters,).

    >>> from gradlite import keras
    >>> keras.layers.SeparableConv2D(8, 3).compute_output_shape((None, 8, 8, 3))
    (None, 6, 6, 8)
    """

    kernel_name = "depthwise_kernel"

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        pointwise_initializer: Any = "glorot_uniform",
        pointwise_regularizer: Any = None,
        pointwise_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate, **_renamed(options))
        self.depth_multiplier = positive(depth_multiplier, "SeparableConv2D", "depth_multiplier")
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.pointwise_constraint = constraints.get(pointwise_constraint)

    def _kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel_size, channels, self.depth_multiplier)

    def _build_bias(self, channels: int) -> None:
        self.pointwise_kernel = self.add_weight(
            (1, 1, channels * self.depth_multiplier, self._bias_length(channels)),
            self.pointwise_initializer,
            regularizer=self.pointwise_regularizer,
            constraint=self.pointwise_constraint,
            name="pointwise_kernel",
        )
        super()._build_bias(channels)

    def call(self, inputs: Tensor) -> Tensor:
        y = nn.separable_conv2d(
            inputs,
            self.kernel,
            self.pointwise_kernel,
            self.bias,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
        )
        return self.activation(y)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["groups"]
        return {
            **_depthwise_names(config),
            "depth_multiplier": self.depth_multiplier,
            "pointwise_initializer": initializers.serialize(self.pointwise_initializer),
            "pointwise_regularizer": regularizers.serialize(self.pointwise_regularizer),
            "pointwise_constraint": constraints.serialize(self.pointwise_constraint),
        }
