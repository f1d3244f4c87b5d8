"""Random initial weights, most with a spread that follows from a layer's fan-in and fan-out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradlite.keras.backend import floatx
from gradlite.keras.initializers.constant import Initializer, Shape
from gradlite.random import Generator

# The standard deviation of a standard normal distribution cut at two standard deviations.
_TRUNCATED_STDDEV = 0.87962566103423978


class RandomInitializer(Initializer):
    """Base of the initializers that draw numbers.

    An integer ``seed`` gives the same values at every call; without one every call draws anew, repeatably after
    ``keras.utils.set_random_seed``.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise ValueError(f"`seed` must be an integer or None. Received: seed={seed!r} ({type(seed).__name__}).")
        self.seed = None if seed is None else int(seed)
        self._unseeded: Generator | None = None

    def _generator(self) -> Generator:
        if self.seed is not None:
            return Generator(self.seed)
        if self._unseeded is None:
            self._unseeded = Generator()
        return self._unseeded

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class RandomNormal(RandomInitializer):
    """A normal distribution.

    >>> from gradlite.keras.initializers import RandomNormal
    >>> RandomNormal(stddev=0.1, seed=1)((3, 2)).shape
    (3, 2)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return self._generator().normal(tuple(shape), self.mean, self.stddev, dtype or floatx())

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


class TruncatedNormal(RandomNormal):
    """A normal distribution, cut off two standard deviations from the mean.

    >>> from gradlite.keras.initializers import TruncatedNormal
    >>> bool(abs(TruncatedNormal(stddev=0.1, seed=1)((100,))).max() <= 0.2)
    True
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return self._generator().truncated_normal(tuple(shape), self.mean, self.stddev, dtype or floatx())


class RandomUniform(RandomInitializer):
    """A uniform distribution between ``minval`` and ``maxval``.

    >>> from gradlite.keras.initializers import RandomUniform
    >>> bool(abs(RandomUniform(seed=1)((100,))).max() <= 0.05)
    True
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.minval = minval
        self.maxval = maxval

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return self._generator().uniform(tuple(shape), self.minval, self.maxval, dtype or floatx())

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}


class VarianceScaling(RandomInitializer):
    """Random numbers of variance ``scale / fan``, so that signals keep their size through a layer.

    Args:
        scale: positive.
        mode: which fan: "fan_in", "fan_out" or "fan_avg", their mean (see ``compute_fans``).
        distribution: "truncated_normal", "untruncated_normal" or "uniform", within +-sqrt(3 scale / fan).
        seed: an integer for the same values at every call.

    >>> from gradlite.keras.initializers import VarianceScaling
    >>> VarianceScaling(scale=2.0, seed=1)((300, 100)).std().round(2)
    np.float32(0.08)
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        if not scale > 0:
            raise ValueError(f"Argument `scale` must be positive float. Received: scale={scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"Invalid `mode` argument: {mode}. Please use one of fan_in, fan_out, fan_avg.")
        distribution = distribution.lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        if distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise ValueError(
                f"Invalid `distribution` argument: {distribution}. "
                "Please use one of truncated_normal, untruncated_normal, uniform."
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        dtype = dtype or floatx()
        fan_in, fan_out = compute_fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(fan, 1.0)
        generator = self._generator()
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return generator.uniform(tuple(shape), -limit, limit, dtype)
        if self.distribution == "untruncated_normal":
            return generator.normal(tuple(shape), 0.0, math.sqrt(variance), dtype)
        return generator.truncated_normal(tuple(shape), 0.0, math.sqrt(variance) / _TRUNCATED_STDDEV, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "mode": self.mode, "distribution": self.distribution, **super().get_config()}


class _NamedScaling(VarianceScaling):
    """A VarianceScaling known by its authors; only its seed can be chosen."""

    _scaling: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        scale, mode, distribution = self._scaling
        super().__init__(scale, mode, distribution, seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotUniform(_NamedScaling):
    """Uniform within sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010). The default of most layers.

    >>> from gradlite.keras.initializers import GlorotUniform
    >>> bool(abs(GlorotUniform(seed=1)((3, 3))).max() <= 1.0)
    True
    """

    _scaling = (1.0, "fan_avg", "uniform")


class GlorotNormal(_NamedScaling):
    """Truncated normal of variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""

    _scaling = (1.0, "fan_avg", "truncated_normal")


class HeNormal(_NamedScaling):
    """Truncated normal of variance 2 / fan_in, for ReLU (He et al. 2015)."""

    _scaling = (2.0, "fan_in", "truncated_normal")


class HeUniform(_NamedScaling):
    """Uniform within sqrt(6 / fan_in), for ReLU (He et al. 2015)."""

    _scaling = (2.0, "fan_in", "uniform")


class LecunNormal(_NamedScaling):
    """Truncated normal of variance 1 / fan_in, for SELU (LeCun et al. 1998, Klambauer et al. 2017)."""

    _scaling = (1.0, "fan_in", "truncated_normal")


class LecunUniform(_NamedScaling):
    """Uniform within sqrt(3 / fan_in) (LeCun et al. 1998)."""

    _scaling = (1.0, "fan_in", "uniform")


class Orthogonal(RandomInitializer):
    """``gain`` times a random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2014).

    A kernel of more than two axes is seen as a matrix whose columns are its last axis.

    >>> import numpy as np
    >>> from gradlite.keras.initializers import Orthogonal
    >>> q = Orthogonal(seed=1)((4, 2), "float64")
    >>> bool(np.allclose(q.T @ q, np.eye(2)))
    True
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(
                "The tensor to initialize must be at least two-dimensional. "
                f"Received: shape={tuple(shape)} of rank {len(shape)}."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        flat = self._generator().normal((max(rows, columns), min(rows, columns)), dtype="float64")
        q, r = np.linalg.qr(flat)
        # QR alone prefers some matrices; fixing the signs of R's diagonal makes all equally likely (Mezzadri 2007).
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
        q = q.T if rows < columns else q
        return np.ascontiguousarray((self.gain * q).reshape(tuple(shape)), dtype=dtype or floatx())

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, **super().get_config()}


def compute_fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight: the inputs that reach one output, and the outputs that one input reaches.

    A kernel's last two axes are its inputs and outputs, those before them its receptive field.

    >>> from gradlite.keras.initializers import compute_fans
    >>> compute_fans((3, 3, 4, 8))
    (36, 72)
    """
    if len(shape) < 1:
        return 1, 1
    if len(shape) == 1:
        return int(shape[0]), int(shape[0])
    receptive = math.prod(shape[:-2])
    return int(receptive * shape[-2]), int(receptive * shape[-1])
