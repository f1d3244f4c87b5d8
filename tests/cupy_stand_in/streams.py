"""Streams, events and graphs.

Work runs at once when it is submitted, so streams are in order with each other; what capture forbids is refused.
While a stream is being captured its work is recorded and does not run: an array that a captured kernel writes keeps its
old content until the graph is launched, as on a GPU.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import emulator

from .counters import count
from .errors import (
    CAPTURE_IMPLICIT,
    CAPTURE_INVALIDATED,
    CAPTURE_ISOLATION,
    CAPTURE_UNJOINED,
    CAPTURE_UNSUPPORTED,
    ILLEGAL_ADDRESS,
    ILLEGAL_STATE,
    INVALID_HANDLE,
    CUDARuntimeError,
)
from .machine import MACHINE, current_device

MODE_GLOBAL, MODE_THREAD_LOCAL, MODE_RELAXED = 0, 1, 2


@dataclass
class Node:
    """A piece of captured work: what runs at replay, and the addresses that it reads and writes."""

    name: str
    run: Callable[[], Any]
    pointers: tuple[int, ...]


@dataclass
class Capture:
    """A capture in progress: its first stream, its nodes, and the streams that an event has pulled in.

    Nodes are kept in an order in which a device may run them: those of other streams as late as that can be, when the
    first stream waits for them, so that what it does in between and what they do must not be in each other's way.

    Attributes:
        unjoined: streams other than the first with work that the first has not waited for, and that work.
    """

    origin: Stream
    mode: int
    nodes: list[Node] = field(default_factory=list)
    members: list[Stream] = field(default_factory=list)
    unjoined: dict[Stream, list[Node]] = field(default_factory=dict)
    invalid: bool = False


_captures: list[Capture] = []
_local = threading.local()
_handles = itertools.count(0x1000, 0x100)


class Stream:
    """``cupy.cuda.Stream``."""

    null: Stream
    ptds: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        singleton = null or ptds
        self.ptr = 0 if null else 2 if ptds else next(_handles)
        self.device_id = -1 if singleton else current_device()
        self.is_non_blocking = non_blocking and not singleton
        self.priority = priority or 0
        self._capture: Capture | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return hash(self.ptr)

    def __repr__(self) -> str:
        return f"<Stream {self.ptr} (device {self.device_id})>"

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.ptr

    def __enter__(self) -> Stream:
        self.use()
        _entered().append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        # As in CuPy: back to the stream of the block around this one, not to what `use` has chosen since.
        entered = _entered()
        entered.pop()
        (entered[-1] if entered else Stream.null).use()

    def use(self) -> Stream:
        """Make it this thread's stream on the current device."""
        device = current_device()
        if self.device_id not in (-1, device):
            raise RuntimeError(f"stream was created on device {self.device_id}, the current device is {device}")
        _streams()[device] = self
        return self

    @property
    def done(self) -> bool:
        if self._capture:
            raise fail(self._capture, CAPTURE_UNSUPPORTED, "a query of a stream that is being captured")
        return True

    def synchronize(self) -> None:
        """Wait for the stream's work."""
        wait(self)

    def record(self, event: Event | None = None) -> Event:
        """Mark this point of the stream with an event."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Work submitted from now on runs after ``event``; this is how a capture forks and joins."""
        theirs = event._capture
        if self._capture is None:
            if theirs is None or theirs not in _captures:
                return
            self._capture = theirs
            theirs.members.append(self)
        elif theirs is None:
            raise fail(self._capture, CAPTURE_ISOLATION, "a captured stream waits for an event recorded outside")
        elif self is theirs.origin and event._stream in theirs.unjoined:
            theirs.nodes += theirs.unjoined.pop(event._stream)

    def launch_host_func(self, callback: Callable[[Any], None], arg: Any) -> None:
        """Call a function of the host in the order of the stream."""
        submit("host function", lambda: callback(arg), (), self)

    def begin_capture(self, mode: int | None = None) -> None:
        """From now on record this stream's work."""
        if self.ptr in (0, 1):
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._capture is not None:
            raise CUDARuntimeError(ILLEGAL_STATE, "the stream is being captured already")
        self._capture = Capture(self, MODE_RELAXED if mode is None else mode)
        _captures.append(self._capture)

    def end_capture(self) -> Graph:
        """Stop recording; the recorded work as a graph."""
        capture = self._capture
        if capture is None or capture.origin is not self:
            raise CUDARuntimeError(ILLEGAL_STATE, "the stream did not begin a capture")
        _captures.remove(capture)
        for stream in (self, *capture.members):
            stream._capture = None
        if capture.invalid:
            raise CUDARuntimeError(CAPTURE_INVALIDATED)
        if capture.unjoined:
            raise CUDARuntimeError(CAPTURE_UNJOINED, f"{len(capture.unjoined)} forked streams were not waited for")
        return Graph._of(capture.nodes, current_device())

    def is_capturing(self) -> bool:
        return self._capture is not None


