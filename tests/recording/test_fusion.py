"""Fused launches: fewer of them where nobody sees what lies between, and the same bits on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from programs import assert_fused, drawn, recorded

import gradlite
from gradlite import Tensor, keras
from gradlite.keras import layers
from gradlite.ops.blocks import batch_norm_pool_dropout, conv2d_statistics
from gradlite.ops.classification import sparse_softmax_cross_entropy_loss
from gradlite.random import Generator
from gradlite.recording import Program, Recorder
from gradlite.training import replay

pytestmark = pytest.mark.usefixtures("each_device")


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
