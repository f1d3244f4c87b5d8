"""Fused launches: fewer of them where nobody sees what lies between, and the same bits on every backend."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite import Tensor, keras
from gradlite.backends.cpu import native
from gradlite.keras import layers
from gradlite.ops.blocks import batch_norm_pool_dropout, conv2d_statistics
from gradlite.ops.classification import sparse_softmax_cross_entropy_loss
from gradlite.random import Generator
from gradlite.recording import Program, Recorder
from gradlite.training import replay

pytestmark = pytest.mark.usefixtures("each_device")


def drawn(*shape: int) -> Tensor:
    values = np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)
    return Tensor(values, requires_grad=True, device=gradlite.get_device())


def recorded(backend: Any, function: Any) -> tuple[tuple[str, ...], list[np.ndarray], list[np.ndarray]]:
    """What a program of ``function`` launches, and its results: of the recorded run, and of a replay."""
    recorder = Recorder(backend)
    with recorder.recording():
        results = function()
    before = [result.numpy() for result in results]
    program = Program(recorder, [result.data for result in results])
    program.replay()
    return program.launches, before, [backend.to_numpy(array) for array in program.outputs]


def assert_fused(backend: Any, function: Any, *expected: str) -> None:
    launches, before, after = recorded(backend, function)
    assert launches == expected
    for a, b in zip(before, after):
        assert a.tobytes() == b.tobytes()


def test_an_activation_alone_behind_a_product_is_applied_by_it(backend):
    x, w, b = drawn(9, 7), drawn(7, 5), drawn(5)
    image, kernel = drawn(2, 6, 6, 3), drawn(3, 3, 3, 4)
    with gradlite.no_grad():
        assert_fused(backend, lambda: [gradlite.relu(gradlite.dense(x, w, b))], "dense")
        assert_fused(backend, lambda: [gradlite.relu(gradlite.conv2d(image, kernel))], "conv2d")
        assert_fused(backend, lambda: [gradlite.tanh(gradlite.dense(x, w))], "dense", "tanh")


def test_a_product_that_others_read_too_stays_as_it_is(backend):
    x, w = drawn(9, 7), drawn(7, 5)

    def read_by_two():
        y = gradlite.dense(x, w)
        return [gradlite.relu(y), y * 2]

    def kept():
        y = gradlite.dense(x, w)
        return [y, gradlite.relu(y)]

    def in_part():
        y = gradlite.dense(x, w)
        return [gradlite.relu(y[:4])]

    with gradlite.no_grad():
        assert_fused(backend, read_by_two, "dense", "relu", "multiply")
        assert_fused(backend, kept, "dense", "relu")
        assert_fused(backend, in_part, "dense", "relu")


def test_the_gradients_of_a_dense_layer_mask_by_themselves(backend):
    x, w, b = drawn(9, 7), drawn(7, 5), drawn(5)
    ones = gradlite.ones((9, 5))

    def step():
        y = gradlite.relu(gradlite.dense(x, w, b))
        return gradlite.grad(y, [x, w, b], ones)

    assert_fused(backend, step, "dense", "dense_input_gradient", "dense_weight_gradient")


def test_a_masked_gradient_that_others_read_too_is_computed(backend):
    image, kernel, b = drawn(2, 6, 6, 3).detach(), drawn(3, 3, 3, 4), drawn(4)
    ones = gradlite.ones((2, 4, 4, 4))

    def step():
        return gradlite.grad(gradlite.relu(gradlite.conv2d(image, kernel, b)), [kernel, b], ones)

    launches, before, after = recorded(backend, step)
    assert launches == ("conv2d", "relu_gradient", "conv2d_parameter_gradients")
    for a, b_ in zip(before, after):
        assert a.tobytes() == b_.tobytes()


def test_the_gradient_of_a_normalization_behind_a_relu_is_taken_on_through_it(backend):
    image, kernel = drawn(2, 6, 6, 3).detach(), drawn(3, 3, 3, 4)
    b, gamma, beta = drawn(4), drawn(4), drawn(4)
    ones = gradlite.ones((2, 2, 2, 4))
    pool: Any = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}

    def step():
        y, *statistics = conv2d_statistics(image, kernel, b, activation="relu")
        found = batch_norm_pool_dropout(y, gamma, beta, 1e-3, statistics=tuple(statistics), pool=pool)
        return gradlite.grad(found[0], [kernel, b, gamma, beta], ones)

    launches, before, after = recorded(backend, step)
    assert "relu_gradient" not in launches
    for x, y in zip(before, after):
        assert x.tobytes() == y.tobytes()

    def read_by_two():
        y, *statistics = conv2d_statistics(image, kernel, b, activation="relu")
        found = batch_norm_pool_dropout(y, gamma, beta, 1e-3, statistics=tuple(statistics), pool=pool)
        return gradlite.grad(found[0] * y[:, ::2, ::2], [kernel, b, gamma, beta], ones)

    launches, before, after = recorded(backend, read_by_two)
    assert "relu_gradient" in launches
    for x, y in zip(before, after):
        assert x.tobytes() == y.tobytes()


class Learner:
    """A dense layer with a relu whose weights learn by Adam, and how its step is launched."""

    def __init__(self, backend: Any, inputs: int = 70, units: int = 45) -> None:
        self.backend, self.shape = backend, (inputs, units)
        self.x, self.w, self.b = drawn(9, inputs), drawn(inputs, units), drawn(units)
        self.rate, self.number = Tensor(np.float32(0.01), device=backend.device), Tensor(3, device=backend.device)
        self.m, self.v = gradlite.zeros((inputs * units,)), gradlite.ones((inputs * units,))
        for state in (self.rate, self.number, self.m, self.v):
            assert state.backend is backend

    def gradients(self) -> Any:
        y = gradlite.relu(gradlite.dense(self.x.detach(), self.w, self.b))
        return gradlite.grad(y, [self.w, self.b], gradlite.ones((9, self.shape[1])))

    def update(self, gradient: Any) -> None:
        parameter, gradient = self.w.data.reshape(-1), gradient.data.reshape(-1)
        state = self.m.data, self.v.data, None, self.rate.data, self.number.data
        self.backend.launch("adam", parameter, gradient, *state, beta_1=0.9, beta_2=0.99, epsilon=1e-7)

    def values(self) -> list[bytes]:
        return [x.numpy().tobytes() for x in (self.w, self.m, self.v)]


def test_an_update_computes_the_gradient_of_a_dense_layer_itself_where_a_kernel_does_so(backend):
    at_once = native.is_available() and backend.device == "cpu"
    recorder, learner, twin = Recorder(backend), Learner(backend), Learner(backend)
    with recorder.recording():
        dw, db = learner.gradients()
        learner.update(dw)
        double = db * 2
    program = Program(recorder, [double.data])
    program.replay()
    joined = ("dense", "dense_weight_gradient_adam", "multiply")
    assert program.launches == (joined if at_once else ("dense", "dense_weight_gradient", "adam", "multiply"))
    for _ in range(2):
        dw, db = twin.gradients()
        twin.update(dw)
    assert learner.values() == twin.values()
    assert backend.to_numpy(program.outputs[0]).tobytes() == (db * 2).numpy().tobytes()


@pytest.mark.parametrize("why", ["the gradient is read", "the bias's is kept", "the weights are read", "clipped"])
def test_a_gradient_that_others_want_is_computed(backend, why):
    recorder, learner = Recorder(backend), Learner(backend)
    with recorder.recording():
        dw, db = learner.gradients()
        outputs = [db] if why == "the bias's is kept" else [db * 2]
        if why == "the gradient is read":
            outputs.append(dw * 2)
        if why == "clipped":
            backend.launch("scale", dw.data, factor=0.5)
        if why == "the weights are read":
            outputs.append(learner.w * db)
        learner.update(dw)
    assert "dense_weight_gradient_adam" not in Program(recorder, [x.data for x in outputs]).launches


def test_in_inference_a_convolution_normalizes_and_pools_where_a_kernel_does_so(backend):
    x, kernel, b = drawn(2, 12, 12, 16), drawn(3, 3, 16, 20), drawn(20)
    first, normal = drawn(3, 3, 3, 16), [drawn(20), drawn(20), drawn(20), drawn(20).exp()]
    image, small = drawn(2, 12, 12, 3), [drawn(16), drawn(16), drawn(16), drawn(16).exp()]
    at_once = native.is_available() and backend.device == "cpu"

    def norm(y, parameters):
        return gradlite.batch_norm_inference(y, *parameters)

    def row():
        y = gradlite.relu(gradlite.conv2d(x, kernel, b, padding="same"))
        return [gradlite.max_pool2d(norm(y, normal), 2)]

    def behind_few_channels():
        y = gradlite.relu(gradlite.conv2d(image, first))
        return [gradlite.max_pool2d(norm(y, small), 2)]

    def read_by_two():
        y = gradlite.conv2d(x, kernel, b)
        return [norm(y, normal), y * 2]

    def normalized_twice():
        y = norm(gradlite.conv2d(x, kernel, b), normal)
        return [gradlite.max_pool2d(y, 2), y * 2]

    def by_itself():
        y = gradlite.conv2d(x, kernel)
        return [gradlite.batch_norm_inference(y, normal[0], normal[1], y[0, 0, 0], normal[3])]

    whole, apart = "conv2d_batch_norm_max_pool2d", ("conv2d", "batch_norm_inference")
    with gradlite.no_grad():
        activated = ("conv2d", "batch_norm_inference", "max_pool2d")
        assert_fused(backend, row, *((whole,) if at_once else activated))
        assert_fused(backend, behind_few_channels, *((whole, "max_pool2d") if at_once else activated))
        assert_fused(backend, read_by_two, *apart, "multiply")
        assert_fused(backend, normalized_twice, *((whole,) if at_once else apart), "max_pool2d", "multiply")
        launches, before, after = recorded(backend, by_itself)
        assert whole not in launches
        assert before[0].tobytes() == after[0].tobytes()


def trained_block(channels: int = 16) -> Any:
    """Two convolutions with their normalizations, and how gradients of them are computed."""
    image, first, second = drawn(2, 8, 7, 3).detach(), drawn(3, 3, 3, channels), drawn(3, 3, channels, 16)
    parameters = [drawn(n) for n in (channels, channels, channels, 16, 16, 16)]

    def step(also: Any = None) -> list[Tensor]:
        y, *statistics = conv2d_statistics(image, first, parameters[0], padding="same", activation="relu")
        y = batch_norm_pool_dropout(y, *parameters[1:3], 1e-3, statistics=tuple(statistics))[0]
        extra = [] if also is None else also(y, statistics)
        y, *statistics = conv2d_statistics(y, second, parameters[3], padding="same", activation="relu")
        y = batch_norm_pool_dropout(y, *parameters[4:], 1e-3, statistics=tuple(statistics))[0]
        return [*gradlite.grad((y * y).sum(), [first, second, *parameters]), *extra]

    return step


def test_what_only_convolutions_read_is_normalized_where_they_read_it_if_kernels_do_so(backend):
    at_once = native.is_available() and backend.device == "cpu"
    launches, before, after = recorded(backend, trained_block())
    assert launches.count("normalized_conv2d_statistics") == at_once
    assert launches.count("normalized_conv2d_parameter_gradients") == at_once
    assert launches.count("batch_norm_apply_max_pool2d_dropout") == 2 - at_once
    for a, b in zip(before, after):
        assert a.tobytes() == b.tobytes()


def test_a_normalization_that_others_read_or_that_changes_is_computed(backend):
    def read(y, statistics):
        return [y * 2]

    def kept(y, statistics):
        return [y]

    def changed(y, statistics):
        backend.launch("assign_add", statistics[0].data, 1.0)
        return []

    for also in (read, kept, changed):
        launches, before, after = recorded(backend, partial(trained_block(), also))
        assert not any(name.startswith("normalized") for name in launches)
        if also is not changed:
            for a, b in zip(before, after):
                assert a.tobytes() == b.tobytes()
    assert not any(name.startswith("normalized") for name in recorded(backend, trained_block(8))[0]), "few channels"


def test_moving_averages_do_not_change_what_they_take_in(backend):
    average = gradlite.zeros((16,))

    def averaged(y, statistics):
        backend.launch("moving_average", average.data, statistics[0].data, None, momentum=0.9)
        return []

    launches, *_ = recorded(backend, partial(trained_block(), averaged))
    assert ("normalized_conv2d_statistics" in launches) == (native.is_available() and backend.device == "cpu")


def test_a_convolution_does_not_normalize_by_what_changes_before_the_normalization(backend):
    x, kernel, mean, variance = drawn(2, 12, 12, 16), drawn(3, 3, 16, 20), drawn(20), drawn(20).exp()

    def changed_between():
        y = gradlite.conv2d(x, kernel)
        backend.launch("assign_add", kernel.data, 1.0)
        result = gradlite.batch_norm_inference(y, None, None, mean, variance)
        backend.launch("assign_add", kernel.data, -1.0)
        return [result]

    with gradlite.no_grad():
        launches, *_ = recorded(backend, changed_between)
    assert launches == ("conv2d", "assign_add", "batch_norm_inference", "assign_add")


def test_predictions_of_a_recorded_model_are_those_of_its_layers(backend):
    model = keras.Sequential(
        [
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 9, 9, 3), np.float32), rng.standard_normal((20, 3), np.float32)
    model.fit(x, y, batch_size=10, epochs=2, verbose=0)  # averages that are not what they begin as
    with gradlite.no_grad():
        expected = model(x).numpy()
    assert model.predict(x, batch_size=20, verbose=0).tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [(9, 10), (3, 400), (200, 3)])
def test_the_probabilities_of_a_cross_entropy_are_the_softmax_of_the_model(backend, shape):
    x = drawn(*shape)
    labels = Tensor(np.arange(shape[0]) % shape[1], device=gradlite.get_device())

    def step():
        y = gradlite.softmax(x)
        loss = sparse_softmax_cross_entropy_loss(labels, x)
        return [loss, gradlite.argmax(y, axis=1), y * 2]

    assert_fused(backend, step, "sparse_softmax_cross_entropy_loss", "argmax", "multiply")

    def read_before():
        y = gradlite.softmax(x)
        double = y * 2
        return [sparse_softmax_cross_entropy_loss(labels, x), double]

    assert_fused(backend, read_before, "softmax", "multiply", "sparse_softmax_cross_entropy_loss")


def test_moving_averages_of_all_layers_are_one_launch(backend):
    model = keras.Sequential([layers.BatchNormalization(), layers.BatchNormalization(), layers.BatchNormalization()])
    x = drawn(8, 4).detach()
    model(x, training=True)
    before = model.get_weights()
    recorder = Recorder(backend)
    with recorder.recording(), gradlite.no_grad():
        model(x, training=True)
    once = model.get_weights()
    model.set_weights(before)
    program = Program(recorder)
    if "moving averages" in backend.fusions:
        assert program.launches.count("moving_averages") == 1
        assert "moving_average" not in program.launches
    program.replay()
    for a, b in zip(model.get_weights(), once):
        assert a.tobytes() == b.tobytes()


def trained(model: Any, y: np.ndarray) -> Program:
    """The program of a training step with batches of 8."""
    found: list[Any] = []
    original = replay.Steps.finish
    replay.Steps.finish = lambda self: (found.extend(self.programs), original(self))[1]
    try:
        model.fit(np.ones((len(y), 4), np.float32), y, batch_size=8, verbose=0)
    finally:
        replay.Steps.finish = original
    (program,) = found
    return program


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam"])
def test_updates_and_totals_of_a_training_step_are_one_launch_each(backend, optimizer):
    """Bits are compared in tests/training/test_captured_steps.py."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(3)])
    model.compile(optimizer, "mse", metrics=["mae"])
    program = trained(model, np.ones((24, 3), np.float32))
    if "totals" in backend.fusions:
        assert program.launches.count("accumulate") == 1
        assert "assign_add" not in program.launches
    if "adam" in backend.fusions and optimizer != "nadam":
        assert program.launches.count("adam_segments") == 1
        assert not {"adam", "pack"} & set(program.launches)


