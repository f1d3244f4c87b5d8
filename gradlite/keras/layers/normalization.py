"""Normalization layers: batch, layer and group normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite import nn, ops
from gradlite.autograd import is_recomputing
from gradlite.backends.dtypes import is_narrow
from gradlite.keras import constraints, initializers, regularizers
from gradlite.keras.layers.base import InputSpec, Layer, Shape, positive
from gradlite.tensor import Tensor


class _Affine(Layer):
    """A layer that ends in ``gamma * x + beta``, either of which may be left out.

    Statistics are float32 for 16-bit inputs, and everything up to the output is computed with them: so the weights are
    not converted to the layer's 16 bits.
    """

    casts_integers = True

    def __init__(
        self,
        axis: Any,
        epsilon: float,
        center: bool,
        scale: bool,
        options: dict[str, Any],
    ) -> None:
        take = options.pop
        self_parts = {
            "beta_initializer": initializers.get(take("beta_initializer", "zeros")),
            "gamma_initializer": initializers.get(take("gamma_initializer", "ones")),
            "beta_regularizer": regularizers.get(take("beta_regularizer", None)),
            "gamma_regularizer": regularizers.get(take("gamma_regularizer", None)),
            "beta_constraint": constraints.get(take("beta_constraint", None)),
            "gamma_constraint": constraints.get(take("gamma_constraint", None)),
        }
        super().__init__(**options)
        self.axis = axis
        self.epsilon = float(epsilon)
        self.center = center
        self.scale = scale
        for name, part in self_parts.items():
            setattr(self, name, part)

    beta_initializer: Any
    gamma_initializer: Any
    beta_regularizer: Any
    gamma_regularizer: Any
    beta_constraint: Any
    gamma_constraint: Any

    def _build_affine(self, shape: tuple[int, ...]) -> None:
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                shape,
                self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
                name="gamma",
                autocast=False,
            )
        if self.center:
            self.beta = self.add_weight(
                shape,
                self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
                name="beta",
                autocast=False,
            )

    def _channels(self, input_shape: Shape, axis: int) -> int:
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                f"Layer {self.name!r} needs the length of axis {axis}. Received: input shape {input_shape}."
            )
        return channels

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "beta_regularizer": regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": regularizers.serialize(self.gamma_regularizer),
            "beta_constraint": constraints.serialize(self.beta_constraint),
            "gamma_constraint": constraints.serialize(self.gamma_constraint),
        }


class BatchNormalization(_Affine):
    """Normalizes every channel by the batch's mean and variance; in inference by moving averages of them.

    ``gamma * (x - mean) / sqrt(variance + epsilon) + beta`` (Ioffe and Szegedy, 2015). The population variance is used
    throughout, as in Keras 3. A frozen layer (``trainable = False``) works as in inference.

    Args:
        axis: the channels.
        momentum: of the moving averages: ``moving = moving * momentum + batch * (1 - momentum)``.
        epsilon: added to the variance.
        center, scale: whether there are ``beta`` and ``gamma``.
        options: ``beta_initializer``, ``gamma_initializer``, ``moving_mean_initializer``,
            ``moving_variance_initializer``, ``beta_regularizer``, ``gamma_regularizer``, ``beta_constraint``,
            ``gamma_constraint`` and those of all layers.

    >>> from gradlite import keras
    >>> keras.layers.BatchNormalization(epsilon=0.0)([[1.0], [3.0]], training=True).numpy()
    array([[-1.],
           [ 1.]], dtype=float32)
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        **options: Any,
    ) -> None:
        for name in ("renorm", "renorm_clipping", "synchronized"):
            if options.pop(name, None):
                raise ValueError(f"BatchNormalization: {name} is not supported. Received: {name} set.")
        options.pop("renorm_momentum", None)
        super().__init__(axis, epsilon, center, scale, options)
        self.momentum = float(momentum)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape, self.axis)
        self._build_affine((channels,))
        self.moving_mean = self.add_weight(
            (channels,), self.moving_mean_initializer, trainable=False, name="moving_mean", autocast=False
        )
        self.moving_variance = self.add_weight(
            (channels,), self.moving_variance_initializer, trainable=False, name="moving_variance", autocast=False
        )
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        last = self.axis in (-1, inputs.ndim - 1)
        x = inputs if last else ops.swapaxes(inputs, self.axis, -1)
        if training and self.trainable:
            y, mean, variance = nn.batch_norm(x, self.gamma, self.beta, self.epsilon)
            self.update_averages(mean, variance)
        else:
            y = nn.batch_norm_inference(x, self.gamma, self.beta, self.moving_mean, self.moving_variance, self.epsilon)
        return y if last else ops.swapaxes(y, self.axis, -1)

    def update_averages(self, mean: Tensor, variance: Tensor) -> None:
        """Move the averages towards a batch's statistics; once, also where a checkpoint computes the batch twice."""
        if is_recomputing():
            return
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.backend.launch("moving_average", moving.data, batch.data, None, momentum=self.momentum)
            moving.bump_version()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
        }


