"""Dropout and noise: shares, scales, repeatability, and gradients through the same mask."""

from __future__ import annotations

import numpy as np
import pytest

import gradlite
from gradlite import Tensor, ops
from gradlite.random import Generator

pytestmark = pytest.mark.usefixtures("each_device")


def test_dropout_keeps_the_share_that_it_should_and_scales_it():
    y = ops.dropout(gradlite.ones(100_000), 0.3, generator=Generator(1)).numpy()
    kept = y != 0
    assert abs(kept.mean() - 0.7) < 0.006
    np.testing.assert_allclose(y[kept], 1 / 0.7, rtol=1e-6)


def test_the_gradient_goes_through_the_mask_of_the_forward_pass():
    x = Tensor(np.linspace(1, 2, 1000), requires_grad=True)
    y = ops.dropout(x, 0.5, generator=Generator(2))
    (g,) = gradlite.grad(y.sum(), [x])
    np.testing.assert_array_equal(g.numpy(), np.where(y.numpy() != 0, 2.0, 0.0))


def test_dropout_is_differentiable_twice():
    x = Tensor(np.linspace(1, 2, 10), requires_grad=True)

    def function(x):
        return ops.dropout(x * x, 0.5, generator=Generator(3))

    assert gradlite.gradcheck(function, x)
    assert gradlite.gradgradcheck(function, x)


def test_a_noise_shape_drops_along_an_axis_together():
    y = ops.dropout(gradlite.ones((50, 7, 4)), 0.5, noise_shape=(None, 1, 4), generator=Generator(4)).numpy()
    assert (y == y[:, :1]).all()
    assert 0 < (y[:, 0] == 0).mean() < 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rates_of_zero_and_one_keep_all_and_nothing(dtype):
    x = Tensor(np.array([1.0, np.nan, np.inf], dtype))
    np.testing.assert_array_equal(ops.dropout(x, 0).numpy(), x.numpy())
    np.testing.assert_array_equal(ops.dropout(x, 1).numpy(), [0, 0, 0])
    assert ops.dropout(x, 0.5).dtype == np.dtype(dtype)


def test_the_same_seed_gives_the_same_mask_and_every_draw_another():
    x = gradlite.ones(100)
    first, second = Generator(5), Generator(5)
    a, b, c = (ops.dropout(x, 0.5, generator=g).numpy() for g in (first, second, second))
    np.testing.assert_array_equal(a, b)
    assert (b != c).any()
    assert (ops.dropout(x, 0.5).numpy() != ops.dropout(x, 0.5).numpy()).any()


def test_noise_has_the_shape_type_and_moments_asked_for():
    like = gradlite.zeros((100, 500), "float64")
    noise = ops.random_normal(like, mean=3.0, stddev=2.0, generator=Generator(6))
    assert (noise.shape, noise.dtype) == (like.shape, like.dtype)
    assert abs(noise.numpy().mean() - 3) < 0.05
    assert abs(noise.numpy().std() - 2) < 0.05
    assert not noise.requires_grad
    np.testing.assert_array_equal(noise.numpy(), ops.random_normal(like, 3.0, 2.0, generator=Generator(6)).numpy())


def test_setting_the_seed_repeats_what_is_drawn_without_a_generator():
    draws = []
    for _ in range(2):
        gradlite.random.set_seed(12)
        draws.append([ops.dropout(gradlite.ones(50), 0.5).numpy(), ops.random_normal(gradlite.ones(50)).numpy()])
    for first, second in zip(*draws):
        np.testing.assert_array_equal(first, second)
