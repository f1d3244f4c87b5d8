"""Zeros that blocks of a launch count arrivals in, to know which of them is the last."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

# Launches take turns in them, so that some may run at one time.
COUNTERS = 1 << 16


class _Counters:
    """Zeros on a device, of which each launch gets the next ones; kernels leave zeros behind."""

    def __init__(self, gpu: CudaBackend) -> None:
        # Not a buffer of the backend's: a recorded program would use its memory for other arrays too.
        self.zeros = gpu.xp.zeros(COUNTERS, np.int32)
        self.next = 0

    def take(self, count: int) -> Any:
        start = self.next if self.next + count <= COUNTERS else 0
        self.next = start + count
        return self.zeros[start : start + count]


_COUNTERS: weakref.WeakKeyDictionary[CudaBackend, _Counters] = weakref.WeakKeyDictionary()


def counters_for(gpu: CudaBackend, count: int) -> Any:
    """``count`` zeros, at most ``COUNTERS``, for one launch."""
    counters = _COUNTERS.get(gpu)
    if counters is None:
        counters = _COUNTERS[gpu] = _Counters(gpu)
    return counters.take(count)
