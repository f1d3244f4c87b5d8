"""Programs that stay with the model, steps of one execution, and logs that nobody waits for."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import signal
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cupy_stand_in
import numpy as np
import pytest
from devices import emulated

import gradlite
from gradlite import keras
from gradlite.backends.reading import Reading
from gradlite.keras import layers
from gradlite.training import pace, replay
from gradlite.training.logs import RunningLogs

X = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 40)

pytestmark = pytest.mark.usefixtures("each_device")


def make_model(**options: Any) -> Any:
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, activation="relu"), layers.Dropout(0.3), layers.Dense(3, "softmax")]
    )
    compile_(model, **options)
    return model


def compile_(model: Any, **options: Any) -> None:
    settings = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    model.compile(**{**settings, **options})


def bits(model: Any) -> list[bytes]:
    return [w.tobytes() for w in model.get_weights()]


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each program that was made."""
    made: list[int] = []
    original = replay.Program.__init__

    def noted(self: Any, *arguments: Any) -> None:
        made.append(1)
        original(self, *arguments)

    monkeypatch.setattr(replay.Program, "__init__", noted)
    return made


# Programs are kept.


def test_later_calls_with_other_data_of_the_kind_record_nothing_and_compute_the_same(recordings: list[int]) -> None:
    results = []
    for eager in (True, False):
        model = make_model(run_eagerly=eager)
        found: list[Any] = []
        for scale in (1.0, 2.0, 3.0):
            found.append(model.fit(scale * X, Y, batch_size=8, epochs=2, verbose=0).history)
            found.append(model.evaluate(scale * X, Y, batch_size=8, verbose=0))
            found.append(model.predict(scale * X, batch_size=8, verbose=0).tobytes())
            found.append(model.train_on_batch(scale * X[:8], Y[:8]))
            found.append(model.test_on_batch(scale * X[:8], Y[:8]))
            found.append(model.predict_on_batch(scale * X[:8]).tobytes())
            # More samples, in another order and weighted, and labels in a generator.
            found.append(model.fit(np.tile(X, (2, 1)), np.tile(Y, 2), batch_size=8, verbose=0).history)
            found.append(model.fit(iter([(X[:8], Y[:8])] * 3), verbose=0).history)
        results.append((found, bits(model)))
    assert results[0] == results[1]
    assert len(recordings) == 3  # to train, to evaluate, to predict


def unfreeze_and_freeze(model: Any) -> None:
    """Train a part, then the whole, which the optimizer makes new memory for, and then the part again."""
    model.layers[0].trainable = False
    model.evaluate(X, Y, batch_size=8, verbose=0)
    model.optimizer = keras.optimizers.Adam()
    model.fit(X, Y, batch_size=8, verbose=0)
    model.layers[0].trainable = True
    model.fit(X, Y, batch_size=8, verbose=0)
    model.layers[0].trainable = False
    model.evaluate(X, Y, batch_size=8, verbose=0)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a rate of dropout": lambda model: setattr(model.layers[1], "rate", 0.7),
    "a frozen layer": lambda model: setattr(model.layers[0], "trainable", False),
    "an option of the optimizer": lambda model: setattr(model.optimizer, "beta_1", 0.5),
    "the learning rate": lambda model: setattr(model.optimizer, "learning_rate", 0.5),
    "a variable's memory": lambda model: setattr(
        model.layers[0].kernel, "data", model.layers[0].kernel.backend.copy(model.layers[0].kernel.data)
    ),
    "weights": lambda model: model.set_weights([0.5 * w for w in model.get_weights()]),
    "compile": lambda model: compile_(model, optimizer="sgd", loss="mse", run_eagerly=model.run_eagerly),
    "what is trained, to and fro": unfreeze_and_freeze,
    "a loss": lambda model: setattr(model._compiled_loss.losses[0], "axis", -1),
    "an activation": lambda model: setattr(model.layers[0], "activation", keras.activations.tanh),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_between_two_calls_counts_in_the_second(name: str) -> None:
    results = []
    for eager in (True, False):
        model = make_model(run_eagerly=eager)
        y = np.eye(3, dtype=np.float32)[Y] if name == "compile" else Y
        if name == "compile":
            compile_(model, loss="categorical_crossentropy", run_eagerly=eager)
        model.fit(X, y, batch_size=8, verbose=0)
        CHANGES[name](model)
        results.append((model.fit(X, y, batch_size=8, verbose=0).history, bits(model)))
    assert results[0] == results[1]


