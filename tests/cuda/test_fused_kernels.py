"""CUDA kernels that are several in a row: the reference's values, and the bits of the CUDA kernels one by one."""

from __future__ import annotations

import numpy as np
import pytest
from comparison import DTYPES, check, check_bits, count_launches, expected, launch, uploaded
from helpers import assert_close

HALVING = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}
PADDED = {"window": (2, 3), "strides": (2, 3), "padding": ((0, 1), (0, 2))}
OVERLAPPING = {"window": (3, 2), "strides": (1, 2), "padding": ((1, 2), (0, 1))}
APART = {"window": (1, 1), "strides": (2, 3), "padding": ((0, 0), (0, 0))}
# The first row of windows has padding alone.
BEYOND = {"window": (2, 2), "strides": (2, 2), "padding": ((2, 0), (0, 0))}
NONE = {"window": (1, 1), "strides": (1, 1), "padding": ((0, 0), (0, 0))}
# Few rows, and so many that their sums are taken in slices; windows that leave pixels over at the border.
CASES = [
    ((2, 6, 8, 4), HALVING),
    ((3, 5, 7, 3), HALVING),
    ((5, 17, 16, 8), HALVING),
    ((20, 15, 15, 4), HALVING),
    ((2, 7, 7, 8), PADDED),
    ((2, 7, 5, 8), OVERLAPPING),
    ((9, 13, 12, 5), OVERLAPPING),
    ((2, 7, 9, 4), APART),
    ((2, 4, 6, 4), BEYOND),
    ((33, 12), NONE),
    ((1300, 5), NONE),
    ((2, 3, 4, 8), NONE),
]
FLAT = CASES[9]
# Every case in float32, some in the other types: each type, window and rate is a kernel to compile.
VARIANTS = [(case, "float32", 0.4) for case in CASES] + [
    (CASES[2], "float32", 0.0),
    (FLAT, "float32", 0.0),
    (CASES[1], "float64", 0.4),
    (CASES[6], "float16", 0.4),
    (FLAT, "float16", 0.4),
]
EPSILON = 1e-3
NAME = "batch_norm_max_pool2d_dropout"


def state():
    return np.array([7, 3, 11], np.uint64)


def operands(rng, shape, dtype):
    """x with ties, gamma of both signs, beta."""
    x = rng.integers(-6, 7, shape).astype(dtype) / 4
    return [x.astype(dtype), rng.uniform(-1.5, 1.5, shape[-1]).astype(dtype), rng.normal(0, 1, shape[-1]).astype(dtype)]


@pytest.mark.parametrize(("case", "dtype", "rate"), VARIANTS)
def test_normalization_pooling_and_dropout_in_one_are_the_three_kernels(gpu, rng, case, dtype, rate):
    shape, options = case
    x, gamma, beta = uploaded(gpu, operands(rng, shape, dtype))
    draw = gpu.asarray(state())
    found = gpu.launch(NAME, x, gamma, beta, draw, epsilon=EPSILON, rate=rate, **options)
    normalized, mean, variance = gpu.launch("batch_norm", x, gamma, beta, epsilon=EPSILON)
    pooled, index = gpu.launch("max_pool2d", normalized, **options) if options is not NONE else (normalized, None)
    wanted = gpu.launch("dropout", pooled, draw, rate=rate)
    assert_close(found[1].get(), mean.get(), dtype)
    assert_close(found[2].get(), variance.get(), dtype)
    # Sums in another order may move a tie's rounding; with the very statistics all bits agree.
    y, place = gpu.launch(
        "batch_norm_apply_max_pool2d_dropout", x, gamma, beta, mean, variance, draw, epsilon=EPSILON, rate=rate,
        **options,
    )  # fmt: skip
    np.testing.assert_array_equal(y.get(), wanted.get())
    assert_close(found[0].get(), wanted.get(), dtype)
    assert place.shape == found[3].shape == ((0,) if index is None else index.shape)
    if index is not None:
        np.testing.assert_array_equal(place.get(), index.get())


