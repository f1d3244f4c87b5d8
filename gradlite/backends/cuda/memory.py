"""Memory of a GPU: how much is used, copies from the host that nothing waits for, and errors that say what is full."""

from __future__ import annotations

import gc
import math
import threading
from collections import Counter
from typing import Any

import numpy as np

# Host arrays up to this size go through CuPy's own pinned buffers in one piece; larger ones in pieces of this size, so
# that a data set of gigabytes does not pin as much memory, and the host copies one piece while the GPU fetches another.
PIECE = 8 << 20
BUFFERS = 3
LISTED = 8


class GpuMemoryError(MemoryError):
    """A GPU has no memory left; the message says what was asked for, what is used, and by which arrays."""


def in_units(size: int) -> str:
    """A number of bytes as text.

    >>> in_units(3 << 29), in_units(800)
    ('1.50 GiB', '800 B')
    """
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size} B"


def statistics(cupy: Any, device: int) -> dict[str, int]:
    """Bytes by kind: ``used`` by arrays, ``pooled`` (kept by CuPy's pool for the next ones), ``free`` on the device and
    ``total`` of the device. Other programs have the rest."""
    with cupy.cuda.Device(device) as chosen:
        pool = cupy.get_default_memory_pool()
        free, total = chosen.mem_info
        used = pool.used_bytes()
        return {"used": used, "pooled": pool.total_bytes() - used, "free": free, "total": total}


def empty_cache(cupy: Any, device: int) -> None:
    """Give memory that no array uses back to the driver."""
    with cupy.cuda.Device(device):
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()


def largest_arrays(cupy: Any, device: int) -> list[tuple[int, int, tuple[int, ...], Any]]:
    """The largest live arrays, views left out, as (bytes, how many alike, shape, dtype), largest first."""
    owners: dict[int, Any] = {}
    for candidate in gc.get_objects():
        # By type, not isinstance: that would ask every object in the process for its class, and some answer oddly.
        pointer = getattr(candidate, "data", None) if type(candidate) is cupy.ndarray else None
        if pointer is None or pointer.device_id != device:
            continue  # without a pointer: the very array that there was no memory for
        memory = id(pointer.mem)
        if memory not in owners or owners[memory].nbytes < candidate.nbytes:
            owners[memory] = candidate
    alike = Counter((array.shape, array.dtype) for array in owners.values())
    found = [
        (count * math.prod(shape) * dtype.itemsize, count, shape, dtype) for (shape, dtype), count in alike.items()
    ]
    return sorted(found, key=lambda entry: -entry[0])[:LISTED]


def out_of_memory(cupy: Any, device: int, error: Exception) -> GpuMemoryError:
    """The error to raise in the place of CuPy's."""
    held = statistics(cupy, device)
    lines = [
        f"GPU {device} is out of memory. {error}",
        f"Arrays use {in_units(held['used'])}, {in_units(held['pooled'])} are kept for new ones, "
        f"{in_units(held['free'])} of {in_units(held['total'])} are free on the device.",
    ]
    arrays = largest_arrays(cupy, device)
    if arrays:
        lines.append("The largest arrays alive:")
        lines += [
            f"  {in_units(size):>12}  {dtype} {shape}{f'  x {count}' if count > 1 else ''}"
            for size, count, shape, dtype in arrays
        ]
    lines.append(
        "Smaller batches need less; gradlite.checkpoint keeps fewer activations; del frees what is not needed."
    )
    return GpuMemoryError("\n".join(lines))


class Uploader:
    """Copies host arrays to the device through pinned buffers: the host goes on as soon as its data are in one.

    Args:
        cupy: the module.
        stream: the stream that the copies are ordered on, which must be current.
    """

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._cupy = cupy
        self._stream = stream
        self._buffers: list[tuple[np.ndarray, Any]] = []
        self._next = 0
        self._lock = threading.Lock()

    def __call__(self, array: np.ndarray, dtype: Any = None) -> Any:
        """``array`` on the device, of ``dtype``, C-contiguous. The host array may be changed at once."""
        array = np.ascontiguousarray(array, dtype).reshape(array.shape)
        if array.nbytes <= PIECE:
            return self._cupy.asarray(array)
        result = self._cupy.empty(array.shape, array.dtype)
        source, target = array.reshape(-1).view(np.uint8), result.reshape(-1).view(np.uint8)
        with self._lock:
            for start in range(0, source.size, PIECE):
                piece = source[start : start + PIECE]
                buffer, event = self._free_buffer()
                buffer[: piece.size] = piece
                target[start : start + piece.size].set(buffer[: piece.size], stream=self._stream)
                event.record(self._stream)
        return result

    def _free_buffer(self) -> tuple[np.ndarray, Any]:
        """A pinned buffer of one piece whose last copy is done, and the event that tells when its next one is."""
        if len(self._buffers) < BUFFERS:
            memory = self._cupy.cuda.alloc_pinned_memory(PIECE)
            buffer = np.frombuffer(memory, np.uint8, PIECE)
            self._buffers.append((buffer, self._cupy.cuda.Event(disable_timing=True)))
            return self._buffers[-1]
        buffer, event = self._buffers[self._next]
        self._next = (self._next + 1) % BUFFERS
        event.synchronize()
        return buffer, event
