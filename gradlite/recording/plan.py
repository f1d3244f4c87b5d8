"""The memory plan of a program: which of its buffers may share memory, because they are never needed together.

Every array that a recorded launch returned lives from that launch to the last one that reads it. Buffers are placed
largest first, each at the lowest offset where it meets no other that lives at the same time; this greedy rule comes
within some percent of the best plan on networks (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
Inference", 2020, greedy by size).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gradlite.backends import Backend
from gradlite.backends.base import CACHE_LINE
from gradlite.recording.recorder import Call, arrays_in

# Offsets are multiples of a cache line. Large buffers get one more, so that they do not start at equal places of pages:
# a processor takes a load for the reload of a recent store when the last twelve bits of their addresses agree.
PAGE = 4096


@dataclass
class Buffer:
    """Memory that a launch brought: its size, the launches between which it is needed, and its place in the arena."""

    nbytes: int
    first: int
    last: int
    offset: int = 0

    @property
    def reserved(self) -> int:
        """Bytes that it takes in the arena."""
        lines = -(-self.nbytes // CACHE_LINE) * CACHE_LINE
        return lines + CACHE_LINE if lines >= PAGE else lines

    def meets(self, other: Buffer) -> bool:
        """Whether both are needed at some time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """What a program's buffers take.

    Attributes:
        buffers: how many arrays its launches return.
        planned_bytes: the arena that holds them all.
        unshared_bytes: what they would take side by side.
        live_bytes: the most that is needed at one time, which no plan can go below.
    """

    buffers: int
    planned_bytes: int
    unshared_bytes: int
    live_bytes: int


def inputs_of(call: Call, kind: type) -> Iterator[Any]:
    """All arrays that a launch is given, in its attributes too."""
    yield from arrays_in(call.arrays, kind)
    for value in call.attributes.values():
        yield from arrays_in(value, kind)


def find_buffers(backend: Backend, calls: Sequence[Call], outputs: Iterable[Any]) -> dict[int, Buffer]:
    """The buffers that the launches brought, by the identity of their memory; those of ``outputs`` live to the end."""
    kind = backend.array_type
    known: set[int] = set()
    buffers: dict[int, Buffer] = {}
    for number, call in enumerate(calls):
        for array in inputs_of(call, kind):
            memory = backend.memory_of(array)
            known.add(memory.identity)
            if memory.identity in buffers:
                buffers[memory.identity].last = number
        for array in arrays_in(call.results, kind):
            memory = backend.memory_of(array)
            # A kernel that returned (a view of) what it was given brought no memory.
            if memory.identity not in known:
                buffers[memory.identity] = Buffer(memory.nbytes, number, number)
                known.add(memory.identity)
    for array in outputs:
        identity = backend.memory_of(array).identity
        if identity in buffers:
            buffers[identity].last = len(calls)
    return buffers


def place(buffers: Iterable[Buffer]) -> MemoryPlan:
    """Give every buffer its offset; what the whole takes."""
    placed: list[Buffer] = []
    everything = sorted(buffers, key=lambda b: (-b.reserved, b.first))
    for buffer in everything:
        start = 0
        for other in sorted((b for b in placed if b.meets(buffer)), key=lambda b: b.offset):
            if start + buffer.reserved <= other.offset:
                break
            start = max(start, other.offset + other.reserved)
        buffer.offset = start
        placed.append(buffer)
    times = sorted({b.first for b in everything})
    return MemoryPlan(
        buffers=len(everything),
        planned_bytes=max((b.offset + b.reserved for b in everything), default=0),
        unshared_bytes=sum(b.nbytes for b in everything),
        live_bytes=max((sum(b.nbytes for b in everything if b.first <= t <= b.last) for t in times), default=0),
    )
