"""Kernels on float16 and bfloat16, as a step of mixed precision launches them: float32 inside, rounded once."""

from __future__ import annotations

import numpy as np
import pytest
from test_convolution_kernels import CASES, calls, convolution

from gradlite.backends.cpu import BACKEND as CPU
from gradlite.backends.dtypes import narrow_floats

NARROW = [str(dtype) for dtype in narrow_floats()]
# Half a unit in the last place, relative to the largest element, and as much again for float32's own rounding.
EPSILON = {"float16": 2.0**-11, "bfloat16": 2.0**-8}

pytestmark = pytest.mark.parametrize("kind", NARROW)


@pytest.fixture(autouse=True)
def without_fallback(gpu, monkeypatch):
    """A step that is captured as a graph launches kernels of ours alone."""

    def refuse(name, *arrays, **attributes):
        raise AssertionError(f"{name} has no kernel for {[getattr(a, 'dtype', a) for a in arrays]}")

    monkeypatch.setattr(gpu, "fallback", refuse)


def dtype_of(kind):
    return narrow_floats()[NARROW.index(kind)]


def listed(x):
    return list(x) if isinstance(x, (tuple, list)) else [x]


def hold(gpu, name, arrays, kind, scale=2.0, **attributes):
    """The GPU's results are those of float64 to within the type's rounding, and have the types that the CPU gives."""
    narrow = [a.astype(dtype_of(kind)) if isinstance(a, np.ndarray) and a.dtype == np.float64 else a for a in arrays]
    wide = [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == dtype_of(kind) else a for a in narrow]
    wide = [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == np.float32 else a for a in wide]
    found = listed(
        gpu.launch(name, *[gpu.asarray(a) if isinstance(a, np.ndarray) else a for a in narrow], **attributes)
    )
    wanted, own = listed(CPU.launch(name, *wide, **attributes)), listed(CPU.launch(name, *narrow, **attributes))
    for i, (x, exact, cpu) in enumerate(zip(found, wanted, own)):
        assert x.dtype == cpu.dtype, f"{name}, result {i}"
        for values in (gpu.to_numpy(x), np.asarray(cpu)):
            values, size = values.astype(np.float64), max(1.0, float(np.abs(exact).max(initial=0)))
            wanted_values = np.asarray(exact, np.float64) / size
            np.testing.assert_allclose(values / size, wanted_values, rtol=0, atol=scale * EPSILON[kind])
    return found


@pytest.mark.parametrize("case", CASES)
def test_convolutions_and_their_gradients(gpu, kind, case):
    arrays, options = convolution(len(case), "float64", whole=False, **CASES[case])
    for name, operands, attributes in calls(arrays, options):
        hold(gpu, name, operands, kind, **attributes)


@pytest.mark.parametrize("case", ["3 x 3, whole tiles", "groups"])
def test_convolutions_of_whole_numbers_add_up_exactly(gpu, kind, case):
    arrays, options = convolution(7, "float64", n=1, **{k: v for k, v in CASES[case].items() if k != "n"})
    for name, operands, attributes in calls(arrays, options):
        if name == "conv2d_statistics":
            continue
        on_gpu = [gpu.asarray(a.astype(dtype_of(kind))) for a in operands]
        found = gpu.to_numpy(listed(gpu.launch(name, *on_gpu, **attributes))[0])
        exact = listed(CPU.launch(name, *operands, **attributes))[0]
        np.testing.assert_array_equal(found, exact.astype(dtype_of(kind)), err_msg=name)


def test_dense_layers_and_their_gradients(gpu, kind, rng):
    for n, k, m in [(32, 784, 64), (5, 7, 3), (33, 40, 136)]:
        x, w, b = rng.normal(size=(n, k)), rng.normal(size=(k, m)) / np.sqrt(k), rng.normal(size=m)
        y = np.maximum(x @ w, 0)
        g = rng.normal(size=(n, m))
        hold(gpu, "dense", [x, w, b], kind, activation="relu")
        hold(gpu, "dense_input_gradient", [g, y, w], kind, activation="relu")
        hold(gpu, "dense_weight_gradient", [x, g, y], kind, activation="relu")
        hold(gpu, "matmul", [x, w], kind)


