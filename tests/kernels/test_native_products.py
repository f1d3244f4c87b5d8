"""Native dense products against float64: ragged sizes, transposed factors, masks, and what they leave to NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import gradlite
from gradlite.backends.cpu import BACKEND, native

pytestmark = pytest.mark.skipif(not native.is_available(), reason="native kernels are switched off, or need numba")

# Against the root mean square of the result: rounding of sums of up to 1024 terms, a tenth of one lost term and less.
LARGEST_ERROR = 2e-5
SIZES = [
    (1, 784, 512),
    (2, 33, 9),
    (3, 5, 70),
    (4, 1, 1),
    (5, 3, 7),
    (9, 65, 31),
    (32, 100, 33),
    (32, 784, 512),
    (70, 1024, 10),
    (129, 300, 64),
    (257, 40, 130),
]


@pytest.fixture(params=[1, 2, 3], autouse=True)
def threads(request):
    before = gradlite.get_num_threads()
    gradlite.set_num_threads(request.param)
    yield request.param
    gradlite.set_num_threads(before)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def planned(name, *arrays, **attributes):
    """The native kernel's result, from a plan, in memory that held NaN; the same when it runs again."""
    kernel = BACKEND.kernels[name]
    assert kernel.plan(*arrays, **attributes) is not None
    fresh = kernel(*arrays, **attributes)
    several = isinstance(fresh, tuple)
    out = tuple(np.full_like(part, np.nan) for part in (fresh if several else (fresh,)))
    kernel(*arrays, **attributes, out=out if several else out[0])
    for first, second in zip(fresh if several else (fresh,), out):
        np.testing.assert_array_equal(first, second)
    return fresh


def assert_close(result, expected):
    scale = np.sqrt(np.mean(expected**2)) or 1.0
    assert np.abs(result - expected).max() <= LARGEST_ERROR * scale


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("activation", [None, "relu"])
def test_dense_multiplies_adds_the_bias_and_rectifies(size, activation):
    m, k, n = size
    x, w, bias = normal(m, k), normal(k, n), normal(n)
    expected = x.astype(np.float64) @ w + bias
    result = planned("dense", x, w, bias, activation=activation)
    assert_close(result, np.maximum(expected, 0) if activation else expected)
    assert_close(planned("dense", x, w, None), x.astype(np.float64) @ w)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("activation", [None, "relu"])
def test_the_gradients_of_dense_are_masked_by_its_rectification(size, activation):
    m, k, n = size
    x, w, gradient, y = normal(m, k), normal(k, n), normal(m, n), np.maximum(normal(m, n, seed=1), 0)
    inner = gradient.astype(np.float64) * (y > 0) if activation else gradient.astype(np.float64)
    if m >= 4:
        assert_close(planned("dense_input_gradient", gradient, y, w, activation=activation), inner @ w.T)
    to_kernel, to_bias = planned("dense_weight_gradient", x, gradient, y, activation=activation)
    assert_close(to_kernel, x.T.astype(np.float64) @ inner)
    assert_close(to_bias, inner.sum(axis=0))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("left", ["C", "F"])
@pytest.mark.parametrize("right", ["C", "F"])
def test_matmul_takes_transposed_factors(size, left, right):
    m, k, n = size
    a, b = np.asarray(normal(m, k), order=left), np.asarray(normal(k, n), order=right)
    if m < 4:
        assert BACKEND.kernels["matmul"].plan(a, b) is None
    else:
        assert_close(planned("matmul", a, b), a.astype(np.float64) @ b)


def test_leading_axes_of_a_dense_layer_are_rows():
    x, w = normal(3, 5, 2, 12), normal(12, 7)
    result = planned("dense", x, w, None)
    assert result.shape == (3, 5, 2, 7)
    assert_close(result, x.astype(np.float64) @ w)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_reach_the_sums_that_read_them_and_no_others(bad):
    x, w = normal(33, 50), normal(50, 40)
    x[7, 9] = bad
    result = planned("dense", x, w, normal(40))
    assert not np.isfinite(result[7]).any()
    assert np.isfinite(np.delete(result, 7, axis=0)).all()
    x[7, 9] = np.nan
    assert np.isnan(planned("dense", x, w, None, activation="relu")[7]).all()


def test_other_types_and_gaps_are_left_to_numpy():
    x, w = normal(8, 6), normal(6, 5)
    for a, b in ((x.astype(np.float64), w.astype(np.float64)), (normal(8, 12)[:, ::2], w), (x[:0], w)):
        assert BACKEND.kernels["dense"].plan(a, b, None) is None
        np.testing.assert_allclose(BACKEND.launch("dense", a, b, None), a @ b, rtol=1e-5, atol=1e-6)
    assert BACKEND.kernels["dense"].plan(x, w, None, activation="tanh") is None
    np.testing.assert_allclose(BACKEND.launch("dense", x, w, None, activation="tanh"), np.tanh(x @ w), rtol=1e-5)


@pytest.mark.parametrize(("features", "units", "all_threads"), [(784, 512, False), (4096, 512, True)])
def test_one_row_wakes_no_thread_for_what_is_read_before_that_is_awake(threads, features, units, all_threads):
    x, kernel = normal(1, features), normal(features, units)
    plan = BACKEND.kernels["dense"].plan(x, kernel, None)
    assert [launch.parts for launch in plan.launches] == [threads if all_threads else 1]
