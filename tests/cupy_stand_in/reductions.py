"""Reductions, scans and sorts. CuPy's own cannot be relied on under capture, so there they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .operations import device_array, operate

if TYPE_CHECKING:
    from .array import ndarray


def reduce(name: str, array: Any, out: Any = None, **options: Any) -> ndarray:
    """NumPy's function ``name`` of a device array; the result is an array, also where it has no axes."""
    source = device_array(array)._array
    given = {key: value for key, value in options.items() if value is not None}
    if isinstance(given.get("axis"), list):
        given["axis"] = tuple(given["axis"])
    function = getattr(np, name)
    return operate(name, lambda destination: function(source, out=destination, **given), [array], out, capturable=False)


def arg_reduce(name: str, array: Any, axis: Any, dtype: Any, out: Any, keepdims: bool) -> ndarray:
    """argmax and argmin, which CuPy gives a dtype too."""
    source = device_array(array)._array
    function = getattr(np, name)

    def compute(destination: Any) -> Any:
        places = function(source, axis=axis, keepdims=keepdims)
        if destination is None:
            return np.asarray(places, np.int64 if dtype is None else dtype)
        destination[...] = places
        return destination

    return operate(name, compute, [array], out, capturable=False)


def sort(name: str, array: Any, axis: Any, kind: Any) -> ndarray:
    """sort and argsort; both are stable, whatever is asked for."""
    if kind is not None and kind != "stable":
        raise ValueError(f"kind can only be None or 'stable'. Received: {kind!r}")
    array = device_array(array)
    if array.ndim == 0:
        raise np.exceptions.AxisError("Sorting arrays with the rank of zero is not supported")
    source = array._array
    return operate(name, lambda out: getattr(np, name)(source, axis=axis, kind="stable"), [array], capturable=False)
