"""A stand-in for the part of CuPy 14 that gradlite uses, over NumPy and the emulator in ``tests/emulator``.

With it ``gradlite/backends/cuda`` runs unchanged on a machine without a GPU::

    cupy = cupy_stand_in.install()
    with cupy_stand_in.counting() as counts:
        cupy.add(x, y)
    assert counts.operation_log == ["add"]

Raw kernels run in the emulator, everything else in NumPy on the same memory. What a GPU refuses is refused: NumPy
arrays among operands, implicit conversion to NumPy, reading on the host or a matrix product while a stream is being
captured, too much shared memory, arrays of another device, more memory than there is. What CuPy does not have is not
here either: a test holds names and parameters to the real module's. Where CuPy leaves a result open, such as the order
of additions in ``add.at``, the stand-in's is one of those allowed.

Not emulated: what runs at the same time. Work is done when its call returns, so a missing wait is not found; that takes
a real GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from . import machine, modules
from .counters import Counts, counting
from .errors import CUDARuntimeError, OutOfMemoryError
from .machine import settings

__all__ = [
    "CUDARuntimeError",
    "Counts",
    "OutOfMemoryError",
    "counting",
    "cupy",
    "install",
    "installed",
    "refuse_default_stream",
    "set_device_count",
    "set_memory_limit",
    "settings",
    "uninstall",
]

_modules = modules.build()
cupy = _modules["cupy"]
_hidden: dict[str, Any] = {}


def install() -> ModuleType:
    """Put the stand-in into ``sys.modules`` as ``cupy`` and ``cupyx``; returns the first. A real CuPy is set aside."""
    if sys.modules.get("cupy") is not cupy:
        for name in [n for n in sys.modules if n.partition(".")[0] in ("cupy", "cupyx", "cupy_backends")]:
            _hidden[name] = sys.modules.pop(name)
        sys.modules.update(_modules)
    return cupy


def uninstall() -> None:
    """Take the stand-in out of ``sys.modules`` again, and put back what it hid."""
    if sys.modules.get("cupy") is cupy:
        for name in _modules:
            sys.modules.pop(name, None)
        sys.modules.update(_hidden)
        _hidden.clear()


@contextmanager
def installed() -> Iterator[ModuleType]:
    """``with installed() as cupy:`` the stand-in is ``cupy`` inside the block."""
    before = sys.modules.get("cupy")
    try:
        yield install()
    finally:
        if before is not cupy:
            uninstall()


def set_memory_limit(size: int) -> None:
    """How many bytes of memory each GPU has; see ``settings`` for a limit that ends with a block."""
    machine.MACHINE.memory = size


def set_device_count(number: int) -> None:
    """How many GPUs there are."""
    machine.MACHINE.devices = number


def refuse_default_stream(refuse: bool = True) -> None:
    """Whether a launch on the default stream raises AssertionError."""
    machine.MACHINE.refuse_default_stream = refuse
