"""Functions that make arrays, and those that copy between host and device."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import ndarray
from ..dlpack import from_dlpack
from ..making import array, new_like
from ..operations import operate

__all__ = [
    "arange",
    "array",
    "asanyarray",
    "asarray",
    "ascontiguousarray",
    "asfortranarray",
    "asnumpy",
    "copy",
    "copyto",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "full",
    "full_like",
    "identity",
    "linspace",
    "ones",
    "ones_like",
    "tri",
    "tril",
    "triu",
    "zeros",
    "zeros_like",
]


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, dtype, order=order)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return _filled(ndarray(shape, dtype, order=order), 0)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return _filled(ndarray(shape, dtype, order=order), 1)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    if dtype is None:
        dtype = fill_value.dtype if isinstance(fill_value, ndarray) else np.asarray(fill_value).dtype
    result = ndarray(shape, dtype, order=order)
    copyto(result, fill_value, casting="unsafe")
    return result


def empty_like(prototype: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    if subok is not None:
        raise TypeError("subok is not supported yet")
    dtype = prototype.dtype if dtype is None else dtype
    if shape is not None:
        return ndarray(shape, dtype)
    return new_like(prototype._array if isinstance(prototype, ndarray) else prototype, dtype, order)


def zeros_like(a: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    return _filled(empty_like(a, dtype, order, subok, shape), 0)


def ones_like(a: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    return _filled(empty_like(a, dtype, order, subok, shape), 1)


def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    return _filled(empty_like(a, dtype, order, subok, shape), fill_value)


def _filled(result: ndarray, value: Any) -> ndarray:
    if result.size:
        result.fill(value)
    return result


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    if stop is None:
        start, stop = 0, start
    return operate("arange", lambda out: np.arange(start, stop, step, dtype), [])


def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0
) -> ndarray:
    if retstep or axis or isinstance(start, ndarray) or isinstance(stop, ndarray):
        raise NotImplementedError("stand-in: linspace of numbers only, along axis 0")
    return operate("linspace", lambda out: np.linspace(start, stop, num, endpoint, dtype=dtype), [])


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = float, order: str = "C") -> ndarray:
    return operate("eye", lambda out: np.eye(N, M, k, dtype), [])


def identity(n: int, dtype: Any = float) -> ndarray:
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float) -> ndarray:
    return operate("tri", lambda out: np.tri(N, M, k, dtype), [])


def tril(m: Any, k: int = 0) -> ndarray:
    source = asarray(m)._array
    return operate("tril", lambda out: np.tril(source, k), [m])


def triu(m: Any, k: int = 0) -> ndarray:
    source = asarray(m)._array
    return operate("triu", lambda out: np.triu(source, k), [m])


def asarray(
    a: Any, dtype: Any = None, order: str | None = None, *, copy: bool | None = None, blocking: bool = False
) -> ndarray:
    return array(a, dtype, copy=bool(copy), order=order or "K", blocking=blocking)


def asanyarray(
    a: Any, dtype: Any = None, order: str | None = None, *, copy: bool | None = None, blocking: bool = False
) -> ndarray:
    return asarray(a, dtype, order, copy=copy, blocking=blocking)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    result = asarray(a, dtype)
    result = result if result.flags.c_contiguous else result.copy()
    return result if result.ndim else result.reshape(1)


def asfortranarray(a: Any, dtype: Any = None) -> ndarray:
    result = asarray(a, dtype)
    return result if result.flags.f_contiguous else result.copy("F")


def copy(a: Any, order: str = "K") -> ndarray:
    return asarray(a).copy(order) if isinstance(a, ndarray) else array(a)


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    if isinstance(a, ndarray):
        return a.get(stream, order, out, blocking)
    host = np.asarray(a, order=order)
    if out is None:
        return host
    out[...] = host
    return out


def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    if isinstance(src, ndarray) and not np.can_cast(src.dtype, dst.dtype, casting):
        raise TypeError(f"Cannot cast {src.dtype} to {dst.dtype} in {casting} casting mode")
    if where is not None:
        raise NotImplementedError("stand-in: copyto(where=...)")
    if not dst.size:
        return
    dst[...] = src
