"""Losses, regularizers and constraints give Keras's values and gradients under every reduction and weighting."""

from __future__ import annotations

from typing import Any

import function_cases
import numpy as np
import pytest
from function_cases import ScoreCase
from recorded_values import arrays, assert_recorded

import gradlite
from gradlite import keras

pytestmark = pytest.mark.usefixtures("each_device")

EVERY_LOSS = pytest.mark.parametrize("case", function_cases.LOSSES, ids=lambda case: case.name)
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])


def recorded(case: ScoreCase, key: str, weighted: bool) -> np.ndarray:
    return arrays("functions")[f"loss/{case.name}/{key}{'_weighted' if weighted else ''}"]


@EVERY_LOSS
@WEIGHTED
@pytest.mark.parametrize("reduction", function_cases.REDUCTIONS)
def test_loss_is_that_of_keras(case: ScoreCase, weighted: bool, reduction: str) -> None:
    y_true, y_pred, weights = function_cases.loss_data(case)
    loss = getattr(keras.losses, case.score)(reduction=reduction, **case.kwargs)
    given: dict[str, Any] = {"sample_weight": weights} if weighted else {}
    assert_recorded(loss(y_true, gradlite.Tensor(y_pred), **given), recorded(case, reduction, weighted))


@EVERY_LOSS
@WEIGHTED
def test_gradient_of_the_loss_is_that_of_keras(case: ScoreCase, weighted: bool) -> None:
    y_true, y_pred, weights = function_cases.loss_data(case)
    prediction = gradlite.Tensor(y_pred, requires_grad=True)
    given: dict[str, Any] = {"sample_weight": weights} if weighted else {}
    getattr(keras.losses, case.score)(**case.kwargs)(y_true, prediction, **given).backward()
    assert_recorded(prediction.grad, recorded(case, "gradient", weighted), 5e-5)


@pytest.mark.parametrize(("name", "score", "kwargs"), function_cases.REGULARIZERS, ids=lambda value: str(value))
def test_regularizer_and_its_gradient_are_those_of_keras(name: str, score: str, kwargs: dict[str, Any]) -> None:
    kernel = gradlite.Tensor(function_cases.regularized_kernel(), requires_grad=True)
    value = getattr(keras.regularizers, score)(**kwargs)(kernel)
    value.sum().backward()
    assert_recorded(value, arrays("functions")[f"regularizer/{name}/value"])
    assert_recorded(kernel.grad, arrays("functions")[f"regularizer/{name}/gradient"])


@pytest.mark.parametrize(("name", "score", "kwargs"), function_cases.CONSTRAINTS, ids=lambda value: str(value))
def test_constraint_is_that_of_keras(name: str, score: str, kwargs: dict[str, Any]) -> None:
    kernel = gradlite.Tensor(function_cases.regularized_kernel())
    constrained = getattr(keras.constraints, score)(**kwargs)(kernel)
    assert_recorded(constrained, arrays("functions")[f"constraint/{name}"])
