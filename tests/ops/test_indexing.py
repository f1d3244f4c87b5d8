"""Indexing, gathers, sorting and top-k: drawn indices against NumPy, repeats, ties, and messages."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import draw
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import index_of, shapes

import gradlite
from gradlite import Tensor, ops
from gradlite.backends import get_backend

pytestmark = pytest.mark.usefixtures("each_device")


@settings(max_examples=150)
@given(data=st.data())
def test_reading_and_its_gradient_agree_with_numpy_for_every_kind_of_index(data):
    shape = data.draw(shapes())
    index = data.draw(index_of(shape))
    (x,) = draw([shape])
    t = Tensor(x, requires_grad=True)
    try:
        expected = x[index]
    except IndexError:
        with pytest.raises(IndexError):
            t[index]
        return
    found = t[index]
    np.testing.assert_array_equal(found.numpy(), expected, strict=True)
    weights = np.arange(1.0, expected.size + 1).reshape(expected.shape)
    scattered = np.zeros(shape)
    np.add.at(scattered, index, weights)
    (g,) = gradlite.grad(found, [t], weights, retain_graph=True)
    np.testing.assert_allclose(g.numpy(), scattered)
    if expected.size:
        seed = Tensor(weights, requires_grad=True)
        (first,) = gradlite.grad(found, [t], seed, create_graph=True)
        (second,) = gradlite.grad((first * first).sum(), [seed])
        np.testing.assert_allclose(second.numpy(), 2 * scattered[index])


@settings(max_examples=60)
@given(data=st.data())
def test_writing_agrees_with_numpy(data):
    shape = data.draw(shapes())
    index = data.draw(index_of(shape))
    x = np.zeros(shape)
    t = gradlite.zeros(shape, "float64")
    try:
        x[index] = 5.0
    except IndexError:
        return
    t[index] = 5.0
    np.testing.assert_array_equal(t.numpy(), x)


def test_positions_read_several_times_get_the_sum():
    x = Tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True)
    for read in (lambda i: x[i], lambda i: ops.take(x, i), lambda i: ops.take_along_axis(x, i, 0)):
        (g,) = gradlite.grad(read([1, 1, -2, 0]), [x], np.array([1.0, 10.0, 100.0, 1000.0]))
        np.testing.assert_array_equal(g.numpy(), [1000.0, 111.0, 0.0])


def test_the_gradient_of_an_embedding_adds_rows_and_knows_negative_numbers():
    table = Tensor(np.arange(8.0).reshape(4, 2), requires_grad=True)
    ids = np.array([[1, 1, 3], [-1, 0, 1]])
    y = ops.take(table, ids, axis=0)
    np.testing.assert_array_equal(y.numpy(), table.numpy()[ids])
    (g,) = gradlite.grad(y.sum(), [table])
    np.testing.assert_array_equal(g.numpy(), [[1, 1], [3, 3], [0, 0], [2, 2]])
    assert gradlite.gradgradcheck(lambda t: ops.take(t, ids, axis=0) ** 2, table)


def test_indices_of_every_integer_type_and_form_read_the_same():
    x = gradlite.arange(12.0).reshape(3, 4)
    expected = x.numpy()[[2, 0]]
    for index in (
        [2, 0],
        (2, 0),
        np.array([2, 0], np.uint8),
        np.array([2, 0], np.int32),
        Tensor([2, 0]),
        range(2, -1, -2),
    ):
        found = x[index,] if isinstance(index, tuple) else x[index]
        np.testing.assert_array_equal(found.numpy(), expected)
    np.testing.assert_array_equal(x[[]].numpy(), x.numpy()[[]])
    np.testing.assert_array_equal(x[()].numpy(), x.numpy())
    np.testing.assert_array_equal(x[np.bool_(False)].numpy(), x.numpy()[False])


@pytest.mark.parametrize("index", [1.5, "a", [0.5], np.ones(2), np.float32([1.0]), slice(0.5, 1), 2j, object()])
def test_what_is_no_index_is_refused(index):
    with pytest.raises(TypeError, match=r"index|integer"):
        gradlite.ones((3, 4))[index]
    with pytest.raises(TypeError, match="index"):
        gradlite.ones((3, 4))[gradlite.ones(1)]


@pytest.mark.cpu_only
@pytest.mark.parametrize("index", [3, -4, (0, 4), [0, 3], (0, 0, 0)])
def test_positions_outside_are_refused(index):
    with pytest.raises(IndexError):
        gradlite.ones((3, 4))[index]


@pytest.mark.cpu_only
def test_gathers_refuse_what_does_not_fit():
    x = gradlite.ones((3, 4))
    with pytest.raises(TypeError, match=r"take\(\) needs integer indices. Received: dtype float"):
        ops.take(x, [0.5])
    with pytest.raises(IndexError):
        ops.take(x, [4], axis=1)
    with pytest.raises(ValueError, match=r"rank 2. Received: indices of shape \(1,\)"):
        ops.take_along_axis(x, [0], 0)


@given(shape=shapes(1, 3, st.integers(1, 4)), data=st.data())
def test_gathers_along_an_axis_agree_with_numpy(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[axis]
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    (x,) = draw([shape])
    picks = rng.integers(-n, n, shape[:axis] + (3,) + (shape[axis + 1 :] if axis != -1 else ()))
    t = Tensor(x, requires_grad=True)
    np.testing.assert_array_equal(ops.take_along_axis(t, picks, axis).numpy(), np.take_along_axis(x, picks, axis))
    ids = rng.integers(-n, n, (2, 2))
    np.testing.assert_array_equal(ops.take(t, ids, axis).numpy(), np.take(x, ids, axis))
    assert gradlite.gradcheck(lambda t: ops.take_along_axis(t, picks, axis) ** 2, t)
    assert gradlite.gradcheck(lambda t: ops.take(t, ids, axis) ** 2, t)


@given(shape=shapes(1, 3), data=st.data())
def test_sorting_is_stable_in_both_directions(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    x = rng.integers(-2, 3, shape)
    expected = np.argsort(x, axis, kind="stable")
    np.testing.assert_array_equal(ops.argsort(Tensor(x), axis).numpy(), expected)
    np.testing.assert_array_equal(ops.argsort(Tensor(x), axis, True).numpy(), np.argsort(-x, axis, kind="stable"))
    np.testing.assert_array_equal(ops.sort(Tensor(x), axis).numpy(), np.sort(x, axis))
    np.testing.assert_array_equal(ops.sort(Tensor(x), axis, True).numpy(), -np.sort(-x, axis))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int64", "float16"])
def test_every_type_sorts_downwards(dtype):
    x = np.array([1, 0, 1, 0]).astype(dtype) if dtype == "bool" else np.array([3, 0, 127, 3]).astype(dtype)
    found = ops.sort(Tensor(x), descending=True)
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found.numpy(), np.sort(x)[::-1])
    lowest = np.array([-128, 0, 127], np.int8)
    np.testing.assert_array_equal(ops.sort(Tensor(lowest), descending=True).numpy(), lowest[::-1])


def test_top_k_gives_values_positions_and_the_first_of_equal_ones():
    x = Tensor([[1.0, 7.0, 7.0, 3.0], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    values, positions = ops.top_k(x, 3)
    np.testing.assert_array_equal(values.numpy(), [[7, 7, 3], [0, 0, 0]])
    np.testing.assert_array_equal(positions.numpy(), [[1, 2, 3], [0, 1, 2]])
    (g,) = gradlite.grad(values.sum(), [x])
    np.testing.assert_array_equal(g.numpy(), [[0, 1, 1, 1], [1, 1, 1, 0]])
    for k in (0, 5, -1):
        with pytest.raises(ValueError, match=f"0 < k <= 4.*k={k}"):
            ops.top_k(x, k)


def test_one_hot_rows_and_numbers_outside():
    np.testing.assert_array_equal(
        ops.one_hot([[0, 2], [3, -1]], 3).numpy(), [[[1, 0, 0], [0, 0, 1]], [[0] * 3, [0] * 3]]
    )
    assert ops.one_hot(1, 3, "int64").dtype == np.int64
    assert ops.one_hot([1], 3).dtype == np.float32


@pytest.mark.cpu_only
def test_index_and_plain_give_what_the_array_module_takes():
    found = ops.index((Tensor([1]), 2, None, slice(Tensor(0), None), [True, False]), get_backend("cpu"))
    np.testing.assert_array_equal(found[0], [1])
    assert found[1:4] == (2, None, slice(0, None, None))
    assert found[4].dtype == np.bool_
    cpu = get_backend("cpu")
    assert ops.plain(2.5, cpu) == 2.5
    np.testing.assert_array_equal(ops.plain(Tensor([1.0]), cpu), [1.0])
    np.testing.assert_array_equal(ops.plain([1.0, 2.0], cpu), [1.0, 2.0])
