"""Native batch normalization with pooling and dropout, against float64: ragged shapes, threads, NaN, buffers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.native import normalization
from gradlite.backends.cpu.native.launches import Plan, bind_plans, run_plan
from gradlite.backends.reference import fused as reference
from gradlite.backends.reference.pooling import max_pool2d_gather

ALONE = {"window": (1, 1), "strides": (1, 1), "padding": ((0, 0), (0, 0))}
PAIRS = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}
STATE = np.array([2**63 + 11, 5, 2**32 + 9], np.uint64)
# Shape, pooling and rate: whole vectors and ragged channels, odd images, one row, wide and narrow.
CASES = [
    *[((3, 5), ALONE, rate) for rate in (0.0, 0.3)],
    *[((2, 600), ALONE, rate) for rate in (0.0, 0.5)],
    *[((32, 512), ALONE, rate) for rate in (0.0, 0.5)],
    *[((2, 5, 7, 3), pooling, rate) for pooling in (ALONE, PAIRS) for rate in (0.0, 0.3)],
    *[((6, 8, 8, 32), pooling, rate) for pooling in (ALONE, PAIRS) for rate in (0.0, 0.25)],
    *[((9, 9, 11, 65), pooling, rate) for pooling in (ALONE, PAIRS) for rate in (0.0, 0.25)],
    *[((16, 32, 33, 16), pooling, rate) for pooling in (ALONE, PAIRS) for rate in (0.0, 0.25)],
]


@pytest.fixture(params=[1, 2])
def threads(request, monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", request.param)
    return request.param


def data(shape):
    rng = np.random.default_rng()
    c = shape[-1]
    x = rng.normal(rng.normal(size=c), rng.uniform(0.5, 2, c), shape).astype(np.float32)
    return x, rng.normal(size=c).astype(np.float32), rng.normal(size=c).astype(np.float32)


def wide(*arrays):
    return [None if a is None else a.astype(np.float64) for a in arrays]


def twice(make):
    """What a plan gives at once; bound, with buffers, it gives the same bits."""
    result = run_plan(make(None))
    buffers = tuple(np.full_like(a, 7) for a in result)
    bind_plans([make(buffers)])()
    for a, b in zip(result, buffers):
        np.testing.assert_array_equal(a, b)
    return result


def close(a, exact, tolerance):
    np.testing.assert_allclose(a, exact, rtol=tolerance, atol=tolerance * max(1.0, np.abs(exact).max(initial=0.0)))


@pytest.mark.parametrize(("shape", "pooling", "rate"), CASES, ids=str)
def test_forward_and_backward_are_those_of_float64(threads, shape, pooling, rate):
    x, gamma, beta = data(shape)
    state = STATE if rate else None
    options = {"epsilon": 1e-3, "rate": rate, **pooling}
    y, mean, variance, index = twice(
        lambda out: normalization.batch_norm_max_pool2d_dropout(x, gamma, beta, state, out=out, **options)
    )
    exact, exact_mean, exact_variance, exact_index = reference.batch_norm_max_pool2d_dropout(
        np, *wide(x, gamma, beta), state, **options
    )
    for a, b in ((y, exact), (mean, exact_mean), (variance, exact_variance)):
        close(a, b, 1e-5)
    np.testing.assert_array_equal(y == 0, exact == 0, err_msg="the same elements are dropped")
    assert (index.shape, index.dtype) == (exact_index.shape, exact_index.dtype)
    if index.size:
        normalized, *_ = reference.batch_norm(np, *wide(x, gamma, beta), epsilon=1e-3)
        largest, chosen = (max_pool2d_gather(np, normalized, i, **pooling) for i in (exact_index, index))
        close(chosen, largest, 1e-5)
    again = run_plan(
        normalization.batch_norm_apply_max_pool2d_dropout(x, gamma, beta, mean, variance, state, **options)
    )
    np.testing.assert_array_equal(again[0], y)

    g = np.random.default_rng().normal(size=y.shape).astype(np.float32)
    gradients = twice(
        lambda out: normalization.batch_norm_max_pool2d_dropout_gradient(
            g, x, gamma, mean, variance, index, state, out=out, **options
        )
    )
    expected = reference.batch_norm_max_pool2d_dropout_gradient(
        np, *wide(g, x, gamma), exact_mean, exact_variance, index, state, **options
    )
    for a, b in zip(gradients, expected):
        close(a, b, 4e-5)


@pytest.mark.parametrize(("shape", "pooling", "rate"), CASES, ids=str)
def test_the_gradient_in_front_of_a_relu_is_masked_and_otherwise_the_same_bits(threads, shape, pooling, rate):
    x, gamma, beta = data(shape)
    x = np.maximum(x, 0)
    state = STATE if rate else None
    options = {"epsilon": 1e-3, "rate": rate, **pooling}
    y, *given = run_plan(normalization.batch_norm_max_pool2d_dropout(x, gamma, beta, state, **options))
    plan = normalization.batch_norm_max_pool2d_dropout_gradient
    plain = run_plan(plan(y, x, gamma, *given, state, **options))
    masked = run_plan(plan(y, x, gamma, *given, state, activation="relu", **options))
    np.testing.assert_array_equal(masked[0], np.where(x > 0, plain[0], 0))
    np.testing.assert_array_equal(masked[1], plain[1])
    np.testing.assert_array_equal(masked[2], plain[2])
    assert plan(y, x, gamma, *given, state, activation="tanh", **options) is None


def test_gamma_and_beta_may_be_missing(threads):
    x, gamma, beta = data((6, 8, 8, 20))
    options = {"epsilon": 1e-3, "rate": 0.25, **PAIRS}
    for a, b in ((None, None), (gamma, None), (None, beta)):
        y, mean, variance, index = run_plan(normalization.batch_norm_max_pool2d_dropout(x, a, b, STATE, **options))
        exact = reference.batch_norm_max_pool2d_dropout(np, *wide(x, a, b), STATE, **options)
        close(y, exact[0], 1e-5)
        gradients = run_plan(
            normalization.batch_norm_max_pool2d_dropout_gradient(y, x, a, mean, variance, index, STATE, **options)
        )
        expected = reference.batch_norm_max_pool2d_dropout_gradient(
            np, *wide(y, x, a), *exact[1:3], index, STATE, **options
        )
        for got, want in zip(gradients, expected):
            close(got, want, 4e-5)


@pytest.mark.parametrize("shape", [(40, 7), (128, 32, 32, 8), (3, 5000)], ids=str)
def test_statistics_beside_a_large_mean_and_a_drift(threads, shape):
    rng = np.random.default_rng()
    drift = np.linspace(-50, 50, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    for x in (rng.normal(size=shape) + 1e4, rng.normal(size=shape) + drift):
        x = x.astype(np.float32)
        mean, variance = np.empty((2, shape[-1]), np.float32)
        run_plan(Plan(None, normalization.channel_statistics(x, mean, variance)))
        exact = x.astype(np.float64).reshape(-1, shape[-1])
        np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(variance, exact.var(axis=0), rtol=1e-5)


def test_the_first_nan_of_a_window_is_its_largest():
    x = np.random.default_rng().normal(size=(1, 4, 4, 17)).astype(np.float32)
    x[0, 0, 1, 3], x[0, 1, 0, 3], x[0, 2, 2, 3], x[0, 3, 3, 5] = np.nan, np.nan, -np.inf, np.inf
    one, zero = np.ones(17, np.float32), np.zeros(17, np.float32)
    arrays = x, None, None, zero, one, None
    y, index = run_plan(normalization.batch_norm_apply_max_pool2d_dropout(*arrays, epsilon=0.0, rate=0.0, **PAIRS))
    expected, places = reference.batch_norm_apply_max_pool2d_dropout(np, *arrays, epsilon=0.0, rate=0.0, **PAIRS)
    np.testing.assert_array_equal(index, places)
    np.testing.assert_array_equal(y, expected)
    assert index[0, 0, 0, 3] == 1


def test_dropped_nan_is_zero_and_nan_stays_in_its_channel(threads):
    x, gamma, beta = data((40, 20, 32))
    x[11, 3, 5] = np.nan
    options = {"epsilon": 1e-3, "rate": 0.5, **ALONE}
    y, mean, variance, index = run_plan(normalization.batch_norm_max_pool2d_dropout(x, gamma, beta, STATE, **options))
    assert set(np.isnan(y[..., 5]).reshape(-1)) == {True, False}
    assert (y[..., 5][~np.isnan(y[..., 5])] == 0).all()
    gradients = run_plan(
        normalization.batch_norm_max_pool2d_dropout_gradient(y, x, gamma, mean, variance, index, STATE, **options)
    )
    for a in (y, mean, variance, *gradients):
        assert np.isfinite(np.delete(a, 5, axis=-1)).all()
    assert np.isnan(gradients[0][..., 5]).all()


def test_what_is_left_to_numpy():
    x, gamma, beta = data((4, 6, 6, 8))
    plan = normalization.batch_norm_max_pool2d_dropout

    def planned(x, gamma=gamma, state=None, rate=0.0, pooling=ALONE):
        return plan(x, gamma, beta, state, epsilon=1e-3, rate=rate, **pooling) is not None

    assert planned(x)
    assert not planned(x[:, ::2])
    assert not planned(x.astype(np.float64))
    assert not planned(x[:0])
    assert not planned(x, gamma=gamma.astype(np.float64))
    assert not planned(x, state=STATE, rate=1.0)
    assert not planned(x, pooling=PAIRS | {"window": (3, 3)})
    assert not planned(x, pooling=PAIRS | {"strides": (1, 1)})
    assert not planned(x, pooling=PAIRS | {"padding": ((0, 1), (0, 0))})
    assert not planned(x[:, :1].copy(), pooling=PAIRS)
    row = np.ones((1, 8), np.float32)
    assert normalization.batch_norm_gradient(row, row, gamma, row[0], row[0], epsilon=1e-3) is None, "exactly 0"