@pytest.mark.parametrize(("case", "dtype", "rate"), VARIANTS)
def test_the_gradient_in_one_is_the_references(gpu, rng, case, dtype, rate):
    shape, options = case
    x, gamma, beta = operands(rng, shape, dtype)
    options = options | {"epsilon": EPSILON, "rate": rate}
    y, mean, variance, index = launch(gpu, NAME, [x, gamma, beta, state()], **options)
    g = rng.uniform(-1, 1, y.shape).astype(dtype)
    arrays = [g, x, gamma, mean, variance, index, state()]
    rows = x.size // shape[-1]
    check(gpu, NAME + "_gradient", arrays, scale=1 + rows**0.5, **options)
    wanted = expected(NAME + "_gradient", [g, x, None, mean, variance, index, state()], **options)[0]
    assert_close(launch(gpu, NAME + "_gradient", [g, x, None, *arrays[3:]], **options)[0], wanted, dtype, 4)


@pytest.mark.parametrize(("case", "dtype", "rate"), VARIANTS)
def test_the_gradient_in_front_of_a_relu_has_the_bits_of_two_kernels(gpu, rng, case, dtype, rate):
    shape, options = case
    x, gamma, beta = operands(rng, shape, dtype)
    x, options = np.maximum(x, 0), options | {"epsilon": EPSILON, "rate": rate}
    y, mean, variance, index = launch(gpu, NAME, [x, gamma, beta, state()], **options)
    g = rng.uniform(-1, 1, y.shape).astype(dtype)
    g.reshape(-1)[0] = np.nan
    arrays = [g, x, gamma, mean, variance, index, state()]
    dx, *parameters = launch(gpu, NAME + "_gradient", arrays, **options)
    wanted = launch(gpu, "relu_gradient", [dx, x])[0]
    found = launch(gpu, NAME + "_gradient", arrays, activation="relu", **options)
    for a, b in zip(found, [wanted, *parameters]):
        assert a.tobytes() == b.tobytes()
    arrays[0] = np.nan_to_num(g)
    check(gpu, NAME + "_gradient", arrays, scale=1 + (x.size // shape[-1]) ** 0.5, activation="relu", **options)


def test_without_a_state_nothing_is_dropped(gpu, rng):
    x, gamma, beta = operands(rng, (2, 6, 8, 4), "float32")
    options = HALVING | {"epsilon": EPSILON}
    whole = launch(gpu, NAME, [x, gamma, beta, None], rate=0.5, **options)
    np.testing.assert_array_equal(whole[0], launch(gpu, NAME, [x, gamma, beta, state()], rate=0.0, **options)[0])
    check(gpu, NAME + "_gradient", [whole[0], x, gamma, *whole[1:], None], rate=0.5, **options)


def test_out_receives_the_same_bits_and_operands_may_be_strided(gpu, rng):
    for (shape, pooling), rate in ((CASES[0], 0.4), (FLAT, 0.0)):
        arrays = [*operands(rng, shape, "float32"), state()]
        check(gpu, NAME, arrays, epsilon=EPSILON, rate=rate, **pooling)
        _, mean, variance = expected("batch_norm", arrays[:3], epsilon=EPSILON)
        given = [*arrays[:3], mean, variance, state()]
        check(gpu, "batch_norm_apply_max_pool2d_dropout", given, epsilon=EPSILON, rate=rate, **pooling)


def test_missing_numbers_are_the_largest_of_their_window(gpu, rng):
    x, gamma, beta = operands(rng, (2, 6, 8, 4), "float32")
    mean, variance = np.zeros(4, np.float32), np.ones(4, np.float32)
    x[rng.random(x.shape) < 0.3] = np.nan
    arrays, options = [x, gamma, beta, mean, variance, None], HALVING | {"epsilon": EPSILON, "rate": 0.0}
    y, index = launch(gpu, "batch_norm_apply_max_pool2d_dropout", arrays, **options)
    wanted, places = expected("batch_norm_apply_max_pool2d_dropout", arrays, None, **options)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_array_equal(index[np.isnan(y)], places[np.isnan(y)])


def test_windows_of_more_than_256_taps_are_computed_too(gpu, rng):
    options = {"window": (17, 17), "strides": (3, 2), "padding": ((8, 8), (8, 8)), "epsilon": EPSILON, "rate": 0.0}
    check(gpu, NAME, [*operands(rng, (1, 6, 5, 3), "float32"), None], **options)


@pytest.mark.parametrize("case", [0, 3, 5, 9])
def test_every_schedule_gives_the_same_bits(gpu, schedule, case):
    shape, pooling = CASES[case]
    rng, options = np.random.default_rng(case), pooling | {"epsilon": EPSILON, "rate": 0.4}
    arrays = [*operands(rng, shape, "float32"), state()]
    check_bits(gpu, NAME, arrays, **options)
    y, *rest = launch(gpu, NAME, arrays, **options)
    check_bits(gpu, NAME + "_gradient", [y, *arrays[:2], *rest, state()], activation="relu", **options)


@pytest.mark.parametrize("case", [0, 1, 3, 4, 6, 8, 9])
def test_no_access_is_out_of_bounds_or_races(gpu, rng, checked, case):
    shape, pooling = CASES[case]
    options = pooling | {"epsilon": EPSILON, "rate": 0.4}
    arrays = [*operands(rng, shape, "float32"), state()]
    y, *rest = launch(gpu, NAME, arrays, **options)
    for activation in (None, "relu"):
        launch(gpu, NAME + "_gradient", [y, *arrays[:2], *rest, state()], activation=activation, **options)
    launch(gpu, "batch_norm_apply_max_pool2d_dropout", [*arrays[:3], *rest[:2], state()], **options)


def test_an_image_smaller_than_the_window_has_statistics_and_no_gradient(gpu, rng):
    x, gamma, beta = operands(rng, (3, 1, 5, 4), "float32")
    options = HALVING | {"epsilon": EPSILON, "rate": 0.4}
    y, mean, variance, index = check(gpu, NAME, [x, gamma, beta, state()], **options)
    assert y.shape == (3, 0, 2, 4)
    for gradient in launch(gpu, NAME + "_gradient", [y, x, gamma, mean, variance, index, state()], **options):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_two_launches_do_the_work_of_three_kernels_and_one_where_the_statistics_are_known(gpu, rng, monkeypatch):
    arrays, options = [*operands(rng, (20, 15, 15, 4), "float32"), state()], HALVING | {"epsilon": EPSILON, "rate": 0.4}
    assert len(count_launches(gpu, monkeypatch, NAME, arrays, **options)) == 2
    y, mean, variance, index = launch(gpu, NAME, arrays, **options)
    given = [*arrays[:3], mean, variance, state()]
    assert len(count_launches(gpu, monkeypatch, "batch_norm_apply_max_pool2d_dropout", given, **options)) == 1
    gradient = [y, *arrays[:2], mean, variance, index, state()]
    assert len(count_launches(gpu, monkeypatch, NAME + "_gradient", gradient, **options)) <= 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (1000, 10), (3, 40), (1700, 11), (3, 1025), (30, 1100)])
