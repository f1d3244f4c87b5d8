"""CUDA batch and layer normalization against the reference: ragged sizes, few and many rows, missing numbers."""

from __future__ import annotations

import numpy as np
import pytest
from comparison import DTYPES, check, check_bits, count_launches, expected, launch

from gradlite.backends.cuda.channels import BLOCKS_AT_ONCE, DIRECT_ROWS, layout_for

# In one launch, and (from 1025 rows on) with slices of rows; channels that fill vectors and that do not.
SHAPES = [(1, 1), (2, 3), (7, 5), (33, 32), (2, 3, 4, 10), (1500, 7), (5, 17, 16, 8), (1100, 132)]
EPSILON = 1e-3


def operands(rng, shape, dtype, parameters=True, kind=None):
    """x, gamma, beta."""
    x = rng.normal(0.5, 2, shape).astype(dtype)
    if not parameters:
        return [x, None, None]
    return [x, *(rng.uniform(0.5, 1.5, shape[-1]).astype(kind or dtype) for _ in range(2))]


def with_gradient(rng, name, x, gamma):
    """The operands of the gradient kernel of batch_norm or layer_norm."""
    _, mean, variance = expected(name, [x, None, None], epsilon=EPSILON)
    kind = np.float64 if x.dtype == np.float64 else np.float32
    g = rng.uniform(-1, 1, x.shape).astype(x.dtype)
    return [g, x, gamma, mean.astype(kind), variance.astype(kind)]


@pytest.mark.parametrize("parameters", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_and_its_gradient_are_the_references(gpu, rng, shape, dtype, parameters):
    x, gamma, beta = operands(rng, shape, dtype, parameters)
    check(gpu, "batch_norm", [x, gamma, beta], epsilon=EPSILON)
    rows = x.size // shape[-1]
    # The sums of float16 gradients are rounded when they are all there: their error grows with them.
    check(gpu, "batch_norm_gradient", with_gradient(rng, "batch_norm", x, gamma), scale=1 + rows**0.5, epsilon=EPSILON)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES[2:6])
def test_normalization_by_given_statistics_is_the_references(gpu, rng, shape, dtype):
    kind = np.float64 if dtype == "float64" else np.float32
    mean, variance = rng.normal(0, 1, shape[-1]).astype(kind), rng.uniform(0.5, 2, shape[-1]).astype(kind)
    check(gpu, "batch_norm_inference", [*operands(rng, shape, dtype), mean, variance], epsilon=EPSILON)


def test_half_precision_images_may_have_single_precision_parameters(gpu, rng):
    arrays = operands(rng, (1100, 12), "float16", kind="float32")
    check(gpu, "batch_norm", arrays, epsilon=EPSILON)
    results = check(
        gpu, "batch_norm_gradient", with_gradient(rng, "batch_norm", *arrays[:2]), scale=30, epsilon=EPSILON
    )
    assert [r.dtype for r in results] == [np.float16, np.float32, np.float32]


