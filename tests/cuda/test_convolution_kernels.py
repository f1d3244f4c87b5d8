"""CUDA convolutions against the reference in float64: every kernel and precision, ragged shapes, missing numbers.

Most cases hold small whole numbers: their products and sums are exact in every precision, TF32 and bfloat16 included,
so results must be equal to the last bit, and a wrong index cannot hide behind a tolerance.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from comparison import check_bits, count_launches, expected, launch, on_device_strided, uploaded
from devices import emulated

from gradlite import config
from gradlite.backends.cuda import convolution_variants
from gradlite.backends.cuda.convolution_plan import (
    HALO_TILES,
    NARROW_HALO_TILES,
    Geometry,
    WeightHaloTile,
    few_shared_bytes,
    few_tile,
    ffma_tile,
    halo_tile,
    split_pixels,
    tensor_tile,
    weight_tile,
)
from gradlite.backends.cuda.counters import COUNTERS, counters_for
from gradlite.backends.cuda.registry import CUDA
from gradlite.backends.registry import REFERENCE

# What a mode is called, the precision of products, and the elements in memory.
MODES = {
    "exact": ("highest", "float32"),
    "double": ("highest", "float64"),
    "TF32": ("high", "float32"),
    "bfloat16": ("medium", "float32"),
    "half": ("highest", "float16"),
}
# How far results on random numbers may be from float64, relative to the largest.
TOLERANCE = {"exact": 3e-6, "double": 1e-12, "TF32": 1e-3, "bfloat16": 1e-2, "half": 2e-3}


def convolution(
    seed: int, dtype: str = "float32", *, n: int = 2, size: tuple[int, int] = (7, 9), c: int = 8, f: int = 16,
    kernel: tuple[int, int] = (3, 3), strides: tuple[int, int] = (1, 1), padding: Any = ((1, 1), (1, 1)),
    dilation: tuple[int, int] = (1, 1), groups: int = 1, whole: bool = True,
) -> tuple[list[np.ndarray], dict[str, Any]]:  # fmt: skip
    """x, w, bias, a gradient of the output, and the attributes."""
    rng = np.random.default_rng(seed)
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}

    def draw(*shape: int) -> np.ndarray:
        values = rng.integers(-2, 3, shape) if whole else rng.standard_normal(shape)
        return values.astype(dtype)

    x, w, bias = draw(n, *size, c), draw(*kernel, c // groups, f), draw(f)
    y = expected("conv2d", [x, w, None], **options)[0]
    return [x, w, bias, draw(*y.shape)], options


def calls(arrays: list[np.ndarray], options: dict[str, Any]) -> list[tuple[str, list[Any], dict[str, Any]]]:
    """Every convolution kernel's call."""
    x, w, bias, dy = arrays
    return [
        ("conv2d", [x, w, bias], options),
        ("conv2d_statistics", [x, w, bias], options | {"activation": "relu"}),
        ("conv2d_input_gradient", [dy, w], options | {"input_shape": x.shape}),
        ("conv2d_weight_gradient", [x, dy], options | {"kernel_shape": w.shape}),
        ("conv2d_parameter_gradients", [x, dy], options | {"kernel_shape": w.shape}),
    ]


def hold(gpu: Any, arrays: list[np.ndarray], options: dict[str, Any], tolerance: float = 0) -> None:
    """All kernels give what the reference gives in float64, relative to the largest element; statistics nearly so."""
    for name, operands, attributes in calls(arrays, options):
        wanted = expected(name, operands, **attributes)
        types = [r.dtype for r in expected(name, operands, None, **attributes)]
        for i, (found, value, dtype) in enumerate(zip(launch(gpu, name, operands, **attributes), wanted, types)):
            assert found.shape == value.shape
            assert found.dtype == dtype
            scale = np.abs(value).max(initial=1)
            # Means and variances are quotients: not exact, and no more so than float32.
            allowed = max(tolerance, 1e-14 if dtype == np.float64 else 1e-6) if i else tolerance
            np.testing.assert_allclose(found / scale, value / scale, rtol=0, atol=allowed, err_msg=f"{name} [{i}]")


