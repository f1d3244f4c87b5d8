"""CUDA pooling against the reference: ragged images, overlapping windows, ties, missing numbers, large windows."""

from __future__ import annotations

import numpy as np
import pytest
from comparison import DTYPES, check, count_launches, expected, launch

HALVING = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}
OVERLAPPING = {"window": (3, 2), "strides": (1, 2), "padding": ((1, 2), (0, 1))}
APART = {"window": (1, 2), "strides": (3, 4), "padding": ((0, 0), (1, 0))}
CASES = [
    ((2, 6, 8, 4), HALVING),
    ((3, 5, 7, 3), HALVING),
    ((2, 7, 5, 8), OVERLAPPING),
    ((1, 8, 9, 5), APART),
]
LARGE = {"window": (17, 17), "strides": (3, 2), "padding": ((8, 8), (8, 8))}


def images(rng, shape, dtype, missing=0.0):
    """Small whole numbers, so that there are ties, and some NaN."""
    x = rng.integers(-3, 4, shape).astype(dtype)
    x[rng.random(shape) < missing] = np.nan
    return x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "options"), CASES)
def test_max_pooling_and_its_transposes_are_the_references(gpu, rng, shape, options, dtype):
    x = images(rng, shape, dtype)
    y, index = check(gpu, "max_pool2d", [x], **options)
    g = rng.uniform(-2, 2, y.shape).astype(dtype)
    check(gpu, "max_pool2d_scatter", [g, index], input_shape=shape, **options)
    gathered = check(gpu, "max_pool2d_gather", [x, index], **options)
    np.testing.assert_array_equal(gathered[0], y)


@pytest.mark.parametrize("missing", [0.1, 0.6, 1.0])
@pytest.mark.parametrize(("shape", "options"), CASES[:3])
def test_a_missing_number_is_the_largest_and_the_first_one_counts(gpu, rng, shape, options, missing):
    x = images(rng, shape, "float32", missing)
    y, index = launch(gpu, "max_pool2d", [x], **options)
    wanted, places = expected("max_pool2d", [x], **options)
    np.testing.assert_array_equal(index, places)
    np.testing.assert_array_equal(y, wanted)


def test_minus_infinity_is_found_and_a_window_of_padding_names_nothing_inside(gpu):
    x = np.full((1, 4, 4, 4), -np.inf, np.float32)
    options = {"window": (2, 2), "strides": (2, 2), "padding": ((2, 0), (0, 0))}
    y, index = launch(gpu, "max_pool2d", [x], **options)
    assert (y == -np.inf).all()
    assert (index == 0).all()
    g = np.ones_like(y)
    dx = launch(gpu, "max_pool2d_scatter", [g, index], input_shape=x.shape, **options)[0]
    assert dx.sum() == 4 * 4, "the gradient of the windows that are all padding is dropped"
    assert (launch(gpu, "max_pool2d_gather", [np.ones_like(x), index], **options)[0][:, 0] == 0).all()


def test_windows_of_more_than_256_taps_have_an_index_of_four_bytes(gpu, rng):
    x = rng.uniform(-2, 2, (1, 10, 9, 3)).astype(np.float32)
    y, index = check(gpu, "max_pool2d", [x], **LARGE)
    assert index.dtype == np.int32
    check(gpu, "max_pool2d_scatter", [y, index], input_shape=x.shape, **LARGE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "options"), CASES)
def test_average_pooling_and_its_gradient_are_the_references(gpu, rng, shape, options, dtype):
    x = rng.uniform(-2, 2, shape).astype(dtype)
    y = check(gpu, "avg_pool2d", [x], **options)[0]
    check(gpu, "avg_pool2d_gradient", [rng.uniform(-2, 2, y.shape).astype(dtype)], input_shape=shape, **options)


def test_an_array_that_starts_between_vectors_is_pooled(gpu, rng):
    x = rng.uniform(-2, 2, 2 * 4 * 4 * 4 + 1).astype(np.float32)
    view = gpu.asarray(x)[1:].reshape(2, 4, 4, 4)
    y, index = launch(gpu, "max_pool2d", [view], **HALVING)
    wanted, places = expected("max_pool2d", [x[1:].reshape(2, 4, 4, 4)], None, **HALVING)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(index, places)


@pytest.mark.parametrize("shape", [(0, 4, 4, 4), (2, 4, 4, 0)])
def test_empty_batches_give_empty_results(gpu, shape):
    y, index = launch(gpu, "max_pool2d", [np.zeros(shape, np.float32)], **HALVING)
    assert y.shape == index.shape == (shape[0], 2, 2, shape[3])
    assert launch(gpu, "avg_pool2d", [np.zeros(shape, np.float32)], **HALVING)[0].shape == y.shape


def test_an_image_smaller_than_the_window_has_no_output_and_no_gradient(gpu):
    g = np.zeros((2, 0, 2, 4), np.float32)
    dx = launch(gpu, "avg_pool2d_gradient", [g], input_shape=(2, 1, 4, 4), **HALVING)[0]
    np.testing.assert_array_equal(dx, np.zeros((2, 1, 4, 4)))


def test_no_access_is_out_of_bounds_or_races(gpu, rng, checked):
    for shape, options in CASES[:2] + CASES[2:]:
        x = images(rng, shape, "float32")
        y, index = launch(gpu, "max_pool2d", [x], **options)
        launch(gpu, "max_pool2d_scatter", [y, index], input_shape=shape, **options)
        launch(gpu, "max_pool2d_gather", [x, index], **options)
        launch(gpu, "avg_pool2d", [x], **options)
        launch(gpu, "avg_pool2d_gradient", [y], input_shape=shape, **options)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_pooling_is_one_launch(gpu, rng, monkeypatch, name):
    assert count_launches(gpu, monkeypatch, name, [images(rng, (2, 6, 8, 4), "float32")], **HALVING) == [name]
