"""``cupy.random``, as far as it goes: there, logged, and refused under capture, since cuRAND cannot be captured."""

from __future__ import annotations

from typing import Any

import numpy as np

from .array import ndarray
from .operations import operate

__all__ = ["normal", "permutation", "random", "seed", "uniform"]

_generator = np.random.default_rng(0)


def seed(seed: int | None = None) -> None:
    global _generator
    _generator = np.random.default_rng(seed)


def _draw(name: str, draw: Any) -> ndarray:
    return operate(f"random.{name}", draw, [], capturable=False)


def uniform(low: float = 0.0, high: float = 1.0, size: Any = None, dtype: Any = float) -> ndarray:
    return _draw("uniform", lambda out: np.asarray(_generator.uniform(low, high, size)).astype(dtype))


def normal(loc: float = 0.0, scale: float = 1.0, size: Any = None, dtype: Any = float) -> ndarray:
    return _draw("normal", lambda out: np.asarray(_generator.normal(loc, scale, size)).astype(dtype))


def random(size: Any = None, dtype: Any = float) -> ndarray:
    return _draw("random", lambda out: np.asarray(_generator.random(size)).astype(dtype))


def permutation(a: int) -> ndarray:
    return _draw("permutation", lambda out: _generator.permutation(a))
