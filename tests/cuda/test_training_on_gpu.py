"""The lecture's two models trained on a GPU: as on the CPU, without waiting for the device, and the same every time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any, NamedTuple

import cupy_stand_in
import numpy as np
import pytest
from devices import emulated

import gradlite
from gradlite import config, keras
from gradlite.backends.cuda.counters import counters_for
from gradlite.keras import layers

only_emulated = pytest.mark.skipif(not emulated(), reason="looks into the stand-in for CuPy")

# Launches that a training step may make; lower a number when a step needs fewer.
BUDGETS = {"mlp": 26, "vgg": 97}


def mlp() -> Any:
    return keras.Sequential([layers.Dense(512, activation="relu"), layers.Dense(10, activation="softmax")])


def vgg() -> Any:
    """ShallowVGGNet."""
    model = keras.Sequential()
    for filters in (32, 64):
        for _ in range(2):
            model.add(layers.Conv2D(filters, (3, 3), padding="same"))
            model.add(layers.Activation("relu"))
            model.add(layers.BatchNormalization())
        model.add(layers.MaxPooling2D((2, 2)))
        model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    model.add(layers.Dense(512))
    model.add(layers.Activation("relu"))
    model.add(layers.BatchNormalization())
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(10))
    model.add(layers.Activation("softmax"))
    return model


class Lecture(NamedTuple):
    """A model, its compile arguments, and the shape of a sample."""

    build: Any
    optimizer: Any
    loss: str
    shape: tuple[int, ...]
    batch_size: int

    def compiled(self, seed: int = 5) -> Any:
        gradlite.random.set_seed(seed)
        keras.utils.clear_session()
        model = self.build()
        model.compile(optimizer=self.optimizer(), loss=self.loss, metrics=["accuracy"])
        return model

    def data(self, batches: int = 3) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(1)
        x = rng.random((batches * self.batch_size, *self.shape), dtype=np.float32)
        y = rng.integers(0, 10, len(x))
        return x, keras.utils.to_categorical(y, 10) if self.loss == "categorical_crossentropy" else y.astype(np.uint8)


def sgd() -> Any:
    return keras.optimizers.SGD(learning_rate=0.01, momentum=0.9, nesterov=True)


def single(feed: Any) -> Iterator[Any]:
    """The batches of an epoch, each with its own samples."""
    for run in feed.epoch():
        while run.times:
            batch, run = run.split(1)
            yield batch.taken()


LECTURES = {
    "mlp": Lecture(mlp, lambda: "adam", "sparse_categorical_crossentropy", (784,), 8),
    "vgg": Lecture(vgg, sgd, "categorical_crossentropy", (16, 16, 3), 8),
}
EACH = pytest.mark.parametrize("name", LECTURES)


@pytest.fixture
def small_roundings():
    """Winograd's algorithm in its safe mode: the larger roundings of the other one decide what is nearly a tie, of a
    relu or a pooling, in another way now and then."""
    config.set_winograd("safe")
    yield
    config.set_winograd(True)


@EACH
def test_every_step_moves_the_weights_as_on_the_cpu(gpu, small_roundings, name):
    """From the same weights each time: ten steps of this network turn rounding errors into other numbers altogether,
    on the CPU with and without Winograd's algorithm as well."""
    lecture, models = LECTURES[name], {}
    x, y = lecture.data()
    for device in ("cpu", "gpu"):
        with gradlite.device(device):
            models[device] = lecture.compiled()
            models[device].build((None, *lecture.shape))
    n = lecture.batch_size
    for start in range(0, len(x), n):
        before = models["cpu"].get_weights()
        models["gpu"].set_weights(before)
        logs = []
        for device, model in models.items():
            with gradlite.device(device):
                logs.append(model.train_on_batch(x[start : start + n], y[start : start + n]))
        np.testing.assert_allclose(*logs, rtol=1e-5)
        for weight, expected, old in zip(models["gpu"].weights, models["cpu"].get_weights(), before):
            moved = np.linalg.norm(expected - old)
            assert moved > 0, weight.path
            error = np.linalg.norm(weight.numpy() - expected) / moved
            assert error < 1e-3, f"{weight.path}: {error:.1e}"


