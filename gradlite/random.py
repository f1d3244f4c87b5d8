"""Random generators: seeds, streams, and host-side draws for initial weights, shuffling and augmentation.

A `Generator` is a seed, a stream number and a draw counter; each random operation takes one draw. Layers and data
pipelines hold one each, so what one of them does never changes what another draws.
"""

from __future__ import annotations

import itertools
import math
import operator
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cpu.random import random_bits
from gradlite.backends.reference.random import (
    normal_from_bits,
    permutation_from_bits,
    uniform_from_bits,
    words_needed,
)

if TYPE_CHECKING:
    from gradlite.backends.base import Backend

__all__ = ["Generator", "default_generator", "set_seed"]

_seed: int | None = None
# From 1 on: stream 0 belongs to generators with a seed of their own.
_streams = itertools.count(1)
_default: Generator | None = None
_DEFAULT_STREAM = 2**32 - 1


def set_seed(seed: int) -> None:
    """Make everything random that is created from here on repeatable: the same seed gives the same run.

    Args:
        seed: an integer from 0 to 2**64 - 1.

    Raises:
        TypeError: where `seed` is no integer.
        ValueError: where it is out of range.

    >>> from gradlite.random import Generator, set_seed
    >>> set_seed(1)
    >>> a = Generator().permutation(4)
    >>> set_seed(1)
    >>> bool((a == Generator().permutation(4)).all())
    True
    """
    global _seed, _streams, _default
    _seed = _checked_seed(seed)
    _streams = itertools.count(1)
    _default = None


def _checked_seed(seed: int) -> int:
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(f"A seed is an integer. Received: seed={seed!r} of type {type(seed).__name__}.") from None
    if not 0 <= number < 2**64:
        raise ValueError(f"A seed is from 0 to 2**64 - 1. Received: seed={seed}.")
    return number


def _global_seed() -> int:
    """The seed given to `set_seed`, or one from the operating system, chosen once."""
    global _seed
    if _seed is None:
        _seed = int.from_bytes(os.urandom(8), "little")
    return _seed


def default_generator() -> Generator:
    """The generator that operations without one of their own share; `set_seed` starts it again.

    >>> from gradlite.random import default_generator, set_seed
    >>> set_seed(1)
    >>> a = default_generator().bits(2)
    >>> set_seed(1)
    >>> bool((a == default_generator().bits(2)).all())
    True
    """
    global _default
    if _default is None:
        _default = Generator(stream=_DEFAULT_STREAM)
    return _default