def test_parts_that_are_frozen_in_turns_are_recorded_once_each(recordings: list[int]) -> None:
    results = []
    for eager in (True, False):
        model = make_model(run_eagerly=eager)
        for step in range(10):
            model.layers[0].trainable = step % 2 == 0
            model.train_on_batch(X[:8], Y[:8])
        results.append(bits(model))
    assert results[0] == results[1]
    assert len(recordings) == 2


def test_a_model_does_not_hold_the_data_it_was_trained_on() -> None:
    model = make_model()
    x, validation = X.copy(), X.copy()
    held = [weakref.ref(x), weakref.ref(validation)]
    model.fit(x, Y, batch_size=8, epochs=2, validation_data=(validation, Y), verbose=0)
    model.predict(x, batch_size=8, verbose=0)
    del x, validation
    gc.collect()
    assert [ref() for ref in held] == [None, None]


def test_a_model_and_its_programs_go_when_nobody_holds_the_model() -> None:
    model = make_model()
    for _ in range(3):
        model.predict(X, batch_size=8, verbose=0)
        model.evaluate(X, Y, batch_size=8, verbose=0)
    held = weakref.ref(model), weakref.ref(model.layers[0]), weakref.ref(vars(model)["_kept_steps"].programs[0])
    gc.disable()
    try:
        del model
        assert [ref() for ref in held] == [None] * 3
    finally:
        gc.enable()


def test_programs_leave_with_compile_and_stay_out_of_copies_and_files() -> None:
    model = make_model()
    model.fit(X, Y, batch_size=8, verbose=0)
    assert vars(model)["_kept_steps"].programs
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert "_kept_steps" not in vars(other)
        other.fit(X, Y, batch_size=8, verbose=0)
    compile_(model)
    assert "_kept_steps" not in vars(model)


def test_the_number_and_the_size_of_kept_programs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    for size in range(1, 25):
        for _ in range(2):
            model.predict(X[:size], verbose=0)
    assert len(vars(model)["_kept_steps"].programs) == replay.MOST_PROGRAMS
    monkeypatch.setattr(replay, "MOST_BYTES", 1000)
    model.predict(X[:1], verbose=0)
    assert sum(p.memory.planned_bytes for p in vars(model)["_kept_steps"].programs) <= 1000


def test_predicting_in_a_loop_stays_flat_in_memory() -> None:
    model = make_model()
    for _ in range(5):
        model.predict(X[:1], verbose=0)
    if gradlite.get_device() != "cpu":
        used = gradlite.memory_stats()["used"]
        for _ in range(5):
            model.predict(X[:1], verbose=0)
        assert gradlite.memory_stats()["used"] == used
        return  # what the emulator keeps on the host is its own affair
    left = []
    for repeats in (5, 5, 200):
        tracemalloc.start()
        for _ in range(repeats):
            model.predict(X[:1], verbose=0)
        gc.collect()
        left.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert left[2] - left[1] < 20 * 195


def test_a_model_that_predicts_while_it_is_trained_is_the_one_of_that_moment() -> None:
    class Predicts(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Any] = []

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seen.append(self.model.predict(X, batch_size=8, verbose=0).tobytes())
            self.seen.append(self.model.evaluate(X, Y, batch_size=8, verbose=0))

    results = []
    for eager in (True, False):
        model, callback = make_model(run_eagerly=eager), Predicts()
        model.fit(X, Y, batch_size=8, epochs=4, validation_data=(X, Y), verbose=0, callbacks=[callback])
        results.append((callback.seen, bits(model)))
    assert results[0] == results[1]


# Executions.


