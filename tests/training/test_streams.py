"""Batches that are read ahead by a thread: overlap, order, exceptions, and no thread left behind."""

from __future__ import annotations

import contextvars
import gc
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite import keras
from gradlite.keras import layers
from gradlite.training import data as feeding
from gradlite.training import streams
from gradlite.training.array_feeds import StreamedArrayFeed

X = np.random.default_rng(0).standard_normal((24, 4)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)

pytestmark = pytest.mark.usefixtures("each_device")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "gradlite reader"]


def make_model(**options: Any) -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="relu"), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse", **options)
    return model


def batches(size: int = 8) -> Iterator[Any]:
    for start in range(0, len(X), size):
        yield X[start : start + size], Y[start : start + size]


class Slow(keras.callbacks.Callback):
    """Takes time between steps, as slow steps would."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        time.sleep(self.seconds)


def test_reading_and_computing_overlap() -> None:
    each, count = 0.06, 10

    def slow() -> Iterator[Any]:
        for _ in range(count):
            time.sleep(each)
            yield X[:8], Y[:8]

    make_model().fit(iter([(X[:8], Y[:8])] * 4), verbose=0)  # kernels are compiled, modules loaded
    model = make_model()
    start = time.perf_counter()
    model.fit(slow(), verbose=0, callbacks=[Slow(each)])
    assert time.perf_counter() - start < 0.75 * 2 * each * count


def test_the_same_steps_are_taken_as_without_a_thread_though_the_source_uses_one_buffer() -> None:
    def reused() -> Iterator[Any]:
        x, y = np.empty((8, 4), np.float32), np.empty((8, 1), np.float32)
        for start in (0, 8, 16, 4, 12, 20):
            size = min(8, 24 - start)
            x[:size], y[:size] = X[start : start + size], Y[start : start + size]
            yield x[:size], y[:size]
            x[...] = y[...] = np.nan

    weights = []
    for eager in (True, False):
        model = make_model(run_eagerly=eager)
        model.fit(reused(), verbose=0)
        weights.append([w.tobytes() for w in model.get_weights()])
        assert np.isfinite(model.get_weights()[0]).all()
    assert weights[0] == weights[1]


def test_an_error_of_the_source_comes_behind_the_batches_before_it_with_its_own_traceback() -> None:
    def breaks() -> Iterator[Any]:
        yield from batches()
        raise OSError("the disk is gone")

    model = make_model()
    with pytest.raises(OSError, match="the disk is gone") as caught:
        model.fit(breaks(), verbose=0)
    assert int(model.optimizer.iterations.numpy()) == 3
    assert "breaks" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    model.fit(batches(), verbose=0)


def test_a_batch_that_does_not_fit_is_complained_about_in_its_turn() -> None:
    model = make_model()
    with pytest.raises(ValueError, match="same number of samples"):
        model.fit(iter([(X[:8], Y[:8]), (X[:8], Y[:8]), (X[:8], Y[:7])]), verbose=0)
    assert int(model.optimizer.iterations.numpy()) == 2


def counted() -> tuple[Iterator[Any], list[int]]:
    """An endless source, and one entry for each batch that it gave."""
    given: list[int] = []

    def source() -> Iterator[Any]:
        while True:
            given.append(1)
            yield X[:8], Y[:8]

    return source(), given


def test_an_epoch_of_given_steps_takes_no_more_batches_than_these() -> None:
    source, given = counted()
    model = make_model()
    model.fit(source, steps_per_epoch=5, epochs=2, verbose=0)
    assert len(given) == 10
    model.evaluate(source, steps=3, verbose=0)
    model.predict((x for x, _ in source), steps=2, verbose=0)
    assert len(given) == 15
    next(source)


class Stops(keras.callbacks.Callback):
    def __init__(self, after: int, action: Any) -> None:
        super().__init__()
        self.after, self.action = after, action

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch + 1 == self.after:
            self.action(self.model)


def stop(model: Any) -> None:
    model.stop_training = True


def interrupt(model: Any) -> None:
    signal.raise_signal(signal.SIGINT)


def fail(model: Any) -> None:
    raise OSError("in a callback")


@pytest.mark.parametrize(("action", "error"), [(stop, None), (interrupt, KeyboardInterrupt), (fail, OSError)])
def test_whoever_stops_early_ends_the_thread_which_has_read_two_batches_ahead_at_most(action: Any, error: Any) -> None:
    source, given = counted()
    model = make_model()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if error is None:
            model.fit(source, verbose=0, callbacks=[Stops(4, action)])
        else:
            with pytest.raises(error):
                model.fit(source, verbose=0, callbacks=[Stops(4, action)])
    finally:
        signal.signal(signal.SIGINT, before)
    assert 4 <= len(given) <= 6
    assert int(model.optimizer.iterations.numpy()) == 4
    next(source)  # nobody else is in it
    model.fit(batches(), verbose=0)


def test_a_source_may_use_gradlite_itself() -> None:
    inner = make_model()
    variable = contextvars.ContextVar("variable", default="unset")

    @gradlite.capture
    def doubled(x: Any) -> Any:
        return x * 2.0

    def source() -> Iterator[Any]:
        for x, y in batches(4):
            assert variable.get() == "set"
            inner.train_on_batch(x, y)
            yield doubled(gradlite.Tensor(x)), gradlite.Tensor(y, requires_grad=True)

    variable.set("set")
    results = []
    for eager in (True, False):
        inner, model = make_model(run_eagerly=eager), make_model(run_eagerly=eager)
        model.fit(source(), verbose=0)
        results.append([w.tobytes() for w in model.get_weights() + inner.get_weights()])
    assert results[0] == results[1]


def test_a_source_sees_whether_gradients_are_recorded() -> None:
    seen = []

    def source() -> Iterator[Any]:
        for batch in batches():
            seen.append(gradlite.is_grad_enabled())
            yield batch

    model = make_model()
    model.fit(source(), verbose=0)
    model.evaluate(source(), verbose=0)
    assert seen == [True] * 3 + [True] + [False] * 2  # the first batch is looked at before evaluation begins


def test_lists_of_batches_need_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", fail)
    make_model().fit(list(batches()), verbose=0)


def test_batches_are_let_go_after_training() -> None:
    held = []

    def source() -> Iterator[Any]:
        for x, y in batches():
            x = x.copy()
            held.append(weakref.ref(x))
            yield x, y

    make_model().fit(source(), verbose=0)
    gc.collect()
    assert [ref() for ref in held] == [None] * 3


def test_a_reader_that_does_not_come_back_is_left_to_end_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.05)
    goes_on = threading.Event()

    def stuck() -> Iterator[Any]:
        yield X[:8], Y[:8]
        yield X[:8], Y[:8]
        goes_on.wait(20)
        yield X[:8], Y[:8]

    model = make_model()
    with pytest.raises(OSError, match="in a callback"):
        model.fit(stuck(), verbose=0, callbacks=[Stops(1, fail)])
    readers = [thread for thread in threading.enumerate() if thread.name == "gradlite reader"]
    assert len(readers) == 1
    model.fit(batches(), verbose=0)
    goes_on.set()
    readers[0].join(20)
    assert not readers[0].is_alive()


@pytest.mark.parametrize("shuffle", [True, False])
def test_arrays_too_large_for_the_device_are_streamed_in_the_same_order(
    shuffle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(4).integers(0, 255, (22, 2, 2), np.uint8)
    made = []
    original = StreamedArrayFeed.__init__

    def noted(self: Any, *arguments: Any) -> None:
        made.append(self)
        original(self, *arguments)

    monkeypatch.setattr(StreamedArrayFeed, "__init__", noted)
    results = []
    for fits in (True, False):
        monkeypatch.setattr(feeding, "_fit_on", lambda *_, fits=fits: fits)
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((2, 2), dtype="uint8"), layers.Flatten(), layers.Dense(1)])
        model.compile(keras.optimizers.SGD(1e-6), "mse", metrics=["mae"])
        history = model.fit(
            images,
            Y[:22],
            sample_weight=np.linspace(0, 1, 22),
            epochs=3,
            batch_size=4,
            shuffle=shuffle,
            steps_per_epoch=4,
            verbose=0,
            validation_data=(images, Y[:22]),
        )
        outputs = model.predict(images, batch_size=5, verbose=0)
        results.append((history.history, [w.tobytes() for w in model.get_weights()], outputs.tobytes()))
    assert results[0] == results[1]
    assert len(made) == 3


def test_arrays_of_more_than_half_of_what_is_left_do_not_fit(backend: Any, monkeypatch: Any) -> None:
    memory = {"used": 0, "pooled": 100, "free": 900, "total": 1000}
    monkeypatch.setattr(backend, "memory_stats", lambda: memory)
    assert feeding._fit_on(backend, [np.zeros(500, np.uint8)])
    assert not feeding._fit_on(backend, [np.zeros(400, np.uint8), np.zeros(101, np.uint8)])
    monkeypatch.setattr(backend, "memory_stats", dict)
    assert feeding._fit_on(backend, [np.zeros(2000, np.uint8)])
