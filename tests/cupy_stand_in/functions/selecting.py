"""Functions that choose elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import streams
from ..array import ndarray
from ..counters import count
from ..operations import device_array, operand, operate
from .creation import arange

__all__ = ["clip", "isclose", "nan_to_num", "nonzero", "pad", "take", "take_along_axis", "where"]


def clip(a: Any, a_min: Any, a_max: Any, out: Any = None) -> ndarray:
    if a_min is None and a_max is None:
        raise ValueError("array_clip: must set either max or min")
    source = device_array(a)._array
    low, high = (None if bound is None else operand(bound) for bound in (a_min, a_max))

    def compute(destination: Any) -> Any:
        return np.clip(source, low, high, out=destination)

    return operate("clip", compute, [a, a_min, a_max], out)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if (x is None) != (y is None):
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    if x is None:
        return nonzero(condition)
    if np.isscalar(condition):
        condition = np.bool_(condition)
    chosen, first, second = operand(condition), operand(x), operand(y)
    return operate("where", lambda out: np.where(chosen, first, second), [condition, x, y])


def nonzero(a: Any) -> tuple[ndarray, ...]:
    """The places of the elements that are not zero; the host waits for their number."""
    source = device_array(a)._array
    streams.refuse_under_capture("nonzero makes the host wait")
    count("synchronizations")
    count("device_to_host")
    places = operate("nonzero", lambda out: np.stack(np.nonzero(source)), [a], capturable=False)
    return tuple(places)


def take(a: Any, indices: Any, axis: int | None = None, out: Any = None) -> ndarray:
    return device_array(a).take(indices, axis, out)


def take_along_axis(a: Any, indices: Any, axis: int | None) -> ndarray:
    a, indices = device_array(a), device_array(indices)
    if indices.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if axis is None:
        a, axis = a.ravel(), 0
    axis = range(a.ndim)[axis]
    if a.ndim != indices.ndim:
        raise ValueError("`indices` and `a` must have the same number of dimensions")
    grid = [arange(n).reshape((1,) * i + (-1,) + (1,) * (a.ndim - i - 1)) for i, n in enumerate(a.shape)]
    grid[axis] = indices
    return a[tuple(grid)]


def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> ndarray:
    if mode not in ("constant", "edge", "reflect", "symmetric", "wrap"):
        raise NotImplementedError(f"stand-in: pad(mode={mode!r})")
    source = device_array(array)._array
    return operate("pad", lambda out: np.pad(source, pad_width, mode, **kwargs), [array])


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> ndarray:
    x, y = operand(a), operand(b)
    return operate("isclose", lambda out: np.isclose(x, y, rtol, atol, equal_nan), [a, b])


def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> ndarray:
    if not copy:
        raise NotImplementedError("stand-in: nan_to_num(copy=False)")
    source = device_array(x)._array
    return operate("nan_to_num", lambda out: np.nan_to_num(source, nan=nan, posinf=posinf, neginf=neginf), [x])
