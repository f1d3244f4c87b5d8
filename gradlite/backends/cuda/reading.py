"""Values on their way from a GPU, through pinned memory: the device copies while the host does something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.reading import Reading

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend


class CudaReading(Reading):
    """Copies in the order of the stream, and an event behind them. The stream must be the current one."""

    def __init__(self, gpu: CudaBackend, arrays: Sequence[Any]) -> None:
        cuda = gpu.xp.cuda
        # Held until the copies are done, as the memory that they come from.
        self._held = [gpu.xp.ascontiguousarray(array) for array in arrays]
        self._pinned = cuda.alloc_pinned_memory(max(1, sum(array.nbytes for array in arrays)))
        self._event = cuda.Event(disable_timing=True)
        offset = 0
        for array in self._held:
            if array.nbytes:
                array.data.copy_to_host_async(self._pinned.ptr + offset, array.nbytes, gpu.stream)
            offset += array.nbytes
        self._event.record(gpu.stream)

    def __del__(self) -> None:
        # Nobody looked: the pinned memory may not go to someone else before the copies into it are done.
        if not self._event.done:
            self._event.synchronize()

    @property
    def done(self) -> bool:
        return bool(self._event.done)

    def values(self) -> list[np.ndarray]:
        self._event.synchronize()
        found, offset = [], 0
        for array in self._held:
            flat = np.frombuffer(self._pinned, array.dtype, array.size, offset)
            found.append(flat.reshape(array.shape).copy())
            offset += array.nbytes
        return found