@contextlib.contextmanager
def capability(gpu: Any, version: tuple[int, int]) -> Iterator[Any]:
    """A backend on an emulated device of this compute capability."""
    if not emulated():
        pytest.skip("Other devices than the one there is are emulated only.")
    from cupy_stand_in import machine

    with machine.settings(compute_capability=f"{version[0]}{version[1]}"):
        yield type(gpu)(gpu.xp, 0)


CASES = {
    "first layer": {"c": 3, "f": 32, "size": (13, 15)},
    "first layer, whole tiles": {"c": 3, "f": 36, "size": (16, 32)},
    "one channel, whole tiles": {"c": 1, "f": 8, "size": (10, 18), "padding": ((0, 0), (0, 0)), "n": 3},
    "few channels, large kernel": {
        "c": 3,
        "f": 40,
        "n": 1,
        "kernel": (7, 5),
        "size": (31, 40),
        "strides": (2, 3),
        "padding": ((2, 3), (0, 1)),
    },
    "one channel": {"c": 1, "f": 10, "kernel": (5, 5), "size": (28, 20), "padding": ((0, 0), (0, 0))},
    "3 x 3, whole tiles": {"c": 32, "f": 32, "size": (16, 16)},
    "3 x 3, ragged": {"c": 24, "f": 72, "size": (15, 17), "n": 1},
    "stride 2": {"c": 16, "f": 24, "size": (9, 12), "strides": (2, 2), "padding": ((0, 1), (1, 0))},
    "groups": {"c": 48, "f": 24, "groups": 3},
    "pointwise": {"kernel": (1, 1), "padding": ((0, 0), (0, 0)), "c": 48, "f": 40, "n": 3},
    "odd channels": {"c": 5, "f": 7, "kernel": (2, 3), "dilation": (2, 1), "strides": (1, 3)},
    "kernel larger than the image": {"size": (3, 2), "kernel": (4, 5), "padding": ((1, 2), (3, 1))},
    "depthwise": {"c": 40, "f": 40, "groups": 40, "size": (7, 6)},
    "depthwise, two outputs a channel": {"c": 6, "f": 12, "groups": 6, "strides": (2, 1), "dilation": (1, 2)},
}
# Every way to read, tile and sum is in these; the other modes share sources with the ones that run all cases.
FEW = ("first layer", "first layer, whole tiles", "3 x 3, whole tiles", "depthwise")


@pytest.mark.parametrize(
    ("case", "mode"),
    [(case, mode) for mode in MODES for case in (FEW if mode in ("double", "bfloat16") else CASES)],
)
def test_sums_of_whole_numbers_are_exact(gpu, case, mode):
    precision, dtype = MODES[mode]
    config.set_matmul_precision(precision)
    hold(gpu, *convolution(len(case), dtype, **CASES[case]))


@pytest.mark.parametrize("mode", MODES)
def test_rounding_stays_within_the_precision(gpu, mode):
    precision, dtype = MODES[mode]
    config.set_matmul_precision(precision)
    for case in ("first layer", "first layer, whole tiles", "3 x 3, whole tiles"):
        arrays, options = convolution(1, dtype, whole=False, **CASES[case])
        hold(gpu, arrays, options, TOLERANCE[mode])
    if mode in ("TF32", "bfloat16") and gpu.compute_capability >= (8, 0):
        exact = expected("conv2d", arrays[:3], **options)[0]
        error = np.abs(launch(gpu, "conv2d", arrays[:3], **options)[0] - exact).max() / np.abs(exact).max()
        assert error > 1e-5, "products were to be rounded"


@pytest.mark.parametrize("seed", range(10))
def test_random_convolutions_are_exact(gpu, seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 3))
    arrays, options = convolution(
        seed,
        n=int(rng.integers(1, 4)),
        size=tuple(map(int, rng.integers(7, 12, 2))),  # the kernel always fits
        c=groups * int(rng.choice([1, 2, 3, 5])),
        f=groups * int(rng.choice([1, 3, 6])),
        kernel=tuple(map(int, rng.integers(1, 5, 2))),
        strides=tuple(map(int, rng.integers(1, 4, 2))),
        padding=tuple(tuple(map(int, rng.integers(0, 4, 2))) for _ in range(2)),
        dilation=tuple(map(int, rng.integers(1, 3, 2))),
        groups=groups,
    )
    hold(gpu, arrays, options)
    config.set_matmul_precision("high")
    hold(gpu, arrays, options)


