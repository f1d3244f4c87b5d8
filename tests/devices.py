"""Which devices the tests run on: the CPU, and CUDA on a real GPU where there is one, else on the emulator."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest

from gradlite.backends import Backend, get_backend

# What parametrized tests call the two.
DEVICES = ("cpu", "cuda")


@cache
def emulated() -> bool:
    """Whether CUDA tests run on the emulator rather than on a GPU."""
    from gradlite.backends.cuda.availability import driver_version

    if os.environ.get("GRADLITE_TEST_EMULATOR") == "1" or driver_version() is None:
        return True
    try:
        import cupy

        if cupy.cuda.runtime.getDeviceCount() < 1:
            return True
        cupy.arange(3).sum().item()
    except Exception:  # an import error, a missing library: whatever it is, there is no GPU to test on
        return True
    return False


@cache
def cuda_backend() -> Any:
    """The CUDA backend of the first device. Skips the test where neither a GPU nor the emulator works."""
    if emulated():
        import emulator

        reason = emulator.available()
        if reason is not None:
            if os.environ.get("CI"):
                pytest.fail(f"The CUDA emulator does not work here: {reason}")
            pytest.skip(f"No GPU, and the CUDA emulator does not work here: {reason}")
        import cupy_stand_in

        cupy_stand_in.install()
    return get_backend("gpu")


def backend_named(name: str) -> Backend:
    """The backend of one of ``DEVICES``."""
    return get_backend("cpu") if name == "cpu" else cuda_backend()
