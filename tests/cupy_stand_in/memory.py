"""Device memory and its pools, and pinned host memory.

Sizes are counted as CuPy counts them, in units of 512 bytes, while the memory itself is the emulator's: exactly as
large as asked for, against a guard page, so that a kernel that reads past an array's end is found.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import emulator

from .counters import count
from .errors import CAPTURE_UNSUPPORTED, CUDARuntimeError, OutOfMemoryError
from .machine import MACHINE, Device, current_device

UNIT = 512

# Bytes that the device has given out and not got back, by device.
_reserved: Counter[int] = Counter()


def rounded(size: int) -> int:
    """What an allocation of ``size`` bytes is counted as."""
    return -(-size // UNIT) * UNIT


def reserved_bytes(device: int) -> int:
    """How much of a device's memory is taken."""
    return _reserved[device]


class BaseMemory:
    """A piece of device memory: ``ptr``, ``size``, ``device_id``."""

    ptr: int
    size: int
    device_id: int

    def __int__(self) -> int:
        return self.ptr

    @property
    def device(self) -> Device:
        return Device(self.device_id)


class Memory(BaseMemory):
    """Memory straight from the device, given back when collected.

    Raises:
        OutOfMemoryError: where the device's memory does not suffice.
    """

    def __init__(self, size: int) -> None:
        from . import streams

        self.device_id = current_device()
        self.size = size
        self._counted = 0  # set before anything can fail: __del__ reads it
        streams.check_allocation_allowed()
        if _reserved[self.device_id] + rounded(size) > MACHINE.memory:
            raise OutOfMemoryError(size, _reserved[self.device_id])
        count("mallocs")
        self._allocation = emulator.allocate(size) if size else None
        self.ptr = self._allocation.ptr if self._allocation else 0
        self._counted = rounded(size)
        _reserved[self.device_id] += self._counted

    def __del__(self) -> None:
        if _reserved is not None:  # as it is when the interpreter has begun to take modules apart
            _reserved[self.device_id] -= self._counted


class UnownedMemory(BaseMemory):
    """Memory that something else owns and keeps alive."""

    def __init__(self, ptr: int, size: int, owner: Any, device_id: int = -1) -> None:
        self.ptr, self.size, self._owner = ptr, size, owner
        self.device_id = current_device() if device_id < 0 else device_id


class PooledMemory(BaseMemory):
    """A block of a pool, which gets it back when this is collected."""

    def __init__(self, memory: Memory, pool: MemoryPool) -> None:
        self.ptr, self.size, self.device_id = memory.ptr, memory.size, memory.device_id
        self._memory, self._pool = memory, pool

    def __del__(self) -> None:
        if rounded is not None:  # as above
            self._pool._take_back(self._memory)


class MemoryPointer:
    """A place in a piece of memory, which it keeps alive."""

    def __init__(self, mem: BaseMemory, offset: int) -> None:
        self.mem = mem
        self.ptr = mem.ptr + offset
        self.device_id = mem.device_id

    @property
    def device(self) -> Device:
        return Device(self.device_id)

    def __int__(self) -> int:
        return self.ptr

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    def __sub__(self, offset: int) -> MemoryPointer:
        return self + -offset

    # Copies of bytes. Those with a stream can be captured.

    def memset(self, value: int, size: int) -> None:
        from . import streams

        streams.fill_bytes(self.ptr, value, size, None)

    def memset_async(self, value: int, size: int, stream: Any = None) -> None:
        from . import streams

        streams.fill_bytes(self.ptr, value, size, stream or streams.get_current_stream())

    def copy_from_device(self, src: MemoryPointer, size: int) -> None:
        from . import streams

        streams.copy_bytes(self.ptr, src.ptr, size, "device_to_device", None)

    def copy_from_device_async(self, src: MemoryPointer, size: int, stream: Any = None) -> None:
        from . import streams

        stream = stream or streams.get_current_stream()
        streams.copy_bytes(self.ptr, src.ptr, size, "device_to_device", stream)

    def copy_from_host(self, mem: Any, size: int) -> None:
        from . import streams

        streams.copy_bytes(self.ptr, _address(mem), size, "host_to_device", None)

    def copy_from_host_async(self, mem: Any, size: int, stream: Any = None) -> None:
        from . import streams

        stream = stream or streams.get_current_stream()
        streams.copy_bytes(self.ptr, _address(mem), size, "host_to_device", stream)

    def copy_to_host(self, mem: Any, size: int) -> None:
        from . import streams

        streams.copy_bytes(_address(mem), self.ptr, size, "device_to_host", None)

    def copy_to_host_async(self, mem: Any, size: int, stream: Any = None) -> None:
        from . import streams

        stream = stream or streams.get_current_stream()
        streams.copy_bytes(_address(mem), self.ptr, size, "device_to_host", stream)


def _address(mem: Any) -> int:
    return mem if isinstance(mem, int) else int(mem.value)  # an address or a ctypes.c_void_p, as CuPy takes