@pytest.mark.parametrize("multiprocessors", [1, 1000])
@pytest.mark.parametrize("mode", ["exact", "TF32"])
def test_the_largest_and_the_smallest_tiles_are_exact(gpu, monkeypatch, mode, multiprocessors):
    config.set_matmul_precision(MODES[mode][0])
    monkeypatch.setattr(gpu, "multiprocessors", multiprocessors)
    hold(gpu, *convolution(1, c=8, f=136, n=3, size=(10, 11), padding=((0, 0), (1, 1))))
    hold(gpu, *convolution(2, c=8, f=64, n=2, size=(16, 16)))
    hold(gpu, *convolution(2, c=8, f=16, n=1, size=(32, 16)))
    hold(gpu, *convolution(2, c=40, f=72, n=2, size=(16, 16)))
    hold(gpu, *convolution(2, c=2, f=8, n=3, size=(16, 16)))
    hold(gpu, *convolution(3, c=4, f=20, n=5, size=(12, 11), kernel=(2, 2), padding=((0, 0), (0, 0))))


@pytest.mark.parametrize(("version", "case"), [((7, 0), "groups"), ((7, 5), "3 x 3, whole tiles")])
def test_float16_is_exact_on_devices_with_other_tensor_cores_or_none(gpu, version, case):
    with capability(gpu, version) as older:
        hold(older, *convolution(4, "float16", **CASES[case]))


