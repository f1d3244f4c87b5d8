"""FlatBuffer: layout, values that survive, views that are shared, and variables that leave."""

from __future__ import annotations

import numpy as np
import pytest

from gradlite.keras.flat import ALIGNMENT, FlatBuffer
from gradlite.keras.variables import Variable

SHAPES = [(3, 5), (16,), (), (17,), (2, 2, 2)]


def make(shapes=SHAPES, dtype="float32"):
    rng = np.random.default_rng()
    return [Variable(rng.normal(size=shape).astype(dtype), name=f"v{i}") for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_survive_and_every_variable_starts_at_a_multiple_of_sixteen(dtype):
    variables = make(dtype=dtype)
    before = [variable.numpy() for variable in variables]
    flat = FlatBuffer(variables)
    assert flat.data.__array_interface__["data"][0] % 64 == 0
    assert flat.data.flags.c_contiguous
    assert flat.offsets == (0, 16, 32, 48, 80)
    assert flat.size == 96
    for variable, value, offset in zip(variables, before, flat.offsets):
        assert offset % ALIGNMENT == 0
        assert variable.dtype == dtype
        np.testing.assert_array_equal(variable.numpy(), value)
        np.testing.assert_array_equal(flat.data[offset : offset + value.size], value.reshape(-1))


def test_variables_and_buffer_are_the_same_memory():
    variables = make()
    flat = FlatBuffer(variables)
    flat.data += 1
    variables[1].assign(np.zeros(16, np.float32))
    np.testing.assert_array_equal(flat.data[16:32], 0)
    np.testing.assert_array_equal(variables[0].numpy().reshape(-1), flat.data[:15])


def test_packing_casts_and_leaves_out_what_is_none():
    variables = make()
    flat = FlatBuffer(variables)
    arrays = [np.full(v.shape, i + 1.0) for i, v in enumerate(variables)]
    arrays[1] = None
    out = flat.pack(arrays, flat.like())
    assert out.dtype == np.float32
    for i, (view, array) in enumerate(zip(flat.views_of(out), arrays)):
        assert (view == (0 if array is None else i + 1)).all()
    assert out.sum() == 15 * 1 + 1 * 3 + 17 * 4 + 8 * 5


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        ([1, 1, 1, 1, 1], [(0, 88)]),
        ([0, 1, 1, 0, 1], [(16, 33), (80, 88)]),
        ([1, 0, 0, 0, 0], [(0, 15)]),
        ([0, 0, 0, 0, 0], []),
    ],
)
def test_segments_merge_neighbours_and_skip_the_frozen(active, expected):
    assert list(FlatBuffer(make()).segments(active)) == expected


def test_a_variable_that_another_buffer_took_is_taken_back_with_its_new_values():
    variables = make()
    first = FlatBuffer(variables)
    second = FlatBuffer(variables[:2])
    second.data += 5
    expected = [variable.numpy() for variable in variables]
    assert first.adopt() is True
    assert first.adopt() is False
    for variable, value, view in zip(variables, expected, first.views):
        assert variable.data is view
        np.testing.assert_array_equal(variable.numpy(), value)


def test_variables_of_two_dtypes_are_refused_by_name():
    variables = [*make(), Variable(np.zeros(3), name="wide")]
    with pytest.raises(ValueError, match="'wide' of float64"):
        FlatBuffer(variables)
