"""Native elementwise kernels, and those for few numbers of any type: NumPy's bits, shapes and types."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.native import elementwise, numbers
from gradlite.backends.cpu.native.launches import bind_plans, run_plan
from gradlite.backends.reference.special import relu as reference_relu
from gradlite.backends.reference.special import relu_gradient as reference_relu_gradient

PLANS = {plan.__name__: plan for plan in (*elementwise.PLANS, *numbers.PLANS)}
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45], np.float32)
# Shapes of two operands: equal, ragged, rows, columns, numbers.
PAIRS = [
    ((), ()),
    ((7,), (7,)),
    ((33, 31), (33, 31)),
    ((3, 40_001), (3, 40_001)),
    ((32, 10), ()),
    ((), (32, 10)),
    ((32, 10), (1,)),
    ((5, 6, 7), (7,)),
    ((7,), (5, 6, 7)),
    ((300, 129), (129,)),
    ((32, 10), (32, 1)),
    ((32, 1), (32, 10)),
    ((32, 1), (10,)),
]


@pytest.fixture(params=[1, 2])
def threads(request, monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", request.param)
    return request.param


def numbers_of(shape, rng):
    x = np.asarray(rng.normal(size=shape), np.float32)
    flat = x.reshape(-1)
    places = rng.integers(0, flat.size, 6 if flat.size > 12 else 0)
    flat[places] = SPECIAL[: len(places)]
    return x


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "minimum"])
@pytest.mark.parametrize("shapes", PAIRS, ids=str)
def test_two_operands(threads, name, shapes):
    rng = np.random.default_rng()
    a, b = (numbers_of(shape, rng) for shape in shapes)
    with np.errstate(all="ignore"):
        expected = np.asarray(getattr(np, name)(a, b))
    plan = PLANS[name](a, b)
    result = run_plan(plan)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)
    out = np.full(expected.shape, 7, np.float32)
    assert run_plan(PLANS[name](a, b, out=out)) is out
    np.testing.assert_array_equal(out, expected)
    if a.shape == expected.shape:
        run_plan(PLANS[name](a, b, out=a))
        np.testing.assert_array_equal(a, expected)


@pytest.mark.parametrize("name", ["negative", "abs", "square", "sqrt", "relu"])
@pytest.mark.parametrize("shape", [(), (7,), (33, 31), (3, 40_001)], ids=str)
def test_one_operand(threads, name, shape):
    x = numbers_of(shape, np.random.default_rng())
    with np.errstate(all="ignore"):
        expected = reference_relu(np, x) if name == "relu" else getattr(np, name)(x)
    np.testing.assert_array_equal(run_plan(PLANS[name](x)), expected)
    assert run_plan(PLANS[name](x, out=x)) is x
    np.testing.assert_array_equal(x, expected)


def test_relu_gradient_selects(threads):
    rng = np.random.default_rng()
    for shape in ((3,), (5, 7, 11), (2, 50_000)):
        g, y = numbers_of(shape, rng), numbers_of(shape, rng)
        np.testing.assert_array_equal(run_plan(PLANS["relu_gradient"](g, y)), reference_relu_gradient(np, g, y))


def test_what_is_left_to_numpy():
    x, add = np.ones((4, 6), np.float32), PLANS["add"]
    assert add(x.T, x.T) is None, "gaps"
    assert add(x, x[:, ::2]) is None
    assert add(x, np.ones((3, 6), np.float32)) is None, "an error of NumPy's"
    assert add(x.astype(np.float16), x.astype(np.float16)) is None
    assert add(np.ones((100, 100)), np.ones((100, 100))) is None, "many numbers of another type"
    assert add(x, x, out=np.empty((2, 4, 6), np.float32)) is None
    flat = np.ones(30, np.float32)
    assert add(flat[:-1], flat[:-1], out=flat[1:]) is None, "overlap"


INTEGERS = [np.int64, np.uint8, np.int32]
TYPES = [np.float32, np.float64, *INTEGERS]


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "equal", "not_equal", "less", "greater"])
@pytest.mark.parametrize("first", TYPES)
@pytest.mark.parametrize("second", [*TYPES, np.bool_, int, float])
def test_few_numbers_of_any_type(name, first, second):
    rng = np.random.default_rng()
    for shapes in (((), ()), ((9,), (9,)), ((3, 5), ())):
        a = rng.integers(0, 4, shapes[0]).astype(first)
        b = second(2) if second in (int, float) else rng.integers(1, 4, shapes[1]).astype(second)
        plan = PLANS[name](a, b)
        if plan is None:
            continue
        expected = np.asarray(getattr(np, name)(a, b))
        result = run_plan(plan)
        assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(result, expected)


def planned(plan):
    """Whether there is a plan; it is run."""
    if plan is not None:
        bind_plans([plan])()
    return plan is not None


def test_the_counters_and_totals_of_a_step():
    count, one = np.array(3), np.array(1)
    assert planned(PLANS["add"](count, one, out=count))
    assert planned(PLANS["assign_add"](count, one))
    assert count == 5
    loss = np.array(0.3, np.float32)
    weighted = run_plan(PLANS["multiply"](loss, 32))
    assert (weighted.dtype, weighted) == (np.float32, loss * 32)
    total, expected = np.array(0.1), np.array(0.1)
    for value in (weighted, 32, np.array(7), 0.25):
        assert planned(PLANS["assign_add"](total, value))
        expected += value
        assert total == expected
    other = np.array(4)
    assert PLANS["assign_add"](other, 0.5) is None, "an error of NumPy's"
    assert PLANS["assign_add"](other, np.ones(3, np.int64)) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_, np.int32])
def test_assign(threads, dtype):
    value = np.random.default_rng().integers(0, 2, (5, 30_001)).astype(dtype)
    target = np.empty_like(value)
    assert planned(PLANS["assign"](target, value))
    np.testing.assert_array_equal(target, value)
    few = np.zeros((2, 3), dtype)
    assert planned(PLANS["assign"](few, 1))
    np.testing.assert_array_equal(few, np.ones((2, 3), dtype))
    wide = np.zeros((2, 3))
    assert planned(PLANS["assign"](wide, few))
    np.testing.assert_array_equal(wide, few)
    assert PLANS["assign"](target[:, ::2], value[:, ::2]) is None


@pytest.mark.parametrize("labels", INTEGERS)
def test_what_is_counted_of_scores(labels):
    rng = np.random.default_rng()
    scores = rng.integers(0, 4, (57, 10)).astype(np.float32)  # with ties
    scores[3, [4, 6]], scores[5, 2] = np.nan, np.inf
    wanted = rng.integers(0, 10, 57).astype(labels)
    places = np.argmax(scores, axis=1)
    result = run_plan(PLANS["argmax"](scores, axis=1, keepdims=False))
    assert result.dtype == places.dtype
    np.testing.assert_array_equal(result, places)
    assert run_plan(PLANS["argmax"](scores, axis=-1, keepdims=True)).shape == (57, 1)
    assert PLANS["argmax"](scores, axis=0) is None
    hits = run_plan(PLANS["equal"](wanted, result))
    np.testing.assert_array_equal(hits, wanted == places)
    count = run_plan(PLANS["sum"](hits, axis=[0], keepdims=False))
    assert (count.dtype, count.shape, count) == (np.int64, (), (wanted == places).sum())
    assert run_plan(PLANS["count_correct"](wanted, scores)) == count
    assert PLANS["sum"](scores, axis=None) is None


def test_the_next_draw():
    state = np.array([7, 2**63 + 5, 2**64 - 1], np.uint64)
    before = state.copy()
    snapshot = run_plan(PLANS["draw_random"](state))
    np.testing.assert_array_equal(snapshot, before)
    assert state.tolist() == [7, 2**63 + 5, 0]