@pytest.mark.parametrize("mode", ["exact", "TF32"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_activations_are_those_of_the_reference(gpu, mode, activation):
    config.set_matmul_precision(MODES[mode][0])
    for case in ({"c": 16, "f": 16, "size": (8, 16)}, {"c": 4, "f": 4, "groups": 4}):
        (x, w, bias, _), options = convolution(5, whole=False, **case)
        options["activation"] = activation
        found, wanted = launch(gpu, "conv2d", [x, w, bias], **options), expected("conv2d", [x, w, bias], **options)
        np.testing.assert_allclose(found[0], wanted[0], rtol=0, atol=2e-2 if mode == "TF32" else 2e-6 * 30)


@pytest.mark.parametrize("mode", ["exact", "TF32"])
def test_statistics_do_not_cancel(gpu, mode):
    config.set_matmul_precision(MODES[mode][0])
    arrays, options = convolution(6, n=3, c=8, f=16, size=(16, 16), whole=False)
    arrays[2] += 1000
    _, mean, variance = launch(gpu, "conv2d_statistics", arrays[:3], **options)
    y = launch(gpu, "conv2d", arrays[:3], **options)[0].astype(float)
    np.testing.assert_allclose(mean, y.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(variance, y.var((0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize("case", ["first layer", "3 x 3, whole tiles", "groups", "depthwise"])
def test_buffers_get_the_same_bits_and_strides_do_not_matter(gpu, case):
    arrays, options = convolution(7, **CASES[case])
    for name, operands, attributes in calls(arrays, options):
        first = launch(gpu, name, operands, **attributes)
        buffers = tuple(gpu.full(r.shape, np.nan, r.dtype) for r in first)
        out = buffers if len(buffers) > 1 else buffers[0]
        returned = gpu.launch(name, *uploaded(gpu, operands), **attributes, out=out)
        views = [on_device_strided(gpu, a) for a in operands]
        assert not views[0].flags.c_contiguous
        again = gpu.launch(name, *views, **attributes)
        again = again if isinstance(again, tuple) else (again,)
        assert all(a is b for a, b in zip(returned if len(buffers) > 1 else (returned,), buffers))
        for one, two, three in zip(first, buffers, again):
            assert one.tobytes() == two.get().tobytes()
            np.testing.assert_array_equal(three.get(), one)


@pytest.mark.parametrize("mode", ["exact", "TF32"])
def test_arrays_that_begin_anywhere_are_read_element_by_element(gpu, mode):
    config.set_matmul_precision(MODES[mode][0])
    (x, w, bias, dy), options = convolution(8, c=8, f=8)

    def moved(a: np.ndarray) -> Any:
        view = gpu.asarray(np.concatenate([[np.nan], a.ravel()]).astype(a.dtype))[1:].reshape(a.shape)
        assert view.data.ptr % 16
        return view

    for name, operands, attributes in calls([x, w, bias, dy], options):
        plain = launch(gpu, name, operands, **attributes)[0]
        result = gpu.launch(name, *map(moved, operands), **attributes)
        np.testing.assert_array_equal((result[0] if isinstance(result, tuple) else result).get(), plain)


@pytest.mark.parametrize("mode", ["exact", "TF32"])
def test_missing_numbers_reach_what_reads_them_and_nothing_else(gpu, mode):
    config.set_matmul_precision(MODES[mode][0])
    for c, size in ((3, (9, 9)), (3, (16, 14)), (16, (15, 17)), (16, (16, 16))):
        arrays, options = convolution(9, n=3, c=c, f=8, size=size)
        arrays[0][1, 4, 4, 0], arrays[0][2, 0, 0, 1] = np.nan, np.inf
        arrays[0][0, -1, -1, 0] = np.nan
        for name, operands, attributes in calls(arrays, options):
            if name == "conv2d_statistics":
                continue
            with np.errstate(invalid="ignore"):
                wanted = expected(name, operands, **attributes)[0]
            np.testing.assert_array_equal(launch(gpu, name, operands, **attributes)[0], wanted, err_msg=name)


def test_missing_gradients_reach_the_pixels_below_them(gpu):
    for mode in ("exact", "TF32"):
        config.set_matmul_precision(MODES[mode][0])
        for strides in ((1, 1), (2, 2)):
            (_, w, _, dy), options = convolution(10, c=8, f=12, size=(9, 11), strides=strides)
            dy[1, 1, 2, 3] = np.nan
            attributes = options | {"input_shape": (2, 9, 11, 8)}
            found = launch(gpu, "conv2d_input_gradient", [dy, w], **attributes)[0]
            np.testing.assert_array_equal(found, expected("conv2d_input_gradient", [dy, w], **attributes)[0])


@pytest.mark.parametrize("groups", [1, 4])
def test_nothing_in_gives_nothing_or_zeros_out(gpu, groups):
    w = np.ones((3, 3, 4 // groups, 8), np.float32)
    options = {"strides": (1, 2), "padding": ((0, 0), (0, 0)), "dilation": (2, 2), "groups": groups}
    for shape, result in (((0, 9, 9, 4), (0, 5, 3, 8)), ((2, 4, 9, 4), (2, 0, 3, 8))):
        x = np.ones(shape, np.float32)
        y = launch(gpu, "conv2d", [x, w, None], **options)[0]
        assert y.shape == result
        dx = launch(gpu, "conv2d_input_gradient", [y, w], input_shape=shape, **options)[0]
        dw = launch(gpu, "conv2d_weight_gradient", [x, y], kernel_shape=w.shape, **options)[0]
        np.testing.assert_array_equal(dx, np.zeros_like(x))
        np.testing.assert_array_equal(dw, np.zeros_like(w))


# One case for each kernel, small enough to check every access.
KERNELS = {
    "conv_ffma": ("exact", {"c": 3, "f": 8, "n": 1, "size": (5, 6)}),
    "conv_mma": ("TF32", {"c": 8, "f": 12, "n": 1, "strides": (2, 1)}),
    "conv_few": ("TF32", {"c": 3, "f": 8, "n": 2, "size": (8, 14)}),
    "conv_halo": ("TF32", {"c": 16, "f": 8, "n": 2, "size": (8, 16)}),
    "conv_weight_few": ("TF32", {"c": 3, "f": 8, "n": 1, "size": (8, 16)}),
    "depthwise": ("exact", {"c": 6, "f": 6, "groups": 6, "n": 1}),
    "single elements": ("TF32", {"c": 3, "f": 5, "n": 1, "size": (5, 6)}),
    "halves": ("half", {"c": 16, "f": 8, "n": 1, "size": (8, 16)}),
    "few halves": ("half", {"c": 3, "f": 8, "n": 1, "size": (8, 16)}),
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_bits_do_not_depend_on_the_schedule(gpu, schedule, kernel):
    mode, case = KERNELS[kernel]
    precision, dtype = MODES[mode]
    config.set_matmul_precision(precision)
    for name, operands, attributes in calls(*convolution(11, dtype, whole=False, **{**case, "n": 2})):
        check_bits(gpu, name, operands, **attributes)


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_access_is_out_of_bounds_or_races(gpu, checked, kernel):
    mode, case = KERNELS[kernel]
    precision, dtype = MODES[mode]
    config.set_matmul_precision(precision)
    hold(gpu, *convolution(12, dtype, **case))


@pytest.mark.parametrize(
    ("mode", "case", "kernels"),
    [
        (
            "exact",
            "3 x 3, whole tiles",
            ["conv_ffma", "conv_ffma", "conv_ffma", "conv_weight_ffma", "conv_weight_ffma"],
        ),
        ("TF32", "first layer", ["conv_few", "conv_few", "conv_halo", "conv_weight_mma", "conv_weight_mma"]),
        (
            "TF32",
            "first layer, whole tiles",
            ["conv_few", "conv_few", "conv_halo", "conv_weight_few", "conv_weight_few"],
        ),
        ("half", "first layer", ["conv_few", "conv_few", "conv_halo", "conv_weight_ffma", "conv_weight_ffma"]),
        ("half", "3 x 3, whole tiles", ["conv_halo", "conv_halo", "conv_halo", "conv_weight_halo", "conv_weight_halo"]),
        (
            "TF32",
            "depthwise",
            ["depthwise", "conv_ffma", "depthwise", "depthwise_weight", "depthwise_weight", "reduce"],
        ),
    ],
)
def test_each_kernel_runs_where_it_should(gpu, monkeypatch, mode, case, kernels):
    if gpu.compute_capability < (8, 0):
        pytest.skip("This device has other tensor cores or none.")
    precision, dtype = MODES[mode]
    config.set_matmul_precision(precision)
    launched = []
    for name, operands, attributes in calls(*convolution(13, dtype, **CASES[case])):
        launched += count_launches(gpu, monkeypatch, name, operands, **attributes)
    assert [name for name in launched if name != "sum_partials"] == kernels


@pytest.mark.parametrize(("mode", "case"), [("exact", "groups"), ("TF32", "first layer"), ("half", "3 x 3, ragged")])
def test_statistics_of_many_blocks_are_merged_by_a_kernel_of_their_own(gpu, monkeypatch, mode, case):
    precision, dtype = MODES[mode]
    config.set_matmul_precision(precision)
    (x, w, bias, _), options = convolution(14, dtype, **CASES[case])
    found = []
    for most, kernels in ((convolution_variants.MOST_MERGED, 1), (0, 2)):
        monkeypatch.setattr(convolution_variants, "MOST_MERGED", most)
        convolution_variants._gather_launch.cache_clear()
        assert len(count_launches(gpu, monkeypatch, "conv2d_statistics", [x, w, bias], **options)) == kernels
        found.append(launch(gpu, "conv2d_statistics", [x, w, bias], **options))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    for merged, apart in zip(found[0][1:], found[1][1:]):
        np.testing.assert_allclose(merged, apart, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_counters_are_zero_again_after_statistics(gpu, mode):
    precision, dtype = MODES[mode]
    config.set_matmul_precision(precision)
    (x, w, bias, _), options = convolution(15, dtype, **CASES["groups"])
    for _ in range(3):
        launch(gpu, "conv2d_statistics", [x, w, bias], **options)
    assert not counters_for(gpu, COUNTERS).get().any()


@pytest.mark.parametrize("name", [name for name in CUDA if name.startswith("conv2d")])
def test_a_kernel_has_the_signature_of_the_reference(name):
    (_, *wanted), (_, *found) = (inspect.signature(k).parameters.values() for k in (REFERENCE[name], CUDA[name]))
    assert [(p.name, p.kind, p.default) for p in found] == [(p.name, p.kind, p.default) for p in wanted]


# The tables.


@pytest.mark.parametrize("multiprocessors", [1, 20, 132])
@pytest.mark.parametrize("n", [1, 32, 33, 64, 65, 128, 500])
def test_tiles_fit_into_what_a_block_may_have(n, multiprocessors):
    for m in (1, 33, 1000, 10**6):
        for wide in (False, True):
            tile = ffma_tile(m, n, multiprocessors, wide)
            assert tile.threads in (64, 128, 256)
            assert 2 * tile.k * (tile.m + tile.n) * (8 if wide else 4) <= 36 * 1024
        for single, limit in itertools.product((False, True), (64 * 1024, 99 * 1024)):
            tensor = tensor_tile(m, n, multiprocessors, single, limit)
            assert tensor.threads in (128, 256)
            assert max(tensor.shared_bytes(kind) for kind in (False, True)) <= limit
    assert weight_tile(27, n).threads == 64


def test_patches_are_not_used_where_they_would_hang_over():
    assert halo_tile(32, 7, 7, 64, "TF32", 132, 227 * 1024) is None
    assert halo_tile(1, 16, 16, 32, "TF32", 132, 227 * 1024) is not None
    assert WeightHaloTile(32, 32, 2).shared_bytes(4) <= 99 * 1024


@pytest.mark.parametrize(
    ("images", "size", "n", "tile"),
    [
        (128, 32, 64, HALO_TILES[0]),
        (32, 16, 64, HALO_TILES[-1]),
        (128, 32, 32, NARROW_HALO_TILES[0]),
        (32, 32, 32, NARROW_HALO_TILES[1]),
    ],
)
def test_patches_are_as_large_as_leaves_no_multiprocessor_idle(images, size, n, tile):
    assert halo_tile(images, size, size, n, "TF32", 132, 227 * 1024) == tile
    for precision, kib in (("FP16", 64), ("FP16", 99), ("TF32", 99), ("BF16", 99), ("BF16", 227)):
        limit = kib * 1024
        fitting = halo_tile(images, size, size, n, precision, 132, limit)
        assert max(fitting.shared_bytes(precision, kind) for kind in (False, True)) <= limit
        assert fitting.stages >= 2


def test_kernels_of_few_channels_fit_into_shared_memory():
    for kernel, strides, limit in itertools.product(((3, 3), (7, 7)), ((1, 1), (2, 2)), (64 * 1024, 99 * 1024)):
        g = Geometry((8, 64, 64, 3), (*kernel, 3, 64), (8, 32, 32, 64), strides, ((1, 1), (1, 1)), (1, 1), 1)
        tile = few_tile(g, "TF32", 20, limit)
        assert few_shared_bytes(g, tile, "TF32") <= limit
    assert few_tile(replace(g, w=(15, 15, 3, 64)), "TF32", 20, limit) is None
    assert few_tile(replace(g, dilation=(2, 1)), "TF32", 20, limit) is None


@pytest.mark.parametrize("seed", range(30))
def test_ranges_of_pixels_cover_them_once(seed):
    rng = np.random.default_rng(seed)
    pixels, tiles, multiprocessors, slab = (int(v) for v in rng.integers((1, 1, 1, 1), (10**6, 50, 200, 33)))
    length, ranges = split_pixels(pixels, tiles, multiprocessors, slab)
    assert length % slab == 0
    assert (ranges - 1) * length < pixels <= ranges * length


def test_the_structure_has_the_fields_of_the_kernels():
    g = Geometry((2, 7, 9, 6), (3, 2, 3, 8), (2, 3, 4, 8), (2, 2), ((1, 0), (0, 1)), (1, 4), 2)
    values = {name: int(g.structure()[name]) for name in g.structure().dtype.names}
    assert (values["top"], values["left"], values["skip_y"], values["skip_x"]) == (1, 0, 2, 1)
    assert (values["images"], values["height"], values["width"], values["channels"]) == g.x
    assert (values["rows"], values["columns"], values["filters"]) == g.y[1:]
