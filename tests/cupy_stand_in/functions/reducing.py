"""Reductions as functions, scans and sorts; see ``reductions.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import reductions
from ..array import ndarray
from ..operations import device_array, operate

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "array_equal",
    "bincount",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "max",
    "mean",
    "min",
    "prod",
    "sort",
    "std",
    "sum",
    "var",
]


def sum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return device_array(a).sum(axis, dtype, out, keepdims)


def prod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return device_array(a).prod(axis, dtype, out, keepdims)


def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return device_array(a).mean(axis, dtype, out, keepdims)


def var(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: int = 0, keepdims: bool = False) -> ndarray:
    return device_array(a).var(axis, dtype, out, ddof, keepdims)


def std(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: int = 0, keepdims: bool = False) -> ndarray:
    return device_array(a).std(axis, dtype, out, ddof, keepdims)


def amax(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return device_array(a).max(axis, out, keepdims)


def amin(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return device_array(a).min(axis, out, keepdims)


max, min = amax, amin


def argmax(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return reductions.arg_reduce("argmax", a, axis, dtype, out, keepdims)


def argmin(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return reductions.arg_reduce("argmin", a, axis, dtype, out, keepdims)


def all(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return device_array(a).all(axis, out, keepdims)


def any(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return device_array(a).any(axis, out, keepdims)


def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> ndarray:
    return device_array(a).cumsum(axis, dtype, out)


def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> ndarray:
    return device_array(a).cumprod(axis, dtype, out)


def count_nonzero(a: Any, axis: Any = None) -> ndarray:
    source = device_array(a)._array
    return operate(
        "count_nonzero", lambda out: np.asarray(np.count_nonzero(source, axis), np.int64), [a], capturable=False
    )


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> ndarray:
    x, y = device_array(a1)._array, device_array(a2)._array
    return operate("array_equal", lambda out: np.array_equal(x, y, equal_nan=equal_nan), [a1, a2], capturable=False)


def argsort(a: Any, axis: Any = -1, kind: Any = None) -> ndarray:
    return reductions.sort("argsort", a, axis, kind)


def sort(a: Any, axis: Any = -1, kind: Any = None) -> ndarray:
    return reductions.sort("sort", a, axis, kind)


def bincount(x: Any, weights: Any = None, minlength: int | None = None) -> ndarray:
    places = device_array(x)._array
    heavy = None if weights is None else device_array(weights)._array
    length = minlength or 0
    return operate("bincount", lambda out: np.bincount(places, heavy, length), [x, weights], capturable=False)
