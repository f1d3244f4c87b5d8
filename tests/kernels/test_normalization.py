"""Batch and layer normalization, reference and CPU, against extended precision, and on statistics that are hard."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gradlite.backends import get_backend
from gradlite.backends.cpu import native, parallel
from gradlite.backends.cpu import normalization as cpu
from gradlite.backends.reference import normalization as reference

EPSILON = 1e-3


class Kernels:
    """The kernels of one backend by one signature."""

    def __init__(self, module, *first):
        for name in ("batch_norm", "batch_norm_gradient", "batch_norm_inference"):
            setattr(self, name, partial(getattr(module, name), *first, epsilon=EPSILON))


class Native:
    """The native kernels, which leave to NumPy what they were not made for."""

    def __init__(self):
        kernels = get_backend("cpu").kernels
        for name in ("batch_norm", "batch_norm_gradient", "batch_norm_inference"):
            setattr(self, name, partial(kernels[name], epsilon=EPSILON))


BACKENDS = {"reference": Kernels(reference, np), "cpu": Kernels(cpu)}
if native.is_available():
    BACKENDS["native"] = Native()
# Small, ragged, joined rows with and without a remainder, wider than a joined row, of one row.
SHAPES = [(7, 5), (6, 3, 4, 3), (33, 31, 31, 3), (130, 16, 16, 32), (1000, 100), (50, 1500), (3, 17_000), (1, 20_000)]


@pytest.fixture(params=list(BACKENDS))
def kernels(request):
    return BACKENDS[request.param]


def data(shape, dtype, seed=None):
    rng = np.random.default_rng(seed)
    c = shape[-1]
    x = rng.normal(rng.normal(size=c) * 3, rng.uniform(0.5, 2, c), shape).astype(dtype)
    return x, rng.normal(size=shape).astype(dtype), rng.normal(size=c).astype(dtype), rng.normal(size=c).astype(dtype)


def exact(x, gamma, beta, gradient):
    """Everything in float64 from sums in extended precision: y, mean, variance, dx, dgamma, dbeta."""
    x, g = (a.astype(np.longdouble).reshape(-1, x.shape[-1]) for a in (x, gradient))
    scale = 1.0 if gamma is None else gamma.astype(np.longdouble)
    n = x.shape[0]
    mean = x.sum(axis=0) / n
    variance = ((x - mean) ** 2).sum(axis=0) / n
    deviation = np.sqrt(variance + EPSILON)
    z = (x - mean) / deviation
    y = z * scale + (0.0 if beta is None else beta)
    dgamma, dbeta = (g * z).sum(axis=0), g.sum(axis=0)
    dx = (g - dbeta / n - z * dgamma / n) * scale / deviation
    return tuple(a.astype(np.float64) for a in (y, mean, variance, dx, dgamma, dbeta))


def close(result, expected, tolerance, atol=0.0):
    atol += tolerance * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(result.astype(np.float64).reshape(expected.shape), expected, rtol=tolerance, atol=atol)


def rounding_of_the_mean(mean, variance, gamma, dtype):
    """How far off results may be because the mean is a number of x's dtype: eps |mean| / std, in the worst channel."""
    scale = np.abs(gamma).max() + 1.0
    return 4 * scale * np.finfo(dtype).eps * np.abs(mean / np.sqrt(variance + EPSILON)).max()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 4e-6), ("float64", 1e-12)])
def test_batch_norm_and_its_gradient_are_those_of_exact_statistics(kernels, shape, dtype, tolerance):
    x, g, gamma, beta = data(shape, dtype)
    y, mean, variance, dx, dgamma, dbeta = exact(x, gamma, beta, g)
    result = kernels.batch_norm(x, gamma, beta)
    gradients = kernels.batch_norm_gradient(g, x, gamma, result[1], result[2])
    assert all(a.dtype == dtype for a in (*result, *gradients))
    assert result[0].shape == gradients[0].shape == shape
    slack = rounding_of_the_mean(mean, variance, gamma, dtype)
    close(result[0], y, tolerance, slack)
    close(kernels.batch_norm_inference(x, gamma, beta, result[1], result[2]), y, tolerance, slack)
    largest_term = np.abs(g).max() * np.abs(gamma / np.sqrt(variance + EPSILON)).max()
    close(gradients[0], dx, tolerance, (tolerance + slack) * largest_term)
    close(gradients[1], dgamma, tolerance, slack * np.abs(g).max())
    for a, b in zip((*result[1:], gradients[2]), (mean, variance, dbeta)):
        close(a, b, tolerance)


@pytest.mark.parametrize("shape", [(6, 3, 4, 3), (130, 16, 16, 32)])
def test_gamma_and_beta_may_be_missing(kernels, shape):
    x, g, gamma, beta = data(shape, np.float32)
    for a, b in ((None, None), (gamma, None), (None, beta)):
        y, mean, variance, dx, dgamma, dbeta = exact(x, a, b, g)
        result = kernels.batch_norm(x, a, b)
        gradients = kernels.batch_norm_gradient(g, x, a, result[1], result[2])
        for got, want in zip((*result, *gradients), (y, mean, variance, dx, dgamma, dbeta)):
            close(got, want, 4e-6)
        close(kernels.batch_norm_inference(x, a, b, result[1], result[2]), y, 4e-6)


@pytest.mark.parametrize("shape", [(64, 8), (128, 32, 32, 8)])
def test_the_variance_survives_a_mean_ten_thousand_times_larger(kernels, shape):
    x = (np.random.default_rng().normal(size=shape) + 1e4).astype(np.float32)
    _, mean, variance = kernels.batch_norm(x, None, None)
    wide = x.astype(np.float64).reshape(-1, shape[-1])
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(variance, wide.var(axis=0), rtol=1e-4)


