"""Optimizers against their formulas in float64, variables that come and go, state, configs and errors."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import gradlite
from gradlite.keras import optimizers
from gradlite.keras.optimizers import SGD, Adam, AdamW, LossScaleOptimizer, Optimizer, group, schedules
from gradlite.keras.variables import Variable

pytestmark = pytest.mark.usefixtures("each_device")

SHAPES = [(3, 4), (4,), (2, 1, 5)]


def variables_of(shapes=SHAPES, dtype="float32"):
    rng = np.random.default_rng()
    return [Variable(rng.normal(size=shape).astype(dtype), name=f"w{i}") for i, shape in enumerate(shapes)]


def gradients_of(variables, scale=1.0):
    rng = np.random.default_rng()
    return [rng.normal(size=variable.shape).astype(variable.dtype) * scale for variable in variables]


def values_of(variables):
    return [variable.numpy().astype(np.float64) for variable in variables]


# The formulas, one variable at a time: state is a dict that starts empty, t counts from 1.


def sgd(w, g, s, t, lr=0.01):
    return w - lr * g


def sgd_momentum(w, g, s, t, lr=0.1):
    s["v"] = 0.9 * s.get("v", 0) - lr * g
    return w + s["v"]


def sgd_nesterov(w, g, s, t, lr=0.1):
    s["v"] = 0.9 * s.get("v", 0) - lr * g
    return w + 0.9 * s["v"] - lr * g


def adam(w, g, s, t, lr=0.1, b1=0.8, b2=0.95, epsilon=1e-4, amsgrad=False):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    s["max"] = np.maximum(s.get("max", 0), s["v"])
    v = s["max"] if amsgrad else s["v"]
    return w - lr * math.sqrt(1 - b2**t) / (1 - b1**t) * s["m"] / (np.sqrt(v) + epsilon)


def adam_amsgrad(w, g, s, t):
    return adam(w, g, s, t, amsgrad=True)


def adamw(w, g, s, t):
    return adam(w - w * 0.2 * 0.1, g, s, t)


def adamax(w, g, s, t):
    s["m"] = 0.8 * s.get("m", 0) + 0.2 * g
    s["u"] = np.maximum(0.95 * s.get("u", 0), abs(g))
    return w - 0.1 / (1 - 0.8**t) * s["m"] / (s["u"] + 1e-4)


def nadam(w, g, s, t):
    def u(k):
        return 0.8 * (1 - 0.5 * 0.96**k)

    product = math.prod(u(k) for k in range(1, t + 1))
    s["m"] = 0.8 * s.get("m", 0) + 0.2 * g
    s["v"] = 0.95 * s.get("v", 0) + 0.05 * g * g
    m = u(t + 1) * s["m"] / (1 - product * u(t + 1)) + (1 - u(t)) * g / (1 - product)
    return w - 0.1 * m / (np.sqrt(s["v"] / (1 - 0.95**t)) + 1e-4)


def rmsprop(w, g, s, t, momentum=0.0, centered=False):
    s["s"] = 0.7 * s.get("s", 0) + 0.3 * g * g
    s["a"] = 0.7 * s.get("a", 0) + 0.3 * g
    step = 0.1 * g / np.sqrt(s["s"] - (s["a"] ** 2 if centered else 0) + 1e-3)
    s["b"] = momentum * s.get("b", 0) + step
    return w - s["b"]


def rmsprop_all(w, g, s, t):
    return rmsprop(w, g, s, t, momentum=0.5, centered=True)


def adagrad(w, g, s, t):
    s["a"] = s.get("a", 0.3) + g * g
    return w - 0.1 * g / np.sqrt(s["a"] + 1e-4)


def adadelta(w, g, s, t):
    s["s"] = 0.8 * s.get("s", 0) + 0.2 * g * g
    delta = np.sqrt(s.get("e", 0) + 1e-4) / np.sqrt(s["s"] + 1e-4) * g
    s["e"] = 0.8 * s.get("e", 0) + 0.2 * delta**2
    return w - 0.5 * delta


def lion(w, g, s, t):
    m = s.get("m", 0)
    s["m"] = 0.8 * m + 0.2 * g
    return w - 0.1 * np.sign(0.7 * m + 0.3 * g)


BETAS = {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4}
RMS = {"learning_rate": 0.1, "rho": 0.7, "epsilon": 1e-3}
FORMULAS = [
    (sgd, "SGD", {}),
    (sgd_momentum, "SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    (sgd_nesterov, "SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    (adam, "Adam", BETAS),
    (adam_amsgrad, "Adam", {**BETAS, "amsgrad": True}),
    (adamw, "AdamW", {**BETAS, "weight_decay": 0.2}),
    (adamax, "Adamax", BETAS),
    (nadam, "Nadam", BETAS),
    (rmsprop, "RMSprop", RMS),
    (rmsprop_all, "RMSprop", {**RMS, "momentum": 0.5, "centered": True}),
    (adagrad, "Adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.3, "epsilon": 1e-4}),
    (adadelta, "Adadelta", {"learning_rate": 0.5, "rho": 0.8, "epsilon": 1e-4}),
    (lion, "Lion", {"learning_rate": 0.1, "beta_1": 0.7, "beta_2": 0.8}),
]
EVERY_FORMULA = pytest.mark.parametrize(
    ("formula", "name", "options"), FORMULAS, ids=lambda v: getattr(v, "__name__", "")
)


@EVERY_FORMULA
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ten_steps_are_those_of_the_formula(formula, name, options, dtype):
    optimizer = getattr(optimizers, name)(**options)
    variables = variables_of(dtype=dtype)
    expected, states = values_of(variables), [{} for _ in variables]
    for t in range(1, 11):
        gradients = gradients_of(variables, scale=[1, 0.01, 30][t % 3])
        optimizer.apply([gradlite.Tensor(g) for g in gradients], variables)
        expected = [formula(w, g.astype(float), s, t) for w, g, s in zip(expected, gradients, states)]
        for variable, value in zip(variables, expected):
            # Rates are float32 whatever the variables are, as in Keras.
            np.testing.assert_allclose(variable.numpy(), value, rtol=3e-6, atol=3e-6)
    assert int(optimizer.iterations) == 10


@EVERY_FORMULA
def test_a_large_variable_is_updated_as_a_small_one(formula, name, options, monkeypatch):
    values, gradients = variables_of(), None
    results = []
    for threshold in (group.DIRECT, 1):  # packed, and straight from the gradients
        monkeypatch.setattr(group, "DIRECT", threshold)
        variables = [Variable(v.numpy(), name=v.name) for v in values]
        gradients = gradients or [gradients_of(values) for _ in range(3)]
        optimizer = getattr(optimizers, name)(**options)
        for step in gradients:
            optimizer.apply([g.copy() for g in step], variables)
        results.append([v.numpy().tobytes() for v in variables])
    assert results[0] == results[1]


@EVERY_FORMULA
def test_a_frozen_variable_and_its_state_stay_and_go_on_later(formula, name, options):
    optimizer = getattr(optimizers, name)(**options)
    variables = variables_of()
    expected, states = values_of(variables), [{} for _ in variables]
    for t, active in enumerate([(0, 1, 2), (0, 2), (1,), (0, 1, 2)], 1):
        gradients = gradients_of(variables)
        optimizer.apply([gradients[i] for i in active], [variables[i] for i in active])
        for i in active:
            expected[i] = formula(expected[i], gradients[i].astype(float), states[i], t)
        for variable, value in zip(variables, expected):
            np.testing.assert_allclose(variable.numpy(), value, rtol=3e-6, atol=3e-6)


@EVERY_FORMULA
def test_variables_that_come_later_leave_the_state_of_the_others(formula, name, options):
    optimizer = getattr(optimizers, name)(**options)
    variables = variables_of()
    expected, states = values_of(variables), [{} for _ in variables]
    for t, active in enumerate([(1,), (1,), (0, 1), (0, 1, 2)], 1):
        gradients = gradients_of(variables)
        optimizer.apply([gradients[i] for i in active], [variables[i] for i in active])
        for i in active:
            expected[i] = formula(expected[i], gradients[i].astype(float), states[i], t)
    for variable, value in zip(variables, expected):
        np.testing.assert_allclose(variable.numpy(), value, rtol=3e-6, atol=3e-6)


def test_gradients_are_not_changed_by_any_option():
    for options in ({}, {"clipnorm": 0.1}, {"loss_scale_factor": 4.0}, {"gradient_accumulation_steps": 2}):
        optimizer, variables = SGD(0.1, **options), variables_of()
        gradients = gradients_of(variables)
        before = [g.copy() for g in gradients]
        for _ in range(2):
            optimizer.apply([gradlite.Tensor(g) for g in gradients], variables)
        for g, b in zip(gradients, before):
            np.testing.assert_array_equal(g, b)


def test_float16_and_float32_variables_are_updated_together():
    variables = [*variables_of([(3,)], "float16"), *variables_of([(4,)]), *variables_of([(2,)], "float16")]
    before, optimizer = values_of(variables), SGD(0.5)
    gradients = gradients_of(variables)
    optimizer.apply(gradients, variables)
    for variable, value, gradient in zip(variables, before, gradients):
        np.testing.assert_allclose(variable.numpy(), value - 0.5 * gradient.astype(float), atol=4e-3)


def test_an_update_bumps_the_version_of_what_it_changed():
    variables = variables_of()
    optimizer = SGD(0.1)
    optimizer.build(variables)
    before = [variable.version for variable in variables]
    optimizer.apply(gradients_of(variables[:2]), variables[:2])
    assert [v.version - b for v, b in zip(variables, before)] == [1, 1, 0]


def test_training_finds_the_minimum_of_a_quadratic():
    w = Variable([3.0, -2.0], name="w")
    optimizer = Adam(learning_rate=0.1)
    for _ in range(300):
        w.grad = None
        ((w - gradlite.Tensor([1.0, 2.0])) ** 2).sum().backward()
        optimizer.apply_gradients([(w.grad, w)])
    np.testing.assert_allclose(w.numpy(), [1, 2], atol=1e-2)


# State, configs and names.


def test_state_is_listed_as_in_keras():
    variables = variables_of([(2,), (3,)])
    optimizer = Adam(amsgrad=True, use_ema=True)
    optimizer.build(variables)
    assert [variable.name for variable in optimizer.variables] == [
        "iteration", "learning_rate", "w0_average", "w1_average", "w0_momentum", "w0_velocity", "w1_momentum",
        "w1_velocity", "w0_velocity_hat", "w1_velocity_hat",
    ]  # fmt: skip


@EVERY_FORMULA
def test_restored_state_continues_bit_by_bit(formula, name, options):
    variables = variables_of()
    optimizer = getattr(optimizers, name)(**options)
    for _ in range(3):
        optimizer.apply(gradients_of(variables), variables)
    twins = [Variable(v.numpy(), name=v.name) for v in variables]
    twin = type(optimizer).from_config(optimizer.get_config())
    twin.build(twins)
    for mine, other in zip(twin.variables, optimizer.variables, strict=True):
        mine.assign(other.numpy())
    for _ in range(2):
        gradients = gradients_of(variables)
        optimizer.apply(gradients, variables)
        twin.apply(gradients, twins)
    for variable, other in zip(variables, twins):
        np.testing.assert_array_equal(variable.numpy(), other.numpy())


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["copy", "pickle"]
)
@EVERY_FORMULA
def test_a_copy_goes_on_alone_and_alike(formula, name, options, copied):
    variables = variables_of()
    optimizer = getattr(optimizers, name)(**options, use_ema=True)
    for _ in range(3):
        optimizer.apply(gradients_of(variables), variables)
    twin, twins = copied((optimizer, variables))
    gradients = [gradients_of(variables) for _ in range(2)]
    results = []
    for o, vs in ((optimizer, variables), (twin, twins)):
        for step in gradients:
            o.apply(step, vs)
        results.append([v.numpy().tobytes() for v in (*vs, *o.variables)])
    assert results[0] == results[1]


@EVERY_FORMULA
def test_an_optimizer_survives_its_config_and_is_found_by_name_in_any_case(formula, name, options):
    optimizer = getattr(optimizers, name)(**options, clipnorm=0.5, name="mine")
    again = optimizers.deserialize(optimizers.serialize(optimizer))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()
    assert type(optimizers.get(name.lower())) is type(optimizers.get(name.upper())) is type(optimizer)
    assert optimizers.get(optimizer) is optimizer


def test_a_schedule_is_part_of_the_config():
    optimizer = optimizers.deserialize(optimizers.serialize(Adam(schedules.CosineDecay(0.1, 30))))
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    assert isinstance(optimizer._learning_rate, schedules.CosineDecay)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Adam(lr=0.1), ValueError, "`lr` is spelled `learning_rate`"),
        (lambda: SGD(decay=1e-4), ValueError, "InverseTimeDecay"),
        (lambda: Adam(beta1=0.9), ValueError, "Did you mean 'beta_1'"),
        (lambda: Adam(learning_rate=1), ValueError, r"write 1\.0"),
        (lambda: Adam("0.1"), ValueError, "learning_rate='0.1'"),
        (lambda: SGD(momentum=1), ValueError, "momentum=1"),
        (lambda: SGD(clipnorm=1.0, clipvalue=1.0), ValueError, "Only one of"),
        (lambda: SGD(clipnorm=-1.0), ValueError, "clipnorm=-1.0"),
        (lambda: SGD(use_ema=True, ema_momentum=1.5), ValueError, "ema_momentum=1.5"),
        (lambda: SGD(use_ema=True, ema_overwrite_frequency=0), ValueError, "ema_overwrite_frequency=0"),
        (lambda: SGD(gradient_accumulation_steps=1), ValueError, "gradient_accumulation_steps=1"),
        (lambda: AdamW(weight_decay=None), ValueError, "Use Adam"),
        (lambda: optimizers.Lion(beta_1=0.0), ValueError, "beta_1=0.0"),
        (lambda: optimizers.Adagrad(initial_accumulator_value=-1.0), ValueError, "must not be negative"),
        (lambda: LossScaleOptimizer(SGD(), clipnorm=1.0), ValueError, "give it to the inner optimizer"),
        (lambda: LossScaleOptimizer("sgd"), TypeError, "'sgd'"),
        (lambda: optimizers.get("adm"), ValueError, "Did you mean 'Adam'"),
        (lambda: optimizers.get(3), ValueError, "3"),
        (lambda: SGD().swap_ema_values(), ValueError, "use_ema=True"),
    ],
)
def test_wrong_arguments_are_refused_with_what_to_write(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_gradients_that_do_not_fit_are_refused_and_change_nothing():
    variables = variables_of()
    before, gradients = values_of(variables), gradients_of(variables)
    optimizer = SGD(0.1)
    with pytest.raises(ValueError, match="build"):
        optimizer.apply(gradients)
    optimizer.build(variables)
    with pytest.raises(ValueError, match="2 gradients for 3 variables"):
        optimizer.apply(gradients[:2])
    with pytest.raises(ValueError, match=r"'w1' must have the variable's shape \(4,\)\. Received: \(3, 4\)"):
        optimizer.apply([gradients[0], gradients[0], gradients[2]])
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        optimizer.apply([None, None, None])
    assert all((variable.numpy() == value).all() for variable, value in zip(variables, before))
    assert int(optimizer.iterations) == 0


def test_a_missing_gradient_warns_and_leaves_its_variable():
    variables = variables_of()
    before, gradients = values_of(variables), gradients_of(variables)
    with pytest.warns(UserWarning, match=r"\['w1'\]"):
        SGD(0.1).apply([gradients[0], None, gradients[2]], variables)
    moved = [not (variable.numpy() == value).all() for variable, value in zip(variables, before)]
    assert moved == [True, False, True]


def test_an_optimizer_of_ones_own_has_state_and_all_options():
    class Momentum(Optimizer):
        def build(self, variables):
            if self.built:
                return
            super().build(variables)
            self.momentums = {id(v): self.add_variable_from_reference(v, "momentum") for v in variables}

        def update_step(self, gradient, variable, learning_rate):
            momentum = self.momentums[id(variable)]
            momentum.assign(momentum * 0.9 - gradient * learning_rate)
            variable.assign_add(momentum)

    variables = variables_of()
    twins = [Variable(v.numpy(), name=v.name) for v in variables]
    own, built_in = Momentum(0.1, clipnorm=1.0), SGD(0.1, momentum=0.9, clipnorm=1.0)
    for _ in range(3):
        gradients = gradients_of(variables)
        own.apply(gradients, variables)
        built_in.apply(gradients, twins)
    for variable, twin in zip(variables, twins):
        np.testing.assert_allclose(variable.numpy(), twin.numpy(), rtol=1e-5, atol=1e-6)
    assert [v.name for v in own.variables][2:] == ["w0_momentum", "w1_momentum", "w2_momentum"]
    late = Variable([1.0], name="late")
    with pytest.raises(ValueError, match="late"):
        own.apply([gradlite.Tensor([1.0])], [late])
