"""Every public operation: values as NumPy's, gradients of first and second order as finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import check_op, draw, listed, strided, tensors
from operation_cases import CASES, ELSEWHERE

import gradlite
from gradlite import nn, ops


def test_every_public_operation_has_a_case():
    covered = {case.name for case in CASES} | set(ELSEWHERE)
    assert set(ops.__all__) - covered == set()
    assert covered - set(ops.__all__) == set()


def test_every_operation_is_offered_at_the_top_or_used_only_inside():
    inside = {"index", "plain", "as_tensor"}
    assert set(ops.__all__) - inside <= set(gradlite.__all__)
    for name in set(ops.__all__) - inside:
        assert getattr(gradlite, name) is getattr(ops, name)
    for name in nn.__all__:
        assert callable(getattr(nn, name))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values_and_gradients_agree_with_numpy_and_finite_differences(case, backend):
    check_op(case.function, case.shapes, case.reference, backend=backend, **case.options)


@pytest.mark.parametrize("case", [c for c in CASES if c.shapes], ids=lambda case: case.name)
def test_gradients_are_the_same_for_strided_inputs_and_leave_the_inputs_alone(case, backend):
    arrays = draw(case.shapes, case.options.get("low", -2), case.options.get("high", 2))
    before = [x.copy() for x in arrays]
    gradients = []
    for version in (arrays, [strided(x) for x in arrays]):
        inputs = tensors(version, backend, grad=True)
        outputs = [y for y in listed(case.function(*inputs)) if y.requires_grad]
        if not outputs:
            assert not case.options.get("differentiable", True)
            return
        weights = [gradlite.Tensor(np.linspace(1, 2, y.size).reshape(y.shape), device=backend) for y in outputs]
        gradients.append([g.numpy() for g in gradlite.grad(outputs, inputs, weights)])
    for a, b in zip(*gradients):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    for x, old in zip(arrays, before):
        np.testing.assert_array_equal(x, old)