def test_a_drift_along_the_rows_is_part_of_the_variance(kernels):
    x = (np.linspace(-50, 50, 100_000)[:, None] + np.random.default_rng().normal(size=(100_000, 3))).astype(np.float32)
    _, mean, variance = kernels.batch_norm(x, None, None)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=0), atol=5e-5)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(axis=0), rtol=1e-6)


def test_a_constant_channel_gives_beta(kernels):
    x = np.full((300, 100), 3.7, np.float32)
    beta = np.random.default_rng().normal(size=100).astype(np.float32)
    y, mean, variance = kernels.batch_norm(x, None, beta)
    np.testing.assert_allclose(mean, 3.7, rtol=1e-6)
    np.testing.assert_allclose(variance, 0, atol=1e-10)
    np.testing.assert_allclose(y, np.broadcast_to(beta, y.shape), atol=1e-4)


def test_float16_is_computed_in_float32_and_its_statistics_are_float32(kernels):
    x, g, gamma, beta = data((200, 30), np.float16)
    y, mean, variance = kernels.batch_norm(x, gamma, beta)
    assert (y.dtype, mean.dtype, variance.dtype) == (np.float16, np.float32, np.float32)
    dx, dgamma, _ = kernels.batch_norm_gradient(g, x, gamma.astype(np.float32), mean, variance)
    assert (dx.dtype, dgamma.dtype) == (np.float16, np.float32)
    expected = exact(x, gamma, beta, g)
    close(mean, expected[1], 1e-6)
    close(variance, expected[2], 1e-6)
    close(y, expected[0], 1e-3)


def test_nan_in_one_channel_stays_in_it(kernels):
    x, g, gamma, beta = data((40, 20, 32), np.float32)
    x[11, 3, 5] = np.nan
    y, mean, variance = kernels.batch_norm(x, gamma, beta)
    dx, dgamma, _ = kernels.batch_norm_gradient(g, x, gamma, mean, variance)
    for a in (y, dx):
        assert np.isnan(a[..., 5]).all()
        assert np.isfinite(np.delete(a, 5, axis=-1)).all()
    for a in (mean, variance, dgamma):
        assert np.isnan(a[5])
        assert np.isfinite(np.delete(a, 5)).all()


@pytest.mark.parametrize("shape", [(7, 5), (60, 30, 32)])
def test_views_are_taken_outputs_are_written_and_inputs_left(kernels, shape):
    if isinstance(kernels, Native):
        pytest.skip("views are NumPy's, whose last bits differ")
    x, g, gamma, beta = data((*shape[:-1], 2 * shape[-1]), np.float32)
    before = x.copy(), g.copy()
    x_view, g_view, a, b = (v[..., ::2] for v in (x, g, gamma, beta))
    expected = kernels.batch_norm(x_view.copy(), a.copy(), b.copy())
    out = tuple(np.empty_like(v) for v in expected)
    result = kernels.batch_norm(x_view, a, b, out=out)
    assert all(r is o for r, o in zip(result, out))
    for got, want in zip(result, expected):
        np.testing.assert_array_equal(got, want)
    expected = kernels.batch_norm_gradient(g_view.copy(), x_view.copy(), a.copy(), result[1], result[2])
    out = tuple(np.empty_like(v) for v in expected)
    gradients = kernels.batch_norm_gradient(g_view, x_view, a, result[1], result[2], out=out)
    assert all(r is o for r, o in zip(gradients, out))
    for got, want in zip(gradients, expected):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(g, before[1])


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    x, g, gamma, beta = data((130, 16, 16, 32), np.float32)
    results = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(parallel, "_THREADS", threads)
        y, mean, variance = BACKENDS["cpu"].batch_norm(x, gamma, beta)
        results.append([a.tobytes() for a in (y, *BACKENDS["cpu"].batch_norm_gradient(g, x, gamma, mean, variance))])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("gamma_given", [True, False])
@pytest.mark.parametrize("shape", [(4, 6), (3, 5, 7)])
def test_layer_norm_is_batch_norm_of_the_transposed_rows(shape, gamma_given):
    x, g, gamma, beta = data(shape, np.float64)
    if not gamma_given:
        gamma = beta = None
    y, mean, variance = reference.layer_norm(np, x, gamma, beta, epsilon=EPSILON)
    assert mean.shape == variance.shape == shape[:-1]
    rows = x.reshape(-1, shape[-1])
    expected = exact(rows.T, None, None, rows.T)
    scale, shift = (1.0, 0.0) if gamma is None else (gamma, beta)
    close(y, expected[0].T.reshape(shape) * scale + shift, 1e-12)
    close(mean, expected[1].reshape(mean.shape), 1e-12)
    close(variance, expected[2].reshape(mean.shape), 1e-12)

    dx, dgamma, dbeta = reference.layer_norm_gradient(np, g, x, gamma, mean, variance, epsilon=EPSILON)
    expected = exact(rows.T, None, None, (g * scale).reshape(rows.shape).T)
    close(dx, expected[3].T.reshape(shape), 1e-12)
    z = (x - mean[..., None]) / np.sqrt(variance[..., None] + EPSILON)
    close(dgamma, (g * z).reshape(rows.shape).sum(axis=0), 1e-12)
    close(dbeta, g.reshape(rows.shape).sum(axis=0), 1e-12)


def test_layer_norm_of_float16_has_float32_statistics():
    x, _, gamma, beta = data((4, 6), np.float16)
    y, mean, variance = reference.layer_norm(np, x, gamma, beta, epsilon=EPSILON)
    assert (y.dtype, mean.dtype, variance.dtype) == (np.float16, np.float32, np.float32)
