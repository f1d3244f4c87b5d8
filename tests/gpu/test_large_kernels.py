"""Kernels at the sizes of real work, against float64 computed on the same device by other means."""

from __future__ import annotations

import numpy as np
import pytest

from gradlite import config

# Distance from float64, relative to the largest element of the result, of sums of thousands of products.
PRODUCT_TOLERANCE = {"highest": 5e-6, "high": 2e-3, "medium": 1e-2}


@pytest.fixture(params=sorted(PRODUCT_TOLERANCE))
def precision(request):
    before = config.get_matmul_precision()
    config.set_matmul_precision(request.param)
    yield request.param
    config.set_matmul_precision(before)


def drawn(gpu, rng, *shape):
    return gpu.asarray(rng.standard_normal(shape, np.float32))


def assert_near(gpu, found, expected, tolerance):
    """``expected`` is a float64 array on the device."""
    xp = gpu.xp
    scale = float(abs(expected).max())
    distance = float(abs(found.astype(xp.float64) - expected).max())
    assert distance <= tolerance * scale, f"{distance / scale:.2e} of the largest element, {tolerance:.0e} allowed"


@pytest.mark.parametrize("sizes", [(4096, 4096, 4096), (4095, 1025, 2049), (1, 4096, 4096), (4096, 4096, 10)])
def test_large_matrix_products_are_near_float64(gpu, rng, scaled, precision, sizes):
    n, k, m = map(scaled, sizes)
    a, b = drawn(gpu, rng, n, k), drawn(gpu, rng, k, m)
    expected = gpu.xp.matmul(a.astype("float64"), b.astype("float64"))
    assert_near(gpu, gpu.launch("matmul", a, b), expected, PRODUCT_TOLERANCE[precision])
    at = gpu.launch("copy", a.T).T
    assert_near(gpu, gpu.launch("matmul", at, b), expected, PRODUCT_TOLERANCE[precision])
    bt = gpu.launch("copy", b.T).T
    assert_near(gpu, gpu.launch("matmul", a, bt), expected, PRODUCT_TOLERANCE[precision])


LAYERS = [(32, 3, 32), (32, 32, 32), (16, 32, 64), (16, 64, 64)]


@pytest.mark.parametrize(("side", "c", "f"), LAYERS)
def test_the_convolutions_of_shallow_vggnet_are_near_float64_at_batch_128(gpu, rng, scaled, precision, side, c, f):
    n = scaled(128)
    x, w = drawn(gpu, rng, n, side, side, c), drawn(gpu, rng, 3, 3, c, f)
    g = drawn(gpu, rng, n, side, side, f)
    options = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    wide = [a.astype("float64") for a in (x, w, g)]
    tolerance = PRODUCT_TOLERANCE[precision]
    assert_near(
        gpu, gpu.launch("conv2d", x, w, None, **options), gpu.fallback("conv2d", *wide[:2], None, **options), tolerance
    )
    assert_near(
        gpu,
        gpu.launch("conv2d_input_gradient", g, w, input_shape=x.shape, **options),
        gpu.fallback("conv2d_input_gradient", wide[2], wide[1], input_shape=x.shape, **options),
        tolerance,
    )
    assert_near(
        gpu,
        gpu.launch("conv2d_weight_gradient", x, g, kernel_shape=w.shape, **options),
        gpu.fallback("conv2d_weight_gradient", wide[0], wide[2], kernel_shape=w.shape, **options),
        tolerance,
    )


def test_statistics_over_many_rows_do_not_cancel(gpu, rng, scaled):
    rows = scaled(1 << 20)
    x = gpu.asarray((rng.standard_normal((rows, 33)) + 1000).astype(np.float32))
    _, mean, variance = gpu.launch("batch_norm", x, None, None, epsilon=1e-3)
    wide = x.astype("float64")
    assert_near(gpu, mean, wide.mean(axis=0), 1e-6)
    assert_near(gpu, variance, wide.var(axis=0), 1e-4)


@pytest.mark.parametrize("axis", [0, 1, None])
def test_large_reductions_are_near_float64(gpu, rng, scaled, axis):
    x = drawn(gpu, rng, scaled(1 << 18), 65)
    wide = x.astype("float64")
    assert_near(gpu, gpu.launch("sum", abs(x), axis=axis), abs(wide).sum(axis=axis), 1e-5)
    assert_near(gpu, gpu.launch("max", x, axis=axis), wide.max(axis=axis), 0)
    assert (gpu.launch("argmax", x, axis=axis) == wide.argmax(axis=axis)).all()


def test_elements_beyond_the_reach_of_32_bits_are_computed_too(gpu, scaled):
    if scaled(64) != 64:
        pytest.skip("2**31 elements need a GPU's memory")
    if gpu.xp.cuda.Device().mem_info[0] < 12 * 2**30:
        pytest.skip("needs 12 GiB of free memory")
    size = 2**31 + 1025
    x = gpu.full((size,), -1, np.float16)
    x[-1] = 3
    y = gpu.launch("relu", x)
    assert float(y[-1]) == 3
    assert float(y[:-1].max()) == 0


def test_adam_over_a_large_buffer_agrees_with_the_reference_in_float64(gpu, rng, scaled):
    size = scaled(1 << 22) + 3
    p, g, m = (drawn(gpu, rng, size) for _ in range(3))
    v = abs(drawn(gpu, rng, size))
    rate, step = gpu.full((), 0.01), gpu.full((), 3, np.int64)
    wide = [a.astype("float64") for a in (p, g, m, v)]
    betas = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    gpu.launch("adam", p, g, m, v, None, rate, step, **betas)
    gpu.fallback("adam", *wide, None, rate, step, **betas)
    for found, expected in zip((p, m, v), (wide[0], wide[2], wide[3])):
        assert_near(gpu, found, expected, 1e-6)