class Diary(keras.callbacks.Callback):
    """What the batch hooks were told."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Any] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.entries.append(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.entries.append((batch, sorted(logs)))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.entries.append(f"test {batch}")


def batches() -> Iterator[Any]:
    for _ in range(2):
        for start in range(0, 40, 8):
            yield X[start : start + 8], Y[start : start + 8]


@pytest.mark.parametrize("source", ["arrays", "generator"])
def test_batch_hooks_are_called_between_executions_of_so_many_steps(source: str) -> None:
    found = {}
    for steps in ("auto", 1, 3, 100):
        model, diary = make_model(steps_per_execution=steps), Diary()
        if source == "arrays":
            data: Any = (np.tile(X, (2, 1)), np.tile(Y, 2))
            history = model.fit(*data, batch_size=8, shuffle=False, verbose=0, callbacks=[diary])
        else:
            history = model.fit(batches(), verbose=0, callbacks=[diary])
        found[steps] = diary.entries, history.history, bits(model)
    names = ["accuracy", "loss"]
    assert found["auto"][0] == found[1][0] == [e for i in range(10) for e in (i, (i, names))]
    assert found[3][0] == [0, (2, names), 3, (5, names), 6, (8, names), 9, (9, names)]
    assert found[100][0] == [0, (9, names)]
    assert all(entry[1:] == found[1][1:] for entry in found.values())


def test_evaluation_and_prediction_are_told_between_executions_too() -> None:
    class Outputs(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.parts: list[Any] = []

        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            self.parts.append((batch, logs["outputs"]))

    model, diary, outputs = make_model(steps_per_execution=2), Diary(), Outputs()
    model.evaluate(X, Y, batch_size=8, verbose=0, callbacks=[diary])
    assert diary.entries == ["test 1", "test 3", "test 4"]
    whole = model.predict(X, batch_size=8, verbose=0, callbacks=[outputs])
    assert [(batch, len(part)) for batch, part in outputs.parts] == [(1, 16), (3, 16), (4, 8)]
    np.testing.assert_array_equal(np.concatenate([part for _, part in outputs.parts]), whole)


@pytest.mark.parametrize("steps", [0, -1, 2.0, "fast", True, None])
def test_steps_per_execution_is_a_number_or_auto(steps: Any) -> None:
    with pytest.raises(ValueError, match=r"steps_per_execution must be a positive integer or 'auto'"):
        make_model(steps_per_execution=steps)


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "accumulation": lambda: keras.optimizers.Adam(gradient_accumulation_steps=3),
    "averages": lambda: keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=4),
    "schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.5, 20)),
    "function": lambda: keras.optimizers.SGD(iter([0.5 / n for n in range(1, 200)]).__next__),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_many_steps_at_once_are_those_of_an_optimizer_that_changes_from_step_to_step(name: str) -> None:
    results = []
    for options in ({"run_eagerly": True}, {}, {"steps_per_execution": 50}):
        model = make_model(optimizer=OPTIMIZERS[name](), **options)
        callbacks = [Diary()] if "steps_per_execution" in options else []
        history = model.fit(X, Y, batch_size=2, epochs=3, verbose=0, callbacks=callbacks)
        results.append((history.history, bits(model)))
    assert results[0] == results[1] == results[2]


def test_ctrl_c_takes_effect_within_a_long_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MOST_STEPS", 4)
    model = make_model(steps_per_execution=10**6)
    model.fit(X, Y, batch_size=2, verbose=0)
    original, taken = replay.Steps.train, []

    def interrupted(self: Any, batch: Any, variables: Any) -> None:
        taken.append(batch.times)
        if len(taken) == 3:
            signal.raise_signal(signal.SIGINT)
        original(self, batch, variables)

    monkeypatch.setattr(replay.Steps, "train", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(np.tile(X, (5, 1)), np.tile(Y, 5), batch_size=2, verbose=0, callbacks=[Diary()])
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(taken) == 3
    assert int(model.optimizer.iterations.numpy()) == 20 + sum(taken)


# Errors.


# Kernels that change what they are given, and take no memory for it.
UPDATES = {"adam", "assign", "assign_add", "draw_random"}


def failing_launch(backend: Any, calls: Any, failing: int, kernel: str, *arrays: Any, **attributes: Any) -> Any:
    """The backend's launch, but the one with this number raises."""
    if next(calls) == failing and kernel not in UPDATES:
        raise MemoryError(kernel)
    return type(backend).launch(backend, kernel, *arrays, **attributes)


def state_of(model: Any) -> list[bytes]:
    return [v.numpy().tobytes() for v in [*model.variables, *model.optimizer.variables]]


