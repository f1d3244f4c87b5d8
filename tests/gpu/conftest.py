"""Tests that mean something on real hardware only: layouts, large sizes, memory, and runs on the device itself.

They are skipped where there is no GPU. ``GRADLITE_GPU_TESTS=emulated`` runs them on the emulator, at small sizes, which
tests the tests.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from devices import cuda_backend, emulated

EMULATED = os.environ.get("GRADLITE_GPU_TESTS") == "emulated"


@pytest.fixture
def gpu() -> Any:
    """The CUDA backend of the first GPU."""
    if emulated() and not EMULATED:
        pytest.skip("needs a GPU (GRADLITE_GPU_TESTS=emulated runs it small, on the emulator)")
    return cuda_backend()


@pytest.fixture
def scaled() -> Any:
    """``scaled(n)``: the size to test at; on the emulator a 64th of it, but at least 3."""
    return lambda size: max(3, size // 64) if emulated() else size
