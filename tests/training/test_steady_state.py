"""Steps that are replayed take no memory, neither on a GPU nor on the CPU."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cupy_stand_in
import numpy as np
import pytest
from devices import backend_named, emulated

import gradlite
from gradlite import keras
from gradlite.backends import get_backend
from gradlite.backends.cpu import native
from gradlite.backends.cuda.graphs import GraphReplay
from gradlite.keras import layers
from gradlite.training import replay

SAMPLES, INPUTS, CLASSES = 256, 50, 40
X = np.random.default_rng(0).standard_normal((SAMPLES, INPUTS)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, CLASSES, SAMPLES)
ROWS = np.eye(CLASSES, dtype=np.float32)[LABELS]
IMAGES = np.random.default_rng(2).standard_normal((64, 16, 16, 3)).astype(np.float32)

# What counts as an array: more than the objects of Python and NumPy's own that a call makes.
BYTES = 6000
# NumPy's element-wise functions take operands that are spread, or of two types, piece by piece through a buffer of 8192
# elements at most.
BUFFERED = {"add", "multiply", "negative", "softmax_cross_entropy_gradient"}

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    name: lambda name=name: keras.optimizers.get(name)
    for name in ("sgd", "rmsprop", "adam", "adamw", "nadam", "adamax", "adagrad", "adadelta", "lion")
} | {
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "amsgrad": lambda: keras.optimizers.Adam(amsgrad=True),
    "centered": lambda: keras.optimizers.RMSprop(centered=True, momentum=0.5),
    "clipnorm": lambda: keras.optimizers.SGD(0.1, clipnorm=0.1),
    "clipvalue": lambda: keras.optimizers.Adam(clipvalue=0.01),
    "global clipnorm": lambda: keras.optimizers.Adam(global_clipnorm=0.1),
    "weight decay": lambda: keras.optimizers.Adam(weight_decay=0.1),
    "ema": lambda: keras.optimizers.Adam(use_ema=True, ema_momentum=0.9),
    "schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 4)),
}
LOSSES = (
    "categorical_crossentropy", "binary_crossentropy", "mse", "mae", "mape", "msle", "huber", "log_cosh", "hinge",
    "kl_divergence", "poisson", "cosine_similarity",
)  # fmt: skip


def perceptron(optimizer: Any = "adam", loss: str = "sparse_categorical_crossentropy") -> tuple[Any, Any, Any, int]:
    model = keras.Sequential(
        [keras.Input((INPUTS,)), layers.Dense(60, activation="relu"), layers.Dense(CLASSES, activation="softmax")]
    )
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model, X, LABELS if loss.startswith("sparse") else ROWS, 64


def convolutions() -> tuple[Any, Any, Any, int]:
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, IMAGES, LABELS[:64], 16


CASES: dict[str, Callable[[], Any]] = {
    "convolutions": convolutions,
    **{f"optimizer {name}": lambda make=make: perceptron(make()) for name, make in OPTIMIZERS.items()},
    **{f"loss {name}": lambda name=name: perceptron("sgd", name) for name in LOSSES},
}


@contextmanager
def while_training(monkeypatch: pytest.MonkeyPatch, look: Callable[[Any], None]) -> Iterator[None]:
    """Look at the program of a step when the epoch is over, while its data are there."""
    finish, seen = replay.Steps.finish, []

    def looked_at(self: Any) -> None:
        (program,) = self.programs
        seen.append(program)
        look(program)
        finish(self)

    with monkeypatch.context() as patch:
        patch.setattr(replay.Steps, "finish", looked_at)
        yield
    assert seen


def fit(case: str) -> None:
    model, x, y, batch_size = CASES[case]()
    model.fit(x, y, batch_size=batch_size, verbose=0)


@pytest.mark.skipif(not emulated(), reason="counts what the stand-in for CuPy was asked for")
@pytest.mark.parametrize("case", CASES)
def test_a_replayed_step_on_a_gpu_is_one_graph_and_asks_for_nothing(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    backend_named("cuda")

    def look(program: Any) -> None:
        assert isinstance(program._replay, GraphReplay), program._replay.reason
        with cupy_stand_in.counting() as counts:
            program.replay(3)
        numbers = counts.numbers()
        assert numbers.pop("graph_launches") == 3
        assert numbers.pop("replayed") > 0
        assert not any(numbers.values()), numbers

    with gradlite.device("gpu"), while_training(monkeypatch, look):
        fit(case)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.skipif(not native.is_available(), reason="NumPy's own functions make arrays on their way")
def test_a_replayed_step_on_the_cpu_makes_no_arrays(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    backend = get_backend("cpu")
    bound: list[Any] = []
    monkeypatch.setattr(backend, "bind", lambda calls: bound.append(calls) or type(backend).bind(backend, calls),
                        raising=False)  # fmt: skip

    def look(program: Any) -> None:
        allocating = set()
        for name, call in zip(program.launches, bound[0], strict=True):
            call()  # buffers that are kept are made now
            tracemalloc.start()
            call()  # as are small objects that Python keeps
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            call()
            most = tracemalloc.get_traced_memory()[1] - before
            tracemalloc.stop()
            if most > BYTES:
                allocating.add(name)
        assert allocating <= BUFFERED

    with while_training(monkeypatch, look):
        fit(case)
