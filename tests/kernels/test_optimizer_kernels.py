"""Update kernels: the CPU's chunks and threads give the reference's bits, in every dtype; clipping and averages."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradlite.backends.cpu import optimizers as cpu
from gradlite.backends.cpu import parallel
from gradlite.backends.reference import optimizers as reference

BETAS = {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7}
# Name, number of arrays (None where the kernel may do without), 0-d arrays after them, attributes.
UPDATES = [
    ("sgd", 2, ["rate"], {}),
    ("sgd_momentum", 3, ["rate"], {"momentum": 0.9, "nesterov": False}),
    ("sgd_momentum", 3, ["rate"], {"momentum": 0.9, "nesterov": True}),
    ("adam", 4, [None, "rate", "step"], BETAS),
    ("adam", 5, ["rate", "step"], BETAS),
    ("adamax", 4, ["rate", "step"], BETAS),
    ("nadam", 4, ["product", "rate", "step"], BETAS),
    ("rmsprop", 3, [None, None, "rate"], {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}),
    ("rmsprop", 5, ["rate"], {"rho": 0.9, "momentum": 0.8, "epsilon": 1e-3}),
    ("adagrad", 3, ["rate"], {"epsilon": 1e-7}),
    ("adadelta", 4, ["rate"], {"rho": 0.95, "epsilon": 1e-7}),
    ("lion", 3, ["rate"], {"beta_1": 0.9, "beta_2": 0.99}),
    ("weight_decay", 1, ["rate"], {"rate": 0.1}),
    ("moving_average", 2, ["step"], {"momentum": 0.9}),
]
IDS = [f"{name}-{count}" for name, count, _, _ in UPDATES]


def arguments(count, scalars, size, dtype):
    """Parameter and gradient of both signs, positive state, and the 0-d arrays."""
    rng = np.random.default_rng()
    arrays = [rng.normal(size=size).astype(dtype) for _ in range(min(count, 2))]
    arrays += [rng.uniform(0.5, 2, size).astype(dtype) for _ in range(count - 2)]
    if count == 5 and None not in scalars and len(scalars) == 1:
        arrays[3] *= dtype(0.1)  # the mean of a centred RMSprop, whose square is below the mean square
    numbers = {"rate": np.array(0.01, np.float32), "step": np.array(3), "product": np.array(0.4, np.float32)}
    return arrays, [None if s is None else numbers[s] for s in scalars]


@pytest.mark.parametrize(("name", "count", "scalars", "attributes"), UPDATES, ids=IDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chunks_and_threads_give_the_bits_of_the_reference(monkeypatch, name, count, scalars, attributes, dtype):
    for size in (1, 5, cpu.CHUNK + 3, 5 * cpu.CHUNK + 17):
        arrays, numbers = arguments(count, scalars, size, dtype)
        gradient = arrays[1].copy() if count > 1 else None
        results = []
        for threads in (0, 1, 2, 3):
            mine = [a.copy() for a in arrays]
            if threads:
                monkeypatch.setattr(parallel, "_THREADS", threads)
                assert getattr(cpu, name)(*mine, *numbers, **attributes) is None
            else:
                assert getattr(reference, name)(np, *mine, *numbers, **attributes) is None
            results.append([a.tobytes() for a in mine])
            assert (mine[0] != arrays[0]).any()
            if gradient is not None:
                np.testing.assert_array_equal(mine[1], gradient)
        assert results[0] == results[1] == results[2] == results[3]


@pytest.mark.parametrize(("name", "count", "scalars", "attributes"), UPDATES, ids=IDS)
def test_float16_parameters_stay_float16(name, count, scalars, attributes):
    arrays, numbers = arguments(count, scalars, 9, np.float16)
    getattr(cpu, name)(*arrays, *numbers, **attributes)
    assert all(a.dtype == np.float16 for a in arrays)
    assert np.isfinite(arrays[0]).all()


def test_nan_in_a_gradient_reaches_its_parameter_alone():
    for name, count, scalars, attributes in UPDATES:
        if count > 1:
            arrays, numbers = arguments(count, scalars, 7, np.float32)
            arrays[1][4] = np.nan
            getattr(cpu, name)(*arrays, *numbers, **attributes)
            assert np.isnan(arrays[0]).tolist() == [i == 4 for i in range(7)], name


def test_adam_at_the_first_step_moves_by_the_learning_rate_even_with_tiny_gradients():
    p, m, v = (np.zeros(3, np.float32) for _ in range(3))
    g = np.array([1e-3, -5.0, 2e4], np.float32)
    numbers = np.array(0.01, np.float32), np.array(1)
    cpu.adam(p, g, m, v, None, *numbers, beta_1=0.9, beta_2=0.999, epsilon=1e-7)
    # epsilon counts 1 / sqrt(1 - beta_2) times as much: it is added before the bias correction.
    np.testing.assert_allclose(p, [-0.01 / (1 + 1e-7 / np.sqrt(1e-3) / 1e-3), 0.01, -0.01], rtol=1e-5)


def test_the_moving_average_starts_from_the_first_value_where_there_is_a_step():
    value = np.array([2.0, 4.0], np.float32)
    average = np.zeros(2, np.float32)
    reference.moving_average(np, average, value, np.array(1), momentum=0.9)
    assert average.tolist() == [2, 4]
    reference.moving_average(np, average, value * 2, np.array(2), momentum=0.75)
    assert average.tolist() == [2.5, 5]
    reference.moving_average(np, average, np.zeros(2, np.float32), None, momentum=0.5)
    assert average.tolist() == [1.25, 2.5]


def test_pack_writes_every_array_flat_at_its_offset_and_leaves_the_rest():
    out = np.full(12, 9.0, np.float32)
    matrix = np.arange(6.0).reshape(2, 3)
    reference.pack(np, matrix.T, np.array(7.0), offsets=(1, 10), out=out)
    assert out.tolist() == [9, 0, 3, 1, 4, 2, 5, 9, 9, 9, 7, 9]


def test_norms_are_summed_in_float64_over_all_arrays():
    arrays = [np.full(1000, 1e15, np.float32), np.full(3, 1e-3, np.float16), np.zeros(0, np.float32)]
    arrays.append(np.random.default_rng().normal(size=(3, cpu.CHUNK)) * 1e16)
    expected = math.fsum((np.concatenate([a.reshape(-1) for a in arrays], dtype=np.float64) ** 2).tolist())
    for total in (
        reference.square_sum(np, *arrays),
        cpu.square_sum(*arrays),
        cpu.square_sum(*arrays, out=np.zeros(())),
    ):
        assert total.shape == ()
        assert total.dtype == np.float64
        np.testing.assert_allclose(total, expected, rtol=1e-14)


@pytest.mark.parametrize("norm", [0.5, 5.0, 50.0])
def test_scaling_to_a_norm_shortens_what_is_longer_and_leaves_the_rest(norm):
    gradient = np.array([3.0, -4.0])
    reference.scale_to_norm(np, gradient, reference.square_sum(np, gradient), norm=norm)
    np.testing.assert_allclose(gradient, np.array([3.0, -4.0]) * min(1, norm / 5), rtol=1e-15)


def test_a_zero_gradient_survives_and_one_that_is_not_finite_becomes_nan():
    zero = np.zeros(3, np.float32)
    reference.scale_to_norm(np, zero, reference.square_sum(np, zero), norm=1.0)
    assert zero.tolist() == [0, 0, 0]
    for bad in (np.inf, np.nan):
        gradient = np.array([1.0, bad], np.float32)
        reference.scale_to_norm(np, gradient, reference.square_sum(np, gradient), norm=1.0)
        assert np.isnan(gradient).all()


def test_clipping_by_value_keeps_nan():
    gradient = np.array([-3.0, 0.5, 3.0, np.nan], np.float32)
    reference.clip_by_value(np, gradient, limit=1.0)
    np.testing.assert_array_equal(gradient, np.array([-1, 0.5, 1, np.nan], np.float32))