@pytest.mark.parametrize("captured", [False, True])
def test_an_error_in_any_launch_leaves_weights_and_optimizer_between_two_steps(
    captured: bool, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every launch of a step in turn runs out of memory: the step has been taken as a whole, or not at all."""

    def made() -> Any:
        model = make_model(run_eagerly=not captured)
        model.fit(X[:8], Y[:8], batch_size=8, verbose=0)
        return model

    states = []
    model = made()
    for _ in range(2):
        states.append(state_of(model))
        model.fit(X[:8], Y[:8], batch_size=8, verbose=0)
    failing = 0
    while True:
        model, calls = made(), iter(range(10**6))
        monkeypatch.setattr(backend, "launch", partial(failing_launch, backend, calls, failing), raising=False)
        with contextlib.suppress(MemoryError):
            model.fit(X[:8], Y[:8], batch_size=8, verbose=0)
        monkeypatch.undo()
        assert state_of(model) in states
        if failing > next(calls):
            break
        failing += 1
        losses = model.fit(X, Y, batch_size=8, verbose=0).history["loss"]
        assert np.isfinite(losses).all()
    assert failing > 20


@pytest.mark.cpu_only
@pytest.mark.parametrize("failing", [41, 42, 55])
def test_an_error_between_replayed_steps_leaves_a_model_between_two_steps(
    backend: Any, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(fails: bool) -> Any:
        calls = iter(range(10**6))
        kernel = backend.kernels["dense_weight_gradient"]

        def counted(*arrays: Any, **attributes: Any) -> Any:
            if next(calls) == failing and fails:
                raise MemoryError("there is no more")
            return kernel(*arrays, **attributes)

        with monkeypatch.context() as patch:
            patch.setitem(backend.kernels, "dense_weight_gradient", counted)
            model = make_model(run_eagerly=not fails)
            if fails:
                with pytest.raises(MemoryError, match="there is no more"):
                    model.fit(X, Y, batch_size=1, shuffle=False, verbose=0)
            else:  # two such gradients a step
                model.fit(X[: failing // 2], Y[: failing // 2], batch_size=1, shuffle=False, verbose=0)
        return model

    model, expected = run(True), run(False)
    assert int(model.optimizer.iterations.numpy()) == failing // 2
    assert state_of(model) == state_of(expected)
    # The data is read from its beginning again, whatever the program had come to.
    for each in (model, expected):
        each.layers[1].rate = 0.0  # dropout has drawn once more in the step that failed
        each.fit(X, Y, batch_size=1, shuffle=False, verbose=0)
    assert state_of(model) == state_of(expected)


def test_steps_are_started_in_pieces_of_a_moment_and_a_device_is_not_left_far_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, waited, marks = [0.0], [], iter(range(10**6))

    class Device:
        def mark(self) -> Any:
            number = next(marks)
            return type("Mark", (), {"done": False, "synchronize": lambda self: waited.append(number)})()

    monkeypatch.setattr(pace, "perf_counter", lambda: now[0])
    watch, sizes = pace.Pace(Device()), []  # type: ignore[arg-type]
    for _ in range(12):
        watch.begin()
        sizes.append(watch.steps)
        now[0] += 1e-4 * watch.steps  # what a step takes
        watch.done(watch.steps)
    assert sizes[:4] == [1, 4, 16, 64]
    assert abs(sizes[-1] * 1e-4 - pace.SECONDS) < 2e-4
    assert waited == list(range(12 - pace.AHEAD))
    now[0] += 1.0
    watch.done(watch.steps)
    assert watch.steps < sizes[-1] / 10
    for _ in range(20):
        watch.begin()
        watch.done(watch.steps)  # in no time
    assert watch.steps == pace.MOST_STEPS


# Logs.


class Later(Reading):
    """Values that arrive when the test says so."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        super().__init__(arrays)
        self.arrived = False
        self.waited = False

    @property
    def done(self) -> bool:
        return self.arrived

    def values(self) -> list[np.ndarray]:
        self.waited = self.waited or not self.arrived
        return super().values()


def test_the_newest_logs_are_those_that_have_arrived(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Later] = []

    def read_later(arrays: Any) -> Later:
        sent.append(Later([backend.to_numpy(x) for x in arrays]))
        return sent[-1]

    monkeypatch.setattr(backend, "read_later", read_later)
    value = gradlite.Tensor(1.0)
    logs = RunningLogs(backend, lambda: {"loss": value * 1.0, "own": 7.0}, float)
    assert logs.newest() == {"loss": 1.0, "own": 7.0}
    assert sent[0].waited  # the first time there is nothing to show before
    value = gradlite.Tensor(2.0)
    for _ in range(3):
        assert logs.newest() == {"loss": 1.0, "own": 7.0}
    assert len(sent) == 2
    value = gradlite.Tensor(3.0)
    assert logs() == {"loss": 3.0, "own": 7.0}
    sent[1].arrived = True
    assert logs.newest() == {"loss": 2.0, "own": 7.0}
    assert len(sent) == 3
    assert not any(reading.waited for reading in sent[1:])


# What reaches the device.


@pytest.mark.skipif(not emulated(), reason="counts what the stand-in for CuPy was asked for")
def test_an_epoch_on_a_gpu_is_one_graph_launch_a_step_and_the_same_few_calls_however_long() -> None:
    if gradlite.get_device() == "cpu":
        pytest.skip("a GPU's counts")
    model = make_model()
    model.fit(X, Y, batch_size=4, verbose=0)
    found = []
    for repeats in (2, 4):
        x, y = np.tile(X, (repeats, 1)), np.tile(Y, repeats)
        with cupy_stand_in.counting() as counts:
            model.fit(x, y, batch_size=4, verbose=0)
        assert counts.graph_launches == 10 * repeats
        found.append(counts)
    for name in ("launches", "operations", "host_to_device", "device_to_host", "mallocs", "allocations"):
        assert getattr(found[0], name) == getattr(found[1], name), name
