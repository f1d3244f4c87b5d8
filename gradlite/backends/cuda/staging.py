"""Staging on a GPU: pinned memory, and a stream of its own for the copies, which run beside the kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.staging import Staging

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

# Where arrays begin within a place, so that kernels can read them by the widest words.
ALIGNMENT = 256


class CudaStaging(Staging):
    """Places in pinned memory and on the device."""

    def __init__(self, gpu: CudaBackend, places: int) -> None:
        self._gpu = gpu
        with gpu.xp.cuda.Device(gpu.device_number):
            self._copies = gpu.xp.cuda.Stream(non_blocking=True)
            self._places = [_Place(gpu) for _ in range(places)]

    def fill(self, place: int, arrays: Sequence[np.ndarray]) -> tuple[list[Any], list[np.ndarray]]:
        with self._gpu.xp.cuda.Device(self._gpu.device_number):
            return self._places[place].fill(arrays, self._copies)

    def ready(self, place: int) -> None:
        with self._gpu.gate:
            self._gpu.stream.wait_event(self._places[place].copied)

    def release(self, place: int) -> None:
        with self._gpu.gate:
            self._places[place].released.record(self._gpu.stream)

    def close(self) -> None:
        # The memory goes back to a pool that knows the stream of the kernels only.
        self._copies.synchronize()


class _Place:
    """Room for one batch.

    Attributes:
        copied: the event behind the copy to the device.
        released: the event behind the last kernel that reads it.
    """

    def __init__(self, gpu: CudaBackend) -> None:
        self._gpu = gpu
        self._size = 0
        self._kind: list[Any] = []
        self._host: list[np.ndarray] = []
        self._device: list[Any] = []
        self._pinned: Any = None
        self._memory: Any = None
        self.copied = gpu.xp.cuda.Event(disable_timing=True)
        self.released = gpu.xp.cuda.Event(disable_timing=True)

    def fill(self, arrays: Sequence[np.ndarray], stream: Any) -> tuple[list[Any], list[np.ndarray]]:
        self.copied.synchronize()  # the pinned memory is read no more
        kind = [(a.shape, a.dtype) for a in arrays]
        if kind != self._kind:
            self._make_room(arrays, stream)
            self._kind = kind
        for target, array in zip(self._host, arrays):
            target[...] = array
        stream.wait_event(self.released)
        if self._size:
            self._memory.data.copy_from_host_async(self._pinned.ptr, self._size, stream)
        self.copied.record(stream)
        return list(self._device), self._host

    def _make_room(self, arrays: Sequence[np.ndarray], stream: Any) -> None:
        gpu, offsets, size = self._gpu, [], 0
        for array in arrays:
            offsets.append(size)
            size += math.ceil(array.nbytes / ALIGNMENT) * ALIGNMENT
        if self._memory is None or size > self._memory.nbytes:
            self._pinned = gpu.xp.cuda.alloc_pinned_memory(max(size, 1))
            self._memory = gpu.empty((max(size, 1),), np.uint8)
            # Kernels launched before may still use what the pool has just given out.
            with gpu.gate:
                self.released.record(gpu.stream)
        self._size = size
        self._host = [
            np.frombuffer(self._pinned, a.dtype, a.size, offset).reshape(a.shape) for a, offset in zip(arrays, offsets)
        ]
        self._device = [
            gpu.xp.ndarray(a.shape, a.dtype, self._memory.data + offset) for a, offset in zip(arrays, offsets)
        ]
