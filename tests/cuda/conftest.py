"""What tests of CUDA kernels have: a backend on a real GPU or on the emulator, and the emulator's ways of running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from devices import cuda_backend, emulated


@pytest.fixture
def gpu() -> Any:
    """The CUDA backend of the first device: a real one where there is one, else the emulator."""
    return cuda_backend()


@pytest.fixture
def checked() -> Iterator[None]:
    """Every access is checked for races, bounds and uninitialised shared memory; nothing on a real device."""
    if not emulated():
        yield
        return
    import emulator

    with emulator.using(profile="checked"):
        yield


@pytest.fixture(params=[(0, "late"), (1, "early"), (2, "random")], ids=["ascending", "descending", "random"])
def schedule(request: pytest.FixtureRequest) -> Iterator[None]:
    """An order in which the emulator runs threads and completes copies; nothing on a real device."""
    if not emulated():
        yield
        return
    import emulator

    order, copies = request.param
    with emulator.using(order=order, copies=copies, seed=int(np.random.default_rng(order).integers(1 << 30))):
        yield
