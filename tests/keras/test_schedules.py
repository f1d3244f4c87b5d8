"""Learning rate schedules against their formulas, as numbers, arrays and Tensors; configs and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradlite import Tensor
from gradlite.keras.optimizers import SGD, schedules

STEPS = [0, 1, 2, 3, 5, 9, 10, 11, 19, 20, 29, 30, 31, 70, 150, 1000]


def exponential(t):
    return 0.1 * 0.8 ** (t / 7)


def exponential_staircase(t):
    return 0.1 * 0.8 ** (t // 7)


def piecewise(t):
    return 1.0 if t <= 3 else 0.5 if t <= 20 else 0.1


def polynomial(t):
    return 0.09 * (1 - min(t, 30) / 30) ** 2 + 0.01


def polynomial_cycle(t):
    length = 20 * max(1, math.ceil(t / 20))
    return (0.1 - 1e-4) * (1 - t / length) + 1e-4


def inverse_time(t):
    return 0.1 / (1 + 0.5 * t / 10)


def inverse_time_staircase(t):
    return 0.1 / (1 + 0.5 * (t // 10))


def cosine(t):
    return 0.1 * (0.8 * 0.5 * (1 + math.cos(math.pi * min(t, 30) / 30)) + 0.2)


def cosine_warmup(t):
    if t < 10:
        return 0.01 + (0.2 - 0.01) * t / 10
    return 0.2 * (0.9 * 0.5 * (1 + math.cos(math.pi * min(t - 10, 30) / 30)) + 0.1)


def restarts(t_mul, m_mul, alpha):
    def rate(t):
        length, height = 10.0, 1.0
        while t >= length:
            t, length, height = t - length, length * t_mul, height * m_mul
        return 0.1 * ((1 - alpha) * 0.5 * height * (1 + math.cos(math.pi * t / length)) + alpha)

    return rate


CASES = [
    (schedules.ExponentialDecay(0.1, 7, 0.8), exponential),
    (schedules.ExponentialDecay(0.1, 7, 0.8, staircase=True), exponential_staircase),
    (schedules.PiecewiseConstantDecay([3, 20], [1.0, 0.5, 0.1]), piecewise),
    (schedules.PolynomialDecay(0.1, 30, end_learning_rate=0.01, power=2.0), polynomial),
    (schedules.PolynomialDecay(0.1, 20, cycle=True), polynomial_cycle),
    (schedules.InverseTimeDecay(0.1, 10, 0.5), inverse_time),
    (schedules.InverseTimeDecay(0.1, 10, 0.5, staircase=True), inverse_time_staircase),
    (schedules.CosineDecay(0.1, 30, alpha=0.2), cosine),
    (schedules.CosineDecay(0.01, 30, alpha=0.1, warmup_target=0.2, warmup_steps=10), cosine_warmup),
    (schedules.CosineDecayRestarts(0.1, 10), restarts(2.0, 1.0, 0.0)),
    (schedules.CosineDecayRestarts(0.1, 10, t_mul=1.5, m_mul=0.8, alpha=0.1), restarts(1.5, 0.8, 0.1)),
    (schedules.CosineDecayRestarts(0.1, 10, t_mul=1.0, m_mul=0.5), restarts(1.0, 0.5, 0.0)),
]
IDS = [f"{formula.__name__}-{i}" for i, (_, formula) in enumerate(CASES)]


@pytest.mark.parametrize(("schedule", "formula"), CASES, ids=IDS)
def test_a_schedule_is_its_formula_for_numbers_arrays_and_tensors(schedule, formula):
    expected = [formula(t) for t in STEPS]
    rates = [schedule(t) for t in STEPS]
    assert all(type(rate) is float for rate in rates)
    np.testing.assert_allclose(rates, expected, rtol=1e-9)
    np.testing.assert_allclose(schedule(np.array(STEPS)), expected, rtol=1e-9)
    tensors = [schedule(Tensor(np.int64(t))) for t in STEPS]
    assert all(rate.dtype == np.float32 and rate.shape == () for rate in tensors)
    np.testing.assert_allclose([float(rate) for rate in tensors], expected, rtol=1e-6)


@pytest.mark.parametrize(("schedule", "formula"), CASES, ids=IDS)
def test_a_schedule_survives_its_config(schedule, formula):
    for again in (
        type(schedule).from_config(schedule.get_config()),
        schedules.deserialize(schedules.serialize(schedule)),
    ):
        assert type(again) is type(schedule)
        assert [again(t) for t in STEPS] == [schedule(t) for t in STEPS]


def test_steps_beyond_float32_are_told_apart():
    schedule = schedules.PiecewiseConstantDecay([2**25], [1.0, 0.5])
    assert float(schedule(Tensor(np.int64(2**25)))) == 1.0
    assert float(schedule(Tensor(np.int64(2**25 + 1)))) == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "decay_steps=0"),
        (lambda: schedules.InverseTimeDecay(0.1, -1, 0.5), "decay_steps=-1"),
        (lambda: schedules.CosineDecayRestarts(0.1, 0), "first_decay_steps=0"),
        (lambda: schedules.PiecewiseConstantDecay([1, 2], [1.0, 2.0]), "2 boundaries"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [1.0, 2.0, 3.0]), "must increase"),
        (lambda: schedules.deserialize({"class_name": "CosineDecai", "config": {}}), "CosineDecay"),
    ],
)
def test_wrong_arguments_are_refused_with_what_was_received(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_schedule_of_ones_own_needs_only_call():
    class Halving(schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 / (step + 1)

    optimizer = SGD(Halving())
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    with pytest.raises(NotImplementedError, match="Halving"):
        optimizer.get_config()
    with pytest.raises(NotImplementedError, match="__call__"):
        schedules.LearningRateSchedule()(0)