def classifier(optimizer: Any = "adam", dropouts: int = 0, loss: Any = "sparse_categorical_crossentropy") -> Any:
    drops = [layers.Dropout(0.5, seed=i) for i in range(dropouts)]
    hidden = layers.Dense(5, activation="relu")
    model = keras.Sequential([keras.Input((4,)), hidden, *drops, layers.Dense(3, activation="softmax")])
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_the_bookkeeping_of_a_classifier_is_done_by_its_loss(backend, loss):
    labels = np.arange(24) % 3
    labels = labels if loss.startswith("sparse") else np.eye(3, dtype=np.float32)[labels]
    launches = trained(classifier(loss=loss), labels).launches
    if "loss" in backend.fusions:
        assert launches[3] == "cross_entropy_step"
        assert set(launches) == {"select_rows", "dense", "cross_entropy_step", *GRADIENTS, "adam_segments"}


GRADIENTS = ("dense_input_gradient", "dense_weight_gradient")


def test_what_is_counted_may_be_the_logits(backend):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(3)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    launches = trained(model, np.arange(24) % 3).launches
    if "loss" in backend.fusions:
        assert set(launches) == {"select_rows", "dense", "cross_entropy_step", *GRADIENTS, "adam_segments"}


def test_the_step_is_counted_where_a_schedule_reads_its_number(backend):
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    launches = trained(classifier(keras.optimizers.Adam(rate)), np.arange(24) % 3).launches
    if "totals" in backend.fusions:
        assert launches.count("accumulate") == 1
        assert "add" in launches
        assert launches.index("accumulate") > launches.index("adam_segments")


