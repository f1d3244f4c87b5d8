"""Tensors among NumPy's arrays and scalars, and other libraries' arrays by DLPack."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import gradlite
from gradlite import Tensor


def test_asarray_shares_memory_and_array_copies():
    t = Tensor([1.0, 2.0])
    assert np.asarray(t) is t.data or np.shares_memory(np.asarray(t), t.data)
    assert not np.shares_memory(np.array(t), t.data)
    assert np.shares_memory(np.asarray(t, copy=False), t.data)
    assert not np.shares_memory(np.asarray(t, copy=True), t.data)


def test_asarray_converts_to_a_dtype_and_refuses_to_without_a_copy():
    t = Tensor([1.0, 2.0])
    assert np.asarray(t, dtype="float64").dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.asarray(t, dtype="float64", copy=False)


def test_numpy_functions_take_tensors_that_become_arrays():
    t = Tensor([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(np.concatenate([np.asarray(t), np.ones((1, 2))]), [[1, 2], [3, 4], [1, 1]])
    np.testing.assert_array_equal(np.stack([t, t]).shape, (2, 2, 2))
    np.testing.assert_allclose(t, np.array([[1, 2], [3, 4]]))


def test_ufuncs_of_numpy_refuse_tensors_instead_of_losing_the_gradient():
    with pytest.raises(TypeError, match="does not support ufuncs"):
        np.sin(Tensor([1.0], requires_grad=True))


OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
    operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
]  # fmt: skip


@pytest.mark.parametrize("apply", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "other",
    [np.float32(2), np.float64(2), np.int64(2), np.array(2.0), np.full(3, 2.0), np.full((2, 1), 2.0, np.float32)],
)
def test_operators_with_numpy_on_either_side_give_tensors_of_numpys_type(apply, other):
    x = np.float32([1.0, 2.0, 3.0])
    t = Tensor(x, requires_grad=True)
    for found, expected in ((apply(t, other), apply(x, other)), (apply(other, t), apply(other, x))):
        assert isinstance(found, Tensor)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_matrix_products_and_logic_with_arrays_on_the_left():
    t = Tensor(np.ones((2, 3)), requires_grad=True)
    y = np.full((4, 2), 2.0) @ t
    assert isinstance(y, Tensor)
    y.sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), np.full((2, 3), 8.0))
    mask = np.array([True, False]) & Tensor([True, True])
    assert isinstance(mask, Tensor)
    np.testing.assert_array_equal(mask.numpy(), [True, False])


def test_gradients_flow_through_mixed_expressions():
    t = Tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    (np.array([3.0, 4.0]) * t + np.float64(2) * t - [1.0, 1.0]).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), [5.0, 6.0])


def test_arrays_are_taken_by_every_operation_and_left_alone():
    a, b = np.ones((2, 3)), np.ones((3, 2))
    assert gradlite.matmul(a, b).dtype == np.float64
    assert gradlite.concatenate([a, [[1.0, 2.0, 3.0]]]).shape == (3, 3)
    assert gradlite.softmax(a[0]).shape == (3,)
    np.testing.assert_array_equal(a, np.ones((2, 3)))


def test_dlpack_shares_memory_in_both_directions():
    x = np.arange(6.0).reshape(2, 3)
    t = gradlite.from_dlpack(x)
    assert np.shares_memory(t.data, x)
    np.testing.assert_array_equal(t.numpy(), x)
    back = np.from_dlpack(t)
    back[0, 0] = 9.0
    assert x[0, 0] == 9.0
    assert gradlite.from_dlpack(t).data.shape == (2, 3)
    assert t.__dlpack_device__() == x.__dlpack_device__()


def test_strided_and_read_only_arrays_are_taken():
    x = np.arange(12.0).reshape(3, 4)
    x.flags.writeable = False
    t = Tensor(x[::-1, ::2], requires_grad=True)
    (t * t).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), 2 * x[::-1, ::2])


def test_tensors_index_arrays_and_arrays_index_tensors():
    x = np.arange(5.0)
    t = Tensor(x)
    np.testing.assert_array_equal(t[Tensor([3, 1])].numpy(), x[[3, 1]])
    np.testing.assert_array_equal(t[Tensor(2)].numpy(), x[2])
    np.testing.assert_array_equal(t[t > 2].numpy(), x[x > 2])
    np.testing.assert_array_equal(t[np.array([0, 4])].numpy(), x[[0, 4]])
    np.testing.assert_array_equal(x[Tensor([3, 1])], x[[3, 1]])
    np.testing.assert_array_equal(t[Tensor(1) : Tensor(3)].numpy(), x[1:3])
