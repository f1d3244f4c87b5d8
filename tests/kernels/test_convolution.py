"""Convolution kernels against loops over pixels in float64, on ragged shapes, and the CPU's against the reference."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import gradlite.backends.cpu.convolution
import gradlite.backends.reference.convolution  # noqa: F401  (fills the table of reference kernels)
from gradlite.backends.cpu.registry import CPU
from gradlite.backends.cpu.windows import Blocks, Geometry, tap_range
from gradlite.backends.registry import REFERENCE

NAMES = ("conv2d", "conv2d_input_gradient", "conv2d_weight_gradient")
KERNELS = {
    "reference": {name: partial(REFERENCE[name], np) for name in NAMES},
    "cpu": {name: CPU[name] for name in NAMES},
}
# Sums of up to some thousand products: relative to the largest element of the result.
TOLERANCE = {"float64": 1e-12, "float32": 3e-6, "float16": 2e-3}


@pytest.fixture(params=["reference", "cpu"])
def kernels(request):
    return KERNELS[request.param]


def random_case(seed, dtype="float64"):
    """Arrays and attributes of a random convolution: kernels larger than strides, smaller, larger than the image."""
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 4))
    ins, outs = int(rng.choice([1, 1, 2, 5])), int(rng.choice([1, 2, 3]))
    n, h, w = int(rng.integers(1, 4)), int(rng.integers(1, 11)), int(rng.integers(1, 11))
    kernel = (*map(int, rng.integers(1, 5, 2)), ins, outs * groups)
    options = {
        "strides": tuple(map(int, rng.integers(1, 4, 2))),
        "padding": tuple(tuple(map(int, rng.integers(0, 4, 2))) for _ in range(2)),
        "dilation": tuple(map(int, rng.integers(1, 3, 2))),
        "groups": groups,
    }
    x = rng.standard_normal((n, h, w, ins * groups)).astype(dtype)
    weights = rng.standard_normal(kernel).astype(dtype)
    bias = rng.standard_normal(outs * groups).astype(dtype)
    shape = loop_conv2d(x, weights, bias, **options).shape
    return x, weights, bias, rng.standard_normal(shape).astype(dtype), options


def common_case(seed, dtype, *, n=5, size=13, c=6, f=8, kernel=3, strides=(1, 1), groups=1, pad=1):
    """A convolution as networks have it, large enough for several blocks and two threads."""
    rng = np.random.default_rng(seed)
    options = {"strides": strides, "padding": ((pad, pad), (pad, pad)), "dilation": (1, 1), "groups": groups}
    x = rng.standard_normal((n, size, size + 2, c)).astype(dtype)
    weights = rng.standard_normal((kernel, kernel, c // groups, f)).astype(dtype)
    bias = rng.standard_normal(f).astype(dtype)
    y = KERNELS["reference"]["conv2d"](x, weights, bias, **options)
    return x, weights, bias, rng.standard_normal(y.shape).astype(dtype), options


def loop_conv2d(x, w, bias, *, strides, padding, dilation, groups):
    """The definition: every output pixel and tap in a Python loop, in float64."""
    x, w = x.astype(float), w.astype(float)
    n, h, width, _ = x.shape
    kh, kw, ins, f = w.shape
    (top, bottom), (left, right) = padding
    oh = max(0, (h + top + bottom - dilation[0] * (kh - 1) - 1) // strides[0] + 1)
    ow = max(0, (width + left + right - dilation[1] * (kw - 1) - 1) // strides[1] + 1)
    y = np.zeros((n, oh, ow, f))
    for r, q, ky, kx in np.ndindex(oh, ow, kh, kw):
        i, j = r * strides[0] + ky * dilation[0] - top, q * strides[1] + kx * dilation[1] - left
        if 0 <= i < h and 0 <= j < width:
            for g in range(groups):
                outs = slice(g * (f // groups), (g + 1) * (f // groups))
                y[:, r, q, outs] += x[:, i, j, g * ins : (g + 1) * ins] @ w[ky, kx][:, outs]
    return y if bias is None else y + bias.astype(float)


def assert_close(actual, expected, dtype):
    assert actual.shape == expected.shape
    assert actual.dtype == np.dtype(dtype)
    scale = np.abs(expected).max(initial=1)
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=TOLERANCE[dtype])


def gradients(kernels, x, w, dy, options):
    dx = kernels["conv2d_input_gradient"](dy, w, input_shape=x.shape, **options)
    return dx, kernels["conv2d_weight_gradient"](x, dy, kernel_shape=w.shape, **options)


@pytest.mark.parametrize("seed", range(25))
def test_convolution_is_the_sum_over_the_window(kernels, seed):
    x, w, bias, _, options = random_case(seed)
    assert_close(kernels["conv2d"](x, w, bias, **options), loop_conv2d(x, w, bias, **options), "float64")
    assert_close(kernels["conv2d"](x, w, None, **options), loop_conv2d(x, w, None, **options), "float64")


@pytest.mark.parametrize("seed", range(25, 50))
def test_gradients_are_the_transposes_of_the_loop_convolution(kernels, seed):
    x, w, _, dy, options = random_case(seed)
    dx, dw = gradients(kernels, x, w, dy, options)
    rng = np.random.default_rng(seed)
    # <conv(v, w), dy> = <v, dx> for every v, <conv(x, u), dy> = <u, dw> for every u
    for _ in range(3):
        v, u = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
        for actual, moved in (
            (np.vdot(v, dx), loop_conv2d(v, w, None, **options)),
            (np.vdot(u, dw), loop_conv2d(x, u, None, **options)),
        ):
            np.testing.assert_allclose(actual, np.vdot(moved, dy), rtol=1e-9, atol=1e-9)


CASES = {
    "3 channels, planes": {"c": 3, "n": 9},
    "several blocks": {"c": 32, "f": 24, "n": 6, "size": 20},
    "one image of several row blocks": {"c": 40, "f": 8, "n": 1, "size": 40},
    "pointwise": {"kernel": 1, "pad": 0, "c": 48, "f": 20, "n": 7},
    "no padding": {"pad": 0, "c": 16, "f": 8},
    "stride 2": {"strides": (2, 2), "c": 12, "f": 20},
    "patches": {"strides": (4, 4), "kernel": 4, "pad": 0, "size": 17},
    "depthwise": {"c": 24, "f": 24, "groups": 24},
    "depthwise, two outputs a channel": {"c": 12, "f": 24, "groups": 12, "strides": (2, 1)},
    "groups": {"c": 24, "f": 12, "groups": 3},
    "padding of more than a kernel": {"pad": 4, "kernel": 2},
    "deep": {"c": 256, "f": 64, "size": 6, "n": 12},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_cpu_kernels_agree_with_the_reference(case, dtype):
    x, w, bias, dy, options = common_case(len(case), dtype, **CASES[case])
    exact = [a.astype(float) for a in (x, w, bias, dy)]
    reference, cpu = KERNELS["reference"], KERNELS["cpu"]
    assert_close(cpu["conv2d"](x, w, bias, **options), reference["conv2d"](*exact[:3], **options), dtype)
    expected_gradients = gradients(reference, exact[0], exact[1], exact[3], options)
    for actual, expected in zip(gradients(cpu, x, w, dy, options), expected_gradients):
        assert_close(actual, expected, dtype)


@pytest.mark.parametrize("groups", [1, 3, 6])
def test_non_contiguous_inputs_give_the_same_and_stay_as_they_were(kernels, groups):
    x, w, bias, dy, options = common_case(1, "float64", c=6, f=12, groups=groups)
    expected = kernels["conv2d"](x, w, bias, **options), *gradients(kernels, x, w, dy, options)

    def views(a):
        wide = np.full([2 * size for size in a.shape], np.nan)
        view = np.flip(wide, 0)[tuple(slice(None, None, 2) for _ in a.shape)]
        view[...] = a
        assert not view.flags.c_contiguous
        return view

    x2, w2, bias2, dy2 = views(x), views(w), views(bias), views(dy)
    actual = kernels["conv2d"](x2, w2, bias2, **options), *gradients(kernels, x2, w2, dy2, options)
    for one, other in zip(actual, expected):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
        assert one.flags.c_contiguous
    for one, other in zip((x2, w2, bias2, dy2), (x, w, bias, dy)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("strides", [(1, 1), (3, 2)])
def test_a_given_buffer_is_overwritten_and_returned(kernels, groups, strides):
    x, w, bias, dy, options = common_case(2, "float32", c=6, f=12, groups=groups, strides=strides)
    expected = kernels["conv2d"](x, w, bias, **options), *gradients(kernels, x, w, dy, options)
    out = [np.full_like(a, np.nan) for a in expected]
    y = kernels["conv2d"](x, w, bias, **options, out=out[0])
    dx = kernels["conv2d_input_gradient"](dy, w, input_shape=x.shape, **options, out=out[1])
    dw = kernels["conv2d_weight_gradient"](x, dy, kernel_shape=w.shape, **options, out=out[2])
    for actual, buffer, wanted in zip((y, dx, dw), out, expected):
        assert actual is buffer
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("groups", [1, 4])
def test_an_empty_batch_and_a_kernel_that_fits_nowhere_give_empty_results(kernels, groups):
    options = {"strides": (1, 2), "padding": ((0, 0), (0, 0)), "dilation": (2, 2), "groups": groups}
    w = np.ones((3, 3, 4 // groups, 8), np.float32)
    for shape, expected in (((0, 9, 9, 4), (0, 5, 3, 8)), ((2, 4, 9, 4), (2, 0, 3, 8))):
        x = np.ones(shape, np.float32)
        y = kernels["conv2d"](x, w, np.ones(8, np.float32), **options)
        assert y.shape == expected
        dx, dw = gradients(kernels, x, w, y, options)
        np.testing.assert_array_equal(dx, np.zeros_like(x))
        np.testing.assert_array_equal(dw, np.zeros_like(w))


def test_input_pixels_that_no_window_reads_get_no_gradient(kernels):
    options = {"strides": (3, 3), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    dy = np.ones((2, 3, 3, 1))
    dx = kernels["conv2d_input_gradient"](dy, np.ones((2, 2, 9, 1)), input_shape=(2, 10, 9, 9), **options)
    read = np.arange(10) % 3 != 2
    read[9] = False
    np.testing.assert_array_equal(dx[0, :, :, 0], np.outer(read, read[:9]))


def test_infinite_and_missing_numbers_stay_visible(kernels):
    x, w, bias, _, options = common_case(3, "float32")
    x[1, 4, 4, 0], x[2, 0, 0, 1] = np.nan, np.inf
    y = kernels["conv2d"](x, w, bias, **options)
    assert np.isnan(y[1, 3:6, 3:6]).all()
    assert not np.isfinite(y[2, :2, :2]).any()
    assert np.isfinite(y[[0, 3, 4]]).all()
    assert np.isfinite(y[1]).sum() == y[1].size - 9 * y.shape[3]


def test_the_same_call_gives_the_same_bits_every_time():
    x, w, bias, dy, options = common_case(4, "float32", n=16, size=24, c=16, f=32)
    cpu = KERNELS["cpu"]
    first = cpu["conv2d"](x, w, bias, **options), *gradients(cpu, x, w, dy, options)
    for _ in range(5):
        again = cpu["conv2d"](x, w, bias, **options), *gradients(cpu, x, w, dy, options)
        for one, other in zip(first, again):
            np.testing.assert_array_equal(one, other)


def test_scratch_memory_of_one_shape_does_not_leak_into_another():
    cases = [common_case(seed, "float64", c=4, size=5 + seed, pad=seed % 3, f=5) for seed in range(6)]
    for x, w, bias, dy, options in [*cases, *reversed(cases)]:
        filled = np.where(np.ones(x.shape, bool), np.nan, x)
        KERNELS["cpu"]["conv2d"](filled, w, bias, **options)
        results = [
            (kernels["conv2d"](x, w, bias, **options), *gradients(kernels, x, w, dy, options))
            for kernels in KERNELS.values()
        ]
        for expected, actual in zip(*results):
            assert_close(actual, expected, "float64")


@pytest.mark.parametrize("pixels", [1, 7, 30, 64, 10_000])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_blocks_cover_every_output_pixel_once(pixels, threads):
    geometry = Geometry(5, 6, 5, 3, 3, (1, 1), (1, 1), 1, 1)
    blocks = Blocks(geometry, pixels)
    images, rows = blocks.largest()
    covered = []
    for part in (blocks.part, blocks.part_of_images):
        seen = np.zeros(geometry.pixels, int)
        for t in range(threads):
            for block in part(t, threads):
                assert block.i1 - block.i0 <= images
                assert block.r1 - block.r0 <= rows
                seen[block.pixels(geometry)] += 1
        covered.append(seen)
    assert all((seen == 1).all() for seen in covered)


@pytest.mark.parametrize("seed", range(20))
def test_tap_range_names_exactly_the_windows_inside(seed):
    rng = np.random.default_rng(seed)
    size, count, stride, offset = (int(v) for v in rng.integers((1, 0, 1, -9), (9, 9, 4, 9)))
    windows, positions = tap_range(size, count, stride, offset)
    inside = [r for r in range(count) if 0 <= r * stride + offset < size]
    assert list(range(count))[windows] == inside
    assert list(range(size))[positions] == [r * stride + offset for r in inside]