class Generator:
    """A source of random numbers that are the same on every device (Philox4x32-10 by seed, stream and draw).

    Args:
        seed: an integer from 0 to 2**64 - 1; None takes the global seed (see `set_seed`).
        stream: tells generators of the same seed apart, from 0 to 2**32 - 1. None takes the next unused number with the
            global seed, and 0 with a seed of its own, so that `Generator(7)` draws the same wherever it is made.

    >>> from gradlite.random import Generator
    >>> Generator(seed=3).uniform((2, 2)).shape
    (2, 2)
    """

    def __init__(self, seed: int | None = None, stream: int | None = None) -> None:
        if stream is None:
            stream = 0 if seed is not None else next(_streams)
        if not 0 <= stream < 2**32:
            raise ValueError(f"A stream is from 0 to 2**32 - 1. Received: stream={stream}.")
        self.seed = _global_seed() if seed is None else _checked_seed(seed)
        self.stream = stream
        self.state: Any = np.array([self.seed, stream, 0], np.uint64)
        self._backend: Backend | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "state": self._host_state(), "_backend": None}

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, stream={self.stream})"

    def draw(self, backend: Backend) -> Any:
        """One draw for a kernel on `backend`: a uint64 array (3,) there, for `dropout` and its like.

        The state moves to the backend on first use and is advanced there; nothing waits for a device.
        """
        if self._backend is not backend:
            self.state = backend.asarray(self._host_state())
            self._backend = backend
        return backend.launch("draw_random", self.state)

    def bits(self, size: int) -> np.ndarray:
        """`size` random uint32 words, shape (size,)."""
        state = self._host_state()
        bits: np.ndarray = random_bits(state, size=size)
        state[2:3] += np.uint64(1)
        if state is not self.state:
            assert self._backend is not None
            self._backend.launch("assign", self.state, self._backend.asarray(state))
        return bits

    def uniform(
        self, shape: int | tuple[int, ...], low: float = 0.0, high: float = 1.0, dtype: Any = "float32"
    ) -> np.ndarray:
        """Floats spread evenly over [low, high); the upper end can appear through rounding alone."""
        shape, dtype = _checked_shape(shape), _checked_dtype(dtype)
        unit = uniform_from_bits(np, self.bits(words_needed(math.prod(shape), dtype)), dtype)
        return (unit * dtype.type(high - low) + dtype.type(low)).reshape(shape)

    def normal(
        self, shape: int | tuple[int, ...], mean: float = 0.0, stddev: float = 1.0, dtype: Any = "float32"
    ) -> np.ndarray:
        """Normally distributed floats."""
        shape, dtype = _checked_shape(shape), _checked_dtype(dtype)
        size = math.prod(shape)
        unit = normal_from_bits(np, self.bits(words_needed(size + size % 2, dtype)), size, dtype)
        return (unit * dtype.type(stddev) + dtype.type(mean)).reshape(shape)

    def truncated_normal(
        self, shape: int | tuple[int, ...], mean: float = 0.0, stddev: float = 1.0, dtype: Any = "float32"
    ) -> np.ndarray:
        """Normally distributed floats, cut off at two standard deviations (whose own deviation is 0.8796 stddev)."""
        shape, dtype = _checked_shape(shape), _checked_dtype(dtype)
        unit = uniform_from_bits(np, self.bits(2 * math.prod(shape)), np.dtype("float64")) + 2.0**-54
        below = 0.5 * math.erfc(math.sqrt(2.0))  # the normal distribution's mass below -2
        value = normal_quantile(below + unit * (1.0 - 2.0 * below)).clip(-2.0, 2.0)
        return (value * stddev + mean).astype(dtype).reshape(shape)

    def permutation(self, n: int) -> np.ndarray:
        """The numbers 0 to n - 1 in random order, int64."""
        order: np.ndarray = permutation_from_bits(np, self.bits(2 * n))
        return order

    def integers(self, low: int, high: int, shape: int | tuple[int, ...]) -> np.ndarray:
        """Integers from low to high - 1, int64; the bias of 64 bits modulo the range is below (high - low) / 2**64."""
        shape = _checked_shape(shape)
        if not low < high:
            raise ValueError(f"integers() draws from low to high - 1. Received: low={low}, high={high}.")
        words = self.bits(2 * math.prod(shape)).astype(np.uint64)
        value = ((words[0::2] << 32) | words[1::2]) % np.uint64(high - low)
        return (value.astype(np.int64) + low).reshape(shape)

    def _host_state(self) -> np.ndarray:
        if isinstance(self.state, np.ndarray):
            return self.state
        assert self._backend is not None
        return self._backend.to_numpy(self.state)


def _checked_shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    return (operator.index(shape),) if not isinstance(shape, (tuple, list)) else tuple(map(operator.index, shape))


def _checked_dtype(dtype: Any) -> np.dtype[Any]:
    dtype = np.dtype(dtype)
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise TypeError(f"Random numbers are float16, float32 or float64. Received: dtype={dtype.name!r}.")
    return dtype


# Numerators and denominators of algorithm AS 241, highest power first; the denominators end in 1.
_CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080),
    (5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
     5394.1960214247511077, 687.18700749205790830, 42.313330701600911252, 1.0),
)  # fmt: skip
_FLANK = (
    (7.7454501427834140764e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258,
     3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187, 1.0),
)  # fmt: skip


def normal_quantile(p: np.ndarray) -> np.ndarray:
    """Where the standard normal distribution function equals `p`, for float64 p in (1e-11, 1 - 1e-11).

    M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37 (1988);
    relative accuracy about 1e-16. Its third branch, for p beyond e**-25, is left out: no caller goes there.
    """
    q = p - 0.5
    centre = _rational(_CENTRE, 0.180625 - q * q) * q
    flank = _rational(_FLANK, np.sqrt(-np.log(np.minimum(p, 1.0 - p))) - 1.6)
    return np.where(np.abs(q) <= 0.425, centre, np.copysign(flank, q))


def _rational(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: np.ndarray) -> np.ndarray:
    numerator, denominator = (np.polyval(row, x) for row in coefficients)
    return numerator / denominator