@pytest.mark.parametrize("rows", [40, 5000])
def test_the_variance_of_numbers_far_from_zero_does_not_cancel(gpu, rng, rows):
    x = (rng.normal(0, 1, (rows, 8)) + 1e4).astype(np.float32)
    _, mean, variance = launch(gpu, "batch_norm", [x, None, None], epsilon=EPSILON)
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=np.float64), rtol=2e-7)
    np.testing.assert_allclose(variance, x.var(axis=0, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("rows", [40, 5000])
def test_constant_channels_have_exactly_no_variance(gpu, rows):
    x = np.full((rows, 8), 1e30, np.float32)
    y, mean, variance = launch(gpu, "batch_norm", [x, None, None], epsilon=EPSILON)
    np.testing.assert_array_equal(variance, np.zeros(8))
    np.testing.assert_array_equal(mean, x[0])
    np.testing.assert_array_equal(y, np.zeros_like(x))


@pytest.mark.parametrize("rows", [40, 1500])
def test_a_missing_number_makes_its_channel_nan_and_no_other(gpu, rng, rows):
    x = rng.normal(0, 1, (rows, 8)).astype(np.float32)
    x[rows // 2, 3] = np.nan
    x[3, 5] = np.inf
    y, _, variance = launch(gpu, "batch_norm", [x, None, None], epsilon=EPSILON)
    assert np.isnan(variance).tolist() == [c in (3, 5) for c in range(8)]
    assert (np.isnan(y).any(axis=0) == np.isnan(variance)).all()


def test_an_array_that_starts_between_vectors_is_normalized(gpu, rng):
    x = rng.normal(0, 1, 60 * 8 + 1).astype(np.float32)
    y = gpu.launch("batch_norm", gpu.asarray(x)[1:].reshape(60, 8), None, None, epsilon=EPSILON)[0].get()
    np.testing.assert_allclose(y, expected("batch_norm", [x[1:].reshape(60, 8), None, None], epsilon=EPSILON)[0], 1e-4)


LAYERS = [(1, 1), (5, 7), (3, 33), (2, 3, 40), (4, 1025), (700, 6)]


@pytest.mark.parametrize("parameters", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", LAYERS)
def test_layer_norm_and_its_gradient_are_the_references(gpu, rng, shape, dtype, parameters):
    x, gamma, beta = operands(rng, shape, dtype, parameters)
    check(gpu, "layer_norm", [x, gamma, beta], epsilon=EPSILON)
    rows = x.size // shape[-1]
    check(gpu, "layer_norm_gradient", with_gradient(rng, "layer_norm", x, gamma), scale=1 + rows**0.5, epsilon=EPSILON)


@pytest.mark.parametrize(
    ("name", "shape"), [("batch_norm", (60, 8)), ("batch_norm", (1500, 8)), ("layer_norm", (9, 40))]
)
def test_every_schedule_gives_the_same_bits(gpu, schedule, name, shape):
    rng = np.random.default_rng(4)
    arrays = operands(rng, shape, "float32")
    check_bits(gpu, name, arrays, epsilon=EPSILON)
    check_bits(gpu, name + "_gradient", with_gradient(rng, name, *arrays[:2]), epsilon=EPSILON)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("batch_norm", (7, 5)), ("batch_norm", (1030, 4)), ("layer_norm", (9, 40)), ("layer_norm", (3, 1025))],
)
def test_no_access_is_out_of_bounds_or_races(gpu, rng, checked, name, shape):
    arrays = operands(rng, shape, "float32")
    launch(gpu, name, arrays, epsilon=EPSILON)
    launch(gpu, name + "_gradient", with_gradient(rng, name, *arrays[:2]), epsilon=EPSILON)


@pytest.mark.parametrize(
    ("name", "rows", "most"),
    [("batch_norm", 1024, (1, 1)), ("batch_norm", 1500, (2, 2)), ("layer_norm", 1500, (1, 2))],
)
def test_normalization_takes_one_launch_or_two(gpu, rng, monkeypatch, name, rows, most):
    arrays = operands(rng, (rows, 8), "float32")
    forward = count_launches(gpu, monkeypatch, name, arrays, epsilon=EPSILON)
    gradient = with_gradient(rng, name, *arrays[:2])
    backward = count_launches(gpu, monkeypatch, name + "_gradient", gradient, epsilon=EPSILON)
    assert (len(forward), len(backward)) == most


@pytest.mark.parametrize("seed", range(30))
def test_layouts_cover_the_rows_once_with_whole_warps(seed):
    rng = np.random.default_rng(seed)
    multiprocessors, channels, rows = (int(2 ** rng.uniform(0, bits)) for bits in (8, 11, 22))
    for itemsize, width in ((2, 1), (2, 4), (4, 1), (4, 4), (8, 1), (8, 2)):
        layout = layout_for(multiprocessors, itemsize, channels, width, rows, rows <= DIRECT_ROWS)
        assert layout.block[0] * layout.block[1] in (32, 64, 128, 256, 512)
        assert (layout.tiles - 1) * layout.block[0] * width < channels <= layout.tiles * layout.block[0] * width
        assert (layout.slices - 1) * layout.rows_each < rows <= layout.slices * layout.rows_each
        assert layout.slices <= max(1, BLOCKS_AT_ONCE * multiprocessors // layout.tiles)