Stream.null = Stream(null=True)
Stream.ptds = Stream(ptds=True)


def _streams() -> dict[int, Stream]:
    if not hasattr(_local, "streams"):
        _local.streams = {}
    streams: dict[int, Stream] = _local.streams
    return streams


def _entered() -> list[Stream]:
    """The streams of this thread's open ``with`` blocks on the current device, the innermost last."""
    if not hasattr(_local, "entered"):
        _local.entered = {}
    entered: list[Stream] = _local.entered.setdefault(current_device(), [])
    return entered


def get_current_stream(device_id: int = -1) -> Stream:
    """This thread's stream on a device, by default the current one."""
    return _streams().get(current_device() if device_id < 0 else device_id, Stream.null)


def stream_of(handle: int) -> Stream:
    """The stream with a handle: the current one, the default one, or one that is being captured."""
    candidates = [get_current_stream(), Stream.null, Stream.ptds]
    candidates += [stream for capture in _captures for stream in (capture.origin, *capture.members)]
    for stream in candidates:
        if stream.ptr == handle:
            return stream
    return Stream.ptds  # any other stream behaves alike: its work runs at once


# ---- submitting work


def submit(name: str, run: Callable[[], Any], pointers: Iterable[int], stream: Stream) -> None:
    """Run a piece of work on a stream, or record it where the stream is being captured."""
    if stream.device_id not in (-1, current_device()):
        raise CUDARuntimeError(INVALID_HANDLE, f"{name}: the stream is of device {stream.device_id}")
    if stream.ptr == 0:
        for capture in _captures:
            if not capture.origin.is_non_blocking:
                raise fail(capture, CAPTURE_IMPLICIT, f"{name} on the default stream")
    if stream._capture is None:
        run()
        return
    capture = stream._capture
    nodes = capture.nodes if stream is capture.origin else capture.unjoined.setdefault(stream, [])
    nodes.append(Node(name, run, tuple(p for p in pointers if p)))


def note_launch(name: str, stream: Stream) -> None:
    """Count a launch on the default stream, or refuse it."""
    if stream.ptr == 0:
        if MACHINE.refuse_default_stream:
            raise AssertionError(f"stand-in: {name} was launched on the default stream")
        count("default_stream_launches")


def fail(capture: Capture, status: int, detail: str) -> CUDARuntimeError:
    """The error to raise for something CUDA forbids during a capture, which it spoils."""
    capture.invalid = True
    return CUDARuntimeError(status, detail)


def wait(stream: Stream) -> None:
    """The host waits for a stream: what cannot be captured."""
    if stream._capture is not None:
        raise fail(stream._capture, CAPTURE_UNSUPPORTED, "the host waits for a stream that is being captured")
    count("synchronizations")


def synchronize_device() -> None:
    """The host waits for all streams."""
    if _captures:
        raise fail(_captures[-1], CAPTURE_UNSUPPORTED, "the host waits for the device during a capture")
    count("synchronizations")


def refuse_under_capture(what: str) -> None:
    """Raise, where the current stream is being captured, for what CuPy cannot have captured."""
    if get_current_stream()._capture is not None:
        raise RuntimeError(f"stand-in: {what} while the current stream is capturing")


