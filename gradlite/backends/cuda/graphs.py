"""Recorded calls as one CUDA graph: a whole training step is one launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend


class GraphReplay:
    """Calls that were captured into a graph; calling it launches the graph.

    Kernels that only fusion brought in are loaded meanwhile, which CUDA allows in the relaxed mode that CuPy captures
    in. What calls allocate on the way, such as partial sums, comes from a pool that lives as long as the graph.
    """

    def __init__(self, gpu: CudaBackend, calls: Sequence[Callable[[], Any]]) -> None:
        cuda = gpu.xp.cuda
        self._stream = gpu.stream
        self._pool = cuda.MemoryPool()
        # The graph holds addresses only: the calls keep the arrays alive that these belong to.
        self._calls = list(calls)
        self._gate = gpu.gate
        with gpu.entered(), self._gate, cuda.using_allocator(self._pool.malloc):
            self._stream.begin_capture()
            try:
                for call in self._calls:
                    call()
            except BaseException:  # an interrupt too: a stream that is still being captured would run nothing any more
                with suppress(Exception):  # that the capture is spoilt says less than what spoilt it
                    self._stream.end_capture()
                raise
            self._graph = self._stream.end_capture()
            self._graph.upload(self._stream)

    def __call__(self, times: int = 1) -> None:
        with self._gate:
            for _ in range(times):
                self._graph.launch(self._stream)


class ListReplay:
    """Calls that cannot be captured, one after the other.

    Attributes:
        reason: what stood in the way of a graph.
    """

    def __init__(self, gpu: CudaBackend, calls: Sequence[Callable[[], Any]], reason: str) -> None:
        self._gpu = gpu
        self._calls = list(calls)
        self.reason = reason

    def __call__(self, times: int = 1) -> None:
        with self._gpu.entered():
            for _ in range(times):
                for call in self._calls:
                    call()


def bound(gpu: CudaBackend, calls: Sequence[Callable[[], Any]]) -> GraphReplay | ListReplay:
    """The calls as a graph, or where one of them may not be captured (a sort, a reduction of CuPy's) as a list.

    A failed capture runs nothing, so the list that takes its place starts from the same state.
    """
    try:
        return GraphReplay(gpu, calls)
    except Exception as error:  # whatever a driver or CuPy raises for a call that it does not capture
        return ListReplay(gpu, calls, f"{type(error).__name__}: {error}")
