"""Native pooling against the reference: windows of every kind, ragged channels, NaN, ties, threads, buffers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.native import pooling
from gradlite.backends.cpu.native.launches import bind_plans, run_plan
from gradlite.backends.reference import pooling as reference

WINDOWS = [
    {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))},
    {"window": (3, 3), "strides": (2, 2), "padding": ((0, 1), (1, 1))},
    {"window": (2, 3), "strides": (3, 4), "padding": ((1, 0), (1, 1))},
    {"window": (3, 2), "strides": (1, 1), "padding": ((2, 2), (0, 1))},
    {"window": (1, 1), "strides": (2, 1), "padding": ((1, 0), (0, 2))},
]
SHAPES = [(1, 5, 4, 1), (3, 7, 9, 5), (5, 8, 8, 33), (16, 23, 18, 16)]


@pytest.fixture(params=[1, 2])
def threads(request, monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", request.param)
    return request.param


def data(shape):
    """Few different numbers, so that there are ties; NaN, and windows of nothing but minus infinity."""
    rng = np.random.default_rng()
    x = rng.integers(-3, 4, shape).astype(np.float32)
    x[rng.random(shape) < 0.1] = np.nan
    x[rng.random(shape) < 0.3] = -np.inf
    return x


def twice(make, result):
    """What a plan gives, at once and bound to buffers."""
    found = run_plan(make(None))
    arrays = found if isinstance(found, tuple) else (found,)
    buffers = tuple(np.full_like(a, 7) for a in arrays)
    bind_plans([make(buffers if isinstance(found, tuple) else buffers[0])])()
    for a, b, exact in zip(arrays, buffers, result if isinstance(result, tuple) else (result,)):
        np.testing.assert_array_equal(a, b)
        assert a.shape == exact.shape
        np.testing.assert_allclose(a, exact, rtol=2e-6, atol=2e-6)
    return found


@pytest.mark.parametrize("options", WINDOWS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_largest_and_what_it_names(threads, shape, options):
    x = data(shape)
    y, index = twice(lambda out: pooling.max_pool2d(x, out=out, **options), reference.max_pool2d(np, x, **options))
    expected = reference.max_pool2d(np, x, **options)
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(index, expected[1])
    assert index.dtype == np.uint8
    g = np.random.default_rng().normal(size=y.shape).astype(np.float32)
    g[0, 0, 0] = np.inf
    attributes = {"input_shape": shape, **options}
    twice(
        lambda out: pooling.max_pool2d_scatter(g, index, out=out, **attributes),
        reference.max_pool2d_scatter(np, g, index, **attributes),
    )
    twice(
        lambda out: pooling.max_pool2d_gather(x, index, out=out, **options),
        reference.max_pool2d_gather(np, x, index, **options),
    )


@pytest.mark.parametrize("options", WINDOWS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_means(threads, shape, options):
    x = np.random.default_rng().normal(size=shape).astype(np.float32)
    y = twice(lambda out: pooling.avg_pool2d(x, out=out, **options), reference.avg_pool2d(np, x, **options))
    attributes = {"input_shape": shape, **options}
    twice(
        lambda out: pooling.avg_pool2d_gradient(y, out=out, **attributes),
        reference.avg_pool2d_gradient(np, y, **attributes),
    )
    x[0, 0, 0, 0] = np.nan
    result = run_plan(pooling.avg_pool2d(x, **options))
    np.testing.assert_array_equal(np.isnan(result), np.isnan(reference.avg_pool2d(np, x, **options)))


def test_what_is_left_to_numpy():
    x = data((3, 8, 8, 6))
    assert pooling.max_pool2d(x[..., ::2], **WINDOWS[0]) is None
    assert pooling.max_pool2d(x.astype(np.float64), **WINDOWS[0]) is None
    assert pooling.max_pool2d(x[:0], **WINDOWS[0]) is None
    large = {"window": (18, 18), "strides": (1, 1), "padding": ((0, 0), (0, 0))}
    assert pooling.max_pool2d(np.zeros((1, 18, 18, 1), np.float32), **large) is None, "taps of four bytes"
    assert pooling.avg_pool2d(x, out=x[:, ::2, ::2], **WINDOWS[0]) is None
