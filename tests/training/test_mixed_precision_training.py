"""Training in 16 bits: the captured step, what loss scaling leaves out, and that models learn as in float32."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite import keras
from gradlite.backends import default_backend
from gradlite.backends.dtypes import narrow_floats
from gradlite.keras import layers, optimizers
from gradlite.training import replay

POLICIES = [f"mixed_{dtype}" for dtype in narrow_floats()]

pytestmark = pytest.mark.usefixtures("each_device")


@pytest.fixture(autouse=True)
def policy_of_before():
    yield
    keras.config.set_dtype_policy(None)


def digits_network() -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def small_vgg() -> Any:
    convolution = {"kernel_size": 3, "padding": "same", "activation": "relu"}
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, **convolution),
            layers.BatchNormalization(),
            layers.Conv2D(8, **convolution),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )


def images(count: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Bytes, and the number of one of ten patterns that each of them shows under noise."""
    patterns = np.random.default_rng(5).integers(0, 200, (10, 64))
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 10, count)
    return (patterns[labels] + rng.integers(0, 56, (count, 64))).astype(np.uint8).reshape(count, *shape), labels


def trained(policy: str, make: Any, eager: bool = False, optimizer: Any = None, **fit: Any) -> tuple[Any, Any]:
    """The model and its history."""
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(3)
    model = make()
    shape = model.input_shape[1:]
    x, y = images(fit.pop("count", 44), shape)
    chosen = "adam" if optimizer is None else optimizer()
    model.compile(chosen, "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eager)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that steps are not captured, or that float16 overflows
        history = model.fit(x, y, **{"batch_size": 8, "epochs": 2, "verbose": 0, **fit})
    return model, history.history


def state(model: Any) -> list[bytes]:
    return [v.numpy().tobytes() for v in (*model.weights, *model.optimizer.variables)]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The programs that steps were recorded as."""
    found: list[Any] = []

    class Noted(replay.Program):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            found.append(self)

    monkeypatch.setattr(replay, "Program", Noted)
    return found


# The captured step.


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", [digits_network, small_vgg])
def test_captured_steps_have_the_bits_of_eager_ones(policy, make, programs):
    model, history = trained(policy, make)
    assert len(programs) == 2, "whole batches and the last one"
    other, expected = trained(policy, make, eager=True)
    assert history == expected
    assert state(model) == state(other)


OPTIONS = {
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "rmsprop, schedule": lambda: optimizers.RMSprop(optimizers.schedules.ExponentialDecay(0.01, 3, 0.5)),
    "decay, clipnorm": lambda: optimizers.AdamW(0.01, clipnorm=0.5),
    "global clipnorm": lambda: optimizers.Nadam(0.01, global_clipnorm=0.5),
    "averages": lambda: optimizers.Adamax(0.01, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=3),
    "accumulation": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=3, clipvalue=0.1),
    "scale": lambda: optimizers.LossScaleOptimizer(optimizers.Lion(0.001), initial_scale=2.0**40),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_optimizers_and_their_options_go_through_the_captured_step(name, programs):
    model, history = trained("mixed_float16", digits_network, optimizer=OPTIONS[name])
    assert programs
    other, expected = trained("mixed_float16", digits_network, optimizer=OPTIONS[name], eager=True)
    assert (history, state(model)) == (expected, state(other))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_captured_step_is_one_graph(policy, programs):
    if default_backend().device == "cpu":
        pytest.skip("a graph is CUDA's")
    trained(policy, small_vgg)
    assert {type(program._replay).__name__ for program in programs} == {"GraphReplay"}
    for program in programs:
        assert program.launches.count("astype_each") == 2, "all weights by one launch, and all their gradients"
        # The bytes that come in; before and behind the loss.
        assert program.launches.count("astype") <= 4


def test_the_loss_scale_adapts_without_a_word_to_the_host(monkeypatch):
    backend = default_backend()
    w = gradlite.Variable(np.ones(5, np.float32))
    optimizer = optimizers.LossScaleOptimizer(optimizers.Adam(0.1, gradient_accumulation_steps=2, use_ema=True))
    optimizer.build([w])
    gradients = [gradlite.Tensor(np.full(5, value, np.float32)) for value in (1.0, np.inf, 2.0)]

    def refuse(array: Any) -> Any:
        raise AssertionError("a value was read on the host")

    with monkeypatch.context() as patched:
        patched.setattr(backend, "item", refuse)
        patched.setattr(backend, "to_numpy", refuse)
        for gradient in gradients:
            optimizer.apply([gradient], [w])
    assert optimizer._guard is None
    assert float(optimizer.dynamic_scale) == 2.0**14


# What is left out.


INNER = {
    "sgd": lambda **o: optimizers.SGD(0.1, **o),
    "momentum": lambda **o: optimizers.SGD(0.1, momentum=0.9, **o),
    "rmsprop": lambda **o: optimizers.RMSprop(0.1, momentum=0.5, centered=True, **o),
    "adam": lambda **o: optimizers.Adam(0.1, amsgrad=True, **o),
    "adamw": lambda **o: optimizers.AdamW(0.1, **o),
    "adamax": lambda **o: optimizers.Adamax(0.1, **o),
    "nadam": lambda **o: optimizers.Nadam(0.1, **o),
    "adagrad": lambda **o: optimizers.Adagrad(0.1, **o),
    "adadelta": lambda **o: optimizers.Adadelta(0.1, **o),
    "lion": lambda **o: optimizers.Lion(0.1, **o),
    "schedule": lambda **o: optimizers.SGD(optimizers.schedules.PiecewiseConstantDecay([2, 4], [0.1, 0.2, 0.3]), **o),
}
SHARED = [
    {},
    {"clipnorm": 0.5},
    {"global_clipnorm": 0.5, "weight_decay": 0.1},
    {"clipvalue": 0.2, "use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": 2},
    {"gradient_accumulation_steps": 3, "use_ema": True, "ema_overwrite_frequency": 2, "weight_decay": 0.01},
]
# Whether each of the steps is finite.
STEPS = (True, False, True, True, False, False, True, True, True, True)


def steps_of(optimizer: Any, scaled: bool, custom_constraint: Any = None) -> list[bytes]:
    """All state after the steps; an optimizer without loss scaling gets the good ones alone."""
    rng = np.random.default_rng(2)
    variables = [
        gradlite.Variable(rng.normal(size=shape).astype(np.float32), name=f"v{i}", constraint=custom_constraint)
        for i, shape in enumerate([(3, 4), (5,)])
    ]
    optimizer.build(variables)
    for good in STEPS:
        gradients = [rng.normal(size=v.shape).astype(np.float32) for v in variables]
        if not good:
            gradients[1][3] = [np.inf, np.nan][int(rng.integers(2))]
        if scaled:
            scale = float(optimizer.dynamic_scale)
            optimizer.apply([gradlite.Tensor(g * np.float32(scale)) for g in gradients], variables)
        elif good:
            optimizer.apply([gradlite.Tensor(g) for g in gradients], variables)
    inner = optimizer.inner_optimizer if scaled else optimizer
    return [v.numpy().tobytes() for v in (*variables, *inner.variables)]


@pytest.mark.parametrize("options", SHARED, ids=[" ".join(o) or "plain" for o in SHARED])
@pytest.mark.parametrize("name", INNER)
def test_bad_steps_leave_everything_as_if_they_had_not_been(name, options):
    # Scales are powers of two, so that scaling loses nothing.
    if name == "adamw" and "weight_decay" in options:
        options = {k: v for k, v in options.items() if k != "weight_decay"}
    scaled = optimizers.LossScaleOptimizer(INNER[name](**options), initial_scale=64.0, dynamic_growth_steps=3)
    assert steps_of(scaled, True) == steps_of(INNER[name](**options), False)


def test_constraints_and_optimizers_of_the_users_are_left_out_too():
    class Signs(optimizers.Optimizer):
        def build(self, variables):
            self.count = self.add_variable((), 0.0, name="count")
            super().build(variables)

        def update_step(self, gradient, variable, learning_rate):
            self.count.assign_add(1.0)
            variable.assign_sub(learning_rate * gradlite.sign(gradient) * self.count)

    def shrink(v):
        return v * 0.5

    for make in (lambda: Signs(0.1), INNER["adam"]):
        scaled = optimizers.LossScaleOptimizer(make(), initial_scale=64.0, dynamic_growth_steps=3)
        assert steps_of(scaled, True, shrink) == steps_of(make(), False, shrink)


def test_the_scale_is_halved_by_a_bad_step_and_doubled_by_good_ones_in_a_row():
    w = gradlite.Variable([1.0])
    optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(0.5), initial_scale=8.0, dynamic_growth_steps=3)
    optimizer.build([w])
    scale, count = 8.0, 0
    rng = np.random.default_rng(0)
    for _ in range(40):
        good = bool(rng.random() < 0.75)
        optimizer.apply([gradlite.Tensor([1.0 if good else np.float32(np.nan)])], [w])
        # Keras's rule.
        if not good:
            scale, count = scale / 2, 0
        elif count == 2:
            scale, count = scale * 2, 0
        else:
            count += 1
        assert (float(optimizer.dynamic_scale), int(optimizer.step_counter)) == (scale, count)


def test_a_scale_too_large_for_float16_is_found_while_training_and_the_steps_count_right():
    model, history = trained(
        "mixed_float16",
        digits_network,
        optimizer=lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), initial_scale=2.0**30),
        epochs=4,
    )
    optimizer = model.optimizer
    steps = 4 * 6
    left_out = 30 - int(np.log2(float(optimizer.dynamic_scale)))
    assert 0 < left_out < steps
    assert int(optimizer.iterations) == steps - left_out
    assert all(np.isfinite(v.numpy()).all() for v in model.weights)
    assert np.isfinite(history["loss"]).all()


def test_the_static_loss_scale_is_applied_to_the_loss_that_is_differentiated():
    plain, _ = trained("float32", digits_network, optimizer=lambda: optimizers.SGD(0.01))
    scaled, _ = trained("float32", digits_network, optimizer=lambda: optimizers.SGD(0.01, loss_scale_factor=8.0))
    for a, b in zip(plain.get_weights(), scaled.get_weights()):
        np.testing.assert_array_equal(a, b)


# Learning.


@pytest.mark.parametrize("make", [digits_network, small_vgg])
def test_models_learn_in_16_bits_as_they_do_in_float32(make, each_device):
    count, epochs = (600, 6) if default_backend().device == "cpu" else (160, 3)
    accuracies = {}
    for policy in ("float32", *POLICIES):
        model, history = trained(policy, make, count=count, epochs=epochs, batch_size=20)
        accuracies[policy] = history["accuracy"][-1]
        assert {v.dtype for v in model.weights} == {np.dtype(np.float32)}
    for policy in POLICIES:
        assert abs(accuracies[policy] - accuracies["float32"]) < 0.1, accuracies
    if default_backend().device == "cpu":
        assert accuracies["float32"] > 0.5, accuracies


@pytest.mark.parametrize("policy", POLICIES)
def test_losses_and_metrics_are_float32_and_evaluation_agrees_with_training(policy):
    model, _ = trained(policy, digits_network)
    x, y = images(40, (8, 8))
    loss, accuracy = model.evaluate(x, y, verbose=0)
    p = model.predict(x, verbose=0)
    assert str(p.dtype) == policy.removeprefix("mixed_")
    assert accuracy == pytest.approx(np.mean(p.astype(float).argmax(1) == y), abs=0.05)
    assert {v.dtype for m in model.metrics for v in m.variables} <= {
        np.dtype(k) for k in ("float32", "float64", "int64")
    }
    assert np.isfinite(loss)
