"""CUDA gathers, scatters and joins against NumPy: any axis, index and type, indices that repeat, wrap and broadcast."""

from __future__ import annotations

import numpy as np
import pytest
from comparison import check, count_launches, expected, launch, uploaded


def numbers(rng, shape, dtype="float32"):
    return rng.uniform(-50, 50, shape).astype(dtype)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_take_and_its_transpose_along_any_axis(gpu, rng, axis, dtype, checked):
    x, indices = numbers(rng, (5, 13, 7), dtype), np.array([[1, -1, 0], [2, 2, 3]])
    y = check(gpu, "take", [x, indices], axis=axis)[0]
    np.testing.assert_array_equal(y, np.take(x, indices, axis=axis))
    check(gpu, "take_gradient", [numbers(rng, y.shape, dtype), indices], shape=x.shape, axis=axis, scale=4)


@pytest.mark.parametrize(
    ("dtype", "row"),
    [("uint8", (784,)), ("uint8", ()), ("uint8", (6,)), ("bool", (3,)), ("int64", (5, 3, 64)), ("float16", (1000, 2))],
)
def test_rows_of_any_length_and_type(gpu, rng, dtype, row):
    x = numbers(rng, (11, *row)).astype(dtype)
    for kind in ("int64", "int32", "uint8") if row == (784,) else ("int64",):
        indices = rng.integers(0, 11, 40).astype(kind)
        found = launch(gpu, "take", [x, indices], axis=0)[0]
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, x[indices])


def test_rows_at_any_address(gpu, rng, checked):
    x, indices = numbers(rng, 1000), rng.integers(0, 9, 5)
    for start in range(5):
        view = gpu.asarray(x)[start : start + 9 * 16].reshape(9, 16)
        found = gpu.launch("take", view, gpu.asarray(indices), axis=0)
        np.testing.assert_array_equal(found.get(), x[start : start + 144].reshape(9, 16)[indices])


def test_indices_out_of_range_wrap_around_and_never_leave_the_array(gpu, checked):
    x, indices = np.arange(10.0, dtype=np.float32), np.array([10, -11, 25, -1, 9])
    np.testing.assert_array_equal(launch(gpu, "take", [x, indices], axis=0)[0], [0, 9, 5, 9, 9])
    ones = np.ones(5, np.float32)
    np.testing.assert_array_equal(
        launch(gpu, "take_gradient", [ones, indices], shape=(10,), axis=0)[0], [1, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    )
    with pytest.raises(IndexError, match="is empty"):
        launch(gpu, "take", [np.zeros((0, 3), np.float32), indices], axis=0)


@pytest.mark.parametrize("row", [1, 3, 15, 16, 130, 300])
@pytest.mark.parametrize("count", [1, 31, 32, 200])
def test_rows_named_several_times_are_summed(gpu, rng, row, count):
    gradient, indices = numbers(rng, (count, row)), rng.integers(-7, 7, count)
    check(gpu, "take_gradient", [gradient, indices], shape=(7, row), axis=0, scale=8)


def test_counts_are_exact_and_what_is_not_named_is_zero(gpu, rng):
    places = rng.integers(0, 9, 5000)
    found = launch(gpu, "take_gradient", [np.ones(5000, np.float32), places], shape=(12,), axis=0)[0]
    np.testing.assert_array_equal(found, np.bincount(places, minlength=12))
    found = launch(gpu, "take_gradient", [np.ones(5000, np.int64), places], shape=(12,), axis=0)[0]
    np.testing.assert_array_equal(found, np.bincount(places, minlength=12))
    none = np.zeros((0, 5), np.float32)
    np.testing.assert_array_equal(
        launch(gpu, "take_gradient", [none, np.zeros(0, int)], shape=(3, 5), axis=0)[0], np.zeros((3, 5))
    )


@pytest.mark.parametrize("shape", [(300,), (300, 40)])
def test_every_schedule_scatters_the_same_bits(gpu, schedule, shape):
    rng = np.random.default_rng(7)
    gradient, indices = numbers(rng, shape), rng.integers(0, 4, 300)
    found = launch(gpu, "take_gradient", [gradient, indices], shape=(4, *shape[1:]), axis=0)[0].tobytes()
    assert SEEN.setdefault(shape, found) == found


SEEN: dict = {}


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_elements_named_along_an_axis(gpu, rng, axis, dtype, checked):
    x = numbers(rng, (3, 5, 4), dtype)
    for k in (1, 6):
        shape = list(x.shape)
        shape[axis] = k
        indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
        y = check(gpu, "take_along_axis", [x, indices], axis=axis)[0]
        wanted = np.zeros(x.shape)
        for place in np.ndindex(*shape):
            there = list(place)
            there[axis] = indices[place]
            wanted[tuple(there)] += y[place]
        found = launch(gpu, "take_along_axis_gradient", [y, indices], shape=x.shape, axis=axis)[0]
        np.testing.assert_allclose(found, wanted, rtol=2e-6 if dtype == "float32" else 2e-3)
    wide = rng.integers(0, x.shape[axis], [1 if i == axis % 3 else n for i, n in enumerate(x.shape)])
    check(gpu, "take_along_axis", [x, wide[:1] if axis != 0 else wide], axis=axis)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
def test_one_hot_rows(gpu, dtype):
    indices = np.array([[0, 2, -1], [3, 4, 9]])
    found = launch(gpu, "one_hot", [indices], depth=4, dtype=np.dtype(dtype))[0]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, indices[..., None] == np.arange(4))