class MemoryPool:
    """``cupy.cuda.MemoryPool``: keeps freed blocks and gives them out again to requests of the same size.

    A block that is given out again is filled with 0xFF first, so that reading what the last owner left is found.
    """

    # The default pool counts as if it kept blocks but does give them back, so that memory freed is memory lost: a graph
    # or a view that outlives its array is found. A pool made for a graph really keeps them, since its replays use them.
    _keeps = True

    def __init__(self, allocator: Callable[[int], MemoryPointer] | None = None) -> None:
        self._lock = threading.RLock()
        self._kept: dict[tuple[int, int], list[Memory]] = defaultdict(list)
        self._used: Counter[int] = Counter()
        self._free: Counter[int] = Counter()
        self._limit: Counter[int] = Counter()

    def malloc(self, size: int) -> MemoryPointer:
        """A block of ``size`` bytes on the current device.

        Raises:
            OutOfMemoryError: where the pool's limit or the device's memory does not suffice.
        """
        device = current_device()
        if size == 0:
            return MemoryPointer(Memory(0), 0)
        count("allocations")
        with self._lock:
            memory = self._reuse(device, size) or self._allocate(device, size)
            self._used[device] += rounded(size)
        return MemoryPointer(PooledMemory(memory, self), 0)

    def _reuse(self, device: int, size: int) -> Memory | None:
        blocks = self._kept[device, size]
        if not blocks:
            return None
        memory = blocks.pop()
        self._free[device] -= rounded(size)
        ctypes.memset(memory.ptr, 0xFF, size)
        return memory

    def _allocate(self, device: int, size: int) -> Memory:
        limit = self._limit[device]
        for attempt in (self.free_all_blocks, gc.collect, None):
            total = self.total_bytes()
            if not limit or total + rounded(size) <= limit:
                try:
                    memory = Memory(size)
                except OutOfMemoryError:
                    pass
                else:
                    if not self._keeps and self._free[device] >= rounded(size):
                        self._free[device] -= rounded(size)
                    return memory
            if attempt is not None:
                attempt()
        raise OutOfMemoryError(size, total, limit)

    def _take_back(self, memory: Memory) -> None:
        with self._lock:
            self._used[memory.device_id] -= rounded(memory.size)
            self._free[memory.device_id] += rounded(memory.size)
            if self._keeps:
                self._kept[memory.device_id, memory.size].append(memory)

    def free_all_blocks(self, stream: Any = None) -> None:
        """Give the blocks that are not in use back to the device."""
        device = current_device()
        with self._lock:
            self._free[device] = 0
            for key in [key for key in self._kept if key[0] == device]:
                del self._kept[key]

    def n_free_blocks(self) -> int:
        device = current_device()
        return sum(len(blocks) for (where, _), blocks in self._kept.items() if where == device)

    def used_bytes(self) -> int:
        return self._used[current_device()]

    def free_bytes(self) -> int:
        return self._free[current_device()]

    def total_bytes(self) -> int:
        return self.used_bytes() + self.free_bytes()

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """Limit the pool on the current device to ``size`` bytes or a fraction of its memory; 0 is no limit."""
        if (size is None) == (fraction is None):
            raise ValueError("set_limit takes either size or fraction")
        self._limit[current_device()] = int(MACHINE.memory * fraction) if size is None else size

    def get_limit(self) -> int:
        return self._limit[current_device()]


class DefaultPool(MemoryPool):
    """The pool that arrays come from where no other is set."""

    _keeps = False


DEFAULT_POOL = DefaultPool()
_allocators = threading.local()
_allocator: list[Callable[[int], MemoryPointer]] = [DEFAULT_POOL.malloc]


def get_default_memory_pool() -> MemoryPool:
    return DEFAULT_POOL


def get_allocator() -> Callable[[int], MemoryPointer]:
    """The function that arrays of this thread get their memory from."""
    scoped = getattr(_allocators, "stack", None)
    return scoped[-1] if scoped else _allocator[0]


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    if getattr(_allocators, "stack", None):
        raise ValueError("Can't change the global allocator inside `using_allocator` context manager")
    _allocator[0] = allocator or (lambda size: MemoryPointer(Memory(size), 0))


@contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    """Arrays of this thread get their memory from ``allocator`` inside the block."""
    if not hasattr(_allocators, "stack"):
        _allocators.stack = []
    _allocators.stack.append(allocator or (lambda size: MemoryPointer(Memory(size), 0)))
    try:
        yield
    finally:
        _allocators.stack.pop()


def alloc(size: int) -> MemoryPointer:
    """Memory from the allocator in use."""
    return get_allocator()(size)


def byte_view(ptr: int, size: int) -> Any:
    """A buffer on memory at an address; it does not keep the memory alive."""
    return (ctypes.c_char * size).from_address(ptr)


# ---- pinned host memory


class PinnedMemoryPointer(bytearray):
    """Page-locked host memory: a writable buffer with a ``ptr``.

    As in CuPy it is larger than asked for: ``numpy.frombuffer`` needs a count.
    """

    @property
    def ptr(self) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(self))

    @property
    def mem(self) -> PinnedMemoryPointer:
        return self

    def size(self) -> int:
        return len(self)


class PinnedMemoryPool:
    """``cupy.cuda.PinnedMemoryPool``; it keeps nothing."""

    def malloc(self, size: int) -> PinnedMemoryPointer:
        return alloc_pinned_memory(size)

    def free_all_blocks(self) -> None:
        """Nothing is kept."""

    def n_free_blocks(self) -> int:
        return 0


_PINNED_POOL = PinnedMemoryPool()


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """At least ``size`` bytes of pinned memory."""
    from . import streams

    if streams.capture_mode_forbids_unsafe_calls():
        raise CUDARuntimeError(CAPTURE_UNSUPPORTED, "cudaHostAlloc during a capture that is not relaxed")
    return PinnedMemoryPointer(max(UNIT, rounded(size)))


def get_default_pinned_memory_pool() -> PinnedMemoryPool:
    return _PINNED_POOL
