"""Native softmax, cross-entropies and column sums, against float64; the same softmax everywhere; NaN; threads."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.native import reductions, softmax
from gradlite.backends.cpu.native.launches import bind_plans, run_plan
from gradlite.backends.reference import fused, linear
from gradlite.backends.reference import softmax as reference

PLANS = {plan.__name__: plan for plan in (*softmax.PLANS, *reductions.PLANS)}
SHAPES = [(1, 1), (5, 3), (32, 10), (33, 17), (700, 129), (3, 5000)]


@pytest.fixture(params=[1, 2])
def threads(request, monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", request.param)
    return request.param


def data(shape, spread=5.0):
    rng = np.random.default_rng()
    x = (spread * rng.normal(size=shape)).astype(np.float32)
    return x, rng.normal(size=shape).astype(np.float32), rng.integers(0, shape[1], shape[0])


def listed(value):
    return list(value) if isinstance(value, tuple) else [value]


def check(name, exact, *arrays, tolerance=1e-6):
    """The native kernel of that name gives what the reference gives in float64, the same again, and into ``out``."""
    first = listed(run_plan(PLANS[name](*arrays)))
    outs = tuple(np.full_like(a, 7) for a in first)
    bind_plans([PLANS[name](*arrays, out=outs if len(outs) > 1 else outs[0])])()
    wide = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
    for a, b, e in zip(first, outs, listed(exact(np, *wide)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, e, rtol=20 * tolerance, atol=tolerance * max(1, np.abs(e).max()))
    return first


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_and_its_gradient(threads, shape):
    x, g, _ = data(shape)
    (y,) = check("softmax", reference.softmax, x)
    check("softmax_gradient", reference.softmax_gradient, g, y)
    (z,) = check("log_softmax", reference.log_softmax, x)
    check("log_softmax_gradient", reference.log_softmax_gradient, g, z, tolerance=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("labels_type", [np.uint8, np.int32, np.int64])
def test_cross_entropy_with_class_numbers(threads, shape, labels_type):
    x, g, labels = data(shape)
    labels = (labels % 256).astype(labels_type)
    _, _, p = check("sparse_softmax_cross_entropy_loss", fused.sparse_softmax_cross_entropy_loss, x, labels)
    (y,) = check("softmax", reference.softmax, x)
    losses, q = check("sparse_softmax_cross_entropy", reference.sparse_softmax_cross_entropy, x, labels)
    np.testing.assert_array_equal(p, y, err_msg="a cross-entropy's softmax stands for the model's")
    np.testing.assert_array_equal(q, y)
    weights = g[:, 0].copy()
    check(
        "sparse_softmax_cross_entropy_gradient",
        reference.sparse_softmax_cross_entropy_gradient,
        *(weights, p, labels),
    )
    assert losses.shape == shape[:1]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy_with_distributions(threads, shape):
    x, g, _ = data(shape)
    labels = np.random.default_rng().dirichlet(np.ones(shape[1]), shape[0]).astype(np.float32)
    _, p = check("softmax_cross_entropy", reference.softmax_cross_entropy, x, labels)
    weights = g[:, 0].copy()
    check("softmax_cross_entropy_gradient", reference.softmax_cross_entropy_gradient, weights, p, labels)


def test_exponentials_to_the_ends_of_float32():
    x = np.concatenate([np.linspace(-110, 0, 60_001), [0.0, -np.inf]]).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    y = run_plan(PLANS["softmax"](np.stack([x, np.zeros_like(x)], axis=1).copy()))
    expected = exact / (1 + exact)
    normal = expected > 1.2e-38
    np.testing.assert_allclose(y[normal, 0], expected[normal], rtol=4e-7)
    np.testing.assert_allclose(y[~normal, 0], expected[~normal], rtol=0, atol=3e-45)


def test_nan_and_infinity_stay_in_their_rows(threads):
    x, _, labels = data((40, 10))
    x[3, 4], x[7, 2], x[9, 1], x[11] = np.nan, np.inf, -np.inf, -np.inf
    with np.errstate(all="ignore"):
        expected = reference.softmax(np, x)
        losses = reference.sparse_softmax_cross_entropy(np, x, labels)[0]
    y = run_plan(PLANS["softmax"](x))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_allclose(y, expected, rtol=2e-6, atol=1e-7)
    mine = run_plan(PLANS["sparse_softmax_cross_entropy"](x, labels))[0]
    np.testing.assert_array_equal(np.isnan(mine), np.isnan(losses))
    loss, gradient, _ = run_plan(PLANS["sparse_softmax_cross_entropy_loss"](x, labels))
    assert np.isnan(loss)
    assert np.isnan(gradient).any(axis=1).sum() == 3


def test_a_label_that_is_no_class_gives_nan():
    x, _, labels = data((6, 4))
    labels[:3] = 4, -5, -1
    losses = run_plan(PLANS["sparse_softmax_cross_entropy"](x, labels))[0]
    assert np.isnan(losses).tolist() == [True, True, False, False, False, False]
    labels[2] = 3
    assert losses[2] == run_plan(PLANS["sparse_softmax_cross_entropy"](x, labels))[0][2]


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (32, 16, 16, 64), (1001, 3), (3, 4, 1000), (70, 513)], ids=str)
def test_column_sums(threads, shape):
    x = (3 + np.random.default_rng().normal(size=shape)).astype(np.float32)
    (total,) = check("column_sum", linear.column_sum, x)
    assert total.shape == shape[-1:]
    x.reshape(-1)[0] = np.inf
    result = run_plan(PLANS["column_sum"](x))
    assert np.isinf(result[0])
    assert np.isfinite(result[1:]).all()


def test_what_is_left_to_numpy():
    x, _, labels = data((8, 6))
    assert PLANS["softmax"](x.T) is None
    assert PLANS["softmax"](x.astype(np.float64)) is None
    assert PLANS["softmax"](x[:0]) is None
    assert PLANS["sparse_softmax_cross_entropy_loss"](x, labels[:, None]) is None
    assert PLANS["sparse_softmax_cross_entropy_loss"](x, labels.astype(np.float32)) is None
    assert PLANS["column_sum"](x[:, ::2]) is None
