"""CUDA update kernels against the reference: every optimizer and type, ragged sizes, any address, NaN, one launch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from comparison import count_launches, launch, uploaded

from gradlite.backends.registry import REFERENCE

BETAS = {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7}
# Name, number of arrays, then 0-d arrays by name (None where the kernel may do without), attributes.
UPDATES = [
    ("sgd", 2, ["rate"], {}),
    ("sgd_momentum", 3, ["rate"], {"momentum": 0.9, "nesterov": False}),
    ("sgd_momentum", 3, ["rate"], {"momentum": 0.9, "nesterov": True}),
    ("adam", 4, [None, "rate", "step"], BETAS),
    ("adam", 5, ["rate", "step"], BETAS),
    ("adamax", 4, ["rate", "step"], BETAS),
    ("nadam", 4, ["product", "rate", "step"], BETAS),
    ("rmsprop", 3, [None, None, "rate"], {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}),
    ("rmsprop", 4, [None, "rate"], {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-3}),
    ("rmsprop", 5, ["rate"], {"rho": 0.9, "momentum": 0.8, "epsilon": 1e-3}),
    ("adagrad", 3, ["rate"], {"epsilon": 1e-7}),
    ("adadelta", 4, ["rate"], {"rho": 0.95, "epsilon": 1e-7}),
    ("lion", 3, ["rate"], {"beta_1": 0.9, "beta_2": 0.99}),
    ("weight_decay", 1, ["rate"], {"rate": 0.1}),
    ("moving_average", 2, ["step"], {"momentum": 0.9}),
    ("moving_average", 2, ["first"], {"momentum": 0.9}),
    ("moving_average", 2, [None], {"momentum": 0.9}),
    ("clip_by_value", 1, [], {"limit": 0.5}),
    ("scale", 1, [], {"factor": 0.3}),
    ("scale_to_norm", 1, ["squares"], {"norm": 1.5}),
]
IDS = [f"{name}-{count}-{'-'.join(map(str, scalars))}" for name, count, scalars, _ in UPDATES]
NUMBERS = {
    "rate": np.array(0.01, np.float32),
    "step": np.array(3),
    "first": np.array(1),
    "product": np.array(0.4, np.float32),
    "squares": np.array(9.0),
}
TOLERANCES = {"float32": 2e-6, "float64": 1e-13, "float16": 4e-3}


def arguments(rng, count, scalars, size, dtype):
    """Parameter and gradient of both signs, positive state, and the 0-d arrays."""
    arrays = [rng.normal(size=size).astype(dtype) for _ in range(min(count, 2))]
    arrays += [rng.uniform(0.5, 2, size).astype(dtype) for _ in range(count - 2)]
    if count > 3 and scalars[-1] == "rate":
        arrays[3] *= arrays[3].dtype.type(0.1)  # the mean of a centred RMSprop, whose square is below the mean square
    return arrays, [None if s is None else NUMBERS[s] for s in scalars]


def update(gpu, name, arrays, numbers, attributes):
    """The arrays after an update."""
    operands = uploaded(gpu, arrays)
    assert gpu.launch(name, *operands, *uploaded(gpu, numbers), **attributes) is None
    return [x.get() for x in operands]


@pytest.mark.parametrize(("name", "count", "scalars", "attributes"), UPDATES, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_an_update_is_the_references(gpu, rng, name, count, scalars, attributes, dtype, checked):
    for size in (1, 3, 4, 1030):
        arrays, numbers = arguments(rng, count, scalars, size, dtype)
        found = update(gpu, name, arrays, numbers, attributes)
        # float16: the reference rounds after every operation; what it should be is the formula in float32.
        wide = [x.astype(np.float32 if dtype == "float16" else dtype) for x in arrays]
        assert REFERENCE[name](np, *wide, *numbers, **attributes) is None
        for i, (result, wanted, before) in enumerate(zip(found, wide, arrays)):
            assert result.dtype == dtype
            np.testing.assert_allclose(result, wanted, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype] / 4)
            if i == 1:
                np.testing.assert_array_equal(result, before, err_msg="the gradient is an input")


@pytest.mark.parametrize("name", ["adam", "sgd", "scale_to_norm"])
def test_parameters_at_any_address_are_updated_and_their_neighbours_stay(gpu, rng, name, checked):
    _, count, scalars, attributes = next(u for u in UPDATES if u[0] == name)
    for start in (0, 1, 2, 3):
        for size in (1, 5, 1021):
            arrays, numbers = arguments(rng, count, scalars, size + 8, "float32")
            operands = uploaded(gpu, arrays)
            gpu.launch(name, *(x[start : start + size] for x in operands), *uploaded(gpu, numbers), **attributes)
            parts = [x.copy() for x in arrays]
            REFERENCE[name](np, *(x[start : start + size] for x in parts), *numbers, **attributes)
            for found, wanted in zip(operands, parts):
                np.testing.assert_allclose(found.get(), wanted, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["adam", "adamax", "nadam"])
def test_factors_follow_the_step_and_the_type_of_the_rate(gpu, rng, name):
    _, count, scalars, attributes = next(u for u in UPDATES if u[0] == name)
    for step in (1, 2, 1000, 10**9):
        for kind in (np.float32, np.float64):
            arrays, numbers = arguments(rng, count, scalars, 9, "float32")
            numbers[-2:] = [np.array(0.02, kind), np.array(step)]
            found = update(gpu, name, arrays, numbers, attributes)
            REFERENCE[name](np, *arrays, *numbers, **attributes)
            for result, wanted in zip(found, arrays):
                np.testing.assert_allclose(result, wanted, rtol=3e-6, atol=1e-7)


def test_nadams_product_follows_its_schedule(gpu):
    for dtype in ("float32", "float64"):
        mine, wanted = gpu.asarray(np.ones((), dtype)), np.ones((), dtype)
        for step in range(1, 6):
            gpu.launch("nadam_product", mine, gpu.asarray(np.array(step)), beta_1=0.9)
            REFERENCE["nadam_product"](np, wanted, np.array(step), beta_1=0.9)
            np.testing.assert_allclose(mine.get(), wanted, rtol=1e-6)


@pytest.mark.parametrize(("name", "count", "scalars", "attributes"), UPDATES, ids=IDS)
def test_nan_in_a_gradient_reaches_its_parameter_alone(gpu, rng, name, count, scalars, attributes):
    arrays, numbers = arguments(rng, count, scalars, 7, "float32")
    arrays[min(count, 2) - 1][4] = np.nan
    found = update(gpu, name, arrays, numbers, attributes)[0]
    assert np.isnan(found[4])
    assert np.isfinite(np.delete(found, 4)).all()


@pytest.mark.parametrize(("name", "count", "scalars", "attributes"), UPDATES, ids=IDS)
def test_an_update_is_one_launch_of_ours(gpu, monkeypatch, rng, name, count, scalars, attributes):
    arrays, numbers = arguments(rng, count, scalars, 100, "float32")
    assert len(count_launches(gpu, monkeypatch, name, [*arrays, *numbers], **attributes)) == 1


def test_a_moving_average_takes_values_of_another_type_and_any_shape(gpu, rng):
    average, value = rng.normal(size=(3, 5)), rng.normal(size=(3, 5)).astype(np.float32)
    for step in (None, np.array(1), np.array(2)):
        for dtype in ("float32", "float64"):
            (found, _) = update(gpu, "moving_average", [average.astype(dtype), value], [step], {"momentum": 0.9})
            wanted = average.astype(dtype)
            REFERENCE["moving_average"](np, wanted, value, step, momentum=0.9)
            np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_moving_averages_of_many_arrays_are_one_launch(gpu, monkeypatch, rng, checked):
    shapes = [(32,), (0,), (5, 3), (1030,), (1,)]
    averages, values = ([rng.normal(size=s).astype(np.float32) for s in shapes] for _ in range(2))
    launched = count_launches(gpu, monkeypatch, "moving_averages", [*averages, *values], momentum=0.9)
    assert launched == ["moving_averages"]
    found = update(gpu, "moving_averages", [*averages, *values], [], {"momentum": 0.9})
    for result, average, value in zip(found, averages, values):
        np.testing.assert_allclose(result, 0.9 * average + 0.1 * value, rtol=1e-6, atol=1e-7)


def test_clipping_keeps_nan_and_limits_infinities(gpu):
    x = np.array([np.nan, np.inf, -np.inf, 0.2, -0.7, 0.5], np.float32)
    (found,) = update(gpu, "clip_by_value", [x], [], {"limit": 0.5})
    np.testing.assert_array_equal(found, np.clip(x, -0.5, 0.5))


def test_the_square_sum_is_exact_to_float64_over_arrays_of_any_type(gpu, rng):
    arrays = [rng.normal(size=407_050).astype(np.float32), rng.normal(size=(3, 5)), np.zeros(0, np.float32)]
    arrays.append(rng.normal(size=(7, 2)).astype(np.float16))
    exact = math.fsum(float(v) ** 2 for x in arrays for v in x.ravel())
    found = launch(gpu, "square_sum", arrays)[0]
    assert (found.dtype, found.shape) == (np.float64, ())
    np.testing.assert_allclose(found, exact, rtol=1e-14)
    out = gpu.full((), 0, np.float64)
    assert gpu.launch("square_sum", *uploaded(gpu, arrays), out=out) is out
    assert out.get() == found
    np.testing.assert_allclose(launch(gpu, "square_sum", arrays[1:2])[0], (arrays[1] ** 2).sum(), rtol=1e-14)


@pytest.mark.parametrize("squares", [0.0, 1.0, 4.0, 1e300, np.inf, np.nan])
def test_the_norm_is_limited_and_a_broken_one_shows(gpu, squares):
    x = np.array([1.0, -2.0, 3.0], np.float32)
    (found,) = update(gpu, "scale_to_norm", [x], [np.array(squares)], {"norm": 1.0})
    wanted = x.copy()
    REFERENCE["scale_to_norm"](np, wanted, np.array(squares), norm=1.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_every_schedule_gives_the_same_bits(gpu, schedule):
    rng = np.random.default_rng(3)
    arrays, numbers = arguments(rng, 4, [None, "rate", "step"], 5000, "float32")
    found = b"".join(x.tobytes() for x in update(gpu, "adam", arrays, numbers, BETAS))
    found += launch(gpu, "square_sum", arrays)[0].tobytes()
    assert SEEN.setdefault("bits", found) == found


SEEN: dict = {}


def test_numbers_on_the_host_still_update(gpu, rng):
    """A rate that is no array on the device goes through the array module's functions."""
    x, g = rng.normal(size=(2, 5)).astype(np.float32)
    (found, _) = update(gpu, "sgd", [x, g], [np.float32(0.1)], {})
    np.testing.assert_allclose(found, x - np.float32(0.1) * g, rtol=1e-6)
