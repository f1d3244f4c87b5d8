"""Fusion of a step's bookkeeping: random states, totals of losses and metrics, the step's number.

All of it is about single numbers, and costs as many launches as a layer does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from gradlite.recording.launches import Launches, without
from gradlite.recording.plan import inputs_of
from gradlite.recording.recorder import Call, arrays_in


def draws_together(program: Launches) -> list[Call]:
    """The random states of all layers are moved on by one launch, where the first of them was."""
    numbers = [i for i, call in enumerate(program.calls) if call.name == "draw_random"]
    states = [program.calls[i].arrays[0] for i in numbers]
    apart = len({program.identity(x) for x in states}) == len(states)
    if len(numbers) < 2 or not apart or not _free(program, set(numbers), numbers[0], numbers[-1], states, ()):
        return program.calls
    results = tuple(program.calls[i].results[0] for i in numbers)
    calls = list(program.calls)
    calls[numbers[0]] = Call(
        "draw_random_each", program.backend.kernels["draw_random_each"], tuple(states), {}, results, True
    )
    return without(calls, set(numbers[1:]))


@dataclass
class _Addition:
    """A total, what is added to it, the calls that need not be made for that, and what else the total is written to."""

    total: Any
    value: Any
    absorbed: tuple[int, ...] = ()
    copy: Any = None
    copied: int = -1  # the call that computes the copy


def totals_together(program: Launches) -> list[Call]:
    """What is added to totals of one number is added by one launch, which computes simple values by itself.

    It takes place as soon as all values are known, that is behind the loss, so that the step's number can be counted
    there too. Where somebody looks at a total later it stays where the last of the additions was.
    """
    numbers = [
        number
        for number, call in enumerate(program.calls)
        if call.name == "assign_add" and all(getattr(x, "size", 1) == 1 for x in call.arrays)
    ]
    totals = [program.calls[number].arrays[0] for number in numbers]
    if len(numbers) < 2 or len({program.identity(x) for x in totals}) < len(totals):
        return program.calls
    additions = [_addition(program, number) for number in numbers]
    counted = [_with_step(program, addition, number) for addition, number in zip(additions, numbers)]
    for found in (counted, additions):
        gone = {*numbers, *(i for addition in found for i in addition.absorbed)}
        read = list(arrays_in([addition.value for addition in found], program.backend.array_type))
        place = max((program.maker_of(x) for x in read), default=-1)
        if _free(program, gone, place + 1, numbers[-1], totals, read) and _unseen(program, found, place):
            return _accumulated(program, found, gone, place + 1)
    if _free(program, gone, min(gone), numbers[-1], totals, read):
        return _accumulated(program, additions, gone, numbers[-1])
    return program.calls


def _addition(program: Launches, number: int) -> _Addition:
    """What an ``assign_add`` adds: a product with a number and a count are computed where they are added."""
    total, value = program.calls[number].arrays
    if not isinstance(value, program.backend.array_type):
        return _Addition(total, value)
    maker = program.maker_of(value)
    made = program.calls[maker] if maker >= 0 else None
    if made is None or program.readers_of(value) != [number] or not program.is_whole(value, made.results[0]):
        return _Addition(total, value)
    if made.name == "count_correct":
        return _Addition(total, ("correct", *made.arrays), absorbed=(maker,))
    if made.name == "multiply" and isinstance(made.arrays[1], (int, float)):
        x = made.arrays[0]
        if getattr(x, "size", 0) == 1 and x.dtype == value.dtype and x.dtype.kind == "f":
            return _Addition(total, ("times", *made.arrays), absorbed=(maker,))
    return _Addition(total, value)


def _with_step(program: Launches, addition: _Addition, number: int) -> _Addition:
    """The addition with the copy of the new total that another call computes before: the number of this update."""
    for i, call in enumerate(program.calls[:number]):
        copy = call.attributes.get("out")
        if call.name == "add" and copy is not None and copy.dtype == addition.total.dtype:
            total, value = call.arrays
            if program.same(total, addition.total) and program.same(value, addition.value):
                return replace(addition, absorbed=(*addition.absorbed, i), copy=copy, copied=i)
    return addition


def _free(program: Launches, own: set[int], first: int, last: int, changed: Iterable[Any], read: Iterable[Any]) -> bool:
    """Whether no other call from ``first`` to ``last`` looks at what is ``changed``, or changes what is ``read``."""
    kind = program.backend.array_type
    others = [call for i, call in enumerate(program.calls[first : last + 1], first) if i not in own]
    touched = {program.identity(x) for call in others for x in inputs_of(call, kind)}
    written = {program.identity(x) for call in others if not call.results for x in inputs_of(call, kind)}
    targets = {program.identity(x) for x in changed}
    return not (touched & targets or (written | targets) & {program.identity(x) for x in read})


def _unseen(program: Launches, additions: Iterable[_Addition], place: int) -> bool:
    """Whether all who read the copy of a total find in it what they would, if it is written behind ``place``."""
    return all(
        (reader > place) == (reader > addition.copied)
        for addition in additions
        if addition.copy is not None
        for reader in program.readers[program.identity(addition.copy)]
        if reader != addition.copied
    )


def _accumulated(program: Launches, additions: list[_Addition], gone: set[int], place: int) -> list[Call]:
    """The calls with one ``accumulate`` in front of number ``place`` for these additions."""
    call = Call(
        "accumulate",
        program.backend.kernels["accumulate"],
        tuple(addition.total for addition in additions),
        {
            "values": tuple(addition.value for addition in additions),
            "copies": tuple(addition.copy for addition in additions),
        },
        (),
        False,
    )
    before, behind = program.calls[:place], program.calls[place:]
    return [
        *without(before, gone),
        call,
        *without(behind, {number - place for number in gone}),
    ]


MEAN_LOSSES = ("sparse_softmax_cross_entropy_loss", "softmax_cross_entropy_loss")


def loss_with_what_follows(program: Launches) -> list[Call]:
    """The kernel of the mean cross-entropy scales its gradient, and adds to totals."""
    calls, gone = list(program.calls), set()
    for number, loss in enumerate(program.calls):
        if loss.name not in MEAN_LOSSES:
            continue
        value, gradient, p = loss.results
        scale, totals, attributes = None, (), {}
        follower = _scaling(program, number)
        if follower is not None:
            scale, gradient = program.calls[follower].arrays[1], program.calls[follower].results[0]
            gone.add(follower)
        behind = program.calls[number + 1] if number + 1 < len(program.calls) else None
        if behind is not None and behind.name == "accumulate":
            values = tuple(_by_the_loss(program, x, loss) for x in behind.attributes["values"])
            if not any(isinstance(x, tuple) and x[0] == "correct" and len(x) > 2 for x in values):
                totals, attributes = behind.arrays, {**behind.attributes, "values": values}
                gone.add(number + 1)
        if scale is not None or totals:
            name = "cross_entropy_step"
            calls[number] = Call(
                name, program.backend.kernels[name], (*loss.arrays, scale, *totals), attributes, (value, gradient, p),
                True,
            )  # fmt: skip
    return without(calls, gone)


def _scaling(program: Launches, number: int) -> int | None:
    """The call that multiplies the gradient of the loss with a number that is known before, if nobody else reads it."""
    gradient = program.calls[number].results[1]
    readers = program.readers_of(gradient)
    if len(readers) != 1 or program.calls[readers[0]].name != "multiply":
        return None
    call = program.calls[readers[0]]
    scaled, scale = call.arrays
    fits = program.same(scaled, gradient) and getattr(scale, "shape", None) == () and scale.dtype == gradient.dtype
    if not fits or program.maker_of(scale) > number or not program.is_like(call.results[0], gradient):
        return None
    return readers[0] if program.unwritten((scale,), number, readers[0]) else None


def _by_the_loss(program: Launches, value: Any, loss: Call) -> Any:
    """A value of ``accumulate`` in the words of the loss's kernel, where it is about what that knows."""
    (logits, labels), (mean, _, p) = loss.arrays, loss.results
    if program.same(value, mean):
        return "times", "loss", 1
    if not isinstance(value, tuple):
        return value
    what, first, second = value
    if what == "times" and program.same(first, mean):
        return "times", "loss", second
    if what == "correct" and program.same(first, labels):
        for name, scores in (("probabilities", p), ("logits", logits)):
            if program.same(second, scores):
                return "correct", name
    return value
