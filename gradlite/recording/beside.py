"""Which launches of a program may run beside those that follow, and until when.

The gradient of a layer's weights is not needed before the optimizer: while it is computed, the backward pass can go on.
At small batches neither fills a GPU, and two at a time hide what a launch costs to begin and to end. The device runs
such a launch on a second stream; the program says before which launch it must be done, and keeps the memory that it
reads and writes from being given to others until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from gradlite.backends import Backend
from gradlite.recording.launches import Launches
from gradlite.recording.plan import inputs_of
from gradlite.recording.recorder import Call, arrays_in

# Bytes that a launch beside others may keep from being shared: those of large batches fill the device by themselves.
MOST_BYTES = 64 << 20
# A part of an optimizer's step goes ahead of the rest where it is that much of it.
MOST_OF_A_STEP = 0.5

Span = tuple[int, int, int]  # memory, and where in it the bytes begin and end


def joins(backend: Backend, calls: Sequence[Call]) -> dict[int, int]:
    """For launches that may run beside those behind them, the number of the first one that must wait for it.

    They are in order among themselves, on the one stream beside, so none of them has to wait for another, and all are
    done where one behind them is.
    """
    brought = {span[0] for call in calls for span in _spans(backend, arrays_in(call.results, backend.array_type))}
    found: dict[int, int] = {}
    for number in range(len(calls) - 1, -1, -1):  # what those behind it do is settled first
        call = calls[number]
        if call.name not in backend.beside:
            continue
        reads, writes = _reads(backend, call), _writes(backend, call)
        kept = {span for span in [*reads, *writes] if span[0] in brought}
        if sum(end - begin for _, begin, end in kept) > MOST_BYTES:
            continue
        stop = min(found.values(), default=len(calls))
        for later in range(number + 1, stop):
            changes = _writes(backend, calls[later])
            if later not in found and (_meet(writes, _reads(backend, calls[later])) or _meet(reads + writes, changes)):
                stop = later
                break
        if stop > number + 1:
            found[number] = stop
    return found


def _spans(backend: Backend, arrays: Iterable[Any]) -> list[Span]:
    """Where arrays lie: exactly for contiguous ones, else the whole memory that they are in."""
    spans = []
    for array in arrays:
        memory = backend.memory_of(array)
        whole = not array.flags.c_contiguous
        begin, size = (0, memory.nbytes) if whole else (memory.offset, array.nbytes)
        spans.append((memory.identity, begin, begin + size))
    return spans


def _reads(backend: Backend, call: Call) -> list[Span]:
    return _spans(backend, inputs_of(call, backend.array_type))


def _writes(backend: Backend, call: Call) -> list[Span]:
    """What a launch brings, or, of one that brings nothing, whatever it is given: it updates some of that."""
    return _spans(backend, arrays_in(call.results, backend.array_type)) or _reads(backend, call)


def _meet(some: Sequence[Span], others: Sequence[Span]) -> bool:
    """Whether any two spans share a byte."""
    return any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in some for b in others)


def adam_ahead(program: Launches) -> list[Call]:
    """The part of Adam's launch for the largest weights runs as soon as their gradients are there.

    A network's first dense layer has most of its weights, and its gradients are among the first: bytes of the optimizer
    are moved while the convolutions' gradients are computed.
    """
    number = next((i for i, call in enumerate(program.calls) if call.name == "adam_segments"), None)
    if number is None:
        return program.calls
    call = program.calls[number]
    *arrays, rate, step = call.arrays
    count = len(arrays) // 4
    runs = [tuple(arrays[kind * count + i] for kind in range(4)) for i in range(count)]
    total = sum(run[0].size for run in runs)
    large = max(runs, key=lambda run: run[0].size)
    maker = program.maker_of(large[1])
    if maker < 0 or large[0].size < MOST_OF_A_STEP * total or count < 2:
        return program.calls
    first = replace(call, arrays=(*large, rate, step))
    place = _first_place(program, first, maker + 1, number)
    if place >= number:
        return program.calls
    rest = [run for run in runs if run is not large]
    second = replace(call, arrays=(*(run[i] for i in range(4) for run in rest), rate, step))
    calls = list(program.calls)
    calls[number] = second
    return [*calls[:place], first, *calls[place:]]


def _first_place(program: Launches, call: Call, earliest: int, latest: int) -> int:
    """The first place from ``earliest`` on where an update can stand without anything between there and ``latest``
    reading what it changes, or changing what it reads."""
    backend = program.backend
    changes, only_read = (_spans(backend, part) for part in (call.arrays[:-2], call.arrays[-2:]))
    for number in range(latest - 1, earliest - 1, -1):
        other = program.calls[number]
        reads, writes = _reads(backend, other), _writes(backend, other)
        if _meet(changes, [*reads, *writes]) or _meet(only_read, writes):
            return number + 1
    return earliest
