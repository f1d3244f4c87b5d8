"""Ctrl-C and errors in the middle of a training: the model stays whole, and the next training works."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite import keras
from gradlite.keras import layers
from gradlite.training.interrupts import InterruptBetweenSteps

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def python_handler() -> Iterator[None]:
    """Python's own handler, which must be there again after every test."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def make_model() -> Any:
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="relu"), layers.Dense(1)])
    model.compile("adam", "mse")
    return model


class At(keras.callbacks.Callback):
    """Does something in one hook, the ``count``-th time that it is called."""

    def __init__(self, hook: str, count: int, action: Any) -> None:
        super().__init__()
        self.remaining = count

        def act(*arguments: Any) -> None:
            self.remaining -= 1
            if self.remaining == 0:
                action()

        setattr(self, hook, act)


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def fail() -> None:
    raise OSError("disk full")


def assert_usable(model: Any) -> None:
    """The model computes, trains, and nothing of it is missing or infinite."""
    assert np.isfinite(model.predict(X, verbose=0)).all()
    assert all(np.isfinite(w).all() for w in model.get_weights())
    losses = model.fit(X, Y, epochs=40, batch_size=4, verbose=0).history["loss"]
    assert len(losses) == 40
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end"])
def test_ctrl_c_ends_training_after_the_step_that_runs(hook: str) -> None:
    model, reference = make_model(), make_model()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=4, epochs=9, shuffle=False, verbose=0, callbacks=[At(hook, 5, ctrl_c)])
    reference.fit(X, Y, batch_size=4, epochs=1, shuffle=False, verbose=0)
    reference.fit(X[:8], Y[:8], batch_size=4, epochs=1, shuffle=False, verbose=0)
    for found, expected in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert int(model.optimizer.iterations.numpy()) == 5
    assert model.history.epoch == [0]
    assert len(model.history.history["loss"]) == 1
    assert_usable(model)


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end", "on_test_begin", "on_test_end"])
@pytest.mark.parametrize("epochs", [1, 3])
def test_ctrl_c_between_steps_is_not_lost(hook: str, epochs: int) -> None:
    model = make_model()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=epochs, validation_split=0.25, verbose=0, callbacks=[At(hook, 1, ctrl_c)])
    assert len(model.history.epoch) <= 1
    assert_usable(model)


def test_ctrl_c_ends_evaluation_and_prediction() -> None:
    model = make_model()
    with pytest.raises(KeyboardInterrupt):
        model.evaluate(X, Y, batch_size=2, verbose=0, callbacks=[At("on_test_batch_end", 2, ctrl_c)])
    with pytest.raises(KeyboardInterrupt):
        model.predict(X, batch_size=2, verbose=0, callbacks=[At("on_predict_batch_end", 2, ctrl_c)])
    assert_usable(model)


def test_a_second_ctrl_c_does_not_wait() -> None:
    steps = []

    def insist() -> None:
        ctrl_c()
        steps.append("waited")
        ctrl_c()
        steps.append("not reached")

    model = make_model()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, verbose=0, callbacks=[At("on_train_batch_begin", 1, insist)])
    assert steps == ["waited"]
    assert_usable(model)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_train_batch_end", "on_test_end", "on_epoch_end"])
def test_an_error_in_a_callback_leaves_a_model_that_trains(hook: str) -> None:
    model = make_model()
    with pytest.raises(OSError, match="disk full"):
        model.fit(X, Y, epochs=3, validation_data=(X, Y), verbose=0, callbacks=[At(hook, 1, fail)])
    assert_usable(model)


def test_an_error_in_the_data_or_in_a_layer_leaves_a_model_that_trains() -> None:
    def broken() -> Iterator[Any]:
        yield X, Y
        yield X, Y
        fail()

    model = make_model()
    with pytest.raises(OSError, match="disk full"):
        model.fit(broken(), verbose=0)
    assert int(model.optimizer.iterations.numpy()) == 2
    with pytest.raises(ValueError, match=r"axis -1 to have length 3"):
        model.fit([(X, Y), (X[:, :2], Y)], verbose=0)
    assert int(model.optimizer.iterations.numpy()) == 3
    assert_usable(model)


def test_a_handler_of_the_users_own_is_left_alone() -> None:
    heard = []
    signal.signal(signal.SIGINT, lambda *_: heard.append("heard"))
    model = make_model()
    assert len(model.fit(X, Y, epochs=2, verbose=0, callbacks=[At("on_epoch_end", 1, ctrl_c)]).epoch) == 2
    assert heard == ["heard"]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_training_works_in_another_thread() -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(make_model().fit(X, Y, verbose=0).epoch))
    thread.start()
    thread.join()
    assert found == [[0]]


def test_an_error_goes_before_an_interrupt_that_waits() -> None:
    def both() -> None:
        with InterruptBetweenSteps():
            ctrl_c()
            fail()

    with pytest.raises(OSError, match="disk full"):
        both()


SCRIPT = """
import os, signal, sys, threading
import numpy as np
from gradlite import keras
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
x = np.ones((8, 3), "float32")
model.fit(x, x[:, :1], verbose=0)
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    model.fit(x, x[:, :1], batch_size=1, epochs=10**9, verbose=0)
except KeyboardInterrupt:
    print("interrupted", len(model.history.epoch) > 0, model.predict(x, verbose=0).shape)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to oneself ends the process there")
def test_a_signal_from_outside_interrupts_a_training_that_would_not_end() -> None:
    root = Path(gradlite.__file__).parents[1]
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout.split("\n")[0] == "interrupted True (8, 1)", result.stderr
    assert result.returncode == 0
