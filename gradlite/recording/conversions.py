"""Fusion of conversions: mixed precision converts every weight, and every weight's gradient, by a launch of its own."""

from __future__ import annotations

from collections.abc import Sequence

from gradlite.backends.dtypes import is_narrow
from gradlite.recording.launches import Launches, without
from gradlite.recording.recorder import Call


def conversions_together(program: Launches) -> list[Call]:
    """Arrays that were there before the step are converted by one launch, where the first of them was; and those that
    nobody reads before all of them are there by one where the last was."""
    calls, gone = list(program.calls), set[int]()
    kinds: dict[tuple[str, str], list[int]] = {}
    for number, call in enumerate(program.calls):
        if call.name == "astype" and len(call.results) == 1 and call.arrays[0].flags.c_contiguous:
            source, result = call.arrays[0].dtype, call.results[0].dtype
            if "float32" in (source.name, result.name) and (is_narrow(source) or is_narrow(result)):
                kinds.setdefault((source.name, result.name), []).append(number)
    for numbers in kinds.values():
        early = [n for n in numbers if program.maker_of(program.calls[n].arrays[0]) < 0]
        late = _late(program, [n for n in numbers if n not in early])
        if len(early) > 1 and program.unwritten(_sources(program, early), early[0], early[-1]):
            calls[early[0]] = _together(program, early)
            gone.update(early[1:])
        if len(late) > 1:
            calls[late[-1]] = _together(program, late)
            gone.update(late[:-1])
    return without(calls, gone)


def _late(program: Launches, numbers: list[int]) -> list[int]:
    """Those that can be made where the last one is: nobody reads their results, or writes their sources, till then."""
    if not numbers:
        return []
    last = numbers[-1]
    found = [last]
    for number in reversed(numbers[:-1]):
        call = program.calls[number]
        readers = program.only_readers(call)
        if readers and min(readers) > last and program.unwritten(call.arrays, number, last):
            found.append(number)
    return found[::-1]


def _sources(program: Launches, numbers: Sequence[int]) -> list[object]:
    return [program.calls[number].arrays[0] for number in numbers]


def _together(program: Launches, numbers: Sequence[int]) -> Call:
    joined = [program.calls[number] for number in numbers]
    arrays, results = tuple(call.arrays[0] for call in joined), tuple(call.results[0] for call in joined)
    attributes = {"dtype": results[0].dtype}
    function = program.backend.function("astype_each", arrays, attributes)
    return Call("astype_each", function, arrays, attributes, results, True)
