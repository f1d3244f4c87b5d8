"""Reductions over drawn shapes and axes; ties, zeros, infinities, long sums, and empty tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import assert_close, draw
from hypothesis import given
from hypothesis import strategies as st
from strategies import shape_and_axes

import gradlite
from gradlite import Tensor, ops

pytestmark = pytest.mark.usefixtures("each_device")


@given(drawn=shape_and_axes(), keepdims=st.booleans())
def test_sums_products_and_truths_agree_with_numpy_also_of_nothing(drawn, keepdims):
    shape, axis = drawn
    (x,) = draw([shape])
    t = Tensor(x, requires_grad=True)
    for name in ("sum", "prod", "all", "any"):
        found = getattr(ops, name)(t, axis, keepdims)
        assert_close(found.numpy(), getattr(np, name)(x, axis=axis, keepdims=keepdims))
    assert_close(ops.count_nonzero(t, axis, keepdims).numpy(), np.count_nonzero(x, axis=axis, keepdims=keepdims))
    (g,) = gradlite.grad(ops.sum(t, axis, keepdims).sum(), [t])
    np.testing.assert_array_equal(g.numpy(), np.ones(shape))


@given(drawn=shape_and_axes(empty=False), keepdims=st.booleans())
def test_moments_and_extremes_agree_with_numpy(drawn, keepdims):
    shape, axis = drawn
    (x,) = draw([shape])
    for name in ("mean", "var", "std", "max", "min"):
        assert_close(getattr(ops, name)(Tensor(x), axis, keepdims).numpy(),
                     getattr(np, name)(x, axis=axis, keepdims=keepdims))  # fmt: skip
    expected = np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))
    assert_close(ops.logsumexp(Tensor(x), axis, keepdims).numpy(), expected)


@given(drawn=shape_and_axes(empty=False), keepdims=st.booleans())
def test_gradients_of_reductions_agree_with_finite_differences(drawn, keepdims):
    shape, axis = drawn
    t = Tensor(draw([shape])[0], requires_grad=True)
    for name in ("mean", "var", "max", "prod", "logsumexp"):
        assert gradlite.gradcheck(lambda x, n=name: getattr(ops, n)(x, axis, keepdims), t)


@given(drawn=shape_and_axes(least=1, empty=False))
def test_running_sums_and_positions_agree_with_numpy(drawn):
    shape, axis = drawn
    (x,) = draw([shape])
    axis = axis if isinstance(axis, int) else None
    for name in ("cumsum", "argmax", "argmin"):
        assert_close(getattr(ops, name)(Tensor(x), axis).numpy(), getattr(np, name)(x, axis))


def gradient(function, values):
    x = Tensor(values, dtype="float64", requires_grad=True)
    return gradlite.grad(function(x).sum(), x).numpy()


def test_tied_extremes_share_the_gradient():
    x = [[1.0, 5.0, 5.0], [5.0, 0.0, 5.0]]
    np.testing.assert_array_equal(gradient(ops.max, x), [[0, 0.25, 0.25], [0.25, 0, 0.25]])
    np.testing.assert_array_equal(gradient(lambda x: ops.max(x, 1), x), [[0, 0.5, 0.5], [0.5, 0, 0.5]])
    np.testing.assert_array_equal(gradient(lambda x: ops.min(x, 0, keepdims=True), x), [[1, 0, 0.5], [0, 1, 0.5]])


def test_equal_elements_give_the_first_position():
    x = Tensor([[1.0, 5.0, 5.0], [0.0, 0.0, -1.0]])
    np.testing.assert_array_equal(ops.argmax(x, 1).numpy(), [1, 0])
    np.testing.assert_array_equal(ops.argmin(-x, 1).numpy(), [1, 0])


@pytest.mark.parametrize(
    "values", [[2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [4.0], [2.0, -1.0, 3.0, 0.0, 5.0]]
)
def test_products_with_zeros_have_right_derivatives_of_both_orders(values):
    x = Tensor(values, dtype="float64", requires_grad=True)
    expected = [math.prod(values[:i] + values[i + 1 :]) for i in range(len(values))]
    np.testing.assert_allclose(gradlite.grad(ops.prod(x), x).numpy(), expected)
    assert gradlite.gradcheck(ops.prod, x)
    assert gradlite.gradgradcheck(ops.prod, x)


def test_norms_and_deviations_at_zero_have_gradient_zero():
    for p in (1, 2, 3, 1.5, math.inf):
        np.testing.assert_array_equal(gradient(lambda x, p=p: ops.norm(x, p), [0.0, 0.0]), [0, 0])
        mixed = gradient(lambda x, p=p: ops.norm(x, p, axis=1), [[0.0, 0.0], [3.0, 0.0]])
        np.testing.assert_allclose(mixed, [[0, 0], [1, 0]])
    np.testing.assert_array_equal(gradient(ops.std, [2.0, 2.0]), [0, 0])
    with pytest.raises(ValueError, match=r"ord > 0. Received: ord=0"):
        ops.norm(gradlite.ones(2), 0)


def test_logsumexp_takes_infinities_and_large_numbers():
    inf = np.inf
    for values, expected, slope in (
        ([1000.0, 1000.0], 1000 + math.log(2), [0.5, 0.5]), ([-inf, 1.0], 1.0, [0, 1]), ([-inf, -inf], -inf, [0, 0]),
        ([-1000.0, -1001.0], -1000 + math.log1p(math.exp(-1)), None),
    ):  # fmt: skip
        assert ops.logsumexp(Tensor(values, dtype="float64")).item() == pytest.approx(expected)
        if slope is not None:
            np.testing.assert_allclose(gradient(ops.logsumexp, values), slope)
    assert ops.logsumexp(Tensor([inf, 1.0])).item() == inf
    assert np.isnan(ops.logsumexp(Tensor([np.nan, 1.0])).item())


def test_the_variance_of_large_numbers_keeps_its_digits():
    x = np.float32([10000.0, 10001.0, 10002.0])
    assert ops.var(Tensor(x)).item() == pytest.approx(2 / 3, rel=1e-5)


def test_a_long_float32_sum_and_mean_stay_accurate():
    x = np.full(1_000_000, 0.1, np.float32)
    assert ops.sum(Tensor(x)).item() == pytest.approx(1e5, rel=1e-5)
    assert ops.mean(Tensor(x.astype(np.float16))).item() == pytest.approx(0.1, rel=1e-3)


def test_the_extreme_of_nothing_is_refused_and_named():
    with pytest.raises(ValueError, match=r"max\(\) of \(0, 3\)"):
        ops.max(gradlite.zeros((0, 3)), 0)
    assert ops.max(gradlite.zeros((0, 3)), 1).shape == (0,)


@pytest.mark.parametrize("axis", [2, -3, (0, 2), (0, 0), (0, -2)])
def test_axes_that_do_not_exist_or_repeat_are_refused_and_named(axis):
    for function in (ops.sum, ops.mean, ops.var, ops.max, ops.prod, ops.logsumexp, ops.all):
        with pytest.raises(ValueError, match="axis="):
            function(gradlite.ones((2, 3)), axis)


def test_a_tensor_without_axes_is_its_own_sum_and_has_no_axis_0():
    x = Tensor(3.0, requires_grad=True)
    for function in (ops.sum, ops.mean, ops.max, ops.prod, ops.logsumexp):
        assert function(x).item() == 3.0
        assert gradlite.grad(function(x), x).item() == 1.0
        with pytest.raises(ValueError, match=r"axis=0 is out of range for a tensor of 0 axes"):
            function(x, 0)
    assert ops.cumsum(x).shape == (1,)


def test_numpys_integers_are_axes():
    assert ops.sum(gradlite.ones((2, 3)), np.int64(1)).shape == (2,)
    assert ops.sum(gradlite.ones((2, 3)), [0, 1]).shape == ()


@given(drawn=shape_and_axes(empty=False))
def test_sum_to_is_the_transpose_of_broadcast_to(drawn):
    shape, _ = drawn
    full = (2, *shape)
    small = tuple(1 if i % 2 else n for i, n in enumerate(shape))
    y, x = draw([full, small])
    left = (ops.broadcast_to(Tensor(x), full).numpy() * y).sum()
    right = (x * ops.sum_to(Tensor(y), small).numpy()).sum()
    assert left == pytest.approx(right)
