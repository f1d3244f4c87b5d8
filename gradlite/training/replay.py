"""Captured steps: the second step of its kind in a ``fit``, ``evaluate`` or ``predict`` is recorded, then replayed.

A step is of another kind when its batch has another size or type, when the optimizer is in another phase (it
accumulates, updates, or overwrites weights with averages), or when what the recorded step worked on is there no more:
a variable with other memory, a layer that was frozen. Learning rate, step number, random counters, totals of the loss
and the metrics are in memory that each replay reads anew. Python code of a model runs while a step is recorded, and not
again: a step whose Python reads values cannot be captured, and trains eagerly after one warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from gradlite.backends import Backend
from gradlite.recording import Program, Recorder, is_recording, measuring
from gradlite.tensor import Tensor, wrap
from gradlite.training.data import Batch
from gradlite.training.structure import flatten, map_structure

# So many kinds of steps are kept; batches of ever new lengths would fill the memory otherwise.
MOST_PROGRAMS = 16


class Steps:
    """Runs the steps of one ``fit``, ``evaluate`` or ``predict``, captured where that is possible.

    Args:
        model: what ``_train_step``, ``_test_step`` or a call of it computes is a step.
        captured: whether to capture at all.
    """

    def __init__(self, model: Any, captured: bool) -> None:
        self._model = model
        self._captured = captured
        self._recorded: dict[Hashable, _Recorded] = {}
        self._seen: set[Hashable] = set()
        self._held: dict[Hashable, Batch] = {}
        self._state: tuple[Hashable, ...] = ()

    @property
    def programs(self) -> list[Program]:
        """What was recorded."""
        return [recorded.program for recorded in self._recorded.values()]

    def check_state(self) -> None:
        """Forget what was recorded if it would work on memory that the model uses no more. To be called whenever other
        code has run: at the start of an epoch, and after callbacks."""
        state = _state_of(self._model) if self._captured else ()
        if state != self._state:
            self._recorded.clear()
            self._seen.clear()
            self._state = state

    def train(self, batch: Batch, variables: Sequence[Any]) -> None:
        """One step of training."""
        model = self._model
        phase = model.optimizer.phase() if self._captured else None
        recorded = self._run("train", phase, batch, lambda kept: model._train_step(kept, variables))
        if recorded is not None:
            model._check_labels(batch.unchecked, recorded.shapes)
            model.optimizer.prepare_replay()
            recorded.program.replay()

    def test(self, batch: Batch) -> None:
        """One step of evaluation, under ``no_grad``."""
        model = self._model
        recorded = self._run("test", None, batch, model._test_step)
        if recorded is not None:
            model._check_labels(batch.unchecked, recorded.shapes)
            recorded.program.replay()

    def predict(self, batch: Batch) -> Any:
        """The outputs for a batch as NumPy arrays, under ``no_grad``."""
        outputs: list[Any] = []

        def compute(kept: Batch) -> Any:
            outputs.append(self._model(kept.x, training=False))
            return outputs[0]

        recorded = self._run("predict", None, batch, compute)
        if recorded is None:
            return map_structure(lambda y: y.numpy(), outputs[0])
        recorded.program.replay()
        arrays = iter(recorded.program.outputs)
        return map_structure(lambda _: recorded.backend.to_numpy(next(arrays)), recorded.shapes)

    def _run(self, what: str, phase: Hashable, batch: Batch, step: Callable[[Batch], Any]) -> _Recorded | None:
        """What was recorded for steps of this kind, to be replayed; or None, and the step has run.

        The first step of a kind runs as it is: buffers are made and kernels compiled on the way, and a kind that does
        not come again costs nothing more. The second is recorded while it runs.
        """
        if not self._captured:
            step(batch)
            return None
        kept = self._in_place(batch)
        key = (what, phase, id(kept))  # which lives as long as its feed, or in self._held
        recorded = self._recorded.get(key)
        if recorded is not None:
            return recorded
        kept = kept._replace(unchecked=batch.unchecked)
        backend = _backend_of(kept)
        if is_recording(backend):
            step(kept)  # another thread has the boundary for a step; this one is recorded some other time
        elif key in self._seen:
            self._record(key, kept, step, keep_outputs=what == "predict")
        elif not backend.memory_stats():
            self._seen.add(key)
            step(kept)
        else:
            # A device whose memory ends: nobody wants a step that fails while it is recorded.
            self._seen.add(key)
            with measuring(backend) as sizes:
                step(kept)
            self._check_room(backend, sum(sizes))
        return None

    def _check_room(self, backend: Backend, needed: int) -> None:
        """Do without capture if recording the step would take more memory than is left."""
        memory = backend.memory_stats()
        left = memory["free"] + memory["pooled"]
        if needed > left:
            self._give_up(
                f"to record one takes {needed / 2**20:.0f} MiB, and {backend.device} has {left / 2**20:.0f} left"
            )

    def _give_up(self, reason: str) -> None:
        self._captured = False
        warnings.warn(
            f"Steps of model {self._model.name!r} are not captured, and so take longer: {reason}. "
            "Pass run_eagerly=True to compile() to say that this is meant.",
            stacklevel=2,
        )

    def finish(self) -> None:
        """Note that variables were changed in place, for those who hold a tape that reads them."""
        if self._recorded:
            for variable in self._model.variables:
                variable.bump_version()

    def _record(self, key: Hashable, batch: Batch, step: Callable[[Batch], Any], keep_outputs: bool) -> None:
        backend = _backend_of(batch)
        recorder = Recorder(backend)
        with recorder.recording():
            outputs = step(batch)
        if recorder.obstacles:
            self._give_up(f"{recorder.obstacles[0]}; compute with Tensors instead")
            return
        if len(self._recorded) >= MOST_PROGRAMS:
            self._recorded.pop(next(iter(self._recorded)))
        kept = [y.data for y in flatten(outputs)] if keep_outputs else []
        self._recorded[key] = _Recorded(Program(recorder, kept), outputs, backend)

    def _in_place(self, batch: Batch) -> Batch:
        """The one batch of this kind, whose memory is where a program reads, with the given values in it."""
        if batch.fixed:
            return batch
        kind = _kind_of(batch)
        kept = self._held.get(kind)
        if kept is None:
            x, y, weight = (map_structure(_copied, part) for part in batch[:3])
            kept = self._held[kind] = Batch(x, y, weight, batch.size, fixed=True)
        else:
            for target, x in zip(flatten(kept[:3]), flatten(batch[:3])):
                x.backend.launch("assign", target.data, x.data)
        return kept


class _Recorded:
    """A program, its backend, and the shapes of the model's outputs."""

    def __init__(self, program: Program, outputs: Any, backend: Backend) -> None:
        self.program = program
        self.backend = backend
        self.shapes = map_structure(lambda y: _Shape(y.shape), outputs)


class _Shape:
    """What a check of labels asks of an output."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


def _copied(tensor: Tensor) -> Tensor:
    return wrap(tensor.backend.copy(tensor.data), tensor.backend)


def _kind_of(batch: Batch) -> Hashable:
    """What tells kinds of batches apart: their structure, and their arrays' types and shapes."""
    described = tuple((x.shape, x.dtype.char) for x in flatten(batch[:3]))
    return batch.size, described, repr(map_structure(lambda _: 0, batch[:3]))


def _state_of(model: Any) -> tuple[Hashable, ...]:
    """What a recorded step has worked into it."""
    metrics = model.metrics if model.compiled else ()
    variables = [*model.variables, *(v for metric in metrics for v in metric.variables)]
    return (
        id(model.optimizer),
        id(model._compiled_loss),
        *((id(v), id(v.data), v.requires_grad) for v in variables),
        *((id(layer), layer.trainable) for layer in model.flatten_layers()),
    )


def _backend_of(batch: Batch) -> Backend:
    leaves = flatten(batch.x)
    backend: Backend = leaves[0].backend
    return backend
