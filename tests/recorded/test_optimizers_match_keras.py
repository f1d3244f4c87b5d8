"""Optimizers move variables as Keras's do, step by step; schedules and the spread of initializers agree too."""

from __future__ import annotations

from typing import Any

import numpy as np
import optimizer_cases
import pytest
from optimizer_cases import OptimizerCase
from recorded_values import array_of, arrays, assert_recorded, facts

import gradlite
from gradlite import keras

pytestmark = pytest.mark.usefixtures("each_device")

EVERY_OPTIMIZER = pytest.mark.parametrize("case", optimizer_cases.CASES, ids=lambda case: case.name)


def stepped(case: OptimizerCase) -> tuple[Any, list[gradlite.Variable], list[list[np.ndarray]]]:
    """The optimizer and variables after the last step, and the values after every step."""
    keras.utils.clear_session()
    optimizer = optimizer_cases.build(keras, case)
    values = optimizer_cases.initial_values()
    variables = [gradlite.Variable(v, name=name) for v, name in zip(values, optimizer_cases.VARIABLE_SHAPES)]
    history: list[list[np.ndarray]] = [[] for _ in variables]
    for step in range(optimizer_cases.STEPS):
        optimizer.apply([gradlite.Tensor(g) for g in case.gradients(step)], variables)
        for values, variable in zip(history, variables):
            values.append(variable.numpy().copy())
    return optimizer, variables, history


def recorded_start(name: str) -> np.ndarray:
    return dict(zip(optimizer_cases.VARIABLE_SHAPES, optimizer_cases.initial_values()))[name]


def differences(values: list[np.ndarray], expected: np.ndarray) -> list[str]:
    """The largest difference at each step."""
    return [f"{np.max(np.abs(value - step)):.1e}" for value, step in zip(values, expected)]


@EVERY_OPTIMIZER
def test_variables_after_every_step_are_those_of_keras(case: OptimizerCase) -> None:
    optimizer, variables, history = stepped(case)
    recorded = arrays("optimizers")
    for name, values in zip(optimizer_cases.VARIABLE_SHAPES, history):
        expected = recorded[f"{case.name}/{name}"]
        # 1 - beta ** t in float32 is off by up to 6e-5 in Keras's Adam, so every move may be; hence the way so far.
        moves = np.abs(np.diff(expected, axis=0, prepend=recorded_start(name)[None]))
        allowed = 1e-6 * (1 + np.abs(expected)) + 5e-5 * np.cumsum(moves, axis=0)
        wrong = np.abs(np.stack(values) - expected) > allowed
        assert not wrong.any(), f"{name}: differences {differences(values, expected)}"
    if case.finalize:
        optimizer.finalize_variable_values(variables)
    for name, variable in zip(optimizer_cases.VARIABLE_SHAPES, variables):
        assert_recorded(variable, recorded[f"{case.name}/{name}_final"], 5e-5, f"{name} at the end")
    assert int(array_of(optimizer.iterations)) == facts()["optimizers"][case.name]["iterations"]


@EVERY_OPTIMIZER
def test_state_is_that_of_keras_in_names_order_and_values(case: OptimizerCase) -> None:
    optimizer, _, _ = stepped(case)
    expected = facts()["optimizers"][case.name]["state_names"]
    names = [variable.name for variable in optimizer.variables]
    # Keras leaves Nadam's running product without a name of its own.
    assert [name if known != "variable" else known for name, known in zip(names, expected)] == expected
    assert len(names) == len(expected)
    for i, variable in enumerate(optimizer.variables):
        recorded = arrays("optimizers")[f"{case.name}/state{i}"]
        np.testing.assert_allclose(array_of(variable), recorded, rtol=5e-5, atol=1e-6, err_msg=variable.name)


@EVERY_OPTIMIZER
def test_a_new_optimizer_is_named_as_in_keras(case: OptimizerCase) -> None:
    keras.utils.clear_session()
    assert optimizer_cases.build(keras, case).name == facts()["optimizers"][case.name]["auto_name"]


@pytest.mark.parametrize(("name", "schedule", "kwargs"), optimizer_cases.SCHEDULES, ids=lambda value: str(value))
def test_schedule_is_that_of_keras(name: str, schedule: str, kwargs: dict[str, Any]) -> None:
    function = getattr(keras.optimizers.schedules, schedule)(**kwargs)
    values = [float(array_of(function(step))) for step in optimizer_cases.SCHEDULE_STEPS]
    np.testing.assert_allclose(values, facts()["schedules"][name], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("position", range(len(optimizer_cases.INITIALIZERS)))
def test_spread_of_an_initializer_is_that_of_keras(position: int) -> None:
    name, kwargs = optimizer_cases.INITIALIZERS[position]
    values = array_of(getattr(keras.initializers, name)(**kwargs)(optimizer_cases.SAMPLE_SHAPE)).astype(np.float64)
    expected = facts()["initializers"]["samples"][position]
    # 73,728 samples: the standard deviation of a sample's deviation is 0.3 percent, and bounded ones reach the bound.
    np.testing.assert_allclose(values.std(), expected["std"], rtol=0.02)
    np.testing.assert_allclose(values.mean(), expected["mean"], atol=0.03 * expected["std"])
    largest = np.abs(values).max()
    if name == "RandomNormal" or kwargs.get("distribution") == "untruncated_normal":
        assert 3.5 * expected["std"] < largest < 6.5 * expected["std"]
    else:
        np.testing.assert_allclose(largest, expected["max"], rtol=0.002)


@pytest.mark.parametrize("position", range(len(optimizer_cases.FAN_SHAPES)))
def test_fans_are_those_of_keras(position: int) -> None:
    shape = optimizer_cases.FAN_SHAPES[position]
    fan_in, fan_out = facts()["initializers"]["fans"][position]
    for mode, fan in (("fan_in", fan_in), ("fan_out", fan_out), ("fan_avg", (fan_in + fan_out) / 2)):
        draw = keras.initializers.VarianceScaling(scale=3.0, mode=mode, distribution="uniform", seed=7)
        # Uniform with scale 3 is bounded by 3 / sqrt(fan); the same seed draws the same fractions for every fan.
        reference = keras.initializers.RandomUniform(-3.0 / np.sqrt(fan), 3.0 / np.sqrt(fan), seed=7)
        np.testing.assert_allclose(array_of(draw(shape)), array_of(reference(shape)), rtol=1e-5)
