"""The launches of a program as rules of fusion look at them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gradlite.backends import Backend
from gradlite.recording.plan import inputs_of
from gradlite.recording.recorder import Call

# Which of their arrays updates change, where it is not every array that they are given.
CHANGED: dict[str, tuple[int, ...]] = {"adam": (0, 2, 3, 4), "moving_average": (0,), "pack": ()}


class Launches:
    """Calls with what rules ask about them: who brought and who reads what, and what is written to in place."""

    def __init__(self, backend: Backend, calls: list[Call], kept: set[int]) -> None:
        self.backend = backend
        self.calls = calls
        self.kept = kept
        self.readers: dict[int, list[int]] = {}
        self.makers: dict[int, int] = {}
        for number, call in enumerate(calls):
            for identity in {self.identity(x) for x in inputs_of(call, backend.array_type)}:
                self.readers.setdefault(identity, []).append(number)
            for result in call.results:
                if isinstance(result, backend.array_type):
                    self.makers.setdefault(self.identity(result), number)

    def identity(self, array: Any) -> int:
        """What tells the array's memory apart."""
        return self.backend.memory_of(array).identity

    def only_readers(self, call: Call) -> list[int]:
        """The calls that read the one result of ``call``, or none where others may see it too."""
        (result,) = call.results
        return self.readers_of(result)

    def only_reader(self, call: Call, name: str) -> int | None:
        """The number of the one call that reads the one result of ``call``, if it has this name and brings a result."""
        readers = self.only_readers(call) if len(call.results) == 1 else []
        if len(readers) != 1 or self.calls[readers[0]].name != name or not self.calls[readers[0]].results:
            return None
        return readers[0]

    def readers_of(self, result: Any) -> list[int]:
        """The calls that read a result, or none where others may see it too."""
        identity = self.identity(result)
        return [] if identity in self.kept else self.readers.get(identity, [])

    def maker_of(self, array: Any) -> int:
        """The call that brought an array's memory; -1 for what was there before."""
        return self.makers.get(self.identity(array), -1)

    @staticmethod
    def is_like(array: Any, other: Any) -> bool:
        """Whether two arrays differ in nothing but their values."""
        return array.shape == other.shape and array.strides == other.strides and array.dtype == other.dtype

    def is_whole(self, array: Any, result: Any) -> bool:
        """Whether ``array`` is ``result`` itself: its memory from the start, in its shape and order."""
        place, whole = self.backend.memory_of(array), self.backend.memory_of(result)
        return (place.identity, place.offset, array.shape, array.strides, array.dtype) == (
            whole.identity,
            whole.offset,
            result.shape,
            result.strides,
            result.dtype,
        )

    def same(self, array: Any, result: Any) -> bool:
        """Whether an argument is an array, and ``result`` as a whole."""
        return isinstance(array, self.backend.array_type) and self.is_whole(array, result)

    def is_whole_everywhere(self, result: Any, readers: Iterable[int]) -> bool:
        """Whether each of these calls reads ``result`` only as a whole and by position."""
        identity, kind = self.identity(result), self.backend.array_type
        return all(
            self.is_whole(x, result) and any(x is y for y in self.calls[reader].arrays)
            for reader in readers
            for x in inputs_of(self.calls[reader], kind)
            if self.identity(x) == identity
        )

    def unwritten(self, arrays: Iterable[Any], first: int, last: int) -> bool:
        """Whether no call from ``first`` to ``last`` may change one of the arrays in place."""
        memory = {self.identity(x) for x in arrays}
        return not any(
            memory & {self.identity(x) for x in self._changed(call)} for call in self.calls[first : last + 1]
        )

    def _changed(self, call: Call) -> Iterable[Any]:
        """The arrays that a call may change in place."""
        if call.results:
            return ()
        kind = self.backend.array_type
        if call.name not in CHANGED:
            return inputs_of(call, kind)
        given = (*(call.arrays[i] for i in CHANGED[call.name]), call.attributes.get("out"))
        return [x for x in given if isinstance(x, kind)]


def without(calls: list[Call], gone: set[int]) -> list[Call]:
    """The calls but those with these numbers."""
    return [call for number, call in enumerate(calls) if number not in gone]
