"""CUDA matrix products against float64: every tile, unit and layout, ragged sizes, missing numbers, all schedules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from comparison import DTYPES, check, check_bits, count_launches, expected, launch
from devices import emulated
from helpers import assert_close

from gradlite import config
from gradlite.backends.cuda import CudaBackend, gemm
from gradlite.backends.cuda.counters import COUNTERS, counters_for
from gradlite.backends.cuda.gemm_tiles import (
    BFLOAT16,
    DOUBLE_TILES,
    FFMA,
    FFMA_TILES,
    MMA_TILES_2_BYTES,
    MMA_TILES_4_BYTES,
    MMA_TILES_TURING,
    TF32,
    Tile,
    shared_limit,
    slice_length,
    tile_for,
)

# Relative to the sum of absolute products: rounded factors of 24, 11 and 8 bits, and the order of the sums.
ERROR = {"highest": 1e-6, "high": 2.0**-10, "medium": 2.0**-7}
LAYOUTS = [(False, False), (False, True), (True, False), (True, True)]


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``forced(tile, slices)``: products use that tile."""

    def force(tile: Tile, slices: int) -> None:
        gemm._plan.cache_clear()
        monkeypatch.setattr(gemm, "tile_for", lambda *_: (tile, slices))

    yield force
    gemm._plan.cache_clear()


@contextmanager
def capability(name: str) -> Iterator[Any]:
    """A backend of another generation of GPUs; emulated only."""
    if not emulated():
        pytest.skip("a real GPU is what it is")
    import cupy
    from cupy_stand_in.machine import settings

    with settings(compute_capability=name):
        yield CudaBackend(cupy, 0)


def operands(rng: Any, m: int, n: int, k: int, dtype: Any, transposed: tuple[bool, bool]) -> list[np.ndarray]:
    """Matrices (m, k) and (k, n); a transposed one lies in memory by columns."""
    a, b = rng.uniform(-1, 1, (m, k)).astype(dtype), rng.uniform(-1, 1, (k, n)).astype(dtype)
    return [np.ascontiguousarray(x.T).T if flip else x for x, flip in zip((a, b), transposed)]


def put(gpu: Any, x: np.ndarray) -> Any:
    """On the device, with the same order in memory."""
    return gpu.asarray(x) if x.flags.c_contiguous else gpu.asarray(np.ascontiguousarray(x.T)).T


