"""Every layer gives Keras's outputs, gradients and states for the same weights and inputs."""

from __future__ import annotations

from typing import Any

import layer_cases
import numpy as np
import pytest
from layer_cases import LayerCase
from recorded_values import arrays, assert_recorded, facts

import gradlite
from gradlite import keras

pytestmark = pytest.mark.usefixtures("each_device")

BY_NAME = pytest.mark.parametrize("case", layer_cases.CASES, ids=lambda case: case.name)


def recorded(case: LayerCase, key: str) -> np.ndarray:
    return arrays("layers")[f"{case.name}/{key}"]


def called(case: LayerCase) -> tuple[Any, list[gradlite.Tensor], gradlite.Tensor]:
    """The layer with its fixed weights, the inputs of its last call, and the output."""
    layer = getattr(keras.layers, case.layer)(**case.kwargs)
    if case.adapt_shape is not None:
        layer.adapt(case.adapt_data())
    else:
        shapes = [x.shape for x in case.inputs()]
        layer.build(shapes[0] if len(shapes) == 1 else shapes)
        weights = facts()["layers"][case.name]["weights"]
        layer.set_weights(case.weights([(name, tuple(shape)) for name, shape in weights]))
    options = {} if case.training is None else {"training": case.training}
    for call in range(case.calls):
        inputs = [gradlite.Tensor(x, requires_grad=case.differentiable_input) for x in case.inputs(call)]
        output = layer(inputs[0] if len(inputs) == 1 else inputs, **options)
    return layer, inputs, output


@BY_NAME
def test_weights_have_the_names_shapes_and_order_of_keras(case: LayerCase) -> None:
    layer = getattr(keras.layers, case.layer)(**case.kwargs)
    if case.adapt_shape is not None:
        layer.adapt(case.adapt_data())
    else:
        shapes = [x.shape for x in case.inputs()]
        layer.build(shapes[0] if len(shapes) == 1 else shapes)
    expected = facts()["layers"][case.name]
    assert [[w.name, list(w.shape)] for w in layer.weights] == expected["weights"]
    assert [w.name for w in layer.trainable_weights] == expected["trainable"]


@BY_NAME
def test_output_is_that_of_keras(case: LayerCase) -> None:
    layer, _, output = called(case)
    assert output.dtype == np.float32
    assert_recorded(output, recorded(case, "output"), what="output")
    for i, weight in enumerate(layer.non_trainable_weights):
        assert_recorded(weight, recorded(case, f"state{i}"), what=weight.name)


@BY_NAME
def test_output_shape_is_computed_without_calling(case: LayerCase) -> None:
    layer = getattr(keras.layers, case.layer)(**case.kwargs)
    shapes = [x.shape for x in case.inputs()]
    computed = layer.compute_output_shape(shapes[0] if len(shapes) == 1 else shapes)
    assert tuple(computed) == tuple(facts()["layers"][case.name]["output_shape"])


@BY_NAME
def test_gradients_are_those_of_keras(case: LayerCase) -> None:
    layer, inputs, output = called(case)
    if not output.requires_grad:
        assert not case.differentiable_input
        assert not layer.trainable_weights
        return
    (output * case.cotangent(output.shape)).sum().backward()
    for i, weight in enumerate(layer.trainable_weights):
        assert weight.grad is not None, f"{weight.name} has no gradient"
        assert_recorded(weight.grad, recorded(case, f"weight_gradient{i}"), 5e-5, f"gradient of {weight.name}")
    if case.differentiable_input:
        for i, x in enumerate(inputs):
            assert x.grad is not None, f"input {i} has no gradient"
            assert_recorded(x.grad, recorded(case, f"input_gradient{i}"), 5e-5, f"gradient of input {i}")


@BY_NAME
def test_a_new_layer_is_named_as_in_keras(case: LayerCase) -> None:
    keras.utils.clear_session()
    assert getattr(keras.layers, case.layer)(**case.kwargs).name == facts()["layers"][case.name]["auto_name"]
