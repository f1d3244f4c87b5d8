"""Every activation string gives Keras's values and derivatives, also for very large inputs."""

from __future__ import annotations

import function_cases
import numpy as np
import pytest
from recorded_values import array_of, arrays, assert_recorded

import gradlite
from gradlite import keras


def assert_pointwise(actual: np.ndarray, expected: np.ndarray, x: np.ndarray) -> None:
    """Point for point, within the rounding that cancellation causes in Keras; finite where Keras gives NaN."""
    assert actual.shape == expected.shape
    known = ~np.isnan(expected)
    assert np.all(np.isfinite(actual[~known])), f"not finite at {x[~known][~np.isfinite(actual[~known])]}"
    allowed = 1e-6 + 2e-7 * np.abs(x) + 1e-5 * np.abs(expected)
    with np.errstate(invalid="ignore"):
        wrong = known & (actual != expected) & ~(np.abs(actual - expected) <= allowed)
    assert not wrong.any(), f"at {x[wrong]}: {actual[wrong]}, Keras gives {expected[wrong]}"


@pytest.mark.parametrize("name", function_cases.ELEMENTWISE_ACTIVATIONS)
def test_elementwise_activation_and_its_derivative_are_those_of_keras(name: str) -> None:
    grid = function_cases.activation_grid()
    x = gradlite.Tensor(grid, requires_grad=True)
    with np.errstate(over="ignore", invalid="ignore"):
        y = keras.activations.get(name)(x)
        y.sum().backward()
    assert_pointwise(y.numpy(), arrays("functions")[f"activation/{name}/value"], grid)
    assert_pointwise(array_of(x.grad), arrays("functions")[f"activation/{name}/derivative"], grid)


@pytest.mark.parametrize("name", function_cases.ROW_ACTIVATIONS)
def test_activation_of_rows_and_its_derivative_are_those_of_keras(name: str) -> None:
    x = gradlite.Tensor(function_cases.activation_rows(), requires_grad=True)
    y = keras.activations.get(name)(x)
    (y * function_cases.activation_cotangent()[:, : y.shape[1]]).sum().backward()
    for row in range(x.shape[0]):
        assert_recorded(y.numpy()[row], arrays("functions")[f"activation/{name}/value"][row], what=f"row {row}")
        expected = arrays("functions")[f"activation/{name}/derivative"][row]
        np.testing.assert_allclose(array_of(x.grad)[row], expected, rtol=2e-5, atol=1e-6, err_msg=f"row {row}")


def test_derivative_of_relu_at_zero_is_zero() -> None:
    x = gradlite.Tensor(np.zeros(3, np.float32), requires_grad=True)
    keras.activations.get("relu")(x).sum().backward()
    assert np.array_equal(array_of(x.grad), np.zeros(3, np.float32))
