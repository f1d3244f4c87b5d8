"""Launches that run beside others: until when, what memory they keep meanwhile, and that the results are the same."""

from __future__ import annotations

import numpy as np
import pytest

import gradlite
from gradlite import keras
from gradlite.backends import get_backend
from gradlite.recording.beside import joins
from gradlite.recording.plan import find_buffers, place
from gradlite.recording.recorder import Recorder

CPU = get_backend("cpu")


@pytest.fixture
def aside(monkeypatch):
    """On the CPU, ``square`` may run beside others, for what is decided about it."""
    monkeypatch.setattr(CPU, "beside", frozenset({"square"}))


def recorded(function):
    recorder = Recorder(CPU)
    with gradlite.device("cpu"), gradlite.no_grad(), recorder.recording():
        function()
    return recorder.calls


def test_a_launch_beside_others_waits_for_nobody_and_is_done_before_what_reads_its_result(aside):
    x = gradlite.ones((8,))

    def step():
        y = gradlite.square(x)
        z = gradlite.exp(x)
        z = gradlite.sin(z)
        return y + z

    calls = recorded(step)
    assert [call.name for call in calls] == ["square", "exp", "sin", "add"]
    assert joins(CPU, calls) == {0: 3}


def test_a_launch_beside_others_is_done_before_what_it_reads_is_changed(aside):
    x = CPU.full((8,), 2.0)

    def step():
        CPU.launch("square", x)
        CPU.launch("exp", CPU.full((4,), 1.0))
        CPU.launch("assign", x, 3.0)

    assert joins(CPU, recorded(step)) == {0: 2}


def test_neighbouring_memory_is_not_in_the_way(aside):
    x = CPU.full((16,), 2.0)

    def step():
        CPU.launch("square", x[:8])
        CPU.launch("assign", x[8:], 3.0)
        CPU.launch("exp", x)

    assert joins(CPU, recorded(step)) == {0: 3}


def test_what_is_needed_at_once_does_not_run_beside_others(aside):
    assert joins(CPU, recorded(lambda: gradlite.exp(gradlite.square(gradlite.ones((8,)))))) == {}


def test_launches_beside_others_are_in_order_among_themselves(aside):
    def step():
        y = gradlite.square(gradlite.square(gradlite.ones((8,))))
        z = gradlite.exp(gradlite.ones((8,)))
        return y + z

    calls = recorded(step)
    numbers = [i for i, call in enumerate(calls) if call.name == "square"]
    assert joins(CPU, calls) == dict.fromkeys(numbers, len(calls) - 1)


def test_memory_of_a_launch_beside_others_is_nobody_elses_until_it_is_done(aside):
    def step():
        y = gradlite.square(gradlite.exp(gradlite.ones((64,))))
        z = gradlite.ones((64,))
        for _ in range(4):
            z = gradlite.sin(z)
        return y + z

    calls = recorded(step)
    number = next(i for i, call in enumerate(calls) if call.name == "square")
    beside = joins(CPU, calls)
    buffers = find_buffers(CPU, calls, (), beside)
    place(buffers.values())
    held = [buffers[CPU.memory_of(x).identity] for x in (*calls[number].arrays, *calls[number].results)]
    for call in calls[number + 1 : beside[number]]:
        for array in call.results:
            other = buffers[CPU.memory_of(array).identity]
            for mine in held:
                assert other.offset + other.reserved <= mine.offset or mine.offset + mine.reserved <= other.offset


def test_the_optimizer_goes_ahead_with_the_largest_weights_and_comes_to_the_same(monkeypatch):
    from devices import cuda_backend

    gpu = cuda_backend()
    rng = np.random.default_rng(1)
    x, y = rng.random((12, 6, 6, 3), np.float32), rng.integers(0, 3, 12)
    weights = {}
    for beside in (gpu.beside, frozenset()):
        monkeypatch.setattr(gpu, "beside", beside)
        monkeypatch.setattr(gpu, "fusions", type(gpu).fusions if beside else type(gpu).fusions - {"adam ahead"})
        with gradlite.device("gpu"):
            keras.utils.set_random_seed(5)
            net = keras.Sequential([
                keras.layers.Input((6, 6, 3)), keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
                keras.layers.BatchNormalization(), keras.layers.Flatten(), keras.layers.Dense(16, activation="relu"),
                keras.layers.Dense(3, activation="softmax"),
            ])  # fmt: skip
            net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
            net.fit(x, y, batch_size=3, epochs=3, verbose=0)
            weights[bool(beside)] = net.get_weights()
    for found, expected in zip(weights[True], weights[False]):
        np.testing.assert_array_equal(found, expected)
