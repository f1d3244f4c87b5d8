"""Captured steps: the second step of its kind is recorded, then replayed; programs stay with the model.

A step is of another kind when its batch has another size or type, when the optimizer is in another phase (it
accumulates, updates, or overwrites weights with averages), or when what the recorded step worked on is there no more:
a variable with other memory, a layer that was frozen. Learning rate, step number, random counters, totals of the loss
and the metrics, and the place of the samples are in memory that each replay reads anew. Python code of a model runs
while a step is recorded, and not again: a step whose Python reads values cannot be captured, and trains eagerly after
one warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from gradlite.backends import Backend
from gradlite.recording import Program, Recorder, is_recording, measuring
from gradlite.training.batches import Batch
from gradlite.training.outputs import Outputs
from gradlite.training.state import same, state_of
from gradlite.training.structure import flatten, map_structure
from gradlite.training.windows import Window, kind_of

# So many kinds of steps are kept; batches of ever new lengths would fill the memory otherwise.
MOST_PROGRAMS = 16
# So many states are kept apart, for models that take turns, as when a part of one is frozen every other step.
MOST_STATES = 4
# Programs stay with the model after a fit as long as their buffers take no more than this together.
MOST_BYTES = 1 << 30


class Steps:
    """Runs steps of a model, captured where that is possible. One thread uses it at a time.

    Args:
        model: what ``_train_step``, ``_test_step`` or a call of it computes is a step.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._gave_up = False
        self._states: list[_State] = [_State((), ())]
        self._windows: dict[Hashable, Window] = {}
        self._traits: list[Any] = []
        self.captured = True

    @classmethod
    def of(cls, model: Any) -> Steps:
        """The steps that the model keeps, with their programs, or new ones; given back by ``put_back``."""
        # Whoever takes them has them alone: a second thread makes its own.
        steps: Steps = vars(model).pop("_kept_steps", None) or cls(model)
        steps._model = model
        steps.captured = not (steps._gave_up or model.run_eagerly)
        return steps

    def put_back(self) -> None:
        """Leave the programs with the model for the next time, and let go of the data."""
        for window in self._windows.values():
            window.clear()
        self._drop_programs(MOST_BYTES)
        # A model that held itself in a circle would keep a device's memory until the garbage collector comes.
        model, self._model = self._model, None
        vars(model)["_kept_steps"] = self

    @property
    def programs(self) -> list[Program]:
        """What was recorded."""
        return [recorded.program for state in self._states for recorded in state.recorded.values()]

    def check_state(self) -> None:
        """Put what was recorded aside if it would work on memory that the model uses no more. To be called whenever
        other code has run: at the start of an epoch, and after callbacks."""
        if not self.captured:
            return
        found = state_of(self._model)
        if not same(self._traits, found.traits):
            self._states, self._traits = [], found.traits
        self._states = [state for state in self._states if same(state.memory, found.memory)]
        for i, state in enumerate(self._states):
            if same(state.trained, found.trained):
                self._states.append(self._states.pop(i))
                return
        self._states.append(_State(found.memory, found.trained))
        del self._states[:-MOST_STATES]

    def train(self, batch: Batch, variables: Sequence[Any]) -> None:
        """One step of training for each batch in ``batch``."""
        model, optimizer = self._model, self._model.optimizer
        while batch.times:
            phase = optimizer.phase() if self.captured else None
            recorded, window = self._run("train", phase, batch, lambda given: model._train_step(given, variables))
            times = 1
            if recorded is not None:
                model._check_labels(batch.unchecked, recorded.shapes)
                times = batch.times if optimizer.steps_are_alike() else 1
                optimizer.prepare_replay()
                self._replay(recorded, window, batch.size, times)
            batch = batch.split(times)[1]

    def test(self, batch: Batch) -> None:
        """One step of evaluation for each batch in ``batch``, under ``no_grad``."""
        model = self._model
        while batch.times:
            recorded, window = self._run("test", None, batch, model._test_step)
            times = 1
            if recorded is not None:
                model._check_labels(batch.unchecked, recorded.shapes)
                times = batch.times
                self._replay(recorded, window, batch.size, times)
            batch = batch.split(times)[1]

    def predict(self, batch: Batch, collected: Outputs) -> None:
        """The outputs for each batch in ``batch``, under ``no_grad``."""
        while batch.times:
            outputs: list[Any] = []

            def compute(given: Batch, outputs: list[Any] = outputs) -> Any:
                outputs.append(self._model(given.x, training=False))
                return outputs[0]

            recorded, window = self._run("predict", None, batch, compute)
            if recorded is None:
                arrays, structure = [y.data for y in flatten(outputs[0])], outputs[0]
            else:
                self._replay(recorded, window, batch.size, 1)
                arrays, structure = list(recorded.program.outputs), recorded.shapes
            collected.add(batch.backend.read_later(arrays), structure)
            batch = batch.split(1)[1]

    def finish(self) -> None:
        """Note that variables were changed in place, for those who hold a tape that reads them."""
        if self._states[-1].recorded:
            for variable in self._model.variables:
                variable.bump_version()

    def _replay(self, recorded: _Recorded, window: Window, size: int, times: int) -> None:
        window.begin()
        recorded.program.replay(times)
        window.end(size * times)

    def _run(
        self, what: str, phase: Hashable, batch: Batch, step: Callable[[Batch], Any]
    ) -> tuple[_Recorded | None, Any]:
        """What was recorded for steps of this kind, to be replayed, and the window that shows the batch to it; or
        None, and the step has run.

        The first step of a kind runs as it is: buffers are made and kernels compiled on the way, and a kind that does
        not come again costs nothing more. The second is recorded while it runs.
        """
        if not self.captured:
            step(batch.taken())
            return None, None
        kind = kind_of(batch)
        backend = batch.backend
        window = self._windows.get((what, kind))
        if window is None:
            window = self._windows[what, kind] = Window(backend)
        window.show(batch)
        state, key = self._states[-1], (what, phase, batch.size, kind)
        recorded = state.recorded.get(key)
        if recorded is not None:
            return recorded, window

        def whole() -> Any:
            outputs = step(window.read(batch))
            window.advance(batch.size)
            return outputs

        window.begin()
        if is_recording(backend):
            whole()  # another thread has the boundary for a step; this one is recorded some other time
        elif key in state.seen:
            self._record(key, backend, whole, keep_outputs=what == "predict")
        elif not backend.memory_stats():
            state.seen.add(key)
            whole()
        else:
            # A device whose memory ends: nobody wants a step that fails while it is recorded.
            state.seen.add(key)
            with measuring(backend) as sizes:
                whole()
            self._check_room(backend, sum(sizes))
        window.end(batch.size)
        self._traits = state_of(self._model).traits  # what the Python code of the step itself has set is no change
        return None, window

    def _check_room(self, backend: Backend, needed: int) -> None:
        """Do without capture if recording the step would take more memory than is left."""
        memory = backend.memory_stats()
        left = memory["free"] + memory["pooled"]
        if needed > left:
            self._give_up(
                f"to record one takes {needed / 2**20:.0f} MiB, and {backend.device} has {left / 2**20:.0f} left"
            )

    def _give_up(self, reason: str) -> None:
        self.captured, self._gave_up = False, True
        warnings.warn(
            f"Steps of model {self._model.name!r} are not captured, and so take longer: {reason}. "
            "Pass run_eagerly=True to compile() to say that this is meant.",
            stacklevel=2,
        )

    def _record(self, key: Hashable, backend: Backend, step: Callable[[], Any], keep_outputs: bool) -> None:
        recorder = Recorder(backend)
        with recorder.recording():
            outputs = step()
        if recorder.obstacles:
            self._give_up(f"{recorder.obstacles[0]}; compute with Tensors instead")
            return
        kept = [y.data for y in flatten(outputs)] if keep_outputs else []
        recorded = _Recorded(Program(recorder, kept), outputs, backend)
        self._states[-1].recorded[key] = recorded
        while len(self.programs) > MOST_PROGRAMS:
            self._drop_oldest()

    def _drop_programs(self, most_bytes: int) -> None:
        while sum(program.memory.planned_bytes for program in self.programs) > most_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        state = next(state for state in self._states if state.recorded)
        state.recorded.pop(next(iter(state.recorded)))


class _State:
    """What was recorded while the model was in one state."""

    def __init__(self, memory: Sequence[Any], trained: Sequence[Any]) -> None:
        self.memory = memory
        self.trained = trained
        self.recorded: dict[Hashable, _Recorded] = {}
        self.seen: set[Hashable] = set()


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
