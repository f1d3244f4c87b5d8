"""capture: a function of Tensors that is recorded on its first call with inputs of a kind, and replayed afterwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from gradlite.autograd import as_tensor, is_grad_enabled
from gradlite.backends import Backend
from gradlite.recording.program import Program
from gradlite.recording.recorder import CaptureError, Recorder, is_recording
from gradlite.tensor import Tensor, wrap

Signature = tuple[Any, ...]


def capture(function: Callable[..., Any]) -> Captured:
    """``function``, recorded once for each kind of inputs and then replayed.

    The function takes Tensors and returns a Tensor, a tuple of them, or None. It may change tensors in place (weights,
    state); it may compute gradients inside. What it does on the host happens only while it is recorded: Python side
    effects are not repeated, and what it decides by Python values stays decided. The results carry no history.

    Raises (from a call, not from here):
        CaptureError: if the function reads a value on the host (``item``, ``numpy``, ``if`` on a Tensor), with the
            line. The call that finds it out has run to its end, as an ordinary one.

    >>> import gradlite
    >>> weights = gradlite.Tensor([1.0, 2.0], requires_grad=True)
    >>> @gradlite.capture
    ... def step(x):
    ...     loss = ((weights * x) ** 2).sum()
    ...     return loss, gradlite.grad(loss, weights)
    >>> for value in (1.0, 2.0, 3.0):
    ...     loss, gradient = step(gradlite.Tensor([value, value]))
    >>> loss.item(), gradient.tolist()
    (45.0, [18.0, 36.0])
    """
    return Captured(function)


class Captured:
    """A captured function; ``programs`` holds what was recorded, by signature."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._entries: dict[Signature, _Entry] = {}
        update_wrapper(self, function)

    @property
    def programs(self) -> list[Program]:
        """The programs so far, one for each kind of inputs."""
        return [entry.program for entry in self._entries.values()]

    def __call__(self, *inputs: Any) -> Any:
        tensors = [as_tensor(x) for x in inputs]
        if is_recording(_backend_of(tensors)):
            return self._function(*tensors)  # its launches belong to the program that is being recorded
        signature = (
            is_grad_enabled(),
            *((x.backend, x.shape, x.dtype, x.requires_grad) for x in tensors),
        )
        entry = self._entries.get(signature)
        if entry is None:
            return self._record(signature, tensors)
        for held, x in zip(entry.inputs, tensors):
            if held.data is not x.data:
                x.backend.launch("assign", held.data, x.data)
        entry.program.replay()
        return entry.results()

    def _record(self, signature: Signature, tensors: list[Tensor]) -> Any:
        backend = _backend_of(tensors)
        held = [wrap(x.backend.copy(x.data), x.backend) for x in tensors]
        for copy, x in zip(held, tensors):
            copy.requires_grad = x.requires_grad
        recorder = Recorder(backend)
        with recorder.recording():
            found = self._function(*held)
        if recorder.obstacles:
            raise CaptureError(f"{getattr(self._function, '__name__', 'A function')} cannot be captured: "
                               f"{recorder.obstacles[0]}")  # fmt: skip
        _refuse_changed_inputs(recorder, held)
        results = list(found) if isinstance(found, (tuple, list)) else [] if found is None else [found]
        for result in results:
            if not isinstance(result, Tensor):
                raise CaptureError(
                    f"A captured function returns Tensors. Received: {type(result).__name__}; a value that is computed "
                    "on the host would be the same in every replay."
                )
        detached = [wrap(backend.copy(result.data), backend) for result in results]
        program = Program(recorder, [result.data for result in results])
        self._entries[signature] = _Entry(held, program, backend, isinstance(found, (tuple, list)))
        return _shaped(detached, isinstance(found, (tuple, list)))


class _Entry:
    """What belongs to one signature: the buffers of the inputs, and the program that reads them."""

    def __init__(self, inputs: list[Tensor], program: Program, backend: Backend, several: bool) -> None:
        self.inputs = inputs
        self.program = program
        self._backend = backend
        self._several = several

    def results(self) -> Any:
        """The outputs as Tensors of their own, which the next replay leaves alone."""
        copies = [wrap(self._backend.copy(array), self._backend) for array in self.program.outputs]
        return _shaped(copies, self._several)


def _shaped(tensors: list[Tensor], several: bool) -> Any:
    if several:
        return tuple(tensors)
    return tensors[0] if tensors else None


def _backend_of(tensors: list[Tensor]) -> Backend:
    from gradlite.backends import default_backend

    return tensors[0].backend if tensors else default_backend()


def _refuse_changed_inputs(recorder: Recorder, inputs: list[Tensor]) -> None:
    """Raise CaptureError where an update wrote to an input: it would be the copy that changes, not what was passed."""
    memory_of = recorder.backend.memory_of
    held = {memory_of(x.data).identity for x in inputs}
    for call in recorder.calls:
        if not call.results and call.arrays and memory_of(call.arrays[0]).identity in held:
            raise CaptureError(
                f"A captured function changes one of its inputs in place ({call.name}). It gets copies of them: use "
                "the tensor itself, from outside the function, or return the new value."
            )
