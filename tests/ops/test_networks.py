"""Convolution, pooling, normalization and cross-entropies beyond the table: drawn sizes, ends, and messages."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, check_op, draw
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import avg_pool, convolution, max_pool, transposed_convolution, two

import gradlite
from gradlite import Tensor, ops

pytestmark = pytest.mark.usefixtures("each_device")

SMALL = st.integers(1, 3)


@settings(max_examples=40)
@given(data=st.data())
def test_convolutions_agree_with_loops_over_strides_padding_dilation_and_groups(data):
    def some(high):
        return data.draw(st.tuples(st.integers(1, high), st.integers(1, high)))

    groups = data.draw(SMALL)
    window, dilation, strides = some(3), some(2), some(3)
    size = tuple(data.draw(st.integers((k - 1) * d + 1, 7)) for k, d in zip(window, dilation))
    padding = data.draw(st.sampled_from(["valid", "same", 1, ((0, 1), (2, 0)), [1, 0]]))
    x_shape = (data.draw(SMALL), *size, groups * data.draw(SMALL))
    w_shape = (*window, x_shape[3] // groups, groups * data.draw(SMALL))
    x, w, b = draw([x_shape, w_shape, (w_shape[3],)])
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    inputs = [Tensor(a, requires_grad=True) for a in (x, w, b)]
    y = ops.conv2d(*inputs, **options)
    assert_close(y.numpy(), convolution(x, w, b, **options))
    if x.size + w.size < 120:
        assert gradlite.gradcheck(lambda *a: ops.conv2d(*a, **options), inputs)


@settings(max_examples=30)
@given(data=st.data())
def test_transposed_convolutions_agree_with_loops(data):
    strides, window, size = (data.draw(st.tuples(SMALL, SMALL)) for _ in range(3))
    padding = data.draw(st.sampled_from(["valid", "same"]))
    extra = data.draw(st.sampled_from([None, 0]))
    dilation = data.draw(st.sampled_from([1, 2])) if strides == (1, 1) else 1
    x, w = draw([(2, *size, 2), (*window, 3, 2)])
    options = {"strides": strides, "padding": padding, "dilation": dilation, "output_padding": extra}
    assert_close(ops.conv2d_transpose(x, w, **options).numpy(), transposed_convolution(x, w, None, **options))


@pytest.mark.parametrize(("strides", "padding"), [(1, "valid"), (2, "same"), ((1, 2), "valid"), (3, "same")])
def test_a_transposed_convolution_is_the_transpose_of_the_convolution(strides, padding):
    w = draw([(3, 2, 2, 4)])[0]
    (small,) = draw([(1, 3, 2, 4)])
    large = ops.conv2d_transpose(small, w, strides=strides, padding=padding)
    (image,) = draw([large.shape], seed=1)
    forward = ops.conv2d(image, w, strides=strides, padding=padding).numpy()
    assert forward.shape == small.shape
    assert (forward * small).sum() == pytest.approx((image * large.numpy()).sum())


@settings(max_examples=30)
@given(data=st.data())
def test_pooling_agrees_with_loops(data):
    window, strides = (data.draw(st.tuples(SMALL, SMALL)) for _ in range(2))
    size = tuple(data.draw(st.integers(k, 6)) for k in window)
    padding = data.draw(st.sampled_from(["valid", "same"]))
    (x,) = draw([(2, *size, 2)])
    for function, loop in ((ops.max_pool2d, max_pool), (ops.avg_pool2d, avg_pool)):
        assert_close(function(x, window, strides, padding).numpy(), loop(x, window, strides, padding))


def test_of_tied_maxima_the_first_in_the_window_gets_the_gradient():
    x = Tensor(np.ones((1, 2, 2, 1)), requires_grad=True)
    (g,) = gradlite.grad(ops.max_pool2d(x).sum(), [x])
    np.testing.assert_array_equal(g.numpy().ravel(), [1, 0, 0, 0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: ops.conv2d(x[0], np.ones((3, 3, 2, 1))), r"conv2d\(\) needs images .* shapes \(5, 5, 2\)"),
        (lambda x: ops.conv2d(x, np.ones((3, 3, 3, 1))), r"images of 2 channels. Received: kernel \(3, 3, 3, 1\)"),
        (lambda x: ops.conv2d(x, np.ones((3, 3, 1, 3)), groups=2), "f a multiple of"),
        (lambda x: ops.conv2d(x, np.ones((6, 3, 2, 1))), r"larger than the image \(5, 5\).*padding='same'"),
        (lambda x: ops.conv2d(x, np.ones((3, 3, 2, 1)), np.ones(2)), r"needs a bias \(1,\). Received: \(2,\)"),
        (lambda x: ops.conv2d(x, np.ones((3, 3, 2, 1)), strides=0), "strides must be a positive integer"),
        (lambda x: ops.conv2d(x, np.ones((3, 3, 2, 1)), dilation=(1, 2, 3)), "dilation must be a positive integer"),
        (lambda x: ops.conv2d(x, np.ones((3, 3, 2, 1)), padding="half"), "padding='half'"),
        (lambda x: ops.conv2d(x, np.ones((3, 3, 2, 1)), padding=-1), "not be negative"),
        (lambda x: ops.conv2d_transpose(x, np.ones((3, 3, 2, 1))), r"kernel \(kh, kw, f, c\)"),
        (lambda x: ops.conv2d_transpose(x, np.ones((3, 3, 1, 2)), padding=1), "'valid' or 'same'"),
        (
            lambda x: ops.conv2d_transpose(x, np.ones((3, 3, 1, 2)), strides=2, output_padding=2),
            "less than the stride 2",
        ),
        (lambda x: ops.depthwise_conv2d(x, np.ones((3, 3, 1, 2))), r"kernel \(kh, kw, c, multiplier\)"),
        (lambda x: ops.conv1d(x, np.ones((3, 2, 1))), "sequences"),
        (lambda x: ops.max_pool2d(x, 6), r"window of \(6, 6\) is larger than the image \(5, 5\)"),
        (lambda x: ops.max_pool2d(x[0]), r"images \(n, h, w, c\). Received: shape \(5, 5, 2\)"),
        (lambda x: ops.avg_pool2d(x, 2, padding=2), "padding smaller than its window"),
        (lambda x: ops.max_pool1d(x), "sequences"),
        (lambda x: ops.upsample2d(x, 2, "cubic"), "interpolation='cubic'"),
        (lambda x: ops.upsample2d(x, 0), "size must be a positive integer"),
        (lambda x: ops.batch_norm(x, np.ones(3)), r"gamma of shape \(2,\). Received: \(3,\)"),
        (lambda x: ops.layer_norm(x, None, np.ones(3)), "beta of shape"),
        (lambda x: ops.group_norm(x, 3), "divide the 2 channels. Received: groups=3"),
        (lambda x: ops.glu(x[..., :1]), "split 1 elements"),
        (lambda x: ops.dropout(x, 1.5), "rate in .* Received: rate=1.5"),
        (lambda x: ops.softmax(x, 4), "axis=4 is out of range"),
        (lambda x: ops.sparse_softmax_cross_entropy([0, 1], x[0, 0, :1]), r"labels of shape \(1,\)"),
        (lambda x: ops.sparse_softmax_cross_entropy([0.0], x[0, 0, :1]), "integer labels"),
        (lambda x: ops.softmax_cross_entropy([[1.0]], x[0, 0, :1]), r"one shape. Received: \(1, 1\) and \(1, 2\)"),
        (lambda x: ops.sigmoid_cross_entropy([[1.0]], x[0, 0, :1]), "one shape"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(gradlite.ones((1, 5, 5, 2)))


def test_numpys_integers_are_sizes_and_strides():
    x, two_ = gradlite.ones((1, 4, 4, 1)), np.int64(2)
    assert ops.conv2d(x, np.ones((2, 2, 1, 1)), strides=two_).shape == (1, 2, 2, 1)
    assert ops.max_pool2d(x, two_, (two_, 1)).shape == (1, 2, 3, 1)
    assert ops.upsample2d(x, two_).shape == (1, 8, 8, 1)
    assert two(2) == (2, 2)


def test_an_empty_batch_goes_through_a_network():
    x = gradlite.zeros((0, 6, 6, 3)).requires_grad_()
    w = gradlite.ones((3, 3, 3, 2)).requires_grad_()
    y = ops.max_pool2d(ops.relu(ops.conv2d(x, w, padding="same")))
    z = ops.dense(y.reshape(0, 18), gradlite.ones((18, 4)))
    assert ops.softmax(z).shape == (0, 4)
    z.sum().backward()
    assert x.grad.shape == (0, 6, 6, 3)
    np.testing.assert_array_equal(w.grad.numpy(), np.zeros((3, 3, 3, 2)))


# Softmax and cross-entropies.


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_large_logits_neither_overflow_nor_lose_the_gradient(dtype):
    logits = Tensor([[0.0, 60000.0], [60000.0, 0.0], [-60000.0, -60000.0]], dtype=dtype, requires_grad=True)
    np.testing.assert_allclose(ops.softmax(logits).numpy(), [[0, 1], [1, 0], [0.5, 0.5]])
    losses = ops.sparse_softmax_cross_entropy([1, 1, 0], logits)
    np.testing.assert_allclose(losses.numpy(), [0, 60000, np.log(2)], rtol=1e-3)
    assert not np.signbit(losses.numpy()).any()
    (g,) = gradlite.grad(losses.sum(), [logits])
    np.testing.assert_allclose(g.numpy(), [[0, 0], [1, -1], [-0.5, 0.5]])
    binary = ops.sigmoid_cross_entropy([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], logits)
    np.testing.assert_allclose(binary.numpy(), [[np.log(2), 60000], [60000, np.log(2)], [0, 60000]], rtol=1e-3)


def test_masked_logits_get_probability_zero():
    x = Tensor([[0.0, -np.inf, 0.0]], dtype="float64", requires_grad=True)
    np.testing.assert_array_equal(ops.softmax(x).numpy(), [[0.5, 0, 0.5]])
    (g,) = gradlite.grad(ops.softmax(x)[0, 0], [x])
    np.testing.assert_allclose(g.numpy(), [[0.25, 0, -0.25]])


def test_labels_have_gradients_too_and_of_second_order():
    labels, logits = (Tensor(a, requires_grad=True) for a in draw([(3, 4), (3, 4)], 0.1, 1))
    for function in (ops.softmax_cross_entropy, ops.sigmoid_cross_entropy):
        assert gradlite.gradcheck(function, [labels, logits])
        assert gradlite.gradgradcheck(function, [labels, logits])


def test_labels_of_every_integer_type_and_leading_axes_are_taken():
    (x,) = draw([(2, 3, 4)])
    ids = np.array([[0, 1, 2], [3, 3, 0]])
    expected = -np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True))[np.arange(2)[:, None], np.arange(3), ids]
    for dtype in (np.uint8, np.int32, np.int64):
        assert_close(ops.sparse_softmax_cross_entropy(ids.astype(dtype), Tensor(x)).numpy(), expected)
    one_hot = ops.one_hot(ids, 4)
    assert_close(ops.softmax_cross_entropy(one_hot, Tensor(x)).numpy(), expected)


def test_cross_entropies_take_the_logits_type():
    for dtype in ("float16", "float32", "float64"):
        logits = gradlite.ones((2, 3), dtype)
        for y in (ops.sparse_softmax_cross_entropy([0, 1], logits), ops.softmax_cross_entropy(np.ones((2, 3)), logits),
                  ops.sigmoid_cross_entropy(np.ones((2, 3), np.int32), logits)):  # fmt: skip
            assert y.dtype == np.dtype(dtype)


# Normalization.


def test_normalization_of_large_offsets_keeps_its_digits():
    (x,) = draw([(50, 3)])
    far = (x + 1e4).astype(np.float32)
    y, mean, variance = ops.batch_norm(Tensor(far))
    reference = far.astype(np.float64)
    np.testing.assert_allclose(mean.numpy(), reference.mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance.numpy(), reference.var(0), rtol=1e-4)
    np.testing.assert_allclose(ops.layer_norm(Tensor(far.T)).numpy().std(1), np.ones(3), rtol=1e-3)
    assert y.dtype == np.float32


def test_normalizing_by_the_batchs_own_statistics_is_batch_norm():
    x, gamma, beta = draw([(8, 3), (3,), (3,)])
    y, mean, variance = ops.batch_norm(Tensor(x), gamma, beta)
    assert_close(ops.batch_norm_inference(Tensor(x), gamma, beta, mean, variance).numpy(), y.numpy(), scale=10)


def test_only_the_parameters_of_a_normalization_may_require_a_gradient():
    (x,) = draw([(4, 3)])
    check_op(lambda g, b: ops.layer_norm(Tensor(x, dtype=g.dtype), g, b), [(3,), (3,)],
             lambda g, b: (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-3) * g + b,
             dtypes=[np.float64], scale=10)  # fmt: skip