class LayerNormalization(_Affine):
    """Normalizes every sample by its own mean and variance over ``axis`` (Ba, Kiros and Hinton, 2016).

    Args:
        axis: one axis or several, which are the shape of ``gamma`` and ``beta``.
        epsilon: added to the variance.
        center, scale: whether there are ``beta`` and ``gamma``.
        options: initializers, regularizers and constraints of ``beta`` and ``gamma``, and those of all layers.

    >>> from gradlite import keras
    >>> keras.layers.LayerNormalization(epsilon=0.0)([[1.0, 3.0]]).numpy()
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(
        self, axis: Any = -1, epsilon: float = 1e-3, center: bool = True, scale: bool = True, **options: Any
    ) -> None:
        super().__init__(list(axis) if isinstance(axis, Sequence) else axis, epsilon, center, scale, options)

    def _axes(self, ndim: int) -> tuple[int, ...]:
        return tuple(sorted(a % ndim for a in (self.axis if isinstance(self.axis, list) else [self.axis])))

    def build(self, input_shape: Shape) -> None:
        self._build_affine(tuple(self._channels(input_shape, a) for a in self._axes(len(input_shape))))
        given = self.axis if isinstance(self.axis, list) else [self.axis]
        least = max(a + 1 if a >= 0 else -a for a in given)
        self.input_spec = InputSpec(min_ndim=least, axes={a: self._channels(input_shape, a) for a in given})

    def call(self, inputs: Tensor) -> Tensor:
        axes = self._axes(inputs.ndim)
        if axes == (inputs.ndim - 1,):
            return nn.layer_norm(inputs, self.gamma, self.beta, self.epsilon)
        # The normalized axes last and joined, so that one kernel serves; then everything back in place.
        rest = [i for i in range(inputs.ndim) if i not in axes]
        order = [*rest, *axes]
        moved = ops.transpose(inputs, order)
        flat = ops.reshape(moved, (*moved.shape[: len(rest)], -1))
        gamma, beta = (None if p is None else ops.reshape(p, (-1,)) for p in (self.gamma, self.beta))
        y = nn.layer_norm(flat, gamma, beta, self.epsilon)
        return ops.transpose(ops.reshape(y, moved.shape), [int(i) for i in np.argsort(order)])


class GroupNormalization(_Affine):
    """Normalizes groups of channels of every sample over all places (Wu and He, 2018).

    Args:
        groups: divides the channels; -1 for one channel each.
        axis: the channels.
        epsilon, center, scale, options: as in ``LayerNormalization``.

    >>> from gradlite import keras
    >>> keras.layers.GroupNormalization(2).compute_output_shape((None, 8, 8, 4))
    (None, 8, 8, 4)
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(axis, epsilon, center, scale, options)
        self.groups = groups if groups == -1 else positive(groups, "GroupNormalization", "groups")

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape, self.axis)
        groups = channels if self.groups == -1 else self.groups
        if channels % groups:
            raise ValueError(
                f"Layer {self.name!r}: groups={self.groups} does not divide the {channels} channels of {input_shape}."
            )
        self._build_affine((channels,))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})

    def call(self, inputs: Tensor) -> Tensor:
        last = self.axis in (-1, inputs.ndim - 1)
        x = inputs if last else ops.swapaxes(inputs, self.axis, -1)
        x = x.astype(np.float32) if is_narrow(x.data.dtype) else x
        groups = x.shape[-1] if self.groups == -1 else self.groups
        y = nn.group_norm(x, groups, self.gamma, self.beta, self.epsilon).astype(inputs.data.dtype)
        return y if last else ops.swapaxes(y, self.axis, -1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}
