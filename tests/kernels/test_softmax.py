"""Softmax and cross-entropies against plain loops in float64, in every dtype, where naive formulas fail."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradlite.backends.reference import softmax as kernels

TOLERANCE = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-13}
DTYPES = list(TOLERANCE)


def close(result, expected, dtype):
    assert result.dtype == dtype
    np.testing.assert_allclose(result.astype(np.float64), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def logits(dtype, n=13, k=7):
    return (np.random.default_rng().normal(size=(n, k)) * 4).astype(dtype)


def slow_softmax(x):
    """Row by row, with exact sums."""
    rows = []
    for row in x.astype(np.float64).reshape(-1, x.shape[-1]):
        exponentials = [math.exp(v - max(row)) for v in row]
        rows.append([v / math.fsum(exponentials) for v in exponentials])
    return np.array(rows).reshape(x.shape)


def differences(function, x, step=1e-6):
    """The gradient of a scalar function by central differences in float64."""
    result = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        result[index] = (function(up) - function(down)) / (2 * step)
    return result


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_and_log_softmax_are_those_of_exact_sums(dtype):
    x = logits(dtype).reshape(13, 1, 7)
    close(kernels.softmax(np, x), slow_softmax(x), dtype)
    close(kernels.log_softmax(np, x), np.log(slow_softmax(x)), dtype)


def test_huge_logits_neither_overflow_nor_lose_their_order():
    x = np.array([[1e4, 0, -1e4], [-3e38, 3e38, 0], [-np.inf, 1, 1]], np.float64)
    np.testing.assert_allclose(kernels.softmax(np, x), [[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]], atol=1e-15)
    assert kernels.log_softmax(np, x)[0].tolist() == [0, -1e4, -2e4]


def test_nan_in_a_row_stays_in_its_row():
    x = np.array([[1.0, np.nan], [1.0, 2.0]])
    for kernel in (kernels.softmax, kernels.log_softmax):
        result = kernel(np, x)
        assert np.isnan(result[0]).all()
        assert np.isfinite(result[1]).all()


def test_softmax_gradients_are_those_of_central_differences():
    x, g = logits("float64", 3, 5) / 4, np.random.default_rng().normal(size=(3, 5))
    result = kernels.softmax_gradient(np, g, kernels.softmax(np, x))
    np.testing.assert_allclose(result, differences(lambda v: (kernels.softmax(np, v) * g).sum(), x), atol=1e-8)
    result = kernels.log_softmax_gradient(np, g, kernels.log_softmax(np, x))
    np.testing.assert_allclose(result, differences(lambda v: (kernels.log_softmax(np, v) * g).sum(), x), atol=1e-8)


@pytest.mark.parametrize("label_dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_cross_entropy_is_minus_the_log_probability_of_the_label(dtype, label_dtype):
    x = logits(dtype)
    labels = np.random.default_rng().integers(0, 7, 13).astype(label_dtype)
    losses, probabilities = kernels.sparse_softmax_cross_entropy(np, x, labels)
    p = slow_softmax(x)
    close(losses, -np.log(p[np.arange(13), labels]), dtype)
    close(probabilities, p, dtype)


def test_sparse_cross_entropy_of_a_hopeless_row_is_finite():
    losses, _ = kernels.sparse_softmax_cross_entropy(np, np.array([[0.0, 500.0]]), np.array([0]))
    assert losses.tolist() == [500.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_with_one_hot_labels_is_the_sparse_one(dtype):
    x = logits(dtype)
    labels = np.random.default_rng().integers(0, 7, 13)
    one_hot = np.eye(7, dtype=dtype)[labels]
    for a, b in zip(kernels.softmax_cross_entropy(np, x, one_hot), kernels.sparse_softmax_cross_entropy(np, x, labels)):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_cross_entropy_gradients_are_those_of_central_differences():
    rng = np.random.default_rng()
    x, g = logits("float64", 4, 5), rng.normal(size=4)
    labels = rng.integers(0, 5, 4)
    _, p = kernels.sparse_softmax_cross_entropy(np, x, labels)
    np.testing.assert_allclose(
        kernels.sparse_softmax_cross_entropy_gradient(np, g, p, labels),
        differences(lambda v: (kernels.sparse_softmax_cross_entropy(np, v, labels)[0] * g).sum(), x),
        atol=1e-7,
    )
    soft = rng.uniform(size=(4, 5))  # rows that do not sum to 1
    _, p = kernels.softmax_cross_entropy(np, x, soft)
    np.testing.assert_allclose(
        kernels.softmax_cross_entropy_gradient(np, g, p, soft),
        differences(lambda v: (kernels.softmax_cross_entropy(np, v, soft)[0] * g).sum(), x),
        atol=1e-7,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_cross_entropy_is_the_textbook_formula_and_stays_finite(dtype):
    x = np.random.default_rng().normal(size=(9, 3)).astype(dtype)
    z = np.random.default_rng().uniform(size=(9, 3)).astype(dtype)
    s = 1 / (1 + np.exp(-x.astype(np.float64)))
    expected = -z.astype(np.float64) * np.log(s) - (1 - z.astype(np.float64)) * np.log(1 - s)
    close(kernels.sigmoid_cross_entropy(np, x, z), expected, dtype)
    far = kernels.sigmoid_cross_entropy(np, np.array([900.0, -900.0], dtype), np.array([0.0, 1.0], dtype))
    assert far.tolist() == [900.0, 900.0]


def test_cross_entropies_write_to_given_outputs_take_views_and_leave_their_inputs():
    x = logits("float32", 14, 14)
    view = x[::2, ::-2]
    labels = np.random.default_rng().integers(0, 7, 14)[::2]
    before = x.copy()
    out = np.empty(7, np.float32), np.empty((7, 7), np.float32)
    result = kernels.sparse_softmax_cross_entropy(np, view, labels, out=out)
    assert result[0] is out[0]
    assert result[1] is out[1]
    expected = kernels.sparse_softmax_cross_entropy(np, view.copy(), labels.copy())
    np.testing.assert_array_equal(out[0], expected[0])
    np.testing.assert_array_equal(out[1], expected[1])
    np.testing.assert_array_equal(x, before)
