"""Arrays that depend on nothing but their name: inputs of the recorded cases, made again in every test, never stored.

They are taken straight from Philox's raw bits, whose stream NumPy guarantees, and not from `Generator`'s distributions,
whose stream it may change.
"""

from __future__ import annotations

import zlib

import numpy as np


def uniform(name: str, shape: tuple[int, ...], low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """float32 values in [low, high) fixed by `name`.

    >>> float(uniform("example", (2,)).dtype == np.float32)
    1.0
    """
    count = int(np.prod(shape))
    bits = np.random.Philox(key=zlib.crc32(name.encode())).random_raw(count)
    fraction = (np.asarray(bits, dtype=np.uint64) >> np.uint64(40)).astype(np.float64) / 2.0**24
    return (low + (high - low) * fraction).reshape(shape).astype(np.float32)


def integers(name: str, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """int32 values in [low, high) fixed by `name`."""
    return np.floor(uniform(name, shape, 0.0, 1.0).astype(np.float64) * (high - low)).astype(np.int32) + np.int32(low)


def one_hot(labels: np.ndarray, depth: int) -> np.ndarray:
    """float32 rows with a one at each label."""
    return np.eye(depth, dtype=np.float32)[labels]


def probabilities(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 positive rows that sum to one over the last axis."""
    raw = uniform(name, shape, 0.02, 1.0).astype(np.float64) ** 2
    return (raw / raw.sum(axis=-1, keepdims=True)).astype(np.float32)
