"""Native updates of the optimizers: the reference's numbers within two roundings, whatever the threads, and NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("numba")

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.native import adam, dense, optimizers
from gradlite.backends.cpu.native.launches import bind_plans, run_plan
from gradlite.backends.reference import optimizers as reference

BETAS = {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7}
# Name, number of arrays (None where the kernel may do without), 0-d arrays after them, attributes.
UPDATES = [
    ("sgd", 2, ["rate"], {}),
    ("sgd_momentum", 3, ["rate"], {"momentum": 0.9, "nesterov": False}),
    ("sgd_momentum", 3, ["rate"], {"momentum": 0.9, "nesterov": True}),
    ("adam", 4, [None, "rate", "step"], BETAS),
    ("adam", 5, ["rate", "step"], BETAS),
    ("adamax", 4, ["rate", "step"], BETAS),
    ("nadam", 4, ["product", "rate", "step"], BETAS),
    ("rmsprop", 3, [None, None, "rate"], {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}),
    ("rmsprop", 5, ["rate"], {"rho": 0.9, "momentum": 0.8, "epsilon": 1e-3}),
    ("adagrad", 3, ["rate"], {"epsilon": 1e-7}),
    ("adadelta", 4, ["rate"], {"rho": 0.95, "epsilon": 1e-7}),
    ("lion", 3, ["rate"], {"beta_1": 0.9, "beta_2": 0.99}),
    ("weight_decay", 1, ["rate"], {"rate": 0.1}),
    ("moving_average", 2, ["step"], {"momentum": 0.9}),
    ("moving_average", 2, [None], {"momentum": 0.9}),
    ("scale", 1, [], {"factor": 0.3}),
    ("clip_by_value", 1, [], {"limit": 0.5}),
]
IDS = [f"{name}-{count}-{i}" for i, (name, count, _, _) in enumerate(UPDATES)]
PLANS = {plan.__name__: plan for plan in (*adam.PLANS, *optimizers.PLANS)}


@pytest.fixture(params=[1, 2])
def threads(request, monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", request.param)
    return request.param


def arguments(count, scalars, size, dtype=np.float32):
    """Parameter and gradient of both signs, positive state, and the 0-d arrays."""
    rng = np.random.default_rng()
    arrays = [rng.normal(size=size).astype(dtype) for _ in range(min(count, 2))]
    arrays += [rng.uniform(0.5, 2, size).astype(dtype) for _ in range(count - 2)]
    if count == 5 and None not in scalars and len(scalars) == 1:
        arrays[3] *= dtype(0.1)  # the mean of a centred RMSprop, whose square is below the mean square
    numbers = {"rate": np.array(0.01, np.float32), "step": np.array(3), "product": np.array(0.4, np.float32)}
    return arrays, [None if s is None else numbers[s] for s in scalars]


@pytest.mark.parametrize(("name", "count", "scalars", "attributes"), UPDATES, ids=IDS)
def test_updates_are_the_references_within_two_roundings(threads, name, count, scalars, attributes):
    for size in (1, 5, 4099, 70_001):
        arrays, numbers = arguments(count, scalars, size)
        mine, again = [a.copy() for a in arrays], [a.copy() for a in arrays]
        assert run_plan(PLANS[name](*mine, *numbers, **attributes)) is None
        bind_plans([PLANS[name](*again, *numbers, **attributes)])()
        wide = [a.astype(np.float64) for a in arrays]
        getattr(reference, name)(np, *wide, *numbers, **attributes)
        getattr(reference, name)(np, *arrays, *numbers, **attributes)
        for a, b, narrow, exact in zip(mine, again, arrays, wide):
            np.testing.assert_array_equal(a, b)
            allowed = 2 * np.abs(narrow - exact).max() + 1e-6 * np.abs(exact).max()
            np.testing.assert_allclose(a, exact, rtol=0, atol=allowed)


@pytest.mark.parametrize(("name", "count", "scalars", "attributes"), UPDATES, ids=IDS)
def test_nan_and_infinity_reach_what_they_reach_in_the_reference(name, count, scalars, attributes):
    arrays, numbers = arguments(count, scalars, 40)
    arrays[min(1, count - 1)][[3, 20]] = np.nan
    arrays[min(1, count - 1)][7] = np.inf
    arrays[-1][11] = np.nan
    mine = [a.copy() for a in arrays]
    run_plan(PLANS[name](*mine, *numbers, **attributes))
    with np.errstate(all="ignore"):
        getattr(reference, name)(np, *arrays, *numbers, **attributes)
    for a, b in zip(mine, arrays):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_array_equal(np.isinf(a), np.isinf(b))


@pytest.mark.parametrize(("name", "count", "scalars", "attributes"), UPDATES, ids=IDS)
def test_other_types_and_arrays_with_gaps_are_left_to_numpy(name, count, scalars, attributes):
    for dtype in (np.float64, np.float16):
        arrays, numbers = arguments(count, scalars, 9, dtype)
        assert PLANS[name](*arrays, *numbers, **attributes) is None
    arrays, numbers = arguments(count, scalars, 18)
    assert PLANS[name](*[a[::2] for a in arrays], *numbers, **attributes) is None


def test_the_first_step_of_a_moving_average_takes_the_value():
    average, value = np.full(5, np.float32(7)), np.arange(5, dtype=np.float32)
    run_plan(adam.moving_average(average, value, np.array(1), momentum=0.9))
    np.testing.assert_array_equal(average, value)


def test_segments_are_adams_own_bits(threads):
    rng = np.random.default_rng()
    sizes = [1, 700, 33, 65_000, 5]
    numbers = np.array(0.01, np.float32), np.array(3)
    runs = [[rng.uniform(0.1, 1, n).astype(np.float32) for _ in range(4)] for n in sizes]
    copies = [[a.copy() for a in run] for run in runs]
    for run in runs:
        run_plan(adam.adam(*run, None, *numbers, **BETAS))
    run_plan(adam.adam_segments(*(copies[i][k] for k in range(4) for i in range(5)), *numbers, **BETAS))
    for run, copy in zip(runs, copies):
        for a, b in zip(run, copy):
            np.testing.assert_array_equal(a, b)


def test_pack_and_moving_averages_of_many_arrays(threads):
    rng = np.random.default_rng()
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((3, 5), (1,), (200, 300), (17,))]
    offsets, total = (2, 17, 20, 60_020), 60_040
    out, expected = np.zeros(total, np.float32), np.zeros(total, np.float32)
    assert run_plan(adam.pack(*arrays, offsets=offsets, out=out)) is out
    reference.pack(np, *arrays, offsets=offsets, out=expected)
    np.testing.assert_array_equal(out, expected)

    averages = [rng.normal(size=a.shape).astype(np.float32) for a in arrays]
    copies = [a.copy() for a in averages]
    run_plan(adam.moving_averages(*averages, *arrays, momentum=0.9))
    for copy, value, average in zip(copies, arrays, averages):
        run_plan(adam.moving_average(copy, value, None, momentum=0.9))
        np.testing.assert_array_equal(copy, average)


def test_nadams_product(threads):
    product, expected = np.array(0.4, np.float32), np.array(0.4, np.float32)
    run_plan(optimizers.nadam_product(product, np.array(5), beta_1=0.9))
    reference.nadam_product(np, expected, np.array(5), beta_1=0.9)
    np.testing.assert_allclose(product, expected, rtol=3e-7)


def test_norms_and_what_is_scaled_to_them(threads):
    rng = np.random.default_rng()
    arrays = [rng.normal(size=n).astype(np.float32) for n in (5, 70_003, 1)]
    exact = math.fsum(float(v) ** 2 for a in arrays for v in a)
    squares = run_plan(optimizers.square_sum(*arrays))
    assert squares.shape == ()
    assert squares.dtype == np.float64
    assert squares == pytest.approx(exact, rel=1e-14)
    run_plan(optimizers.scale_to_norm(arrays[1], squares, norm=2.0))
    assert np.linalg.norm(arrays[1].astype(np.float64)) == pytest.approx(2.0, rel=1e-3)
    small = arrays[1].copy()
    run_plan(optimizers.scale_to_norm(small, squares, norm=1e9))
    np.testing.assert_array_equal(small, arrays[1])
    for value in (np.inf, np.nan):
        run_plan(optimizers.scale_to_norm(small, np.array(value), norm=1.0))
        assert np.isnan(small).all()


@pytest.mark.parametrize(("rows", "inputs", "units"), [(1, 5, 7), (9, 70, 45), (32, 24, 64), (130, 9, 100)])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_an_update_with_its_gradient_has_the_bits_of_both(threads, rows, inputs, units, activation):
    rng = np.random.default_rng([rows, inputs])
    x, g, y = (rng.standard_normal((rows, n), np.float32) for n in (inputs, units, units))
    weights = [rng.uniform(0.1, 2, inputs * units).astype(np.float32) for _ in range(3)]
    apart = [w.copy() for w in weights]
    scalars = np.array(0.01, np.float32), np.array(3)
    db = np.full(units, np.nan, np.float32)
    given = weights[0], g, *weights[1:], db, x, y, *scalars
    plan = adam.dense_weight_gradient_adam(*given, activation=activation, **BETAS)
    assert plan is not None
    run_plan(plan)
    dw, expected = run_plan(dense.dense_weight_gradient(x, g, y if activation else None, activation=activation))
    run_plan(adam.adam(apart[0], dw.reshape(-1), *apart[1:], None, *scalars, **BETAS))
    assert db.tobytes() == expected.tobytes()
    for found, other in zip(weights, apart):
        assert found.tobytes() == other.tobytes()


def test_what_is_no_number_shows_behind_an_update_with_its_gradient(threads):
    x, g, y = np.ones((4, 20), np.float32), np.ones((4, 40), np.float32), np.ones((4, 40), np.float32)
    x[2, 3], g[1, 5] = np.nan, np.inf
    p, m, v, db = (np.ones(n, np.float32) for n in (800, 800, 800, 40))
    scalars = np.array(0.01, np.float32), np.array(3)
    run_plan(adam.dense_weight_gradient_adam(p, g, m, v, db, x, y, *scalars, activation="relu", **BETAS))
    wrong = ~np.isfinite(p.reshape(20, 40))
    assert wrong[3].all()
    assert wrong[:, 5].all()
    assert wrong.sum() == 40 + 20 - 1
    assert np.isinf(db[5])


def test_batches_of_many_rows_are_left_to_two_kernels(threads):
    x, g = np.ones((300, 4), np.float32), np.ones((300, 5), np.float32)
    p, db, scalars = np.ones(20, np.float32), np.ones(5, np.float32), (np.array(0.01, np.float32), np.array(3))
    assert adam.dense_weight_gradient_adam(p, g, p, p, db, x, None, *scalars, activation=None, **BETAS) is None
