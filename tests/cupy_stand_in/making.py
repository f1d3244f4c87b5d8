"""Making device arrays: of memory, of other arrays, of what the host has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import streams
from .counters import count
from .memory import MemoryPointer, UnownedMemory

if TYPE_CHECKING:
    from .array import ndarray


def view(array: np.ndarray, base: ndarray) -> ndarray:
    """A device array that looks at ``base``'s memory through the NumPy view ``array``."""
    from .array import ndarray

    result = object.__new__(ndarray)
    result._array, result.base = array, base if base.base is None else base.base
    offset = array.__array_interface__["data"][0] - base.data.ptr if array.size else 0
    result.data = base.data + offset
    return result


def new(shape: tuple[int, ...], dtype: Any) -> ndarray:
    """A new C-contiguous device array."""
    from .array import ndarray

    return ndarray(shape, dtype)


def new_like(prototype: np.ndarray, dtype: Any, order: str | None) -> ndarray:
    """A new device array of the prototype's shape; ``order`` as NumPy's, "K" for the prototype's own."""
    from .array import ndarray

    strides = np.empty_like(prototype, dtype, order=order or "C", subok=False).strides
    return ndarray(prototype.shape, dtype, strides=strides)


def has_order(array: ndarray, order: str | None) -> bool:
    if order == "C":
        return array.flags.c_contiguous
    return array.flags.f_contiguous if order == "F" else True


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool | None = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> ndarray:
    """``cupy.array``: a device array of a device array, a NumPy array, a number or nested sequences of them."""
    result = _from(obj, dtype, copy, order)
    return result.reshape((1,) * (ndmin - result.ndim) + result.shape) if result.ndim < ndmin else result


def _from(obj: Any, dtype: Any, copy: bool | None, order: str) -> ndarray:
    from .array import ndarray

    if not isinstance(obj, ndarray) and hasattr(obj, "__cuda_array_interface__"):
        obj = from_interface(obj)
    if isinstance(obj, ndarray):
        return obj.astype(dtype or obj.dtype, order=order, copy=bool(copy))
    if isinstance(obj, (list, tuple)) and _holds_device_arrays(obj):
        from .functions import joining

        return joining.stack([_from(x, dtype, False, "C") for x in obj], dtype=dtype)
    if copy is False:
        # CuPy takes this for "where possible", as NumPy did before 2.0.
        copy = None
    host = np.asarray(obj, dtype)
    result = new_like(host, host.dtype, "C" if order in ("A", None) else order)
    streams.refuse_under_capture("a copy from the host")
    count("host_to_device")
    result._array[...] = host
    return result


def _holds_device_arrays(obj: Any) -> bool:
    from .array import ndarray

    return isinstance(obj, ndarray) or (isinstance(obj, (list, tuple)) and any(map(_holds_device_arrays, obj)))


def from_interface(obj: Any) -> ndarray:
    """A device array on the memory of an object with ``__cuda_array_interface__``."""
    from .array import ndarray

    interface = obj.__cuda_array_interface__
    dtype, shape, strides = np.dtype(interface["typestr"]), interface["shape"], interface.get("strides")
    nbytes = math.prod(shape) * dtype.itemsize
    memory = UnownedMemory(interface["data"][0], nbytes, obj)
    return ndarray(shape, dtype, MemoryPointer(memory, 0), strides)
