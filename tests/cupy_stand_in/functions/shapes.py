"""Functions that look at the same elements in another shape: views, which launch nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import ndarray
from ..making import view
from ..operations import device_array, operate

__all__ = [
    "atleast_1d",
    "broadcast_arrays",
    "broadcast_to",
    "diagonal",
    "expand_dims",
    "flip",
    "moveaxis",
    "ravel",
    "repeat",
    "reshape",
    "rollaxis",
    "split",
    "squeeze",
    "swapaxes",
    "transpose",
]


def reshape(a: Any, newshape: Any, order: str = "C", *, copy: bool | None = None) -> ndarray:
    return device_array(a).reshape(newshape, order=order, copy=copy)


def ravel(a: Any, order: str = "C") -> ndarray:
    return device_array(a).ravel(order)


def transpose(a: Any, axes: Any = None) -> ndarray:
    return device_array(a).transpose(axes)


def swapaxes(a: Any, axis1: int, axis2: int) -> ndarray:
    return device_array(a).swapaxes(axis1, axis2)


def moveaxis(a: Any, source: Any, destination: Any) -> ndarray:
    return view(np.moveaxis(device_array(a)._array, source, destination), a)


def rollaxis(a: Any, axis: int, start: int = 0) -> ndarray:
    return view(np.rollaxis(device_array(a)._array, axis, start), a)


def squeeze(a: Any, axis: Any = None) -> ndarray:
    return device_array(a).squeeze(axis)


def expand_dims(a: Any, axis: Any) -> ndarray:
    return view(np.expand_dims(device_array(a)._array, axis), a)


def atleast_1d(*arys: Any) -> Any:
    results = [a if a.ndim else a.reshape(1) for a in map(device_array, arys)]
    return results[0] if len(results) == 1 else results


def broadcast_to(array: Any, shape: Any) -> ndarray:
    return view(np.broadcast_to(device_array(array)._array, shape), array)


def broadcast_arrays(*args: Any) -> list[ndarray]:
    arrays = [device_array(a) for a in args]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    return [broadcast_to(a, shape) for a in arrays]


def flip(a: Any, axis: Any = None) -> ndarray:
    return view(np.flip(device_array(a)._array, axis), a)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ndarray:
    return device_array(a).diagonal(offset, axis1, axis2)


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[ndarray]:
    return [view(part, ary) for part in np.split(device_array(ary)._array, indices_or_sections, axis)]


def repeat(a: Any, repeats: Any, axis: int | None = None) -> ndarray:
    source = device_array(a)._array
    return operate("repeat", lambda out: np.repeat(source, repeats, axis), [a])
