"""Normalization, pooling and dropout as one kernel of the CPU: the bits of the kernels one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.registry import CPU

NO_POOLING = {"window": (1, 1), "strides": (1, 1), "padding": ((0, 0), (0, 0))}
POOLINGS = [
    NO_POOLING,
    {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))},
    {"window": (3, 3), "strides": (2, 2), "padding": ((1, 0), (0, 1))},
]
STATE = np.array([3, 1, 4], np.uint64)
# Too small for blocks, of several blocks and joined rows, with rows left over, of one image a block.
SHAPES = [(3, 6, 4, 5), (40, 16, 16, 32), (9, 31, 33, 7), (3, 96, 100, 40)]


def data(shape, dtype):
    rng = np.random.default_rng(sum(shape))
    x = np.maximum(rng.normal(0.3, 1, shape), 0).astype(dtype)
    return x, rng.normal(size=shape[-1]).astype(dtype), rng.normal(size=shape[-1]).astype(dtype), rng


def assert_all_equal(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("pooling", POOLINGS, ids=["alone", "2x2", "3x3"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_kernel_has_the_bits_of_its_steps(monkeypatch, shape, pooling, rate, dtype):
    x, gamma, beta, rng = data(shape, dtype)
    y, mean, variance = CPU["batch_norm"](x, gamma, beta, epsilon=1e-3)
    index = np.empty((0,), np.uint8)
    if pooling is not NO_POOLING:
        y, index = CPU["max_pool2d"](y, **pooling)
    if rate:
        y = CPU["dropout"](y, STATE, rate=rate)
    g = gradient = rng.normal(size=y.shape).astype(dtype)
    if rate:
        g = CPU["dropout"](g, STATE, rate=rate)
    if pooling is not NO_POOLING:
        g = CPU["max_pool2d_scatter"](g, index, input_shape=x.shape, **pooling)
    dx, dgamma, dbeta = CPU["batch_norm_gradient"](g, x, gamma, mean, variance, epsilon=1e-3)
    dx = CPU["relu_gradient"](dx, x)
    options = {"epsilon": 1e-3, "rate": rate, **pooling}
    for threads in (1, 2, 3):
        monkeypatch.setattr(parallel, "_THREADS", threads)
        forward = CPU["batch_norm_max_pool2d_dropout"](x, gamma, beta, STATE, **options)
        assert_all_equal(forward, (y, mean, variance, index))
        given = CPU["batch_norm_apply_max_pool2d_dropout"](x, gamma, beta, mean, variance, STATE, **options)
        inference = CPU["batch_norm_inference"](x, gamma, beta, mean, variance, epsilon=1e-3)
        if pooling is not NO_POOLING:
            inference, _ = CPU["max_pool2d"](inference, **pooling)
        if rate:
            inference = CPU["dropout"](inference, STATE, rate=rate)
        np.testing.assert_array_equal(given[0], inference)
        back = CPU["batch_norm_max_pool2d_dropout_gradient"](
            gradient, x, gamma, mean, variance, index, STATE, activation="relu", **options
        )
        assert_all_equal(back, (dx, dgamma, dbeta))


def test_buffers_that_are_given_are_filled():
    x, gamma, beta, _ = data((8, 16, 16, 32), np.float32)
    options = {"epsilon": 1e-3, "rate": 0.5, **POOLINGS[1]}
    expected = CPU["batch_norm_max_pool2d_dropout"](x, gamma, beta, STATE, **options)
    out = tuple(np.full_like(a, 7) for a in expected)
    found = CPU["batch_norm_max_pool2d_dropout"](x, gamma, beta, STATE, **options, out=out)
    assert all(one is other for one, other in zip(found, out))
    assert_all_equal(out, expected)