@EACH
def test_two_runs_from_a_seed_have_the_same_bits(gpu, name):
    x, y = LECTURES[name].data()
    runs = []
    for _ in range(2):
        with gradlite.device("gpu"):
            model = LECTURES[name].compiled()
            history = model.fit(x, y, batch_size=LECTURES[name].batch_size, epochs=1, verbose=0)
            runs.append((history.history, [w.tobytes() for w in model.get_weights()]))
    assert runs[0] == runs[1]


@pytest.fixture
def plain_sums():
    """No Winograd: the first steps of Adam move a weight by its gradient's sign, and make much of small roundings."""
    config.set_winograd(False)
    yield
    config.set_winograd(True)


@EACH
def test_fit_evaluate_and_predict_agree_with_the_cpu(gpu, name, plain_sums):
    x, y = LECTURES[name].data(2)
    found = {}
    for device in ("cpu", "gpu"):
        with gradlite.device(device):
            model = LECTURES[name].compiled()
            history = model.fit(x, y, batch_size=LECTURES[name].batch_size, validation_data=(x, y), verbose=0)
            found[device] = [*history.history.values(), model.evaluate(x, y, verbose=0), model.predict(x, verbose=0)]
    for one, other in zip(found["gpu"], found["cpu"]):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)


@only_emulated
@EACH
def test_a_step_waits_for_nothing_copies_nothing_and_runs_kernels_of_ours(gpu, name):
    lecture = LECTURES[name]
    x, y = lecture.data(4)
    with gradlite.device("gpu"):
        model = lecture.compiled()
        feed = model._feed(x, y, None, lecture.batch_size, None, True, None)
        model._prepare(feed)
        variables = model._trained_variables()
        batches = single(feed)
        for _ in range(2):
            model._train_step(next(batches), variables)
        with cupy_stand_in.counting() as counts:
            model._train_step(next(batches), variables)
    numbers = counts.numbers()
    print(f"\n{name}: {counts.launches} launches, {counts.operations} operations of CuPy")
    print(" ".join(counts.kernel_log), "|", " ".join(counts.operation_log))
    for what in ("synchronizations", "host_to_device", "device_to_host", "default_stream_launches"):
        assert numbers[what] == 0, f"{what}: {numbers[what]}"
    assert counts.operation_log == [], "every launch of a training step is a kernel of ours"
    assert counts.launches <= BUDGETS[name]


@only_emulated
@pytest.mark.parametrize("eager", [False, True], ids=["captured", "eager"])
def test_how_often_an_epoch_waits_does_not_depend_on_its_steps(gpu, eager):
    waits, copies = set(), set()
    for batches in (4, 9):
        x, y = LECTURES["mlp"].data(batches)
        with gradlite.device("gpu"):
            model = LECTURES["mlp"].compiled()
            model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eager)
            with cupy_stand_in.counting() as counts:
                model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        waits.add(counts.synchronizations)
        copies.add(counts.device_to_host)
    assert (len(waits), len(copies)) == (1, 1), (waits, copies)


@only_emulated
def test_batches_from_the_host_are_uploaded_without_waiting(gpu):
    x, y = LECTURES["mlp"].data(4)
    with gradlite.device("gpu"):
        model = LECTURES["mlp"].compiled()
        feed = model._feed([(x[i : i + 8], y[i : i + 8]) for i in range(0, 32, 8)], None, None, None, None, False, None)
        model._prepare(feed)
        variables = model._trained_variables()
        batches = feed.epoch()
        model._train_step(next(batches), variables)
        with cupy_stand_in.counting() as counts:
            model._train_step(next(batches), variables)
    assert (counts.synchronizations, counts.device_to_host, counts.host_to_device) == (0, 0, 2)