ARRAY = np.array([[1, -1, 0], [2, 2, 3]])
INDICES = {
    "array": ARRAY,
    "array alone in a tuple": (ARRAY,),
    "array along the second axis": (slice(None), ARRAY),
    "array along the last axis": (slice(None), slice(None), ARRAY),
    "two arrays": (ARRAY, ARRAY[::-1]),
    "arrays that broadcast": (slice(None), ARRAY, np.array([0, 1, -2])),
    "three arrays": (ARRAY, ARRAY, ARRAY),
    "an array and a number": (ARRAY, -3),
    "a number and an array": (-1, ARRAY.astype(np.int32)),
    "a mask": np.arange(5) > 2,
    "a mask of two axes": np.arange(65).reshape(5, 13) % 3 == 0,
    "a number alone": (2,),
    "parts": (slice(1, 3), slice(None, None, 2)),
    "arrays apart": (np.array([1, 0]), slice(None), np.array([3, 3])),
    "a part and an array": (slice(1, 4), np.array([2, 2, 5])),
}


@pytest.mark.parametrize("name", INDICES)
def test_indexing_and_its_transpose(gpu, rng, name):
    x, index = numbers(rng, (5, 13, 7)), INDICES[name]
    values = numbers(rng, x[index].shape)
    parts = index if isinstance(index, tuple) else (index,)
    for on_device in (False, True):
        given = tuple(gpu.asarray(p) if on_device and isinstance(p, np.ndarray) else p for p in parts)
        given = given if isinstance(index, tuple) else given[0]
        if any(isinstance(p, np.ndarray) for p in parts):
            np.testing.assert_array_equal(launch(gpu, "gather", [x], index=given)[0], x[index])
        found = launch(gpu, "scatter", [values], index=given, shape=x.shape)[0]
        wanted = expected("scatter", [values], index=index, shape=x.shape)[0]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        out = gpu.full(x.shape, 77, np.float32)
        assert gpu.launch("scatter", gpu.asarray(values), index=given, shape=x.shape, out=out) is out
        np.testing.assert_array_equal(out.get(), found)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_arrays_are_joined_along_any_axis(gpu, rng, axis, dtype, checked):
    arrays = []
    for length in (2, 0, 5, 1, 300):
        shape = [3, 4, 2]
        shape[axis] = length
        arrays.append(numbers(rng, shape).astype(dtype))
    found = launch(gpu, "concatenate", arrays, axis=axis)[0]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.concatenate(arrays, axis=axis))


