"""CUDA reductions against NumPy in float64: any axes, types, sizes in one pass and in several, ties, NaN, accuracy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from comparison import count_launches, launch
from helpers import assert_close

from gradlite.backends.cuda import reductions
from gradlite.backends.registry import REFERENCE

FLOATS = ("sum", "prod", "max", "min", "mean", "logsumexp")
OTHERS = ("all", "any", "count_nonzero", "argmax", "argmin")
AXES = [None, (0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2), ()]


def numpys(name, x, axis, keepdims):
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    if name in REFERENCE:
        return np.asarray(REFERENCE[name](np, wide, axis=axis, keepdims=keepdims))
    return np.asarray(getattr(np, name)(wide, axis=axis, keepdims=keepdims))


def some(rng, shape, dtype="float32"):
    x = rng.uniform(-1.5, 1.5, shape).astype(dtype)
    x[rng.random(shape) < 0.1] = 0
    return x


def check_axes(gpu, name, x, axes, scale=1.0):
    on_device = gpu.asarray(x)
    for axis in axes:
        for keepdims in (False, True):
            result = gpu.launch(name, on_device, axis=axis, keepdims=keepdims)
            wanted = numpys(name, x, axis, keepdims)
            assert result.shape == wanted.shape
            if wanted.dtype.kind == "f" and x.dtype.kind == "f":
                assert result.dtype == x.dtype
                assert_close(result.get(), wanted, x.dtype, scale)
            else:
                assert result.dtype == wanted.dtype
                np.testing.assert_array_equal(result.get(), wanted)
        out = gpu.full(result.shape, 77, result.dtype)
        assert gpu.launch(name, on_device, axis=axis, keepdims=True, out=out) is out
        assert out.get().tobytes() == result.get().tobytes()
    np.testing.assert_array_equal(on_device.get(), x)


def scale_of(name, count):
    return {"sum": math.sqrt(count), "prod": 8.0}.get(name, 1.0)


@pytest.mark.parametrize("name", FLOATS)
def test_any_axes_of_a_small_array(gpu, rng, name, checked):
    for shape in ((3, 4, 5), (1, 7, 1), (2, 1, 33), (40, 2, 3)):
        check_axes(gpu, name, some(rng, shape), AXES, 4)


@pytest.mark.parametrize("name", OTHERS)
def test_places_and_logic_along_any_axis_of_a_small_array(gpu, rng, name, checked):
    axes = [None, 0, 1, 2, -1] if name.startswith("arg") else AXES
    for shape in ((3, 4, 5), (1, 7, 1), (40, 2, 3)):
        check_axes(gpu, name, some(rng, shape), axes)


LONG = [
    ((20_011,), None),
    ((3, 5003), (1,)),
    ((6007, 3), (0,)),
    ((2, 701, 40), (1,)),
    ((300, 64), (0,)),
    ((9, 70_003), (1,)),
]


@pytest.mark.parametrize("name", [*FLOATS, "argmax", "count_nonzero"])
@pytest.mark.parametrize(("shape", "axis"), LONG, ids=str)
def test_long_axes_are_reduced_in_several_passes(gpu, rng, name, shape, axis):
    x = some(rng, shape)
    if name == "prod":
        x = np.exp(x / 30).astype(np.float32)
    axis = axis[0] if name == "argmax" and axis else axis
    check_axes(gpu, name, x, [axis], 4 * scale_of(name, x.size) * (20 if name == "prod" else 1))


@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("name", [*FLOATS, "argmin", "any"])
def test_other_floats(gpu, rng, name, dtype):
    check_axes(gpu, name, some(rng, (5, 37), dtype), [None] if name == "argmin" else [None, (0,), (1,)], 4)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int32", "int64", "uint64"])
@pytest.mark.parametrize("name", ["sum", "max", "argmax", "mean", "all", "count_nonzero"])
def test_integers_and_booleans_give_numpys_types(gpu, rng, name, dtype):
    x = rng.integers(0, 100, (4, 300)).astype(dtype)
    for axis in (None, 1):
        found, wanted = launch(gpu, name, [x], axis=axis, keepdims=False)[0], numpys(name, x, axis, False)
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-14)


def test_the_first_of_several_extremes_wins_and_nan_before_all(gpu, rng):
    for length in (7, 1000, 40_000):
        x = rng.integers(0, 3, (3, length)).astype(np.float32)
        for name in ("argmax", "argmin", "max", "min"):
            np.testing.assert_array_equal(launch(gpu, name, [x], axis=1)[0], getattr(np, name)(x, axis=1))
        x[0, [3, length - 2]] = np.nan
        x[1, length - 1] = np.nan
        x[2, [0, length // 2]] = np.inf, -np.inf
        for name in ("argmax", "argmin", "max", "min"):
            np.testing.assert_array_equal(launch(gpu, name, [x], axis=1)[0], getattr(np, name)(x, axis=1))
    same = np.full((2, 40_000), -np.inf, np.float32)
    np.testing.assert_array_equal(launch(gpu, "argmax", [same], axis=1)[0], [0, 0])
    np.testing.assert_array_equal(launch(gpu, "max", [same], axis=1)[0], [-np.inf] * 2)


def test_log_sum_exp_of_infinities_and_of_far_numbers(gpu):
    inf, nan = np.inf, np.nan
    rows = [[-inf, -inf, -inf], [-inf, 0, 1], [inf, 0, -inf], [inf, inf, 1], [nan, 0, inf], [0, nan, -inf],
            [1000, 1000, 0], [-1000, -1001, -inf], [88, 89, 90]]  # fmt: skip
    x = np.array(rows, np.float32)
    with np.errstate(all="ignore"):
        wanted = REFERENCE["logsumexp"](np, x.astype(np.float64), axis=(1,), keepdims=False)
    np.testing.assert_allclose(launch(gpu, "logsumexp", [x], axis=(1,), keepdims=False)[0], wanted, rtol=1e-6)
    long = np.repeat(x, 5000, axis=1)
    wanted = wanted + math.log(5000)
    np.testing.assert_allclose(launch(gpu, "logsumexp", [long], axis=(1,), keepdims=False)[0], wanted, rtol=1e-6)


def test_sums_in_float32_stay_accurate(gpu, rng):
    x = rng.uniform(0, 1, 3_000_000).astype(np.float32)
    exact = x.astype(np.float64).sum()
    assert abs(launch(gpu, "sum", [x])[0] / exact - 1) < 3e-7
    assert abs(launch(gpu, "mean", [x], axis=None, keepdims=False)[0] / (exact / x.size) - 1) < 3e-7
    columns = x.reshape(-1, 3)
    np.testing.assert_allclose(
        launch(gpu, "sum", [columns], axis=0)[0], columns.astype(np.float64).sum(axis=0), rtol=4e-7
    )


def test_float16_sums_are_rounded_once(gpu):
    x = np.full(5000, 1.5, np.float16)
    assert launch(gpu, "sum", [x])[0] == np.float16(7500)
    assert launch(gpu, "mean", [x], axis=None, keepdims=False)[0] == 1.5


def test_strided_operands_and_results(gpu, rng):
    x = some(rng, (6, 8, 10))
    view, same = gpu.asarray(x).transpose(2, 0, 1)[::-1], x.transpose(2, 0, 1)[::-1]
    for axis in (None, (0,), (0, 2), (1,)):
        np.testing.assert_allclose(
            gpu.launch("sum", view, axis=axis).get(), same.sum(axis=axis, dtype=np.float64), rtol=1e-5, atol=1e-5
        )
    out = gpu.asarray(np.zeros((16, 10)))[::2]
    assert gpu.launch("sum", gpu.asarray(np.ones((4, 8, 10), np.float32)), axis=0, out=out) is out
    np.testing.assert_array_equal(out.get(), np.full((8, 10), 4.0))


def test_column_sum_keeps_the_last_axis(gpu, rng):
    x = some(rng, (7, 11, 13))
    np.testing.assert_allclose(
        launch(gpu, "column_sum", [x])[0], x.sum(axis=(0, 1), dtype=np.float64), rtol=1e-5, atol=1e-5
    )


def test_empty_axes(gpu):
    empty = np.zeros((3, 0, 2), np.float32)
    np.testing.assert_array_equal(launch(gpu, "sum", [empty], axis=1)[0], np.zeros((3, 2)))
    np.testing.assert_array_equal(launch(gpu, "prod", [empty], axis=(1,))[0], np.ones((3, 2)))
    assert launch(gpu, "sum", [empty], axis=0)[0].shape == (0, 2)
    assert launch(gpu, "max", [empty], axis=0)[0].shape == (0, 2)
    assert np.isnan(launch(gpu, "mean", [empty], axis=None, keepdims=False)[0])
    for name in ("max", "min", "argmax", "argmin"):
        with pytest.raises(ValueError, match=rf"{name}\(\) of no elements"):
            launch(gpu, name, [empty], axis=1)
    with pytest.raises(ValueError, match="does not name different axes"):
        launch(gpu, "sum", [empty], axis=(1, -2))


def test_every_schedule_gives_the_same_bits(gpu, schedule):
    x = np.random.default_rng(4).normal(size=(40, 5003)).astype(np.float32)
    for axis in (None, (0,), (1,)):
        found = launch(gpu, "sum", [x], axis=axis)[0]
        key = axis, found.shape
        assert SEEN.setdefault(key, found.tobytes()) == found.tobytes()


SEEN: dict = {}


@pytest.mark.parametrize("multiprocessors", [1, 4, 80, 132])
def test_a_plan_fits_a_block_and_covers_the_axis(multiprocessors, rng):
    for _ in range(300):
        outer, length, inner = (int(10 ** rng.uniform(0, 5)) for _ in range(3))
        columns, rows, groups, chunk = reductions.plan(multiprocessors, outer, length, inner)
        assert columns * rows * groups <= 1024
        assert all(n & (n - 1) == 0 for n in (columns, rows, groups))
        assert chunk <= rows * reductions.MOST_EACH
        assert chunk >= length or chunk >= 4  # more than one pass makes the axis shorter


def test_what_a_training_step_reduces_is_one_kernel_of_ours(gpu, monkeypatch, rng):
    losses, scores = some(rng, (32,)), some(rng, (32, 10))
    options = {"axis": (0,), "keepdims": False}
    assert count_launches(gpu, monkeypatch, "mean", [losses], **options) == ["reduce"]
    assert count_launches(gpu, monkeypatch, "sum", [losses > 0], **options) == ["reduce"]
    assert count_launches(gpu, monkeypatch, "argmax", [scores], axis=1, keepdims=False) == ["reduce"]
    assert reductions.plan(132, 1, 1024, 512)[3] == 1024, "a large GPU sums the rows of a dense layer in one pass"


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("labels", ["int64", "int32", "uint8"])
def test_correct_answers_are_counted_with_the_first_of_equal_scores_and_nan_as_the_largest(gpu, checked, dtype, labels):
    rng = np.random.default_rng(3)
    for rows, columns in ((1, 1), (7, 3), (1030, 10)):
        scores = rng.integers(0, 4, (rows, columns)).astype(dtype)
        scores[rng.random((rows, columns)) < 0.05] = np.nan
        classes = rng.integers(0, columns, rows).astype(labels)
        expected = int((scores.argmax(axis=1) == classes).sum())
        wide = gpu.asarray(np.repeat(scores, 2, axis=1))[:, ::2]
        for x in (gpu.asarray(scores), wide):
            count = gpu.launch("count_correct", gpu.asarray(classes), x)
            assert count.dtype == np.int64
            assert int(gpu.item(count)) == expected


def test_correct_answers_among_too_many_scores_for_one_block_are_counted_by_kernels_of_ours(gpu, monkeypatch):
    monkeypatch.setattr(reductions, "MOST_COUNTED", 8)
    rng = np.random.default_rng(4)
    scores, classes = rng.standard_normal((40, 5)).astype(np.float32), rng.integers(0, 5, 40)
    arguments = gpu.asarray(classes), gpu.asarray(scores)
    out = gpu.full((), 0, np.int64)
    with monkeypatch.context() as patch:
        patch.setattr(gpu, "fallback", None)
        count = gpu.launch("count_correct", *arguments)
        assert gpu.launch("count_correct", *arguments, out=out) is out
    expected = int((scores.argmax(axis=1) == classes).sum())
    assert (int(gpu.item(count)), int(gpu.item(out))) == (expected, expected)
