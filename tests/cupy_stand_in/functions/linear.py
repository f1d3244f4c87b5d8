"""Linear algebra. On a GPU these call cuBLAS, which CuPy refuses while a stream is being captured."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import ndarray
from ..operations import device_array, operate

__all__ = ["dot", "einsum", "inner", "matmul", "outer", "tensordot", "vdot"]


def matmul(
    *args: Any,
    axes: Any = None,
    axis: Any = None,
    keepdims: bool = False,
    casting: str = "same_kind",
    dtype: Any = None,
    signature: Any = None,
    order: str = "K",
    out: Any = None,
) -> ndarray:
    if axes is not None or axis is not None or keepdims or signature is not None:
        raise NotImplementedError("stand-in: matmul takes two arrays, casting, dtype and out")
    if len(args) == 3:
        args, out = args[:2], args[2]
    if isinstance(out, tuple):
        (out,) = out
    a, b = (device_array(x)._array for x in args)

    def compute(destination: Any) -> Any:
        return np.matmul(a, b, out=destination, casting=casting, dtype=dtype)

    return operate("matmul", compute, args, out, capturable=False)


def dot(a: Any, b: Any, out: Any = None) -> ndarray:
    return _product("dot", np.dot, a, b, out)


def inner(a: Any, b: Any) -> ndarray:
    return _product("inner", np.inner, a, b)


def vdot(a: Any, b: Any) -> ndarray:
    return _product("vdot", np.vdot, a, b)


def outer(a: Any, b: Any, out: Any = None) -> ndarray:
    return _product("outer", np.outer, a, b, out)


def tensordot(a: Any, b: Any, axes: Any = 2) -> ndarray:
    return _product("tensordot", lambda x, y: np.tensordot(x, y, axes), a, b)


def _product(name: str, function: Any, a: Any, b: Any, out: Any = None) -> ndarray:
    x, y = device_array(a)._array, device_array(b)._array

    def compute(destination: Any) -> Any:
        value = function(x, y)
        if destination is None:
            return value
        destination[...] = value
        return destination

    return operate(name, compute, [a, b], out, capturable=False)


def einsum(*operands: Any, **kwargs: Any) -> ndarray:
    """einsum(subscripts, *operands, dtype=None, optimize=False)"""
    dtype, optimize = kwargs.pop("dtype", None), kwargs.pop("optimize", False)
    if kwargs:
        raise TypeError(f"Did not understand the following kwargs: {list(kwargs)}")
    subscripts, *arrays = operands
    if not isinstance(subscripts, str):
        raise NotImplementedError("stand-in: einsum takes its subscripts as a string")
    views = [device_array(a)._array for a in arrays]
    options = {} if dtype is None else {"dtype": dtype, "casting": "unsafe"}

    def compute(out: Any) -> Any:
        return np.einsum(subscripts, *views, optimize=optimize, **options)

    return operate("einsum", compute, arrays, capturable=False)
