"""Emulated global memory."""

from __future__ import annotations

import weakref

from .errors import EmulatorError
from .runtime import library


class Allocation:
    """Bytes of global memory, freed when this object is collected.

    They are 0xFF at first (NaN as floats), and end at an inaccessible page as closely as 16-byte alignment allows.
    Once freed, they are inaccessible, and their addresses are not given out again soon.

    Attributes:
        ptr: the address, which is also valid for the host.
        nbytes: the size that was asked for.
    """

    def __init__(self, nbytes: int) -> None:
        if nbytes < 0:
            raise ValueError(f"allocate({nbytes}): the size must not be negative")
        address = library().emu_allocate(nbytes)
        if not address:
            raise MemoryError(f"the emulated device has no room for {nbytes} bytes")
        self.ptr: int = address
        self.nbytes = nbytes
        self._finalizer = weakref.finalize(self, _free, address, nbytes)

    def __repr__(self) -> str:
        return f"<emulator.Allocation of {self.nbytes} bytes at {self.ptr:#x}>"


def _free(address: int, nbytes: int) -> None:
    if not library().emu_free(address):
        raise EmulatorError(f"bytes just outside an allocation of {nbytes} bytes at {address:#x} were overwritten")


def allocate(nbytes: int) -> Allocation:
    """Allocates global memory; :class:`MemoryError` where the arena (8 GB) is full."""
    return Allocation(nbytes)


def is_alive(address: int) -> bool:
    """Whether the address lies in an allocation that has not been freed."""
    return bool(library().emu_is_alive(address))
