"""Functions of dtypes and shapes, which need no device."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from ..array import ndarray

__all__ = [
    "broadcast_shapes",
    "can_cast",
    "get_array_module",
    "isscalar",
    "issubdtype",
    "may_share_memory",
    "min_scalar_type",
    "ndim",
    "promote_types",
    "result_type",
    "shape",
    "shares_memory",
    "size",
]

broadcast_shapes, issubdtype, promote_types = np.broadcast_shapes, np.issubdtype, np.promote_types
isscalar, min_scalar_type = np.isscalar, np.min_scalar_type


def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    return np.can_cast(from_.dtype if isinstance(from_, ndarray) else from_, to, casting)


def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    plain = [a.dtype if isinstance(a, ndarray) else a for a in arrays_and_dtypes]
    return np.result_type(*plain)


def get_array_module(*args: Any) -> ModuleType:
    from .. import cupy

    return cupy if any(isinstance(a, ndarray) for a in args) else np


def may_share_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return bool(np.may_share_memory(a._array, b._array))


def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return bool(np.shares_memory(a._array, b._array))


def ndim(a: Any) -> int:
    return a.ndim if isinstance(a, ndarray) else np.ndim(a)


def shape(a: Any) -> tuple[int, ...]:
    return a.shape if isinstance(a, ndarray) else np.shape(a)


def size(a: Any, axis: int | None = None) -> int:
    if isinstance(a, ndarray):
        return a.size if axis is None else a.shape[axis]
    return int(np.size(a, axis))
