"""CUDA softmax and cross-entropies against the reference: short, long and ragged rows, extreme logits, all labels."""

from __future__ import annotations

import numpy as np
import pytest
from comparison import DTYPES, check, check_bits, count_launches, expected, launch

# A team of eight threads, of a warp and of a block to a row; fewer rows than teams, and more.
SHAPES = [(1, 1), (5, 7), (33, 10), (3, 16), (9, 17), (4, 1000), (3, 1025)]
LABELS = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def logits(rng, shape, dtype="float32"):
    return rng.normal(0, 3, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_and_its_gradient_are_the_references(gpu, rng, name, shape, dtype):
    check(gpu, name, [logits(rng, shape, dtype)])
    y = expected(name, [logits(rng, shape, dtype)])[0].astype(dtype)
    check(gpu, name + "_gradient", [rng.uniform(-1, 1, shape).astype(dtype), y], scale=4)


def test_softmax_is_over_the_last_of_several_axes(gpu, rng):
    check(gpu, "softmax", [logits(rng, (2, 3, 4, 5))])
    check(gpu, "log_softmax", [logits(rng, (7,))])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_large_logits_do_not_overflow(gpu, name):
    x = np.array([[1e30, -1e30, 0], [88, 89, 90], [-1e4, -1e4, -1e4], [-np.inf, 0, 1]], np.float32)
    result = launch(gpu, name, [x])[0]
    np.testing.assert_allclose(result, expected(name, [x])[0], rtol=2e-6)


@pytest.mark.parametrize("columns", [3, 40, 1100])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_missing_or_infinite_logit_makes_its_row_nan_and_no_other(gpu, rng, value, columns):
    x = logits(rng, (3, columns))
    x[1, columns // 2] = value
    for name in ("softmax", "log_softmax"):
        result = launch(gpu, name, [x])[0]
        with np.errstate(invalid="ignore"):
            wanted = expected(name, [x])[0]
        np.testing.assert_array_equal(np.isnan(result), np.isnan(wanted))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropies_and_their_gradients_are_the_references(gpu, rng, shape, dtype):
    x, labels, soft = logits(rng, shape, dtype), rng.integers(0, shape[1], shape[0]), rng.uniform(0, 1, shape)
    soft = (soft / shape[1]).astype(dtype)
    probabilities = check(gpu, "sparse_softmax_cross_entropy", [x, labels])[1]
    g = rng.uniform(-1, 1, shape[0]).astype(dtype)
    check(gpu, "sparse_softmax_cross_entropy_gradient", [g, probabilities, labels])
    check(gpu, "softmax_cross_entropy", [x, soft])
    check(gpu, "softmax_cross_entropy_gradient", [g, probabilities, soft])
    check(gpu, "sigmoid_cross_entropy", [x, soft])


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_integer_type_are_class_numbers(gpu, rng, kind):
    x, labels = logits(rng, (6, 200)), np.array([0, 3, 127, 100, 5, 77]).astype(kind)
    losses, probabilities = launch(gpu, "sparse_softmax_cross_entropy", [x, labels])
    np.testing.assert_allclose(losses, expected("sparse_softmax_cross_entropy", [x, labels])[0], rtol=1e-5)
    g = np.ones(6, np.float32)
    gradient = launch(gpu, "sparse_softmax_cross_entropy_gradient", [g, probabilities, labels])[0]
    wanted = expected("sparse_softmax_cross_entropy_gradient", [g, probabilities, labels])[0]
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("label", [-1, 10, 2**40])
def test_a_label_that_is_no_class_costs_nan_and_touches_no_other_row(gpu, rng, label):
    x = logits(rng, (3, 10))
    losses, probabilities = launch(gpu, "sparse_softmax_cross_entropy", [x, np.array([1, label, 2])])
    assert np.isnan(losses).tolist() == [False, True, False]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_a_perfect_guess_costs_zero_without_a_sign(gpu):
    x = np.array([[1000.0, 0.0]], np.float32)
    losses = launch(gpu, "sparse_softmax_cross_entropy", [x, np.array([0])])[0]
    assert losses[0] == 0
    assert not np.signbit(losses[0])


def test_sigmoid_cross_entropy_neither_overflows_nor_loses_missing_numbers(gpu):
    x, z = np.array([1e30, -1e30, np.nan, 0, -200], np.float32), np.array([1, 0, 1, 0.5, 1], np.float32)
    result = launch(gpu, "sigmoid_cross_entropy", [x, z])[0]
    np.testing.assert_allclose(result, expected("sigmoid_cross_entropy", [x, z])[0], rtol=1e-6)


@pytest.mark.parametrize("columns", [10, 40, 1030])
def test_every_schedule_gives_the_same_bits(gpu, columns, schedule):
    rng = np.random.default_rng(columns)
    x, labels = logits(rng, (5, columns)), rng.integers(0, columns, 5)
    check_bits(gpu, "softmax", [x])
    check_bits(gpu, "sparse_softmax_cross_entropy", [x, labels])


@pytest.mark.parametrize("columns", [10, 40, 1030])
def test_no_access_is_out_of_bounds_or_races(gpu, rng, checked, columns):
    x, labels, soft = logits(rng, (9, columns)), rng.integers(0, columns, 9), logits(rng, (9, columns))
    for name in ("softmax", "log_softmax"):
        launch(gpu, name + "_gradient", [x, launch(gpu, name, [x])[0]])
    losses, p = launch(gpu, "sparse_softmax_cross_entropy", [x, labels])
    launch(gpu, "sparse_softmax_cross_entropy_gradient", [losses, p, labels])
    launch(gpu, "softmax_cross_entropy", [x, soft])
    launch(gpu, "softmax_cross_entropy_gradient", [losses, p, soft])


def test_each_is_one_launch(gpu, rng, monkeypatch):
    x, labels = logits(rng, (32, 10)), rng.integers(0, 10, 32).astype(np.uint8)
    p = launch(gpu, "softmax", [x])[0]
    for name, arrays in (
        ("softmax", [x]),
        ("softmax_gradient", [x, p]),
        ("sparse_softmax_cross_entropy", [x, labels]),
        ("sparse_softmax_cross_entropy_gradient", [x[:, 0].copy(), p, labels]),
    ):
        assert count_launches(gpu, monkeypatch, name, arrays) == [name]