def capture_mode_forbids_unsafe_calls() -> bool:
    """Whether cudaMalloc and its like are refused: during a capture that was not begun as relaxed, CuPy's default."""
    return any(capture.mode != MODE_RELAXED for capture in _captures)


def check_allocation_allowed() -> None:
    """Raises where a capture forbids asking the device for memory."""
    if capture_mode_forbids_unsafe_calls():
        raise fail(_captures[-1], CAPTURE_UNSUPPORTED, "cudaMalloc during a capture that is not relaxed")


def copy_bytes(destination: int, source: int, size: int, kind: str, stream: Stream | None) -> None:
    """Copy bytes; ``kind`` is a count's name. Without a stream the host waits, which cannot be captured."""
    if stream is None:
        refuse_under_capture("a blocking copy")
        count("synchronizations")
        stream = get_current_stream()
    count(kind)
    ends = {"device_to_device": (destination, source), "host_to_device": (destination,), "device_to_host": (source,)}
    submit(f"copy {kind}", lambda: ctypes.memmove(destination, source, size), ends[kind], stream)


def fill_bytes(pointer: int, value: int, size: int, stream: Stream | None) -> None:
    """Fill bytes with a value."""
    if stream is None:
        refuse_under_capture("a blocking fill")
        stream = get_current_stream()
    submit("fill", lambda: ctypes.memset(pointer, value, size), (pointer,), stream)


# ---- events and graphs


class Event:
    """``cupy.cuda.Event``."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.ptr = next(_handles)
        self._timed = not disable_timing
        self._time: float | None = None
        self._capture: Capture | None = None
        self._stream: Stream | None = None

    @property
    def done(self) -> bool:
        return True

    def record(self, stream: Stream | None = None) -> None:
        """Mark the present point of a stream, by default the current one."""
        self._stream = stream or get_current_stream()
        self._capture = self._stream._capture
        self._time = time.perf_counter()

    def synchronize(self) -> None:
        """Wait until the work before the mark is done."""
        if self._capture is not None:
            if self._capture in _captures:
                raise fail(self._capture, CAPTURE_UNSUPPORTED, "the host waits for an event of a capture")
            raise CUDARuntimeError(CAPTURE_UNSUPPORTED, "the event was recorded in a capture")
        count("synchronizations")


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds between two events."""
    if not (start_event._timed and end_event._timed) or start_event._time is None or end_event._time is None:
        raise CUDARuntimeError(INVALID_HANDLE, "an event without a time")
    return (end_event._time - start_event._time) * 1e3


class Graph:
    """``cupy.cuda.Graph``: recorded work, with the addresses it had when it was recorded."""

    _nodes: list[Node]
    _device: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "currently this class cannot be initiated by the user and must be created via stream capture"
        )

    @classmethod
    def _of(cls, nodes: list[Node], device: int) -> Graph:
        graph = cls.__new__(cls)
        graph._nodes, graph._device = nodes, device
        return graph

    def upload(self, stream: Stream | None = None) -> None:
        """Prepare the first launch."""

    def launch(self, stream: Stream | None = None) -> None:
        """Run the recorded work, on the current stream by default.

        Raises:
            CUDARuntimeError: where memory that the graph uses has been freed; a GPU would read and write whatever is
                there now.
        """
        stream = stream or get_current_stream()
        if stream._capture is not None:
            raise fail(stream._capture, CAPTURE_UNSUPPORTED, "a graph launched into a capture")
        note_launch("a graph", stream)
        count("graph_launches")
        for node in self._nodes:
            for pointer in node.pointers:
                if not emulator.is_alive(pointer):
                    raise CUDARuntimeError(
                        ILLEGAL_ADDRESS, f"{node.name} in a graph uses memory at {pointer:#x}, freed since its capture"
                    )
        for node in self._nodes:
            count("replayed")
            node.run()

    def debug_dot_str(self, flags: int = 0) -> str:
        """The nodes as a chain in the language of Graphviz."""
        lines = [f'  n{i} [label="{node.name}"];' for i, node in enumerate(self._nodes)]
        lines += [f"  n{i} -> n{i + 1};" for i in range(len(self._nodes) - 1)]
        return "digraph {\n" + "\n".join(lines) + "\n}"
