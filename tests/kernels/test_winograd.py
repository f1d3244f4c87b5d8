"""Winograd convolutions of the CPU: the identity behind them, their accuracy, and when they are used."""

from __future__ import annotations

import numpy as np
import pytest

from gradlite import config
from gradlite.backends.cpu import parallel, winograd
from gradlite.backends.cpu.registry import CPU
from gradlite.backends.cpu.windows import Geometry

# Against the root mean square of the result: several times what was measured, a tenth of a wrong tile's error and less.
LARGEST_ERROR, TYPICAL_ERROR = 6e-5, 4e-6


def case(seed, n, height, width, c, f, padding=((1, 1), (1, 1))):
    rng = np.random.default_rng(seed)
    options = {"strides": (1, 1), "padding": padding, "dilation": (1, 1), "groups": 1}
    x, w, bias = rng.standard_normal((n, height, width, c)), rng.standard_normal((3, 3, c, f)), rng.standard_normal(f)
    oh, ow = height + sum(padding[0]) - 2, width + sum(padding[1]) - 2
    return [a.astype(np.float32) for a in (x, w, bias, rng.standard_normal((n, oh, ow, f)))], options


def all_three(x, w, bias, gradient, options):
    return (
        CPU["conv2d"](x, w, bias, **options),
        CPU["conv2d_input_gradient"](gradient, w, input_shape=x.shape, **options),
        CPU["conv2d_weight_gradient"](x, gradient, kernel_shape=w.shape, **options),
    )


def count_calls(monkeypatch):
    calls = []
    for name in ("convolve", "correlate"):
        function = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *a, f=function, name=name: (calls.append(name), f(*a)))
    return calls


def test_the_transforms_make_a_convolution_out_of_products():
    inputs, kernel, outputs = winograd.transforms()
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((6, 6)), rng.standard_normal((3, 3))
    expected = [[np.vdot(x[i : i + 3, j : j + 3], w) for j in range(4)] for i in range(4)]
    actual = outputs @ ((inputs @ x @ inputs.T) * (kernel @ w @ kernel.T)) @ outputs.T
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "shape",
    [
        (5, 32, 32, 32, 32),
        (9, 16, 16, 32, 64),
        (33, 8, 8, 64, 64),
        (3, 4, 12, 128, 16),
        (1, 64, 48, 16, 17),
        (1, 4, 4, 16, 16),
    ],
)
def test_results_are_close_to_double_precision(shape, monkeypatch):
    calls = count_calls(monkeypatch)
    arrays, options = case(sum(shape), *shape)
    actual = all_three(*arrays, options)
    assert calls == ["convolve", "convolve", "correlate"]
    for one, expected in zip(actual, all_three(*[a.astype(float) for a in arrays], options)):
        error = (one - expected) / expected.std()
        assert one.dtype == np.float32
        assert abs(error).max() < LARGEST_ERROR
        assert np.sqrt(np.mean(error**2)) < TYPICAL_ERROR
    assert len(calls) == 3


@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((2, 2), (2, 2)), ((0, 2), (1, 1)), ((4, 2), (3, 3))])
def test_any_padding_is_understood(padding, monkeypatch):
    calls = count_calls(monkeypatch)
    height, width = 14 - sum(padding[0]), 18 - sum(padding[1])
    arrays, options = case(7, 4, height, width, 16, 24, padding)
    arrays = [np.flip(np.flip(a).copy()) for a in arrays]
    before = [a.copy() for a in arrays]
    for one, expected in zip(all_three(*arrays, options), all_three(*[a.astype(float) for a in arrays], options)):
        assert abs(one - expected).max() < LARGEST_ERROR * expected.std()
    assert "convolve" in calls
    assert "correlate" in calls
    for one, other in zip(arrays, before):
        np.testing.assert_array_equal(one, other)


def test_the_same_call_gives_the_same_bits_and_fills_a_given_buffer():
    (x, w, bias, gradient), options = case(8, 12, 16, 16, 32, 48)
    first = all_three(x, w, bias, gradient, options)
    y, dx, dw = (np.full_like(a, np.nan) for a in first)
    assert CPU["conv2d"](x, w, bias, **options, out=y) is y
    assert CPU["conv2d_input_gradient"](gradient, w, input_shape=x.shape, **options, out=dx) is dx
    assert CPU["conv2d_weight_gradient"](x, gradient, kernel_shape=w.shape, **options, out=dw) is dw
    for one, other in zip((y, dx, dw), first):
        np.testing.assert_array_equal(one, other)


def test_a_missing_number_stays_visible_and_in_its_image():
    (x, w, bias, _), options = case(9, 3, 8, 8, 16, 16)
    x[1, 2, 2, 3] = np.nan
    y = CPU["conv2d"](x, w, bias, **options)
    assert np.isnan(y[1, 1:4, 1:4]).all()
    assert np.isfinite(y[[0, 2]]).all()


def test_switched_off_nothing_is_computed_here(monkeypatch):
    monkeypatch.setattr(config, "_winograd", False)
    calls = count_calls(monkeypatch)
    arrays, options = case(10, 2, 8, 8, 16, 16)
    for one, expected in zip(all_three(*arrays, options), all_three(*[a.astype(float) for a in arrays], options)):
        assert abs(one - expected).max() < LARGEST_ERROR * expected.std()
    assert calls == []


def test_only_the_convolutions_that_gain_are_computed_here():
    usual = Geometry(2, 8, 8, 3, 3, (1, 1), (1, 1), 1, 1)
    single, double = np.dtype(np.float32), np.dtype(np.float64)
    assert winograd.applies(usual, 16, 128, single)
    assert not winograd.applies(usual, 16, 16, double)
    assert not winograd.applies(usual, 15, 16, single)
    assert not winograd.applies(usual, 16, 129, single)
    for change in ({"oh": 7}, {"ow": 6}, {"kh": 5}, {"kw": 1}, {"strides": (2, 1)}, {"dilation": (1, 2)}):
        assert not winograd.applies(usual._replace(**change), 16, 16, single)


@pytest.mark.parametrize("shape", [(5, 32, 32, 32, 32), (9, 16, 16, 32, 64), (1, 64, 48, 16, 17)])
def test_statistics_and_the_bias_gradient_are_close_to_double_precision(shape):
    (x, w, bias, gradient), options = case(sum(shape), *shape)
    bias += 30  # means far from zero beside their deviations
    y, mean, variance = CPU["conv2d_statistics"](x, w, bias, activation="relu", **options)
    np.testing.assert_array_equal(y, CPU["conv2d"](x, w, bias, activation="relu", **options))
    exact = y.astype(float).reshape(-1, y.shape[3])
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(variance, exact.var(axis=0), rtol=3e-6)
    dw, db = CPU["conv2d_parameter_gradients"](x, gradient, kernel_shape=w.shape, **options)
    np.testing.assert_array_equal(dw, CPU["conv2d_weight_gradient"](x, gradient, kernel_shape=w.shape, **options))
    sums = gradient.astype(float).sum(axis=(0, 1, 2))
    np.testing.assert_allclose(db, sums, rtol=0, atol=2e-6 * np.sqrt(gradient[..., 0].size) * 4)


def test_parts_that_one_thread_does_keep_their_totals_apart(monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", 3)
    (x, w, bias, gradient), options = case(11, 24, 16, 16, 32, 48)
    expected = all_three(x, w, bias, gradient, options)
    inside = []

    def part(t, threads):
        if t == 0:
            inside.extend(all_three(x, w, bias, gradient, options))

    parallel.run(part)
    for one, other in zip(inside, expected):
        np.testing.assert_array_equal(one, other)
