"""Random operations: dropout and noise from Philox draws that backward can repeat."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.autograd.modes import mode
from gradlite.backends import Backend
from gradlite.ops.elementwise import floating, multiply
from gradlite.ops.kernel import KernelOp
from gradlite.random import Generator, default_generator
from gradlite.tensor import Tensor, wrap

# The same draw gives the same mask, so dropout is linear and its own transpose.
_dropout: KernelOp = KernelOp(
    "dropout",
    "Elements set to zero at random, the others scaled.",
    lambda g, out, x, draw, rate, noise_shape: _dropout(g, draw, rate=rate, noise_shape=noise_shape),
    None,
    inputs=(1,),
)
_random_normal = KernelOp("random_normal", "Normal noise.")


def draw(generator: Generator | None, backend: Backend) -> Tensor:
    """The state of the next draw; under a checkpoint's second run the one of the first."""
    source = default_generator() if generator is None else generator
    if mode.checkpoint is not None:
        return wrap(mode.checkpoint.random(lambda: source.draw(backend)), backend)
    return wrap(source.draw(backend), backend)


def dropout_as_drawn(x: Tensor, state: Tensor, rate: float) -> Tensor:
    """``dropout`` with a draw that was made before."""
    return _dropout(x, state, rate=float(rate), noise_shape=None)


def dropout(
    x: Any, rate: float, noise_shape: tuple[int | None, ...] | None = None, generator: Generator | None = None
) -> Tensor:
    """Each element set to 0 with probability ``rate``, the others divided by ``1 - rate`` (Srivastava et al., 2014).

    Args:
        x: any shape.
        rate: in [0, 1].
        noise_shape: the shape of the mask, which broadcasts: a length of 1 drops along that axis together.
        generator: where the random numbers come from; by default one that all such calls share.

    >>> import gradlite
    >>> gradlite.dropout(gradlite.ones(4), 1.0).numpy()
    array([0., 0., 0., 0.], dtype=float32)
    """
    x = floating(x)
    if not 0 <= rate <= 1:
        raise ValueError(f"dropout() needs a rate in [0, 1]. Received: rate={rate}.")
    if rate == 0:
        return x
    return _dropout(x, draw(generator, x.backend), rate=float(rate), noise_shape=noise_shape)


def random_normal(like: Tensor, mean: float = 0.0, stddev: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normally distributed numbers of the shape, type and device of ``like``.

    >>> import gradlite
    >>> from gradlite.ops.random import random_normal
    >>> random_normal(gradlite.ones((2, 3))).shape
    (2, 3)
    """
    noise = _random_normal(draw(generator, like.backend), shape=like.shape, dtype=np.dtype(like.dtype))
    return multiply(noise, stddev) + mean
