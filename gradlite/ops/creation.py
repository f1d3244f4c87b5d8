"""New tensors: filled, counted, copied in shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite.autograd import as_tensor
from gradlite.backends import Backend, default_backend, get_backend
from gradlite.tensor import Tensor, wrap

Shape = int | Sequence[int]


def full(shape: Shape, value: float, dtype: Any = np.float32, device: str | None = None) -> Tensor:
    """A tensor of ``shape`` filled with ``value``.

    >>> import gradlite
    >>> gradlite.full((2,), 7.0).numpy()
    array([7., 7.], dtype=float32)
    """
    backend = _backend(device)
    lengths = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)
    return wrap(backend.full(lengths, value, np.dtype(dtype)), backend)


def zeros(shape: Shape, dtype: Any = np.float32, device: str | None = None) -> Tensor:
    """A tensor of zeros.

    >>> import gradlite
    >>> gradlite.zeros((2, 3)).shape
    (2, 3)
    """
    return full(shape, 0, dtype, device)


def ones(shape: Shape, dtype: Any = np.float32, device: str | None = None) -> Tensor:
    """A tensor of ones.

    >>> import gradlite
    >>> gradlite.ones(2).numpy()
    array([1., 1.], dtype=float32)
    """
    return full(shape, 1, dtype, device)


def full_like(x: Any, value: float, dtype: Any = None) -> Tensor:
    """A tensor of the shape, type and device of ``x``, filled with ``value``.

    >>> import gradlite
    >>> gradlite.full_like(gradlite.zeros(2), 3.0).numpy()
    array([3., 3.], dtype=float32)
    """
    x = as_tensor(x)
    return full(x.shape, value, x.dtype if dtype is None else dtype, x.device)


def zeros_like(x: Any, dtype: Any = None) -> Tensor:
    """Zeros of the shape, type and device of ``x``."""
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Tensor:
    """Ones of the shape, type and device of ``x``."""
    return full_like(x, 1, dtype)


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None, device: Any = None) -> Tensor:
    """Numbers from ``start`` (0 if only one argument is given) up to, but without, ``stop``.

    >>> import gradlite
    >>> gradlite.arange(3).numpy()
    array([0, 1, 2])
    """
    values = np.arange(start, stop, step) if stop is not None else np.arange(0, start, step)
    return Tensor(values, dtype=_default(values, dtype), device=_backend(device))


def linspace(start: float, stop: float, number: int = 50, dtype: Any = np.float32, device: Any = None) -> Tensor:
    """``number`` equally spaced values from ``start`` to ``stop``, both included.

    >>> import gradlite
    >>> gradlite.linspace(0, 1, 3).numpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return Tensor(np.linspace(start, stop, number), dtype=dtype, device=_backend(device))


def eye(rows: int, columns: int | None = None, dtype: Any = np.float32, device: Any = None) -> Tensor:
    """Ones on the diagonal, zeros elsewhere.

    >>> import gradlite
    >>> gradlite.eye(2).numpy()
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    return Tensor(np.eye(rows, columns), dtype=dtype, device=_backend(device))


def _backend(device: Any) -> Backend:
    """The backend of a device's name, or the current one."""
    return default_backend() if device is None else get_backend(device)


def _default(values: np.ndarray, dtype: Any) -> Any:
    return np.float32 if dtype is None and values.dtype == np.float64 else dtype
