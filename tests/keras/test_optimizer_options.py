"""Options of optimizers: clipping, decay, accumulation, averages, loss scales, learning rates, and phases of a step."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradlite
from gradlite.keras import optimizers
from gradlite.keras.optimizers import SGD, Adam, LossScaleOptimizer, schedules
from gradlite.keras.variables import Variable

pytestmark = pytest.mark.usefixtures("each_device")

SHAPES = [(3, 4), (4,), (2, 1, 5)]


def variables_of(shapes=SHAPES):
    rng = np.random.default_rng()
    return [Variable(rng.normal(size=shape).astype(np.float32), name=f"w{i}") for i, shape in enumerate(shapes)]


def gradients_of(variables):
    rng = np.random.default_rng()
    return [rng.normal(size=variable.shape).astype(np.float32) for variable in variables]


def values_of(variables):
    return [variable.numpy().astype(np.float64) for variable in variables]


@pytest.mark.parametrize("option", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clipping_limits_each_norm_each_value_or_the_norm_of_all(option):
    variables = variables_of()
    before, gradients = values_of(variables), gradients_of(variables)
    gradients[1] *= 0.001
    SGD(1.0, **{option: 0.7}).apply(gradients, variables)
    total = math.sqrt(sum((g.astype(float) ** 2).sum() for g in gradients))
    for variable, value, g in zip(variables, before, gradients):
        g = g.astype(float)
        norm = math.sqrt((g**2).sum())
        clipped = {
            "clipnorm": g * min(1, 0.7 / norm),
            "clipvalue": g.clip(-0.7, 0.7),
            "global_clipnorm": g * min(1, 0.7 / total),
        }[option]
        np.testing.assert_allclose(variable.numpy(), value - clipped, rtol=1e-5, atol=1e-6)


def test_a_gradient_of_zeros_survives_clipping():
    variables = variables_of()
    before = values_of(variables)
    for option in ("clipnorm", "global_clipnorm"):
        SGD(1.0, **{option: 1.0}).apply([np.zeros(v.shape, np.float32) for v in variables], variables)
    for variable, value in zip(variables, before):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_weight_decay_comes_before_the_update_and_spares_what_is_excluded():
    variables = variables_of()
    before, gradients = values_of(variables), gradients_of(variables)
    optimizer = SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[variables[0]], var_names=["2"])
    optimizer.apply(gradients, variables)
    for variable, value, g, decay in zip(variables, before, gradients, (0, 0.5, 0)):
        np.testing.assert_allclose(variable.numpy(), value - value * decay * 0.1 - 0.1 * g, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_names=["w0"])


def test_accumulation_updates_every_third_call_with_the_mean():
    variables = variables_of()
    optimizer = Adam(0.1, gradient_accumulation_steps=3, clipnorm=1.0)
    twins = [Variable(v.numpy(), name=v.name) for v in variables]
    twin = Adam(0.1, clipnorm=1.0)
    kept = []
    for call in range(1, 10):
        before = [v.numpy() for v in variables]
        kept.append(gradients_of(variables))
        optimizer.apply(kept[-1], variables)
        if call % 3:
            assert all((v.numpy() == b).all() for v, b in zip(variables, before))
        else:
            twin.apply([np.mean(step, axis=0, dtype=np.float32) for step in zip(*kept)], twins)
            kept = []
            for v, t in zip(variables, twins):
                np.testing.assert_allclose(v.numpy(), t.numpy(), rtol=1e-5, atol=1e-6)
        assert int(optimizer.iterations) == call // 3


def test_the_average_follows_the_weights_and_replaces_them_on_request():
    variables = variables_of()
    optimizer = SGD(0.1, use_ema=True, ema_momentum=0.8)
    averages = None
    for _ in range(4):
        optimizer.apply(gradients_of(variables), variables)
        values = values_of(variables)
        averages = values if averages is None else [0.8 * a + 0.2 * v for a, v in zip(averages, values)]
    optimizer.swap_ema_values()
    for variable, average in zip(variables, averages):
        np.testing.assert_allclose(variable.numpy(), average, rtol=1e-5, atol=1e-6)
    optimizer.swap_ema_values()
    for variable, value in zip(variables, values):
        np.testing.assert_array_equal(variable.numpy(), value)
    optimizer.finalize_variable_values(variables)
    for variable, average in zip(variables, averages):
        np.testing.assert_allclose(variable.numpy(), average, rtol=1e-5, atol=1e-6)


def test_the_average_overwrites_the_weights_every_so_many_updates():
    variables = variables_of([(4,)])
    optimizer = SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3)
    value, average = values_of(variables)[0], None
    for t in range(1, 8):
        gradient = gradients_of(variables)[0]
        optimizer.apply([gradient], variables)
        value = value - 0.1 * gradient
        average = value if average is None else 0.5 * average + 0.5 * value
        if t % 3 == 0:
            value = average
        np.testing.assert_allclose(variables[0].numpy(), value, rtol=1e-5, atol=1e-6)


def test_a_variable_unfrozen_later_starts_its_average_from_its_value():
    variables = variables_of([(4,), (3,)])
    optimizer = SGD(0.1, use_ema=True, ema_momentum=0.9)
    optimizer.apply(gradients_of(variables[:1]), variables[:1])
    optimizer.apply(gradients_of(variables[:1]), variables[:1])
    before = variables[1].numpy()
    gradients = gradients_of(variables)
    optimizer.apply(gradients, variables)
    optimizer.finalize_variable_values(variables)
    np.testing.assert_allclose(variables[1].numpy(), before - 0.1 * 0.1 * gradients[1], rtol=1e-5, atol=1e-6)


def test_the_loss_scale_is_taken_out_of_the_gradients():
    w = Variable([1.0], name="w")
    optimizer = SGD(0.5, loss_scale_factor=16.0)
    assert optimizer.scale_loss(2.0) == 32.0
    optimizer.apply([gradlite.Tensor([16.0])], [w])
    assert w.numpy().tolist() == [0.5]


def test_constraints_hold_after_the_update():
    w = Variable([1.0, 1.0], name="w", constraint=lambda v: gradlite.maximum(v, 0.0))
    SGD(1.0).apply([gradlite.Tensor([0.5, 7.0])], [w])
    assert w.numpy().tolist() == [0.5, 0.0]


def test_dynamic_loss_scaling_skips_bad_steps_and_grows_after_good_ones():
    w = Variable([1.0], name="w")
    optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=8.0, dynamic_growth_steps=2)
    optimizer.apply([gradlite.Tensor([np.float32(np.inf)])], [w])
    assert w.numpy().tolist() == [1.0]
    assert float(optimizer.scale_loss(1.0)) == 4.0
    assert int(optimizer.iterations) == 0
    for expected in (4.0, 8.0):
        optimizer.apply([gradlite.Tensor([4.0])], [w])
        assert float(optimizer.scale_loss(1.0)) == expected
    assert w.numpy().tolist() == [0.0]
    optimizer.learning_rate = 0.25
    assert float(optimizer.inner_optimizer.learning_rate) == 0.25
    again = optimizers.deserialize(optimizers.serialize(optimizer))
    assert (again.dynamic_growth_steps, float(again.learning_rate)) == (2, 0.25)


# Learning rates.


def test_a_schedule_sees_the_number_of_steps_taken():
    w = Variable([0.0], name="w")
    optimizer = SGD(schedules.PiecewiseConstantDecay([1], [1.0, 10.0]))
    moves = []
    for _ in range(4):
        before = w.numpy()[0]
        optimizer.apply([gradlite.Tensor([1.0])], [w])
        moves.append(before - w.numpy()[0])
    assert moves == [1.0, 1.0, 10.0, 10.0]
    assert [variable.name for variable in optimizer.variables] == ["iteration"]
    with pytest.raises(TypeError, match="not settable"):
        optimizer.learning_rate = 0.1


def test_a_function_gives_the_rate_of_each_step():
    rates = iter([1.0, 2.0])
    w = Variable([0.0], name="w")
    optimizer = SGD(lambda: next(rates))
    optimizer.apply([gradlite.Tensor([1.0])], [w])
    optimizer.apply([gradlite.Tensor([1.0])], [w])
    assert w.numpy().tolist() == [-3.0]


def test_the_rate_can_be_set_between_steps_in_place():
    w = Variable([0.0], name="w")
    optimizer = SGD(0.5)
    optimizer.apply([gradlite.Tensor([1.0])], [w])
    home = optimizer.learning_rate.data
    optimizer.learning_rate = 2
    assert optimizer.learning_rate.data is home
    optimizer.apply([gradlite.Tensor([1.0])], [w])
    assert w.numpy().tolist() == [-2.5]
    optimizer.learning_rate = schedules.ExponentialDecay(0.5, 1, 0.5)
    assert [variable.name for variable in optimizer.variables] == ["iteration"]
    optimizer.apply([gradlite.Tensor([8.0])], [w])
    assert w.numpy().tolist() == [-3.5]


# Phases, for recorded steps.


def test_a_phase_tells_update_steps_and_overwriting_steps_apart():
    variables = variables_of([(4,)])
    optimizer = SGD(0.1, gradient_accumulation_steps=2, use_ema=True, ema_overwrite_frequency=2)
    phases = []
    for _ in range(8):
        phases.append(optimizer.phase()[:2])
        optimizer.apply(gradients_of(variables), variables)
    assert [update for update, _ in phases] == [False, True] * 4
    assert [overwrite for _, overwrite in phases] == [False, False, True, True] * 2
    optimizer.variables[0].assign(1)  # a restored checkpoint
    assert optimizer.phase()[0] is True
    optimizer.prepare_replay()
    assert optimizer.phase()[0] is False


def test_a_phase_changes_when_memory_moves():
    variables = variables_of()
    first, second = SGD(0.1), SGD(0.1)
    first.apply(gradients_of(variables), variables)
    phase = first.phase()
    assert first.phase() == phase
    second.apply(gradients_of(variables), variables)
    expected = [variable.numpy() for variable in variables]
    assert first.phase() != phase
    for variable, value in zip(variables, expected):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_preparing_a_replay_evaluates_a_rate_that_is_a_function():
    rates = iter([1.0, 2.0, 3.0])
    w = Variable([0.0], name="w")
    optimizer = SGD(lambda: next(rates))
    optimizer.apply([gradlite.Tensor([1.0])], [w])
    home = optimizer._rate
    optimizer.prepare_replay()
    assert optimizer._rate is home
    assert float(home) == 2.0
