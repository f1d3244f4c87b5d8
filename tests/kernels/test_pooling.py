"""Pooling kernels against loops over windows, ties, missing numbers, and the CPU's against the reference."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import gradlite.backends.cpu.pooling
import gradlite.backends.reference.pooling  # noqa: F401  (fills the table of reference kernels)
from gradlite.backends.cpu.registry import CPU
from gradlite.backends.registry import REFERENCE

NAMES = ("max_pool2d", "max_pool2d_scatter", "max_pool2d_gather", "avg_pool2d", "avg_pool2d_gradient")
KERNELS = {
    "reference": {name: partial(REFERENCE[name], np) for name in NAMES},
    "cpu": {name: CPU[name] for name in NAMES},
}
HALVING = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}


@pytest.fixture(params=["reference", "cpu"])
def kernels(request):
    return KERNELS[request.param]


def random_case(seed):
    """x with ties, and attributes: overlapping windows, windows apart, padding; every third is 2 x 2 and stride 2."""
    rng = np.random.default_rng(seed)
    window = tuple(map(int, rng.integers(1, 5, 2)))
    options = {
        "window": window,
        "strides": tuple(map(int, rng.integers(1, 5, 2))),
        "padding": tuple(tuple(map(int, rng.integers(0, size, 2))) for size in window),
    }
    if seed % 3 == 0:
        options = HALVING
    n, h, w, c = int(rng.integers(1, 5)), *map(int, rng.integers(4, 12, 2)), int(rng.integers(1, 5))
    return rng.integers(-3, 4, (n, h, w, c)).astype(float), options


def windows(shape, *, window, strides, padding):
    """((r, q), [(tap, i, j), ...]) for every window, with its taps inside the image, row by row."""
    oh, ow = ((shape[a + 1] + sum(padding[a]) - window[a]) // strides[a] + 1 for a in (0, 1))
    for r, q in np.ndindex(oh, ow):
        taps = []
        for ky, kx in np.ndindex(*window):
            i, j = r * strides[0] + ky - padding[0][0], q * strides[1] + kx - padding[1][0]
            if 0 <= i < shape[1] and 0 <= j < shape[2]:
                taps.append((ky * window[1] + kx, i, j))
        yield (r, q), taps


def output_shape(shape, options):
    return shape[0], *[last + 1 for last in [at for at, _ in windows(shape, **options)][-1]], shape[3]


def loop_max_pool(x, options):
    y, index = np.zeros(output_shape(x.shape, options)), np.zeros(output_shape(x.shape, options), int)
    for at, taps in windows(x.shape, **options):
        for image, channel in np.ndindex(x.shape[0], x.shape[3]):
            best = None
            for tap, i, j in taps:
                value = x[image, i, j, channel]
                if best is None or value > best[0] or (np.isnan(value) and not np.isnan(best[0])):
                    best = value, tap
            y[(image, *at, channel)], index[(image, *at, channel)] = best
    return y, index


def assert_close(actual, expected, tolerance=1e-12):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("missing", [0, 0.1, 0.6])
@pytest.mark.parametrize("seed", range(18))
def test_max_pooling_finds_the_first_maximum_of_every_window(kernels, seed, missing):
    x, options = random_case(seed)
    rng = np.random.default_rng(seed)
    x[rng.random(x.shape) < missing] = np.nan
    x[rng.random(x.shape) < missing] = -np.inf
    y, index = kernels["max_pool2d"](x, **options)
    expected = loop_max_pool(x, options)
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(index, expected[1])
    assert index.dtype == np.uint8


def test_an_image_of_minus_infinity_is_its_own_maximum_beside_padding(kernels):
    options = {"window": (3, 3), "strides": (1, 1), "padding": ((1, 1), (1, 1))}
    y, index = kernels["max_pool2d"](np.full((1, 2, 2, 1), -np.inf), **options)
    assert (y == -np.inf).all()
    # Tap 4 is the window's center, taps 0, 1 and 3 are padding at the first pixel.
    np.testing.assert_array_equal(index[0, :, :, 0], [[4, 3], [1, 0]])


def test_large_windows_number_their_taps_in_four_bytes(kernels):
    x = np.zeros((1, 18, 18, 1))
    x[0, 17, 16] = 1
    y, index = kernels["max_pool2d"](x, window=(18, 18), strides=(1, 1), padding=((0, 0), (0, 0)))
    assert index.dtype == np.int32
    assert (y.item(), index.item()) == (1, 17 * 18 + 16)


def test_the_largest_numbers_are_compared_without_overflow(kernels):
    x = np.full((4, 8, 8, 64), np.finfo(np.float32).max)
    x[:, ::2, 1::2] = np.inf
    x[:, :2] = -np.inf
    y, index = kernels["max_pool2d"](x, **HALVING)
    assert (y[:, 0] == -np.inf).all()
    assert (y[:, 1:] == np.inf).all()
    assert (index[:, 0] == 0).all()
    assert (index[:, 1:] == 1).all()


@pytest.mark.parametrize("seed", range(18))
def test_scatter_adds_every_gradient_at_the_maximum(kernels, seed):
    x, options = random_case(seed)
    _, index = loop_max_pool(x, options)
    gradient = np.random.default_rng(seed).standard_normal(index.shape)
    gradient[0, 0, 0] = np.inf
    expected = np.zeros(x.shape)
    for at, taps in windows(x.shape, **options):
        for tap, i, j in taps:
            expected[:, i, j] += np.where(index[(slice(None), *at)] == tap, gradient[(slice(None), *at)], 0)
    index = index.astype(np.uint8)
    assert_close(kernels["max_pool2d_scatter"](gradient, index, input_shape=x.shape, **options), expected)


@pytest.mark.parametrize("seed", range(18))
def test_gather_reads_what_the_index_names(kernels, seed):
    x, options = random_case(seed)
    x += np.random.default_rng(seed).standard_normal(x.shape)
    y, index = loop_max_pool(x, options)
    other = np.random.default_rng(seed + 1).standard_normal(x.shape)
    index = index.astype(np.uint8)
    np.testing.assert_array_equal(kernels["max_pool2d_gather"](x, index, **options), y)
    read = kernels["max_pool2d_gather"](other, index, **options)
    gradient = np.random.default_rng(seed + 2).standard_normal(y.shape)
    scattered = kernels["max_pool2d_scatter"](gradient, index, input_shape=x.shape, **options)
    np.testing.assert_allclose(np.vdot(read, gradient), np.vdot(other, scattered), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(18))
def test_average_pooling_leaves_padding_out_of_the_mean(kernels, seed):
    x, options = random_case(seed)
    x += np.random.default_rng(seed).standard_normal(x.shape)
    expected = np.zeros(output_shape(x.shape, options))
    gradient = np.random.default_rng(seed + 1).standard_normal(expected.shape)
    dx = np.zeros(x.shape)
    for at, taps in windows(x.shape, **options):
        for _, i, j in taps:
            expected[(slice(None), *at)] += x[:, i, j] / len(taps)
            dx[:, i, j] += gradient[(slice(None), *at)] / len(taps)
    assert_close(kernels["avg_pool2d"](x, **options), expected)
    assert_close(kernels["avg_pool2d_gradient"](gradient, input_shape=x.shape, **options), dx)


def test_windows_that_lie_in_the_padding_have_a_mean_of_zero(kernels):
    y = kernels["avg_pool2d"](np.ones((1, 2, 2, 1)), window=(1, 1), strides=(1, 1), padding=((1, 0), (0, 2)))
    np.testing.assert_array_equal(y[0, :, :, 0], [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize(
    "options",
    [
        HALVING,
        {"window": (3, 3), "strides": (2, 2), "padding": ((0, 1), (0, 1))},
        {"window": (2, 3), "strides": (3, 4), "padding": ((1, 0), (1, 1))},
    ],
)
def test_cpu_kernels_agree_with_the_reference(options, dtype):
    """Large enough for several chunks in two threads; maxima are exact, sums of nine numbers nearly."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((33, 23, 18, 16)).astype(dtype)
    x[3, 5, 6, 7] = np.nan
    reference, cpu = KERNELS["reference"], KERNELS["cpu"]
    y, index = cpu["max_pool2d"](x, **options)
    for actual, expected in zip((y, index), reference["max_pool2d"](x, **options)):
        np.testing.assert_array_equal(actual, expected)
        assert actual.dtype == expected.dtype
    x = np.nan_to_num(x)
    gradient = rng.standard_normal(y.shape).astype(dtype)
    tolerance = {"float64": 1e-14, "float32": 1e-6, "float16": 4e-3}[dtype]
    shape = {"input_shape": x.shape}
    for name, arrays, more in (
        ("max_pool2d_scatter", (gradient, index), shape),
        ("max_pool2d_gather", (x, index), {}),
        ("avg_pool2d", (x,), {}),
        ("avg_pool2d_gradient", (gradient,), shape),
    ):
        actual, expected = (table[name](*arrays, **more, **options) for table in (cpu, reference))
        assert actual.dtype == expected.dtype == np.dtype(dtype)
        assert_close(actual, expected, tolerance)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_non_contiguous_inputs_stay_as_they_were_and_buffers_are_filled(kernels, seed):
    x, options = random_case(seed)

    def view(a):
        wide = np.zeros([2 * size for size in a.shape], a.dtype)[::-1, ::2, 1::2, ::2][: len(a)]
        wide[...] = a
        return wide

    def same(actual, expected, out):
        assert actual is out
        np.testing.assert_array_equal(actual, expected)

    y, index = kernels["max_pool2d"](x, **options)
    gradient = np.random.default_rng(seed).standard_normal(y.shape)
    x2, index2, gradient2 = view(x), view(index), view(gradient)
    assert not x2.flags.c_contiguous
    shape = {"input_shape": x.shape, **options}
    out = np.full_like(y, np.nan), np.full_like(index, 99)
    for actual, expected, buffer in zip(kernels["max_pool2d"](x2, **options, out=out), (y, index), out):
        same(actual, expected, buffer)
    for name, arrays, views, attributes, like in (
        ("max_pool2d_scatter", (gradient, index), (gradient2, index2), shape, x),
        ("max_pool2d_gather", (x, index), (x2, index2), options, y),
        ("avg_pool2d", (x,), (x2,), options, y),
        ("avg_pool2d_gradient", (gradient,), (gradient2,), shape, x),
    ):
        buffer = np.full_like(like, np.nan)
        same(kernels[name](*views, **attributes, out=buffer), kernels[name](*arrays, **attributes), buffer)
    for one, other in ((x2, x), (index2, index), (gradient2, gradient)):
        np.testing.assert_array_equal(one, other)


def test_an_empty_batch_gives_empty_results(kernels):
    x = np.ones((0, 6, 4, 3), np.float32)
    y, index = kernels["max_pool2d"](x, **HALVING)
    assert y.shape == index.shape == kernels["avg_pool2d"](x, **HALVING).shape == (0, 3, 2, 3)
    assert kernels["max_pool2d_gather"](x, index, **HALVING).shape == (0, 3, 2, 3)
    assert kernels["max_pool2d_scatter"](y, index, input_shape=x.shape, **HALVING).shape == x.shape
    assert kernels["avg_pool2d_gradient"](y, input_shape=x.shape, **HALVING).shape == x.shape
