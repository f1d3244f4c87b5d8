"""Whole training runs follow Keras's, batch by batch, and `fit` returns what Keras's returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import trajectory_cases
from recorded_values import facts
from trajectory_cases import FitCase, TrajectoryCase

from gradlite import keras

RUNS = [
    pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.network == "shallow_vgg" else [])
    for case in trajectory_cases.CASES
]


@pytest.mark.parametrize("case", RUNS)
def test_losses_of_every_batch_are_those_of_keras(case: TrajectoryCase) -> None:
    keras.utils.clear_session()
    expected = np.asarray(facts()["trajectories"][case.name]["losses"])
    actual = trajectory_cases.losses(keras, case)
    deviation = np.abs(actual - expected) / np.abs(expected)
    worst = int(np.argmax(deviation))
    assert deviation[worst] < case.tolerance, f"batch {worst}: loss {actual[worst]}, Keras has {expected[worst]}"


@pytest.mark.parametrize("case", trajectory_cases.CASES, ids=lambda case: case.name)
def test_recorded_run_is_steady_enough_to_compare(case: TrajectoryCase) -> None:
    recorded = facts()["trajectories"][case.name]
    assert len(recorded["losses"]) == case.steps
    assert max(recorded["sensitivity"]["one_rounding"]) < case.tolerance / 5
    assert max(recorded["sensitivity"]["eight_roundings"]) < case.tolerance / 2
    assert np.mean(recorded["losses"][-10:]) < recorded["losses"][0]


@pytest.mark.parametrize("case", trajectory_cases.FITS, ids=lambda case: case.name)
def test_fit_evaluate_and_predict_return_what_keras_returns(case: FitCase) -> None:
    keras.utils.clear_session()
    expected = facts()["fits"][case.name]
    if case.name == "class_weight":
        # Keras lists a weighted metric of the same name twice; here evaluate gives each metric once.
        flat = {key: expected[key][:-1] for key in ("evaluate", "test_on_batch")}
        expected = {**expected, **flat, "train_on_batch": [row[:-1] for row in expected["train_on_batch"]]}
    assert_same(trajectory_cases.run_fit(keras, case), expected, case.name)


def assert_same(actual: Any, expected: Any, where: str) -> None:
    """Same structure, keys in the same order, numbers to float32 accuracy."""
    if isinstance(expected, dict):
        assert list(actual) == list(expected), where
        for key in expected:
            assert_same(actual[key], expected[key], f"{where}: {key}")
    elif isinstance(expected, float) or (isinstance(expected, list) and np.asarray(expected).dtype.kind == "f"):
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-6, err_msg=where)
    else:
        assert actual == expected, where
