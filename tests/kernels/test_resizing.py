"""Enlarging kernels against the definition pixel by pixel, and their gradients by transposition."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import gradlite.backends.reference.resizing  # noqa: F401  (fills the table of reference kernels)
from gradlite.backends.registry import REFERENCE

NAMES = ("upsample2d_nearest", "upsample2d_nearest_gradient", "upsample2d_bilinear", "upsample2d_bilinear_gradient")
KERNELS = {name: partial(REFERENCE[name], np) for name in NAMES}
SIZES = [(1, 1), (2, 2), (3, 1), (1, 4), (2, 5), (3, 3)]


def image(size, shape=(2, 4, 3, 2)):
    return np.random.default_rng(10 * size[0] + size[1]).standard_normal(shape)


def loop_bilinear(x, size):
    n, h, w, c = x.shape
    y = np.zeros((n, h * size[0], w * size[1], c))
    for i, j in np.ndindex(y.shape[1:3]):
        u, v = (i + 0.5) / size[0] - 0.5, (j + 0.5) / size[1] - 0.5
        for a, b in np.ndindex(2, 2):
            row, column = int(np.floor(u)) + a, int(np.floor(v)) + b
            share = (1 - abs(u - row)) * (1 - abs(v - column))
            y[:, i, j] += share * x[:, min(max(row, 0), h - 1), min(max(column, 0), w - 1)]
    return y


@pytest.mark.parametrize("size", SIZES)
def test_nearest_repeats_every_pixel(size):
    x = image(size)
    y = KERNELS["upsample2d_nearest"](x, size=size)
    assert y.shape == (2, 4 * size[0], 3 * size[1], 2)
    for i, j in np.ndindex(y.shape[1:3]):
        np.testing.assert_array_equal(y[:, i, j], x[:, i // size[0], j // size[1]])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(2, 4, 3, 2), (1, 1, 1, 3), (3, 1, 5, 1)])
def test_bilinear_interpolates_between_pixel_centers(size, shape):
    x = image(size, shape)
    np.testing.assert_allclose(KERNELS["upsample2d_bilinear"](x, size=size), loop_bilinear(x, size), rtol=0, atol=1e-12)


def test_bilinear_gives_the_known_values_of_a_doubled_row():
    x = np.array([0.0, 4.0, 8.0]).reshape(1, 1, 3, 1)
    y = KERNELS["upsample2d_bilinear"](x, size=(1, 2))
    np.testing.assert_array_equal(y.ravel(), [0, 1, 3, 5, 7, 8])


@pytest.mark.parametrize("kind", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(2, 4, 3, 2), (1, 1, 1, 3)])
def test_gradients_are_transposes(kind, size, shape):
    x = image(size, shape)
    y = KERNELS[f"upsample2d_{kind}"](x, size=size)
    gradient = np.random.default_rng(1).standard_normal(y.shape)
    dx = KERNELS[f"upsample2d_{kind}_gradient"](gradient, size=size)
    assert dx.shape == x.shape
    np.testing.assert_allclose(np.vdot(dx, x), np.vdot(y, gradient), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_buffers_views_and_dtypes(name, dtype):
    wide = np.random.default_rng(3).standard_normal((4, 6, 6, 4)).astype(dtype)
    x = wide[::2, :, ::-1, 1::2]
    before = x.copy()
    expected = KERNELS[name](np.ascontiguousarray(x).astype(float), size=(2, 3))
    fresh = KERNELS[name](x, size=(2, 3))
    out = np.full(expected.shape, np.nan, dtype)
    assert KERNELS[name](x, size=(2, 3), out=out) is out
    assert fresh.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(out, fresh)
    tolerance = {"float16": 4e-3, "float32": 1e-6, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)
    assert fresh.flags.c_contiguous
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_factor_of_one_gives_a_copy(name):
    x = image((1, 1))
    y = KERNELS[name](x, size=(1, 1))
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(x, y)
    assert y.flags.writeable


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch_gives_an_empty_result(name):
    y = KERNELS[name](np.ones((0, 4, 6, 2), np.float32), size=(2, 3))
    assert y.shape == ((0, 2, 2, 2) if name.endswith("gradient") else (0, 8, 18, 2))
