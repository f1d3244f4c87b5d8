"""Fusion of the gradient of a dense layer's weights with the update that uses it, on backends with a kernel for both.

The weights of a wide layer, their gradient and Adam's averages are more than a cache holds: a gradient that is used
where it was computed need not be written to memory and read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradlite.recording.launches import Launches
from gradlite.recording.plan import inputs_of
from gradlite.recording.recorder import Call


@dataclass
class _Joined:
    """A call that stands for a gradient and an update, their numbers, and the number that it takes its place before."""

    call: Call
    gradient: int
    update: int
    at: int


def gradients_with_their_updates(program: Launches) -> list[Call]:
    """Adam's update of a dense layer's weights computes their gradient itself, if nobody else wants to know it."""
    found = [joined for number in range(len(program.calls)) if (joined := _joined(program, number)) is not None]
    gone = {number for joined in found for number in (joined.gradient, joined.update)}
    calls: list[Call] = []
    for number, call in enumerate(program.calls):
        calls += [joined.call for joined in found if joined.at == number]
        if number not in gone:
            calls.append(call)
    return calls


def _joined(program: Launches, number: int) -> _Joined | None:
    """The call for the gradient with this number and its update; None where it has to stay."""
    call = program.calls[number]
    if call.name != "dense_weight_gradient" or len(call.results) != 2:
        return None
    dw, db = call.results
    readers = program.readers_of(dw)
    if len(readers) != 1 or program.calls[readers[0]].name != "adam" or program.identity(db) in program.kept:
        return None
    update = program.calls[readers[0]]
    parameter, g, m, v, v_max, rate, step = update.arrays
    if v_max is not None or not _is_all_of(program, g, dw):
        return None
    x, gradient, y = call.arrays
    arrays = parameter, gradient, m, v, db, x, y, rate, step
    attributes = {"activation": call.attributes.get("activation"), **update.attributes}
    name = "dense_weight_gradient_adam"
    at = min([*program.readers.get(program.identity(db), []), readers[0]])
    still = program.unwritten((x, gradient) if y is None else (x, gradient, y), number, at - 1)
    early = program.unwritten((rate, step), at, readers[0] - 1) and not any(
        _touches(program, between, (parameter, m, v)) for between in program.calls[at : readers[0]]
    )
    if not (still and early and program.backend.computes_at_once(name, arrays, attributes)):
        return None
    return _Joined(Call(name, program.backend.kernels[name], arrays, attributes, (), False), number, readers[0], at)


def _is_all_of(program: Launches, array: Any, result: Any) -> bool:
    """Whether an array is a result, perhaps of another shape, in its order."""
    place, whole = program.backend.memory_of(array), program.backend.memory_of(result)
    return (place.identity, place.offset, array.size) == (whole.identity, whole.offset, result.size) and all(
        x.flags.c_contiguous and x.dtype == result.dtype for x in (array, result)
    )


def _touches(program: Launches, call: Call, arrays: tuple[Any, ...]) -> bool:
    """Whether a call is given memory of one of these arrays without gaps."""
    places = [program.backend.memory_of(x) for x in arrays]
    ends = [place.offset + x.nbytes for place, x in zip(places, arrays)]
    for given in inputs_of(call, program.backend.array_type):
        place = program.backend.memory_of(given)
        # How far an array with gaps reaches is not asked: to the end.
        stop = place.offset + given.nbytes if given.flags.c_contiguous else place.nbytes
        for other, end in zip(places, ends):
            if place.identity == other.identity and place.offset < end and other.offset < stop:
                return True
    return False
