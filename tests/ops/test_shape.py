"""Operations that change shape: drawn shapes against NumPy, views that share memory, and messages."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import draw, share_memory, strided
from hypothesis import given
from hypothesis import strategies as st
from strategies import shapes

import gradlite
from gradlite import Tensor, ops

pytestmark = pytest.mark.usefixtures("each_device")


def same(found, expected):
    np.testing.assert_array_equal(found.numpy(), expected, strict=True)


@given(shape=shapes(), data=st.data())
def test_transposes_flips_and_moves_agree_with_numpy(shape, data):
    (x,) = draw([shape])
    t, ndim = Tensor(strided(x)), len(shape)
    order = data.draw(st.permutations(range(ndim)))
    same(ops.transpose(t, order), x.transpose(order))
    same(ops.transpose(t), x.T)
    some = data.draw(st.lists(st.integers(-ndim, ndim - 1), unique_by=lambda i: i % ndim) if ndim else st.just([]))
    same(ops.flip(t, some), np.flip(x, tuple(some)))
    same(ops.squeeze(t), x.squeeze())
    if ndim:
        i, j = data.draw(st.tuples(*[st.integers(-ndim, ndim - 1)] * 2))
        same(ops.swapaxes(t, i, j), x.swapaxes(i, j))
        same(ops.moveaxis(t, i, j), np.moveaxis(x, i, j))
    k = data.draw(st.integers(-ndim - 1, ndim))
    same(ops.expand_dims(t, k), np.expand_dims(x, k))
    same(ops.reshape(t, (-1,) if x.size else (0,)), x.reshape(-1))


@given(shape=shapes(1), data=st.data())
def test_joins_and_splits_agree_with_numpy(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    lengths = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    parts = draw([shape[:axis] + (n,) + (shape[axis + 1 :] if axis != -1 else ()) for n in lengths])
    tensors = [Tensor(p, requires_grad=True) for p in parts]
    joined = ops.concatenate(tensors, axis)
    same(joined, np.concatenate(parts, axis))
    cuts = np.cumsum(lengths)[:-1].tolist()
    for part, original in zip(ops.split(joined, cuts, axis), parts):
        same(part, original)
    weights = draw([joined.shape])[0]
    for g, piece in zip(gradlite.grad(joined, tensors, weights), np.split(weights, cuts, axis)):
        same(g, piece)
    copies = [Tensor(parts[0])] * 2
    same(ops.stack(copies, axis), np.stack([parts[0]] * 2, axis))


@given(shape=shapes(), data=st.data())
def test_repetition_and_padding_agree_with_numpy(shape, data):
    (x,) = draw([shape])
    t = Tensor(x)
    counts = tuple(data.draw(st.lists(st.integers(0, 3), max_size=4)))
    same(ops.tile(t, counts), np.tile(x, counts))
    times = data.draw(st.integers(0, 3))
    same(ops.repeat(t, times), np.repeat(x, times))
    if shape:
        axis = data.draw(st.integers(-len(shape), len(shape) - 1))
        same(ops.repeat(t, times, axis), np.repeat(x, times, axis))
    widths = [data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2))) for _ in shape]
    same(ops.pad(t, widths or 0, value=7), np.pad(x, widths or 0, constant_values=7) if shape else x)
    if shape and 0 not in shape:
        for mode in ("edge", "symmetric") + (("reflect",) if min(shape) > 1 else ()):
            same(ops.pad(t, widths, mode), np.pad(x, widths, mode=mode))


@given(shape=shapes(), data=st.data())
def test_broadcasting_repeats_without_memory_and_its_gradient_sums(shape, data):
    small = tuple(1 if data.draw(st.booleans()) else n for n in shape)
    lead = data.draw(shapes(0, 2))
    x = Tensor(draw([small])[0], requires_grad=True)
    wide = ops.broadcast_to(x, lead + shape)
    same(wide, np.broadcast_to(x.numpy(), lead + shape))
    assert wide.size == 0 or share_memory(wide.data, x.data)
    (g,) = gradlite.grad(wide.sum(), [x])
    times = wide.size // x.size if x.size else 0
    same(g, np.full(small, float(times)))


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.reshape(3, 2), lambda x: x.T, lambda x: x[1], lambda x: x[:, ::-1], lambda x: x[None, ..., 0],
        lambda x: x.flip(0), lambda x: x.swapaxes(0, 1), lambda x: x.expand_dims(1), lambda x: x.split(3, 1)[1],
        lambda x: ops.squeeze(x[None]), lambda x: ops.moveaxis(x, 0, 1), lambda x: x.broadcast_to(2, 2, 3),
    ],
)  # fmt: skip
def test_views_share_memory_and_copy_nothing(view):
    x = Tensor(np.arange(6.0).reshape(2, 3))
    assert share_memory(view(x).data, x.data)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: ops.reshape(x, (4, 2)), r"reshape 6 elements of shape \(2, 3\) into \(4, 2\)"),
        (lambda x: ops.reshape(x, (-1, -1)), "reshape 6 elements"),
        (lambda x: ops.reshape(x, (-1, 4)), "reshape 6 elements"),
        (lambda x: ops.transpose(x, (0, 0)), r"every axis of shape \(2, 3\) once. Received: axes=\(0, 0\)"),
        (lambda x: ops.transpose(x, (0,)), "every axis"),
        (lambda x: ops.transpose(x, (0, 2)), "axis=2 is out of range for a tensor of 2 axes"),
        (lambda x: ops.squeeze(x, 0), r"squeeze axis 0 of shape \(2, 3\)"),
        (lambda x: ops.broadcast_to(x, (3, 3)), r"broadcast shape \(2, 3\) to \(3, 3\)"),
        (lambda x: ops.broadcast_to(x, (3,)), "broadcast"),
        (lambda x: ops.concatenate([x, x[0]]), r"agree except along axis 0. Received: \(2, 3\), \(3,\)"),
        (lambda x: ops.concatenate([x, x], 2), "axis=2 is out of range"),
        (lambda x: ops.concatenate([]), "at least one tensor"),
        (lambda x: ops.split(x, 2, 1), "split 3 elements along axis 1 into 2 equal parts"),
        (lambda x: ops.pad(x, -1), "not negative"),
        (lambda x: ops.pad(x, 1, mode="wrap"), "mode='wrap'"),
        (lambda x: ops.stack([x, x[0]]), "agree except along axis 0"),
    ],
)
def test_impossible_shapes_are_refused_and_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(gradlite.ones((2, 3)))


def test_empty_shapes_and_numpys_integers_are_taken():
    x = gradlite.zeros((0, 3))
    assert ops.reshape(x, (3, 0)).shape == (3, 0)
    assert ops.reshape(x, (-1, 3)).shape == (0, 3)
    n = np.int64(1)
    assert ops.expand_dims(gradlite.ones(2), n).shape == (2, 1)
    assert ops.reshape(gradlite.ones(2), np.int64(2)).shape == (2,)
    assert ops.tile(gradlite.ones(2), np.int64(2)).shape == (4,)
    assert ops.broadcast_to(1.0, 3).shape == (3,)
    assert ops.flip(gradlite.ones((2, 3)), n).shape == (2, 3)
    assert ops.stack([1.0, 2.0]).shape == (2,)
