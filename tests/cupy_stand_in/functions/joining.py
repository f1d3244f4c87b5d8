"""Functions that put arrays together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import ndarray
from ..operations import device_array, operate

__all__ = ["append", "concatenate", "hstack", "roll", "stack", "tile", "vstack"]


def concatenate(tup: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> ndarray:
    return _joined(np.concatenate, tup, axis, out, dtype, casting)


def stack(tup: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> ndarray:
    return _joined(np.stack, tup, axis, out, dtype, casting)


def _joined(function: Any, tup: Any, axis: Any, out: Any, dtype: Any, casting: str) -> ndarray:
    arrays = [device_array(a) for a in tup]
    views = [a._array for a in arrays]
    options = {} if dtype is None else {"dtype": dtype}

    def compute(destination: Any) -> Any:
        return function(views, axis=axis, out=destination, casting=casting, **options)

    return operate(function.__name__, compute, arrays, out)


def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> ndarray:
    arrays = [device_array(a) for a in tup]
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, dtype=dtype, casting=casting)


def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> ndarray:
    arrays = [a.reshape(1, -1) if a.ndim < 2 else a for a in map(device_array, tup)]
    return concatenate(arrays, 0, dtype=dtype, casting=casting)


def append(arr: Any, values: Any, axis: int | None = None) -> ndarray:
    if axis is None:
        return concatenate([device_array(arr).ravel(), device_array(values).ravel()])
    return concatenate([arr, values], axis)


def tile(A: Any, reps: Any) -> ndarray:
    source = device_array(A)._array
    return operate("tile", lambda out: np.tile(source, reps), [A])


def roll(a: Any, shift: Any, axis: Any = None) -> ndarray:
    source = device_array(a)._array
    return operate("roll", lambda out: np.roll(source, shift, axis), [a])
