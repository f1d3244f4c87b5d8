"""Rows: what recorded programs read samples of."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("start", [0, 3, 8, 25])
def test_samples_of_every_shape_and_type_are_read_in_the_order_from_the_position_on(
    backend: Any, rng: Any, shuffled: bool, start: int
) -> None:
    arrays: list[np.ndarray] = [
        rng.standard_normal((11, 5, 3)).astype(np.float32),
        rng.integers(0, 255, (11, 784), np.uint8),
        rng.integers(0, 9, 11),
        rng.standard_normal((11, 1001)),
        rng.integers(0, 2, (11, 7)).astype(bool),
        np.zeros((11, 0), np.float32),
        rng.standard_normal((11, 2)).astype(np.float16),
    ] * 3
    order = rng.permutation(11) if shuffled else None
    rows = backend.rows([backend.asarray(a) for a in arrays], None if order is None else backend.asarray(order))
    found = backend.launch("select_rows", backend.asarray(np.array(start)), rows=rows, size=4)
    numbers = np.arange(start, start + 4) % 11
    numbers = numbers if order is None else order[numbers]
    for array, result in zip(arrays, found, strict=True):
        assert result.dtype == array.dtype
        np.testing.assert_array_equal(backend.to_numpy(result), array[numbers])


@pytest.mark.parametrize("shape", [(), (784,), (4097,), (3000, 3)])
def test_many_rows_short_or_long_are_read_in_their_order(backend: Any, rng: Any, shape: tuple[int, ...]) -> None:
    array, order = rng.integers(0, 255, (41, *shape), np.uint8), rng.permutation(41)
    rows = backend.rows([backend.asarray(array)], backend.asarray(order))
    (found,) = backend.launch("select_rows", backend.asarray(np.array(7)), rows=rows, size=37)
    np.testing.assert_array_equal(backend.to_numpy(found), array[order[np.arange(7, 44) % 41]])


def test_views_that_are_not_contiguous_or_not_aligned_are_read_right(backend: Any, rng: Any) -> None:
    x = rng.integers(0, 255, (9, 33), np.uint8)
    on_device = backend.asarray(x)
    views = [on_device[:, 1:32], on_device[1:], on_device[::2], on_device.reshape(-1)[5:21].reshape(8, 2)]
    for view in views:
        (found,) = backend.launch("select_rows", backend.asarray(np.array(1)), rows=backend.rows([view]), size=3)
        np.testing.assert_array_equal(backend.to_numpy(found), backend.to_numpy(view)[1:4])


def test_a_call_reads_the_arrays_that_are_pointed_to_when_it_runs_and_none_are_held_after_clear(backend: Any) -> None:
    first, second = (backend.asarray(np.arange(6.0) + n) for n in (0, 100))
    rows, position, out = backend.rows([first]), backend.full((), 2, np.int64), backend.empty((3,), np.float64)
    backend.launch("select_rows", position, rows=rows, size=3, out=out)
    assert backend.to_numpy(out).tolist() == [2, 3, 4]
    rows.point_to([second])
    backend.launch("select_rows", position, rows=rows, size=3, out=out)
    assert backend.to_numpy(out).tolist() == [102, 103, 104]
    held = weakref.ref(second)
    rows.clear()
    del second
    gc.collect()
    assert held() is None
    backend.launch("select_rows", position, rows=rows, size=3, out=out)
    assert backend.to_numpy(out).tolist() == [102, 103, 104]  # the data is gone, and nothing is read