def test_random_states_of_all_layers_are_moved_on_by_one_launch(backend):
    launches = trained(classifier(dropouts=3), np.arange(24) % 3).launches
    each = launches.count("draw_random"), launches.count("draw_random_each")
    assert each == ((0, 1) if "draws" in backend.fusions else (3, 0))


def test_states_that_are_looked_at_between_are_moved_on_in_their_turn(backend):
    first, second = Generator(1), Generator(2)
    x = drawn(5, 4).detach()

    def step():
        y = gradlite.dropout(x, 0.5, generator=first)
        state = Tensor(second.state, device=gradlite.get_device()) * 1
        return [y, state, gradlite.dropout(y, 0.5, generator=second), gradlite.dropout(y, 0.5, generator=first)]

    launches, before, _ = recorded(backend, step)
    assert launches.count("draw_random") == 3
    assert len(before) == 4


def test_a_total_that_is_read_before_its_last_addition_is_added_to_in_order(backend):
    totals = [backend.asarray(np.array(float(i))) for i in range(2)]
    x = drawn(3).detach()

    def step():
        value = x.sum()
        backend.launch("assign_add", totals[0], value.data)
        seen = Tensor(totals[0], device=gradlite.get_device()) * 1
        backend.launch("assign_add", totals[1], value.data)
        return [seen]

    launches, _, _ = recorded(backend, step)
    assert launches.count("assign_add") == 2