@pytest.mark.parametrize("shape", [(4, 6, 6, 8), (3, 5, 7, 3), (40, 16)])
def test_batch_normalization_with_float32_parameters(gpu, kind, rng, shape):
    channels = shape[-1]
    x, g = rng.normal(1, 2, shape), rng.normal(size=shape)
    gamma, beta = (rng.uniform(0.5, 1.5, channels).astype(np.float32) for _ in range(2))
    rows = tuple(range(len(shape) - 1))
    mean, variance = (v.astype(np.float32) for v in (x.mean(rows), x.var(rows)))
    _, found_mean, found_variance = hold(gpu, "batch_norm", [x, gamma, beta], kind, epsilon=1e-3)
    assert (found_mean.dtype, found_variance.dtype) == (np.float32, np.float32)
    hold(gpu, "batch_norm_gradient", [g, x, gamma, mean, variance], kind, epsilon=1e-3)
    hold(gpu, "batch_norm_inference", [x, gamma, beta, mean, variance], kind, epsilon=1e-3)
    hold(gpu, "layer_norm", [x, gamma, beta], kind, epsilon=1e-3)


def test_a_row_of_normalization_pooling_and_dropout(gpu, kind, rng):
    state = np.array([1, 2, 3, 4], np.uint64)
    x, g = rng.normal(size=(4, 6, 8, 8)), rng.normal(size=(4, 3, 4, 8))
    gamma, beta = (rng.uniform(0.5, 1.5, 8).astype(np.float32) for _ in range(2))
    options = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0)), "epsilon": 1e-3, "rate": 0.25}
    # The window's maximum may be another one after rounding, so the inputs are rounded first.
    x = x.astype(dtype_of(kind)).astype(np.float64)
    mean, variance = (v.astype(np.float32) for v in (x.mean((0, 1, 2)), x.var((0, 1, 2))))
    _, _, _, index = hold(gpu, "batch_norm_max_pool2d_dropout", [x, gamma, beta, state], kind, **options)
    index = gpu.to_numpy(index)
    arrays = [g, x, gamma, mean, variance, index, state]
    hold(gpu, "batch_norm_max_pool2d_dropout_gradient", arrays, kind, **options)


def test_pooling_and_dropout(gpu, kind, rng):
    x = rng.normal(size=(2, 6, 8, 8)).astype(dtype_of(kind)).astype(np.float64)
    options = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}
    _, index = hold(gpu, "max_pool2d", [x], kind, **options)
    g = rng.normal(size=(2, 3, 4, 8))
    hold(gpu, "max_pool2d_scatter", [g, gpu.to_numpy(index)], kind, input_shape=x.shape, **options)
    hold(gpu, "dropout", [x, np.array([1, 2, 3, 4], np.uint64)], kind, rate=0.4)


def test_what_lies_between_the_layers(gpu, kind, rng):
    x, y = rng.normal(size=(33, 12)), rng.normal(size=(33, 12))
    for name in ("add", "multiply", "subtract", "divide", "maximum", "relu_gradient"):
        hold(gpu, name, [x, np.abs(y) + 0.5], kind, 4)
    for name in ("relu", "sigmoid", "tanh", "exp", "negative", "square"):
        hold(gpu, name, [x], kind, 4)
    hold(gpu, "multiply", [x, 0.3], kind, 4)
    hold(gpu, "multiply", [x, rng.normal(size=(33, 12)).astype(np.float32)], kind, 4)
    hold(gpu, "column_sum", [x], kind)
    hold(gpu, "sum", [x], kind, axis=None)
    hold(gpu, "mean", [x], kind, axis=(0,), keepdims=False)
    hold(gpu, "softmax", [x], kind)
    hold(gpu, "where", [x > 0, x, y], kind)
    hold(gpu, "argmax", [x], kind, axis=1)


def test_conversions_round_to_nearest_and_widen_exactly(gpu, kind, rng):
    x = np.concatenate([rng.normal(size=1000), [0.0, -0.0, np.inf, -np.inf, 1e30, 1e-30]]).astype(np.float32)
    with np.errstate(over="ignore"):
        rounded = x.astype(dtype_of(kind))
    found = gpu.launch("astype", gpu.asarray(x), dtype=dtype_of(kind))
    assert gpu.to_numpy(found).tobytes() == rounded.tobytes()
    back = gpu.launch("astype", found, dtype=np.float32)
    assert gpu.to_numpy(back).tobytes() == rounded.astype(np.float32).tobytes()
    bytes_ = rng.integers(0, 256, (5, 7)).astype(np.uint8)
    found = gpu.launch("astype", gpu.asarray(bytes_), dtype=dtype_of(kind))
    np.testing.assert_array_equal(gpu.to_numpy(found).astype(np.float64), bytes_)


def test_gradients_are_packed_into_float32(gpu, kind, rng):
    parts = [rng.normal(size=shape).astype(dtype_of(kind)) for shape in ((3, 5), (7,))]
    out = gpu.full((40,), 0, np.float32)
    gpu.launch("pack", *map(gpu.asarray, parts), offsets=(0, 16), out=out)
    found = gpu.to_numpy(out)
    np.testing.assert_array_equal(found[:15], parts[0].ravel().astype(np.float32))
    np.testing.assert_array_equal(found[16:23], parts[1].astype(np.float32))
