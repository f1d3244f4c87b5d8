"""CudaBackend: one NVIDIA GPU, through CuPy and kernels of our own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np

from gradlite.backends import narrow
from gradlite.backends.base import Backend, Memory
from gradlite.backends.cuda import memory
from gradlite.backends.cuda.availability import capability_of
from gradlite.backends.cuda.graphs import bound
from gradlite.backends.cuda.launch import Dimensions, Launcher
from gradlite.backends.cuda.reading import CudaReading
from gradlite.backends.cuda.registry import CUDA
from gradlite.backends.cuda.rows import CudaRows
from gradlite.backends.cuda.sources import Entry
from gradlite.backends.cuda.staging import CudaStaging
from gradlite.backends.cuda.streams import DeviceStream
from gradlite.backends.dtypes import is_bfloat16
from gradlite.backends.reading import Mark, Reading
from gradlite.backends.registry import REFERENCE
from gradlite.backends.rows import Rows
from gradlite.backends.staging import Staging


class CudaBackend(Backend):
    """Backend of one GPU.

    Everything runs on a stream of its own (see ``streams``), whatever stream is current where it is called.

    Args:
        cupy: the module, or what stands in for it.
        device: the number of the GPU.
    """

    # Every launch that is saved saves microseconds.
    fusions = Backend.fusions | {"adam", "conversions", "correct answers", "draws", "loss", "moving averages", "totals"}

    def __init__(self, cupy: Any, device: int) -> None:
        super().__init__(cupy, f"gpu:{device}")
        self.device_number = device
        self.launcher = Launcher(cupy, device)
        self.kernels.update((name, partial(self.fallback, name)) for name in self.kernels)
        self.kernels.update((name, partial(kernel, self)) for name, kernel in CUDA.items())
        self.compute_capability = capability_of(cupy, device)
        self.multiprocessors: int = cupy.cuda.Device(device).attributes["MultiProcessorCount"]
        # Held by whoever puts work on the stream: what another thread launched while a graph is captured there would
        # become a part of the graph instead of running.
        self.gate = threading.RLock()
        # The flag of the gated launch that is being made, if it is one: updates whose flag is 0 change nothing.
        self.condition: Any = None
        self._own = DeviceStream(cupy, device, self.gate)
        self.stream = self._own.stream
        self._current_stream = self._own.current
        self._upload = memory.Uploader(cupy, self.stream)
        self._full: type[MemoryError] = cupy.cuda.memory.OutOfMemoryError

    # Where things run. Calls within this class name it, since a recorder puts itself in the place of the methods.

    def launch(self, kernel: str, *arrays: Any, **attributes: Any) -> Any:
        return CudaBackend.call(self, self.kernels[kernel], *arrays, **attributes)

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            with self.gate:
                if self._current_stream() is self.stream:
                    return function(*arguments, **options)
                with self._own.entered():
                    return function(*arguments, **options)
        except self._full as error:
            raise memory.out_of_memory(self.xp, self.device_number, error) from error

    def entered(self) -> AbstractContextManager[None]:
        return self._own.entered()

    def adopt(self) -> Callable[[], None]:
        return self._own.adopt()

    def run(self, kernel: Entry, grid: Dimensions, block: Dimensions, *arguments: Any, shared_bytes: int = 0) -> None:
        """Launch one of our kernels; see ``Launcher``. Called by CUDA kernels, which ``launch`` calls."""
        self.launcher(kernel, grid, block, arguments, shared_bytes)

    def fallback(self, name: str, *arrays: Any, **attributes: Any) -> Any:
        """The reference kernel ``name`` over CuPy's functions, for dtypes and shapes that no kernel of ours takes."""
        if self.condition is not None:
            from gradlite.backends.cuda.loss_scaling import select

            go, self.condition = self.condition, None  # the reference reads no flag
            return select(self, go, name, arrays, attributes)
        function = REFERENCE.get(name)
        function = getattr(self.xp, name) if function is None else partial(function, self.xp)
        if any(isinstance(x, self.array_type) and is_bfloat16(x.dtype) for x in arrays):
            write = self.kernels["assign"]
            return narrow.run(self.array_type, self._converted, write, name, function, *arrays, **attributes)
        return function(*arrays, **attributes)

    def _converted(self, array: Any, dtype: Any) -> Any:
        return self.kernels["astype"](array, dtype=dtype)

    def synchronize(self) -> None:
        with self.gate:
            self.stream.synchronize()

    # Recorded programs.

    def memory_of(self, array: Any) -> Memory:
        held = array.data.mem
        return Memory(id(held), array.data.ptr - held.ptr, held.size)

    def arena(self, nbytes: int) -> Any:
        return self.empty((max(nbytes, 1),), np.uint8)

    def view_of_arena(self, arena: Any, offset: int, like: Any) -> Any:
        backwards = [stride < 0 for stride in like.strides]
        if not any(backwards):
            return self.xp.ndarray(like.shape, like.dtype, arena.data + offset, like.strides)
        # Forwards from its lowest address, then read backwards.
        lowest = offset + sum((n - 1) * s for n, s in zip(like.shape, like.strides) if s < 0)
        strides = tuple(abs(s) for s in like.strides)
        view = self.xp.ndarray(like.shape, like.dtype, arena.data + lowest, strides)
        return view[tuple(slice(None, None, -1 if back else 1) for back in backwards)]

    def bind(self, calls: Sequence[Callable[[], Any]]) -> Callable[[int], None]:
        return bound(self, calls)

    def rows(self, arrays: Sequence[Any] = (), order: Any = None) -> Rows:
        return CudaRows(self, arrays, order)

    # Memory.

    def asarray(self, data: Any, dtype: Any = None) -> Any:
        if not isinstance(data, self.array_type) and not hasattr(data, "__cuda_array_interface__"):
            return self._allocated(self._upload, np.asarray(data), dtype)
        return self._allocated(self.xp.asarray, data, dtype)

    def copy(self, array: Any, dtype: Any = None) -> Any:
        return self._allocated(partial(self.xp.array, array, dtype=dtype, order="C", copy=True))

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        return self._allocated(self.xp.empty, shape, dtype)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any = np.float32) -> Any:
        if is_bfloat16(np.dtype(dtype)):  # which CuPy's own kernels know in part
            result = self.empty(shape, dtype)
            CudaBackend.launch(self, "assign", result, value)
            return result
        return self._allocated(self.xp.full, shape, value, dtype)

    def from_dlpack(self, array: Any) -> Any:
        return CudaBackend.call(self, self.xp.from_dlpack, array)

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.asarray(CudaBackend.call(self, array.get))

    def item(self, array: Any) -> Any:
        return CudaBackend.call(self, array.item)

    def read_later(self, arrays: Sequence[Any]) -> Reading:
        return CudaBackend.call(self, CudaReading, self, arrays)

    def staging(self, places: int) -> Staging:
        return CudaStaging(self, places)

    def mark(self) -> Mark:
        event = self.xp.cuda.Event(disable_timing=True)
        with self.gate:
            event.record(self.stream)
        return event

    def memory_stats(self) -> dict[str, int]:
        return memory.statistics(self.xp, self.device_number)

    def empty_cache(self) -> None:
        memory.empty_cache(self.xp, self.device_number)

    def _allocated(self, allocate: Callable[..., Any], *arguments: Any) -> Any:
        """``allocate(*arguments)`` on our stream; again with an emptied cache where memory has run out."""
        try:
            with self.gate:
                if self._current_stream() is self.stream:
                    return allocate(*arguments)
                with self._own.entered():
                    return allocate(*arguments)
        except self._full:
            self.empty_cache()
        return CudaBackend.call(self, allocate, *arguments)
