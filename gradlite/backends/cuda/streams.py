"""The stream of a device: everything of gradlite runs on it, in the order in which Python asked for it.

It is a stream of our own that does not wait for the legacy default stream, which cannot be captured in a CUDA graph and
stands still for every other blocking stream. Work that a user started on another stream is ordered before ours, and
what that stream gets afterwards is ordered behind ours, by events: the device waits, the host does not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


class DeviceStream:
    """The stream of one device, and the ways onto it.

    Args:
        cupy: the module.
        device: the number of the GPU.
        gate: held while something is put on the stream.

    Attributes:
        stream: CuPy's object.
        current: CuPy's function that says which stream is current for the thread on its device. Where that is
            ``stream``, we are there already: a stream belongs to one device.
    """

    def __init__(self, cupy: Any, device: int, gate: AbstractContextManager[Any]) -> None:
        self._cuda = cupy.cuda
        self._gate = gate
        self._device = cupy.cuda.Device(device)
        self._events = threading.local()
        self.current: Callable[[], Any] = cupy.cuda.get_current_stream
        with self._device:
            self.stream = cupy.cuda.Stream(non_blocking=True)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Inside, our stream is the current one, behind what the thread's current stream was given so far; what that
        one gets afterwards is behind ours."""
        if self.current() is self.stream:
            yield
            return
        with self._device:
            other = self.current()
            if other is self.stream:
                yield
                return
            self._order(other, self.stream)
            try:
                self.stream.use()
                yield
            finally:
                # Not by a with block: that would lead back to the stream of the block around it, past a stream that
                # was chosen by ``use`` since.
                other.use()
                self._order(self.stream, other)

    def adopt(self) -> Callable[[], None]:
        """Make our stream (and its device) the thread's current one until the function that this returns is called."""
        before = self._cuda.Device()
        self._device.use()
        other = self.current()
        if other is not self.stream:
            self._order(other, self.stream)
            self.stream.use()

        def restore() -> None:
            self._device.use()
            if other is not self.stream:
                self._order(self.stream, other)
                other.use()
            before.use()

        return restore

    def _order(self, first: Any, then: Any) -> None:
        """What ``then`` gets from here on waits for what ``first`` was given until now."""
        event = getattr(self._events, "event", None)
        if event is None:  # one a thread: between recording and waiting, nobody else may record into it
            event = self._events.event = self._cuda.Event(disable_timing=True)
        with self._gate:
            first.record(event)
            then.wait_event(event)