def product(gpu: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return gpu.launch("matmul", put(gpu, a), put(gpu, b)).get()


def assert_product(result: np.ndarray, a: np.ndarray, b: np.ndarray, precision: str) -> None:
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    assert result.shape == (a.shape[0], b.shape[1])
    bound = ERROR[precision] * (np.abs(wide_a) @ np.abs(wide_b)) + 1e-30
    if a.dtype == np.float16:
        bound += np.abs(wide_a @ wide_b) * 2.0**-10 + 2.0**-24
    worst = np.max(np.abs(result - wide_a @ wide_b) / bound, initial=0)
    assert worst <= 1, f"{worst} times the bound"


# Every tile in some layouts, aligned (vectors) and ragged (single elements), in one piece and in slices of k.
@pytest.mark.parametrize("transposed", LAYOUTS)
@pytest.mark.parametrize("tile", FFMA_TILES, ids=lambda t: f"{t.m}x{t.n}")
def test_exact_products_of_every_tile_and_layout(gpu, rng, forced, tile, transposed):
    for slices, (m, n, k) in [(1, (tile.m + 4, tile.n - 4, 2 * tile.k + 4)), (3, (tile.m - 3, tile.n + 1, 131))]:
        forced(tile, slices)
        a, b = operands(rng, m, n, k, np.float32, transposed)
        assert_product(product(gpu, a, b), a, b, "highest")


@pytest.mark.parametrize("transposed", [(False, False), (True, True)])
@pytest.mark.parametrize("tile", DOUBLE_TILES, ids=lambda t: f"{t.m}x{t.n}")
def test_float64_products_are_exact_to_its_own_precision(gpu, rng, forced, tile, transposed):
    for slices, (m, n, k) in [(1, (tile.m + 4, tile.n - 4, 72)), (2, (tile.m - 3, tile.n + 1, 131))]:
        forced(tile, slices)
        a, b = operands(rng, m, n, k, np.float64, transposed)
        np.testing.assert_allclose(product(gpu, a, b), a @ b, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("transposed", LAYOUTS)
@pytest.mark.parametrize("precision", ["high", "medium"])
@pytest.mark.parametrize("tile", MMA_TILES_4_BYTES, ids=lambda t: f"{t.m}x{t.n}")
def test_tensor_cores_multiply_float32_in_the_precision_that_is_set(gpu, rng, forced, tile, precision, transposed):
    if gpu.compute_capability < (8, 0):
        pytest.skip("no TF32 here")
    config.set_matmul_precision(precision)
    if precision == "high" or transposed[0] == transposed[1]:
        forced(tile, 1)
        a, b = operands(rng, tile.m + 4, tile.n - 4, 2 * tile.k + 4, np.float32, transposed)
        assert_product(product(gpu, a, b), a, b, precision)
    if precision == "high" and transposed[0] == transposed[1]:
        forced(tile, 2)
        a, b = operands(rng, tile.m - 3, tile.n + 1, 131, np.float32, transposed)
        result = product(gpu, a, b)
        assert_product(result, a, b, precision)
        exact = a.astype(np.float64) @ b
        assert np.max(np.abs(result - exact)) > 1e-5, "these factors cannot be exact in TF32"


@pytest.mark.parametrize("transposed", LAYOUTS)
@pytest.mark.parametrize("tile", MMA_TILES_2_BYTES, ids=lambda t: f"{t.m}x{t.n}")
def test_float16_products_sum_in_float32_and_round_once(gpu, rng, forced, tile, transposed):
    if gpu.compute_capability < (8, 0):
        pytest.skip("other tiles here")
    shapes = [(1, (tile.m + 8, tile.n - 8, 2 * tile.k + 8)), (2, (tile.m - 3, tile.n + 1, 261))]
    for slices, (m, n, k) in shapes[: 2 if transposed[0] == transposed[1] else 1]:
        forced(tile, slices)
        a, b = operands(rng, m, n, k, np.float16, transposed)
        assert_product(product(gpu, a, b), a, b, "highest")


@pytest.mark.parametrize("name", ["70", "75"])
def test_float16_products_of_older_generations(rng, name, forced):
    with capability(name) as old:
        for tile in MMA_TILES_TURING if name == "75" else FFMA_TILES[1:2]:
            forced(tile, 2)
            for transposed, extra in [((False, False), 8), ((True, True), 3)]:
                a, b = operands(rng, tile.m - extra, tile.n + extra, 136, np.float16, transposed)
                assert_product(product(old, a, b), a, b, "highest")


def test_products_of_bfloat16_are_added_in_float32(gpu, rng):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    a, b = (rng.uniform(-1, 1, shape).astype(bfloat16) for shape in [(40, 72), (72, 24)])
    out = gpu.empty((40, 24), bfloat16)
    gemm.multiply(gpu, gpu.asarray(a), gpu.asarray(b), out)
    np.testing.assert_allclose(
        gpu.to_numpy(out).astype(np.float64), a.astype(np.float64) @ b.astype(np.float64), rtol=2.0**-8, atol=1e-5
    )


@pytest.mark.parametrize("k", [0, 1, 7, 33, 129])
def test_ragged_sizes_from_nothing_to_more_than_a_tile(gpu, rng, k):
    for m, n in [(0, 5), (5, 0), (1, 1), (1, 33), (7, 1), (129, 7), (33, 257)]:
        a, b = operands(rng, m, n, k, np.float32, (False, False))
        assert_product(product(gpu, a, b), a, b, "highest")


BATCHES = [
    ((3, 4, 5), (3, 5, 6)),
    ((3, 4, 5), (5, 6)),
    ((4, 5), (3, 5, 6)),
    ((2, 1, 4, 5), (3, 5, 6)),
    ((2, 1, 3, 4, 5), (1, 2, 1, 5, 6)),
    ((0, 4, 5), (5, 6)),
    ((5,), (5,)),
    ((5,), (5, 6)),
    ((4, 5), (5,)),
    ((2, 4, 5), (5,)),
    ((5,), (3, 5, 6)),
]


@pytest.mark.parametrize("shapes", BATCHES, ids=str)
def test_matmul_is_numpys_for_vectors_and_stacks_that_broadcast(gpu, rng, shapes):
    arrays = [rng.uniform(-2, 2, shape).astype(np.float32) for shape in shapes]
    check(gpu, "matmul", arrays)


def test_stacks_of_transposed_and_sliced_matrices_are_read_where_they_are(gpu, rng, monkeypatch):
    a, b = rng.uniform(-1, 1, (6, 9, 40)).astype(np.float32), rng.uniform(-1, 1, (6, 12, 16)).astype(np.float32)
    left, right = gpu.asarray(a)[::2, ::-2, 4:20], gpu.asarray(b)[1::2].transpose(0, 2, 1)
    assert count_launches(gpu, monkeypatch, "matmul", [left, right]) == ["gemm"], "no copies"
    wanted = a[::2, ::-2, 4:20].astype(np.float64) @ b[1::2].transpose(0, 2, 1)
    assert_close(gpu.launch("matmul", left, right).get(), wanted, np.float32)


def test_an_outer_product_and_a_broadcast_operand_need_no_copy(gpu, rng, monkeypatch):
    a, b = (gpu.asarray(rng.uniform(-1, 1, shape).astype(np.float32)) for shape in [(33, 1), (1, 65)])
    assert count_launches(gpu, monkeypatch, "matmul", [a, b]) == ["gemm"]
    np.testing.assert_array_equal(gpu.launch("matmul", a, b).get(), a.get() * b.get())
    rows = gpu.xp.broadcast_to(a.reshape(1, 33), (8, 33))
    assert count_launches(gpu, monkeypatch, "matmul", [rows, a]) == ["gemm"]
    assert_close(gpu.launch("matmul", rows, a).get(), np.tile(a.get().T, (8, 1)) @ a.get(), np.float32)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_missing_numbers_and_infinity_reach_their_row_and_column_and_nothing_else(gpu, rng, precision, dtype):
    config.set_matmul_precision(precision)
    a, b = operands(rng, 37, 41, 35, dtype, (False, False))
    a[3, 34], b[34, 7], a[20, 0] = np.nan, np.nan, np.inf
    result = product(gpu, a, b)
    with np.errstate(invalid="ignore"):
        wanted = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(result), np.isinf(wanted))


def test_memory_behind_a_matrix_is_not_multiplied(gpu, rng):
    """What stands behind the last element of k, in a wider array, is NaN here."""
    a, b = (np.full(shape, np.nan, np.float32) for shape in [(40, 64), (64, 64)])
    a[:, :35], b[:35, :36] = rng.uniform(-1, 1, (40, 35)), rng.uniform(-1, 1, (35, 36))
    for precision in ("highest", "high", "medium"):
        config.set_matmul_precision(precision)
        result = gpu.launch("matmul", gpu.asarray(a)[:, :35], gpu.asarray(b)[:35, :36]).get()
        assert np.isfinite(result).all()


LAYERS = [(9, 8, 12), (33, 10, 65), (70, 72, 36)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
def test_dense_and_its_gradients_are_the_references(gpu, rng, dtype, activation):
    rows, inputs, units = LAYERS[0]
    x, w, bias, g = (
        rng.uniform(-1, 1, shape).astype(dtype) for shape in [(rows, inputs), (inputs, units), (units,), (rows, units)]
    )
    y = check(gpu, "dense", [x, w, bias], scale=2, activation=activation)[0]
    check(gpu, "dense", [x, w, None], scale=2, activation=activation)
    check(gpu, "dense_input_gradient", [g, y, w], scale=2, activation=activation)
    check(gpu, "dense_weight_gradient", [x, g, y], scale=2, activation=activation)


@pytest.mark.parametrize("shape", LAYERS[1:], ids=str)
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_dense_layers_in_every_precision_with_exact_bias_gradients(gpu, rng, shape, precision):
    config.set_matmul_precision(precision)
    rows, inputs, units = shape
    x, w, bias, g = (
        rng.uniform(-1, 1, s).astype(np.float32) for s in [(rows, inputs), (inputs, units), (units,), (rows, units)]
    )
    error = {"highest": 1e-5, "high": 2e-2, "medium": 2e-1}[precision]
    y = launch(gpu, "dense", [x, w, bias], activation="relu")[0]
    np.testing.assert_allclose(y, expected("dense", [x, w, bias], activation="relu")[0], atol=error)
    for name, arrays in [("dense_input_gradient", [g, y, w]), ("dense_weight_gradient", [x, g, y])]:
        found, wanted = (f(name, arrays, activation="relu") for f in (lambda *a, **o: launch(gpu, *a, **o), expected))
        np.testing.assert_allclose(found[0], wanted[0], atol=error)
        for sums, exact in zip(found[1:], wanted[1:]):
            np.testing.assert_allclose(sums, exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [0, 1])
def test_dense_layers_of_no_rows_and_of_one_and_with_leading_axes(gpu, rng, rows):
    x, w, g = (rng.uniform(-1, 1, s).astype(np.float32) for s in [(2, rows, 5), (5, 7), (2, rows, 7)])
    check(gpu, "dense", [x, w, None])
    check(gpu, "dense_input_gradient", [g, None, w])
    check(gpu, "dense_weight_gradient", [x, g, None])


@pytest.mark.parametrize("case", ["forward", "input", "weight"])
def test_each_layer_is_one_launch(gpu, rng, monkeypatch, case):
    x, w, bias, g, y = (
        rng.uniform(-1, 1, s).astype(np.float32) for s in [(32, 784), (784, 128), (128,), (32, 128), (32, 128)]
    )
    name, arrays = {
        "forward": ("dense", [x, w, bias]),
        "input": ("dense_input_gradient", [g, y, w]),
        "weight": ("dense_weight_gradient", [x, g, y]),
    }[case]
    assert count_launches(gpu, monkeypatch, name, arrays, activation="relu") == ["gemm"]


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_bits_do_not_depend_on_the_schedule_though_k_is_split(gpu, rng, forced, schedule, precision):
    config.set_matmul_precision(precision)
    forced((FFMA_TILES if precision == "highest" else MMA_TILES_4_BYTES)[2], 3)
    x, g, y = (rng.uniform(-1, 1, s).astype(np.float32) for s in [(200, 33), (200, 40), (200, 40)])
    check_bits(gpu, "dense_weight_gradient", [x, g, y], activation="tanh")
    check_bits(gpu, "matmul", [g.T, x])


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_nothing_races_or_leaves_its_bounds(gpu, rng, forced, checked, precision):
    config.set_matmul_precision(precision)
    forced((FFMA_TILES if precision == "highest" else MMA_TILES_4_BYTES)[2], 2)
    for m, n, k in [(36, 40, 136), (33, 31, 133)]:
        x, w, bias, g = (rng.uniform(-1, 1, s).astype(np.float32) for s in [(k, m), (m, n), (n,), (k, n)])
        y = launch(gpu, "dense", [x, w, bias], activation="relu")[0]
        launch(gpu, "dense_input_gradient", [g, y, w], activation="relu")
        launch(gpu, "dense_weight_gradient", [x, g, y], activation="relu")


def test_nothing_races_or_leaves_its_bounds_in_float16(gpu, rng, forced, checked):
    forced(MMA_TILES_2_BYTES[2], 2)
    for m, n, k in [(40, 24, 264), (33, 31, 261)]:
        x, g, y = (rng.uniform(-1, 1, s).astype(np.float16) for s in [(k, m), (k, n), (k, n)])
        launch(gpu, "dense_weight_gradient", [x, g, y], activation="tanh")
        launch(gpu, "matmul", [x.T, g])


def test_a_product_can_be_added_to_what_is_there(gpu, rng):
    a, b, c = (rng.uniform(-1, 1, s).astype(np.float32) for s in [(33, 40), (40, 12), (33, 12)])
    out = gpu.asarray(c)
    gemm.multiply(gpu, gpu.asarray(a), gpu.asarray(b), out, residual=out)
    assert_close(out.get(), c + a.astype(np.float64) @ b, np.float32)


def test_counters_are_zero_again_after_every_launch(gpu, rng, forced):
    forced(FFMA_TILES[2], 4)
    a, b = operands(rng, 70, 70, 256, np.float32, (False, False))
    first = product(gpu, a, b)
    assert product(gpu, a, b).tobytes() == first.tobytes()
    assert not counters_for(gpu, COUNTERS).get().any()


# Products of the two lecture models on 132 multiprocessors, and a large one.
@pytest.mark.parametrize(
    ("shape", "fewest"),
    [((32, 512, 784), 100), ((32, 10, 512), 8), ((784, 512, 32), 100), ((32, 512, 4096), 100), ((4096, 512, 32), 100)],
    ids=str,
)
@pytest.mark.parametrize("unit", [FFMA, TF32])
def test_small_products_become_enough_blocks(shape, fewest, unit):
    m, n, k = shape
    tile, slices = tile_for(unit, 4, m, n, k, 1, 132, (9, 0))
    length = slice_length(tile, k, slices)
    assert -(-m // tile.m) * -(-n // tile.n) * -(-k // length) >= fewest


def test_a_large_product_takes_the_largest_tile_in_one_piece():
    for unit, size in [(FFMA, 4), (TF32, 4), (BFLOAT16, 2)]:
        tile, slices = tile_for(unit, size, 4096, 4096, 4096, 1, 132, (9, 0))
        assert (tile.m, tile.n, slices) == (128, 128, 1)


@pytest.mark.parametrize("name", [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0)])
def test_every_tile_with_a_derivative_fits_into_shared_memory(name):
    for tiles, size in [(MMA_TILES_4_BYTES, 4), (MMA_TILES_2_BYTES, 2)]:
        for tile in MMA_TILES_TURING if name < (8, 0) else tiles:
            assert 2 * gemm.stage_bytes(tile, size if name >= (8, 0) else 2, True, False) <= shared_limit(name)