@only_emulated
def test_bytes_stay_bytes_until_the_first_layer(gpu):
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(8) % 4
    with gradlite.device("gpu"):
        model = keras.Sequential([layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(4, activation="softmax")])
        model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
        feed = model._feed(images, labels, None, 4, None, True, None)
        batch = next(single(feed))
        assert batch.x.dtype == np.uint8
        assert batch.x.device == "gpu:0"
        with cupy_stand_in.counting() as counts:
            model.fit(images, labels, batch_size=4, epochs=3, verbose=0)
    assert counts.host_to_device < 30, "data are uploaded once, not in every epoch"


@EACH
def test_batches_come_in_the_order_that_they_have_on_the_cpu(gpu, name):
    x, y = LECTURES[name].data()
    orders = []
    for device in ("cpu", "gpu"):
        with gradlite.device(device):
            gradlite.random.set_seed(9)
            model = LECTURES[name].build()
            model.build((None, *LECTURES[name].shape))
            feed = model._feed(x, y, None, 2, None, True, None)
            for _ in range(2):
                orders.append(np.concatenate([batch.x.numpy() for batch in single(feed)]))
    np.testing.assert_array_equal(orders[0], orders[2])
    np.testing.assert_array_equal(orders[1], orders[3])
    assert not np.array_equal(orders[0], orders[1])


@EACH
def test_memory_returns_after_training(gpu, name):
    x, y = LECTURES[name].data(2)
    counters_for(gpu, 1)  # a constant that is made once for a device
    gc.collect()
    before = gradlite.memory_stats("gpu")["used"]
    with gradlite.device("gpu"):
        model = LECTURES[name].compiled()
        model.fit(x, y, batch_size=LECTURES[name].batch_size, verbose=0)
        gc.collect()
        during = gradlite.memory_stats("gpu")["used"]
    del model
    gc.collect()
    # What stays are other such constants, of a few bytes.
    assert gradlite.memory_stats("gpu")["used"] - before < (during - before) / 100 + 4096


def test_a_model_made_on_the_gpu_trains_outside_of_its_block_too(gpu):
    x, y = LECTURES["mlp"].data()
    with gradlite.device("gpu"):
        model = keras.Sequential([layers.Input((784,)), layers.Dense(10, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    assert {v.device for v in [*model.variables, *model.optimizer.variables]} == {"gpu:0"}


def test_arrays_on_the_gpu_are_trained_on_as_they_are(gpu):
    x, y = LECTURES["mlp"].data()
    with gradlite.device("gpu"):
        model = LECTURES["mlp"].compiled()
        given = gpu.asarray(x)
        feed = model._feed(given, gpu.asarray(y), None, 8, None, False, None)
        assert feed._arrays[0].data.data.ptr == given.data.ptr
        model.fit(given, gpu.asarray(y), batch_size=8, verbose=0)
        given[0, 0], given[0, 1] = np.nan, np.inf
        with pytest.warns(UserWarning, match="x holds 1 NaN and 1 infinite"):
            model.fit(given, gpu.asarray(y), batch_size=8, verbose=0)
        with pytest.raises(ValueError, match="Class numbers must lie between 0 and 9"):
            model.fit(given, gpu.asarray(y) + np.uint8(10), batch_size=8, verbose=0)


def test_weights_are_saved_and_loaded_across_devices(gpu, tmp_path):
    x, y = LECTURES["mlp"].data()
    with gradlite.device("gpu"):
        model = LECTURES["mlp"].compiled()
        model.fit(x, y, batch_size=8, verbose=0)
        model.save(tmp_path / "model.keras")
        expected = model.predict(x, verbose=0)
    for device in ("cpu", "gpu"):
        with gradlite.device(device):
            loaded = keras.models.load_model(tmp_path / "model.keras")
            np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
            assert loaded.variables[0].backend.device.startswith(device)
            loaded.fit(x, y, batch_size=8, verbose=0)
