"""Program: recorded launches bound to buffers of their own, ready to be replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gradlite.backends import Backend
from gradlite.recording.fusion import fused
from gradlite.recording.plan import Buffer, MemoryPlan, find_buffers, place
from gradlite.recording.recorder import Call, Recorder


class Program:
    """What a recorder noted, as one thing that runs.

    Arrays that existed before (weights, data, counters) are used where they are, so a replay sees what was written to
    them since. Arrays that the launches returned get places in one arena, shared where lifetimes permit.

    Args:
        recorder: holds the launches.
        outputs: arrays that the caller reads after a replay; they keep their memory to the end.

    Attributes:
        memory: what the arena takes, and what it saves.
        outputs: the arrays, in the arena, that hold the outputs after each replay.
        launches: the names of what a replay launches, in order.
    """

    memory: MemoryPlan

    def __init__(self, recorder: Recorder, outputs: Sequence[Any] = ()) -> None:
        backend = recorder.backend
        calls = fused(backend, recorder.calls, outputs)
        buffers = find_buffers(backend, calls, outputs)
        self.memory = place(buffers.values())
        self._arena = backend.arena(self.memory.planned_bytes)
        # The recorded arrays stay alive until all are moved: their identities would be given to others otherwise.
        move = _Mover(backend, buffers, self._arena)
        self.outputs = tuple(move(array) for array in outputs)
        self.launches = tuple(call.name for call in calls)
        self._replay: Callable[[int], None] = backend.bind([_bound(call, move) for call in calls])
        recorder.calls = []

    def replay(self, times: int = 1) -> None:
        """Run all launches again, ``times`` times. Nothing waits for the device."""
        self._replay(times)


class _Mover:
    """Maps recorded arrays to their views of the arena; arrays that no launch brought stay what they are."""

    def __init__(self, backend: Backend, buffers: dict[int, Buffer], arena: Any) -> None:
        self._backend = backend
        self._buffers = buffers
        self._arena = arena
        self._moved: dict[int, Any] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(self(part) for part in value)
        if not isinstance(value, self._backend.array_type):
            return value
        if id(value) not in self._moved:
            memory = self._backend.memory_of(value)
            buffer = self._buffers.get(memory.identity)
            new = value
            if buffer is not None:
                new = self._backend.view_of_arena(self._arena, buffer.offset + memory.offset, value)
            self._moved[id(value)] = new
        return self._moved[id(value)]


def _bound(call: Call, move: _Mover) -> Callable[[], Any]:
    """The launch as a function without arguments."""
    arrays = tuple(move(x) for x in call.arrays)
    attributes = {name: move(value) for name, value in call.attributes.items()}
    if not call.results:
        return partial(call.function, *arrays, **attributes)
    results = tuple(move(x) for x in call.results)
    out = results if len(results) > 1 else results[0]
    if call.takes_out:
        return partial(call.function, *arrays, **attributes, out=out)
    return partial(_run_and_copy, call.function, arrays, attributes, results)


def _run_and_copy(
    function: Callable[..., Any], arrays: tuple[Any, ...], attributes: dict[str, Any], results: tuple[Any, ...]
) -> None:
    """A function of a user's own, which returns new arrays: they are copied to where the program expects them."""
    found = function(*arrays, **attributes)
    for target, value in zip(results, found if isinstance(found, tuple) else (found,)):
        target[...] = value