def test_the_mean_loss_and_its_gradient_are_the_references(gpu, rng, shape, dtype):
    x, labels = rng.normal(0, 3, shape).astype(dtype), rng.integers(0, shape[1], shape[0])
    check(gpu, "sparse_softmax_cross_entropy_loss", [x, labels.astype(np.int64)])
    if shape[1] < 256:
        found = launch(gpu, "sparse_softmax_cross_entropy_loss", [x, labels.astype(np.uint8)])
        for a, b in zip(found, launch(gpu, "sparse_softmax_cross_entropy_loss", [x, labels.astype(np.int32)])):
            assert a.tobytes() == b.tobytes()


def test_a_label_that_is_no_class_makes_the_mean_loss_nan(gpu, rng):
    loss, _, p = launch(gpu, "sparse_softmax_cross_entropy_loss", [rng.normal(size=(3, 4)), np.array([0, 4, 1])])
    assert np.isnan(loss)
    assert np.isfinite(p).all()


@pytest.mark.parametrize("shape", [(40, 10), (1700, 10), (3, 1025)])
def test_every_schedule_gives_the_same_loss(gpu, schedule, shape):
    rng = np.random.default_rng(shape)
    arrays = [rng.normal(0, 3, shape).astype(np.float32), rng.integers(0, shape[1], shape[0])]
    check_bits(gpu, "sparse_softmax_cross_entropy_loss", arrays)


@pytest.mark.parametrize("shape", [(40, 10), (1700, 10), (3, 1025)])
def test_no_access_of_the_loss_is_out_of_bounds_or_races(gpu, rng, checked, shape):
    arrays = [rng.normal(0, 3, shape).astype(np.float32), rng.integers(0, shape[1], shape[0])]
    launch(gpu, "sparse_softmax_cross_entropy_loss", arrays)


def test_the_loss_of_a_batch_is_one_launch(gpu, rng, monkeypatch):
    arrays = [rng.normal(0, 3, (1024, 10)).astype(np.float32), rng.integers(0, 10, 1024).astype(np.uint8)]
    name = "sparse_softmax_cross_entropy_loss"
    assert count_launches(gpu, monkeypatch, name, arrays) == [name]
