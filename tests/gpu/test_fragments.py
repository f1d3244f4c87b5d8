"""Layouts of tensor-core fragments and of ldmatrix, dumped from the device and compared with what kernels assume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradlite.backends.cuda.sources import source

TEXT = source("ptx.cuh") + Path(__file__).with_name("fragments.cu").read_text(encoding="utf-8")


@pytest.fixture
def kernels(gpu):
    if gpu.compute_capability < (8, 0):
        pytest.skip("tensor-core products of TF32 and bfloat16 begin with sm_80")
    return gpu.xp.RawModule(code=TEXT, options=("--std=c++17",))


def bfloat16_words(x):
    """Floats that bfloat16 holds exactly, as its words."""
    return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def small_integers(rng, shape):
    return rng.integers(-8, 9, shape).astype(np.float32)


def launched(gpu, kernels, name, *inputs, shape, dtype=np.float32):
    arrays = [gpu.asarray(x) for x in inputs]
    out = gpu.full(shape, 0, dtype)
    kernels.get_function(name)((1,), (32,), (*arrays, out))
    return gpu.to_numpy(out)


def test_the_registers_of_a_tf32_product_hold_what_our_kernels_assume(gpu, kernels, rng):
    a, b = small_integers(rng, (16, 8)), small_integers(rng, (8, 8))
    np.testing.assert_array_equal(launched(gpu, kernels, "product_tf32", a, b, shape=(16, 8)), a @ b)


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_the_registers_of_a_16_bit_product_hold_what_our_kernels_assume(gpu, kernels, rng, kind):
    a, b = small_integers(rng, (16, 16)), small_integers(rng, (16, 8))
    words = bfloat16_words if kind == "bf16" else lambda x: x.astype(np.float16).view(np.uint16)
    np.testing.assert_array_equal(launched(gpu, kernels, f"product_{kind}", words(a), words(b), shape=(16, 8)), a @ b)


def test_ldmatrix_gives_each_lane_a_pair_of_its_row_and_transposed_of_its_column(gpu, kernels):
    words = np.arange(256, dtype=np.uint16)
    matrices = words.reshape(4, 8, 8)
    for name, read in (
        ("dump_ldmatrix", matrices),
        ("dump_ldmatrix_transposed", matrices.swapaxes(1, 2)),
    ):
        # Lane 4 g + p holds elements 2 p and 2 p + 1 of row g, one register a matrix.
        pairs = np.ascontiguousarray(read).view(np.uint32)  # (matrix, row, pair)
        expected = pairs.transpose(1, 2, 0).reshape(32, 4)
        np.testing.assert_array_equal(launched(gpu, kernels, name, words, shape=(32, 4), dtype=np.uint32), expected)


def test_conversions_round_to_nearest_and_keep_what_is_not_a_number(gpu, kernels, rng):
    x = np.concatenate(
        [rng.standard_normal(4000) * 10.0 ** rng.integers(-6, 5, 4000), [0.0, -0.0, np.inf, -np.inf, 65504, 65520, 1e9]]
    ).astype(np.float32)
    size = x.size
    device = gpu.asarray(x)
    half, bfloat16 = (gpu.empty((size,), np.uint16) for _ in range(2))
    tf32, back = gpu.empty((size,), np.uint32), gpu.empty((size,), np.float32)
    kernels.get_function("convert")((-(-size // 128),), (128,), (device, half, bfloat16, tf32, back, np.int32(size)))
    with np.errstate(over="ignore"):
        expected_half = x.astype(np.float16)
    np.testing.assert_array_equal(gpu.to_numpy(half), expected_half.view(np.uint16))
    np.testing.assert_array_equal(gpu.to_numpy(back), expected_half.astype(np.float32))
    bits = x.view(np.uint32).astype(np.uint64)
    nearest_even = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    np.testing.assert_array_equal(gpu.to_numpy(bfloat16), nearest_even)
    # TF32 rounds half away from zero, to 10 bits behind the point; the lower 13 bits are not read by the units.
    away = ((bits + 0x1000) >> 13).astype(np.uint32)
    finite = np.isfinite(x)
    np.testing.assert_array_equal((gpu.to_numpy(tf32) >> 13)[finite], away[finite])
