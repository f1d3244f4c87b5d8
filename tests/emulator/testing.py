"""What tests need besides the emulator: arrays in its memory, and skipping where it does not work."""

from __future__ import annotations

import ctypes
import os

import numpy as np
import pytest

from .memory import Allocation, allocate
from .runtime import available


def require_emulator() -> None:
    """Skips the calling module where the emulator does not work; fails instead on continuous integration."""
    reason = available()
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def upload(array: np.ndarray) -> Allocation:
    """A copy of the array in the emulator's global memory, in C order."""
    array = np.ascontiguousarray(array)
    allocation = allocate(array.nbytes)
    ctypes.memmove(allocation.ptr, array.ctypes.data, array.nbytes)
    return allocation


def download(allocation: Allocation, dtype: np.typing.DTypeLike, shape: tuple[int, ...] = (-1,)) -> np.ndarray:
    """A copy of the allocation's bytes as an array."""
    return np.frombuffer(ctypes.string_at(allocation.ptr, allocation.nbytes), dtype).reshape(shape)
