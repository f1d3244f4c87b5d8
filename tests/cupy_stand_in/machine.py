"""The machine that is stood in for: how many GPUs it has, what they are, and which one is current."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .errors import INVALID_DEVICE, NO_DEVICE, CUDARuntimeError


@dataclass
class Machine:
    """What the machine is like; ``settings`` changes it for a test.

    Attributes:
        devices: how many GPUs there are; with none, ``is_available()`` is false and asking for one raises.
        compute_capability: of each, as CuPy writes it: "80".
        multiprocessors: of each. Few, so that emulated grids stay small.
        memory: bytes of each.
        refuse_default_stream: whether a launch on the default stream raises.
    """

    devices: int = 1
    compute_capability: str = "80"
    multiprocessors: int = 4
    memory: int = 4 << 30
    refuse_default_stream: bool = False


MACHINE = Machine()
SHARED_BYTES = 48 * 1024
# Dynamic shared memory that a block can have where it asks for it, by compute capability.
_OPT_IN = {"70": 96, "75": 64, "80": 163, "86": 99, "87": 163, "89": 99, "90": 227}

_current = threading.local()


@contextmanager
def settings(**changes: Any) -> Iterator[Machine]:
    """``with settings(devices=2, compute_capability="90"):`` another machine inside the block.

    >>> with settings(devices=2) as machine:
    ...     machine.devices
    2
    """
    before = dict(vars(MACHINE))
    unknown = changes.keys() - before.keys()
    if unknown:
        raise TypeError(f"Unknown settings {sorted(unknown)}; there are {', '.join(before)}.")
    vars(MACHINE).update(changes)
    try:
        yield MACHINE
    finally:
        vars(MACHINE).update(before)


def opt_in_shared_bytes() -> int:
    """The most dynamic shared memory a kernel can be allowed."""
    return _OPT_IN.get(MACHINE.compute_capability, 48) * 1024


def current_device() -> int:
    """The number of this thread's device."""
    if MACHINE.devices == 0:
        raise CUDARuntimeError(NO_DEVICE)
    return getattr(_current, "device", 0)


def set_current_device(number: int) -> None:
    """Make a device this thread's."""
    check_device(number)
    _current.device = number


def check_device(number: int) -> None:
    """Raises where there is no such device."""
    if MACHINE.devices == 0:
        raise CUDARuntimeError(NO_DEVICE)
    if not 0 <= number < MACHINE.devices:
        raise CUDARuntimeError(INVALID_DEVICE, f"device {number} of {MACHINE.devices}")


class Device:
    """``cupy.cuda.Device``: a GPU by its number, and the scope in which it is current."""

    def __init__(self, device: int | Device | None = None) -> None:
        self.id = current_device() if device is None else int(device)
        check_device(self.id)
        self._before: list[int] = []

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        self._before.append(current_device())
        set_current_device(self.id)
        return self

    def __exit__(self, *exception: object) -> None:
        set_current_device(self._before.pop())

    def use(self) -> None:
        """Make it this thread's device."""
        set_current_device(self.id)

    def synchronize(self) -> None:
        """Wait for everything on the device."""
        from . import streams

        streams.synchronize_device()

    @property
    def compute_capability(self) -> str:
        return MACHINE.compute_capability

    @property
    def attributes(self) -> dict[str, int]:
        major, minor = divmod(int(MACHINE.compute_capability), 10)
        return {
            "ComputeCapabilityMajor": major,
            "ComputeCapabilityMinor": minor,
            "MultiProcessorCount": MACHINE.multiprocessors,
            "MaxSharedMemoryPerBlock": SHARED_BYTES,
            "MaxSharedMemoryPerBlockOptin": opt_in_shared_bytes(),
            "MaxSharedMemoryPerMultiprocessor": opt_in_shared_bytes() + 1024,
            "MaxThreadsPerBlock": 1024,
            "MaxThreadsPerMultiProcessor": 2048,
            "MaxRegistersPerBlock": 65536,
            "MaxRegistersPerMultiprocessor": 65536,
            "WarpSize": 32,
            "L2CacheSize": 4 << 20,
            "ClockRate": 1_000_000,
            "MemoryClockRate": 1_000_000,
            "GlobalMemoryBusWidth": 1024,
        }

    @property
    def mem_info(self) -> tuple[int, int]:
        """(free, total) bytes."""
        from . import memory

        return MACHINE.memory - memory.reserved_bytes(self.id), MACHINE.memory

    @property
    def pci_bus_id(self) -> str:
        return f"0000:{self.id:02X}:00.0"
