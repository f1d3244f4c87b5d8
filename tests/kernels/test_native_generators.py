"""The generated micro-kernels alone, called as C functions, for the processor at hand and for older ones."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

from gradlite.backends.cpu import native

pytestmark = pytest.mark.skipif(not native.is_available(), reason="native kernels are switched off, or need numba")

# The files of tests that native kernels for other processors pass as well.
SUBJECTS = ("products", "convolution", "elementwise", "normalization", "optimizers", "pooling", "random", "softmax")


def call(name, *arguments):
    """Call a micro-kernel with arrays' addresses and integers."""
    from gradlite.backends.cpu.native.compiler import address_of

    words = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(words))(address_of(name))(*words)


def target():
    from gradlite.backends.cpu.native.target import host_target

    return host_target()


def normal(*shape):
    return np.random.default_rng([*shape]).standard_normal(shape).astype(np.float32)


def test_every_shape_of_a_tile_multiplies_and_touches_its_own_columns_only():
    most_rows, most_columns = target().tile_rows, target().tile_columns
    for rows in range(1, most_rows + 1):
        for columns in range(1, most_columns + 1):
            a, b = normal(rows, 11), normal(11, most_columns)
            for onto in (0, 1):
                c = np.full((rows, most_columns + 3), 7, np.float32)
                call(
                    "gradlite_product_tile", rows, columns, 11, a, 11, 1, b, most_columns, c, c.shape[1], onto, 1, 0, 0
                )
                expected = a.astype(np.float64) @ b[:, :columns] + 7 * onto
                np.testing.assert_allclose(c[:, :columns], expected, rtol=1e-4, atol=1e-5)
                assert (c[:, columns:] == 7).all()


def test_tiles_read_a_factor_where_it_lies():
    rows, columns = target().tile_rows, target().tile_columns
    a, b, c = normal(rows, 30), normal(30, 2 * columns), np.zeros((rows, columns), np.float32)
    call("gradlite_product_tile", rows, columns, 30, a, 30, 1, b, 2 * columns, c, columns, 0, 1, 0, 0)
    np.testing.assert_allclose(c, a.astype(np.float64) @ b[:, :columns], rtol=1e-4, atol=1e-5)


def test_a_sum_in_pieces_is_a_convolution_of_a_row():
    width = target().tile_columns
    image, w, c = normal(3, 12), normal(3, 4, width), np.zeros((2, width), np.float32)
    # Two pixels, windows of 3 rows and 4 numbers, one number apart.
    call("gradlite_product_tile", 2, width, 4, image, 1, 1, w, width, c, width, 0, 3, 12, 4 * width)
    expected = [np.einsum("rk,rkf->f", image[:, i : i + 4].astype(np.float64), w) for i in range(2)]
    np.testing.assert_allclose(c, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("m", [2, 4])
def test_the_transforms_of_a_tile_are_a_convolution(m):
    from gradlite.backends.cpu.native.transforms import ALGORITHMS

    lanes, size = target().lanes, m + 2
    tile, w, bias = normal(size, size, lanes), normal(3, 3, lanes), normal(lanes)
    v, u, y = (np.zeros(shape, np.float32) for shape in ((size, size, lanes), (size, size, lanes), (m, m, lanes)))
    call(f"gradlite_winograd{m}_inputs", 1, tile, size * lanes, lanes, v, lanes)
    call(f"gradlite_winograd{m}_kernel", 1, w, 3 * lanes, lanes, u, lanes)
    products = v * u
    call(f"gradlite_winograd{m}_results", lanes, products, lanes, bias, 0, 0, 0, y, m * lanes, lanes)
    windows = np.lib.stride_tricks.sliding_window_view(tile.astype(np.float64), (3, 3), axis=(0, 1))
    expected = np.einsum("ijcrs,rsc->ijc", windows, w) + bias
    np.testing.assert_allclose(y, expected, rtol=2e-4, atol=2e-4)
    # What comes behind it, with the very numbers.
    scale, offset, pooled = normal(lanes), normal(lanes), np.zeros((m // 2, m // 2, lanes), np.float32)
    moved = np.zeros_like(y)
    behind = bias, 1, scale, offset
    call(f"gradlite_winograd{m}_results_affine", lanes, products, lanes, *behind, moved, m * lanes, lanes)
    np.testing.assert_allclose(moved, np.maximum(y, 0) * scale + offset, rtol=1e-6, atol=1e-6)
    call(f"gradlite_winograd{m}_results_pooled", lanes, products, lanes, *behind, pooled, m // 2 * lanes, lanes)
    windows_of_two = moved.reshape(m // 2, 2, m // 2, 2, lanes)
    np.testing.assert_array_equal(pooled, windows_of_two.max(axis=(1, 3)))
    # The gradient of the kernel is the transposed chain.
    gradient, z, dw = (
        normal(m, m, lanes),
        np.zeros((size, size, lanes), np.float32),
        np.zeros((3, 3, lanes), np.float32),
    )
    call(f"gradlite_winograd{m}_gradients", 1, gradient, m * lanes, lanes, z, lanes)
    call(f"gradlite_winograd{m}_kernel_gradient", lanes, v * z, lanes, dw, 3 * lanes, lanes)
    np.testing.assert_allclose(dw, np.einsum("ijcrs,ijc->rsc", windows, gradient), rtol=5e-4, atol=5e-4)
    assert ALGORITHMS[m].size == size


@pytest.mark.slow
@pytest.mark.parametrize("name", ["avx2", "sse2"])
def test_the_kernels_for_older_processors_pass_the_same_tests(name, tmp_path):
    if target().lanes < 8 and name == "avx2":
        pytest.skip("this processor has no such vectors")
    files = [f"{os.path.dirname(__file__)}/test_native_{subject}.py" for subject in SUBJECTS]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        __file__,
        *files,
        "-k",
        "not older",
    ]
    environment = os.environ | {"GRADLITE_CPU_TARGET": name, "GRADLITE_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:]


def test_the_micro_kernels_for_arm_are_vectors_that_stay_in_registers():
    """On paper: no ARM processor runs this."""
    import llvmlite.binding as llvm
    from llvmlite import ir

    from gradlite.backends.cpu.native import tiles
    from gradlite.backends.cpu.native.compiler import optimized
    from gradlite.backends.cpu.native.target import Target

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    neon = Target("neoverse-n1", "+neon", 4, 8, 2, 4)
    machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(neon.cpu, neon.features, 3)
    module = ir.Module("tiles")
    module.triple = "aarch64-unknown-linux-gnu"
    tiles.product_tile(module, neon)
    parsed = llvm.parse_assembly(str(module))
    optimized(parsed, machine)
    lines = [line.split() for line in machine.emit_assembly(parsed).splitlines()]
    instructions = [line for line in lines if line and line[0] in ("fmla", "str", "ldr", "stp", "ldp")]
    assert sum(line[0] == "fmla" for line in instructions) >= 100
    # Sums that do not fit the registers would go to the stack and come back.
    assert not [line for line in instructions if line[1].startswith("q") and any("sp" in word for word in line[2:])]
