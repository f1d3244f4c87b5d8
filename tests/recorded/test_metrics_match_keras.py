"""Metrics give Keras's results after every batch of a stream, with and without sample weights."""

from __future__ import annotations

import function_cases
import numpy as np
import pytest
from function_cases import ScoreCase
from recorded_values import array_of, facts

from gradlite import keras

pytestmark = pytest.mark.usefixtures("each_device")

EVERY_METRIC = pytest.mark.parametrize("case", function_cases.METRICS, ids=lambda case: case.name)


@EVERY_METRIC
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_results_of_a_stream_are_those_of_keras(case: ScoreCase, weighted: bool) -> None:
    metric = getattr(keras.metrics, case.score)(**case.kwargs)
    expected = facts()["metrics"][case.name]["weighted_results" if weighted else "results"]
    for batch in range(function_cases.BATCHES):
        function_cases.update_metric(metric, case, batch, weighted)
        actual = array_of(metric.result())
        assert actual.shape == np.shape(expected[batch])
        np.testing.assert_allclose(actual, expected[batch], rtol=2e-5, atol=2e-6, err_msg=f"after batch {batch}")


@EVERY_METRIC
def test_reset_makes_a_metric_new(case: ScoreCase) -> None:
    metric = getattr(keras.metrics, case.score)(**case.kwargs)
    expected = facts()["metrics"][case.name]
    function_cases.update_metric(metric, case, 1, True)
    metric.reset_state()
    np.testing.assert_allclose(array_of(metric.result()), expected["reset_result"])
    function_cases.update_metric(metric, case, 0, False)
    np.testing.assert_allclose(array_of(metric.result()), expected["results"][0], rtol=2e-5, atol=2e-6)


@EVERY_METRIC
def test_a_new_metric_is_named_as_in_keras(case: ScoreCase) -> None:
    keras.utils.clear_session()
    assert getattr(keras.metrics, case.score)(**case.kwargs).name == facts()["metrics"][case.name]["auto_name"]
