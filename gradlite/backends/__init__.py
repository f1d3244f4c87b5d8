"""Devices: which backend an array belongs to, and where new tensors go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gradlite.backends.base import Backend
from gradlite.backends.cpu import BACKEND as _CPU

__all__ = ["Backend", "backend_of", "default_backend", "device", "get_backend", "get_device", "set_device"]

_default: Backend = _CPU


def get_backend(device: str | Backend) -> Backend:
    """The backend of a device name: ``"cpu"``, ``"gpu"``, ``"gpu:1"`` or ``"auto"`` (a GPU that works, else the CPU).

    Raises:
        ValueError: for a name that is none of these.
        RuntimeError: where a GPU is asked for and there is none that works.
    """
    if isinstance(device, Backend):
        return device
    if device in ("cpu", "auto"):
        return _CPU
    if isinstance(device, str) and (device == "gpu" or device.startswith("gpu:")):
        raise RuntimeError(
            f"Device {device!r} was asked for, but this version of gradlite has no CUDA backend yet. "
            "Use set_device('cpu') or set_device('auto')."
        )
    raise ValueError(f"Unknown device {device!r}. Devices are 'auto', 'cpu', 'gpu' and 'gpu:N'.")


def backend_of(array: Any) -> Backend | None:
    """The backend whose arrays are of this type, or None where ``array`` is no array."""
    return _CPU if isinstance(array, (np.ndarray, np.generic)) else None


def default_backend() -> Backend:
    """The backend on which new tensors and models are made."""
    return _default


def get_device() -> str:
    """The name of the device on which new tensors and models are made.

    >>> import gradlite
    >>> gradlite.get_device()
    'cpu'
    """
    return _default.device


def set_device(device: str) -> None:
    """Choose where new tensors and models go: ``"auto"``, ``"cpu"``, ``"gpu"`` or ``"gpu:1"``.

    Raises:
        ValueError: for an unknown name.
        RuntimeError: where that device does not work here.
    """
    global _default
    _default = get_backend(device)


@contextmanager
def device(name: str) -> Iterator[None]:
    """``with gradlite.device("cpu"):`` new tensors and models are made there, and as before afterwards."""
    global _default
    previous = _default
    _default = get_backend(name)
    try:
        yield
    finally:
        _default = previous