def test_many_arrays_of_different_types_and_layouts_are_joined(gpu, rng):
    arrays = [numbers(rng, (2, int(n))) for n in rng.integers(0, 9, 150)]
    np.testing.assert_array_equal(launch(gpu, "concatenate", arrays, axis=1)[0], np.concatenate(arrays, axis=1))
    check(gpu, "concatenate", arrays[:3], axis=1)
    mixed = launch(gpu, "concatenate", [arrays[0], arrays[1].astype(np.float64)], axis=1)[0]
    assert mixed.dtype == np.float64
    turned = gpu.asarray(arrays[2]).T
    np.testing.assert_array_equal(gpu.launch("concatenate", turned, turned, axis=0).get(), np.tile(arrays[2].T, (2, 1)))
    with pytest.raises(ValueError):
        launch(gpu, "concatenate", [np.zeros((2, 3)), np.zeros((3, 2))], axis=0)


def test_the_result_may_be_no_operand_of_a_join(gpu, rng):
    x = numbers(rng, (4, 3))
    whole = gpu.asarray(np.concatenate([x, x]))
    out = gpu.launch("concatenate", whole[4:], whole[:4] + 1, axis=0, out=whole)
    assert out is whole
    np.testing.assert_array_equal(out.get(), np.concatenate([x, x + 1]))


def test_pack_of_all_gradients_is_one_launch(gpu, monkeypatch, rng, checked):
    shapes = [(3, 3, 3, 32), (32,), (32,), (), (7, 1), *[(int(n),) for n in rng.integers(0, 40, 15)], (1025,)]
    arrays = [numbers(rng, shape) for shape in shapes]
    offsets, place = [], 3
    for array in arrays:
        offsets.append(place)
        place += array.size + int(rng.integers(0, 3))
    flat = np.full(place + 5, 7, np.float32)
    wanted = flat.copy()
    for array, offset in zip(arrays, offsets):
        wanted[offset : offset + array.size] = array.ravel()
    out = gpu.asarray(flat)
    options = {"offsets": tuple(offsets), "out": out}
    assert count_launches(gpu, monkeypatch, "pack", arrays, **options) == ["copy_segments"]
    np.testing.assert_array_equal(out.get(), wanted)


def test_pack_converts_and_takes_strided_arrays(gpu, rng):
    arrays = [numbers(rng, (3, 4), "float64"), numbers(rng, (5,)), numbers(rng, (2, 3), "float16")]
    operands = uploaded(gpu, arrays)
    operands[0] = operands[0].T
    out = gpu.full((30,), 0, np.float32)
    gpu.launch("pack", *operands, offsets=(0, 12, 20), out=out)
    wanted = np.zeros(30, np.float32)
    wanted[:12], wanted[12:17], wanted[20:26] = arrays[0].T.ravel(), arrays[1], arrays[2].ravel()
    np.testing.assert_array_equal(out.get(), wanted)
    with pytest.raises(ValueError, match=r"12 elements at 20 into an array of 30"):
        gpu.launch("pack", operands[0], offsets=(20,), out=out)


def test_a_permutation_is_the_cpus(gpu):
    state = np.array([7, 3, 11], np.uint64)
    for size in (0, 1, 57):
        found = launch(gpu, "random_permutation", [state], size=size)[0]
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, expected("random_permutation", [state], size=size)[0])


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_batch_is_taken_by_one_kernel_of_ours(gpu, monkeypatch, rng, dtype):
    x, order = numbers(rng, (50, 32, 32, 3)).astype(dtype), rng.permutation(50)[:32]
    assert count_launches(gpu, monkeypatch, "take", [x, order], axis=0) == ["take"]
