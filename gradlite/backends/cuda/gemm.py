"""One launch of a matrix product: what the operands' strides allow, the kernel's variant, and its arguments.

``C = activation(A B + bias + residual)`` for a batch of matrices. Everything that follows from shapes, strides and
alignment alone is a ``Plan``, made once for each of them. See ``kernels/gemm.cuh`` for the meaning of its macros.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite import config
from gradlite.backends.cuda.counters import COUNTERS, counters_for
from gradlite.backends.cuda.gemm_tiles import (
    BFLOAT16,
    FFMA,
    FLOAT16,
    TF32,
    Tile,
    shared_limit,
    slice_length,
    stage_bytes,
    tile_for,
)
from gradlite.backends.cuda.launch import Strided, blocks, c_type
from gradlite.backends.cuda.operands import contiguous
from gradlite.backends.cuda.sources import Entry, entry

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

# Numbers of the activations in gemm.cuh.
ACTIVATIONS: dict[str | None, int] = {None: 0, "relu": 1, "sigmoid": 2, "tanh": 3}
FORMATS = {TF32: 0, BFLOAT16: 1, FLOAT16: 2}

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Matrices:
    """An operand as seen by a plan: the shape and strides (in elements) of its array, and whether it begins at 16
    bytes."""

    shape: Ints
    strides: Ints
    aligned: bool

    @classmethod
    def of(cls, array: Any) -> Matrices:
        """Those of an array with at least two axes."""
        size = array.dtype.itemsize
        return cls(array.shape, tuple(s // size for s in array.strides), array.data.ptr % 16 == 0)


@dataclass(frozen=True)
class Layout:
    """How a kernel finds an operand's elements: the index that runs along memory, the stride of the other one, the
    strides of two batch axes, and how many elements it may load at once."""

    by_k: bool
    stride: int
    batch: tuple[int, int]
    vector: int


@dataclass(frozen=True)
class Plan:
    """A launch without its arrays."""

    kernel: Entry
    grid: tuple[int, int]
    threads: int
    shared_bytes: int
    numbers: Ints
    tiles: int
    workspace: int


def unit_for(capability: tuple[int, int], storage: str) -> str:
    """Where products of elements of this C type are computed, with the precision that is set."""
    precision = config.get_matmul_precision()
    if storage == "half_t" and capability >= (7, 5):
        return FLOAT16
    if storage == "bfloat16_t" and capability >= (8, 0):
        return BFLOAT16
    if storage == "float" and precision != "highest" and capability >= (8, 0):
        return TF32 if precision == "high" else BFLOAT16
    return FFMA


def multiply(
    gpu: CudaBackend,
    a: Any,
    b: Any,
    out: Any,
    *,
    bias: Any = None,
    residual: Any = None,
    activation: str | None = None,
    derivative_a: str | None = None,
    derivative_b: str | None = None,
    outputs: Any = None,
    column_sums: Any = None,
) -> None:
    """``out = activation(a @ b + bias + residual)`` for a (..., m, k), b (..., k, n) and out (..., m, n), all of one
    dtype; ``out`` is C-contiguous. Leading axes broadcast.

    Args:
        bias: (n,) and contiguous.
        residual: like ``out``, which it may be: then the product is added to what is there.
        derivative_a, derivative_b: the operand is first multiplied by the derivative of this activation, from the
            activation's ``outputs``, which have the operand's shape. At most one of the two.
        column_sums: (n,), receives the sums of b (times the derivative) over k.
    """
    if out.size == 0:
        return
    storage = c_type(a.dtype)
    unit = unit_for(gpu.compute_capability, storage)
    a, b, outputs = _operands(gpu, a, b, derivative_a, derivative_b, outputs)
    plan = _plan(
        gpu.compute_capability, gpu.multiprocessors, unit, storage, Matrices.of(a), Matrices.of(b),
        outputs is None or outputs.data.ptr % 16 == 0, ACTIVATIONS[derivative_a], ACTIVATIONS[derivative_b],
        column_sums is not None, ACTIVATIONS[activation],
    )  # fmt: skip
    if plan is None:  # no index runs along memory, or the batch lies too unevenly
        a, b = _even(gpu, a, b)
        outputs = None if outputs is None else contiguous(gpu, outputs)
        multiply(
            gpu, a, b, out, bias=bias, residual=residual, activation=activation, derivative_a=derivative_a,
            derivative_b=derivative_b, outputs=outputs, column_sums=column_sums,
        )  # fmt: skip
        return
    workspace, counters = None, None
    if plan.workspace:
        workspace = gpu.empty((plan.workspace,), np.float64 if storage == "double" else np.float32)
        counters = counters_for(gpu, plan.tiles)
    gpu.run(
        plan.kernel, plan.grid, (plan.threads,), Strided(a), Strided(b), None if outputs is None else Strided(outputs),
        bias, residual, out, column_sums, workspace, counters, *plan.numbers, shared_bytes=plan.shared_bytes,
    )  # fmt: skip


def _operands(
    gpu: CudaBackend, a: Any, b: Any, derivative_a: str | None, derivative_b: str | None, outputs: Any
) -> tuple[Any, Any, Any]:
    """The arrays that the kernel reads: an operand and its outputs must lie alike."""
    if derivative_a is None and derivative_b is None:
        return a, b, None
    operand = b if derivative_a is None else a
    if operand.strides != outputs.strides:
        operand, outputs = contiguous(gpu, operand), contiguous(gpu, outputs)
    return (a, operand, outputs) if derivative_a is None else (operand, b, outputs)


def _even(gpu: CudaBackend, a: Any, b: Any) -> tuple[Any, Any]:
    """Operands that any plan can take: contiguous, with the whole batch each where they have one."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if a.ndim > 2 or b.ndim > 2:
        a = gpu.xp.broadcast_to(a, batch + a.shape[-2:])
        b = gpu.xp.broadcast_to(b, batch + b.shape[-2:])
    return contiguous(gpu, a), contiguous(gpu, b)


@lru_cache(maxsize=4096)
def _plan(
    capability: tuple[int, int],
    multiprocessors: int,
    unit: str,
    storage: str,
    a: Matrices,
    b: Matrices,
    outputs_aligned: bool,
    derivative_a: int,
    derivative_b: int,
    sums: bool,
    activation: int,
) -> Plan | None:
    """The plan for these operands; None where they must be copied first."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    merged = _merged_batch(a, b)
    if merged is None:
        return None
    (outer, inner), batch_a, batch_b = merged
    rows_lie_evenly = batch_b == (0, 0) and outer == 1 and batch_a[1] == m * a.strides[-2] and not sums
    if inner > 1 and rows_lie_evenly:  # one product of more rows
        m, inner, batch_a = m * inner, 1, (0, 0)
    itemsize = {"float": 4, "double": 8}.get(storage, 2)
    vector = 4 if unit == FFMA else 16 // itemsize
    a_aligned = a.aligned and (outputs_aligned or not derivative_a)
    b_aligned = b.aligned and (outputs_aligned or not derivative_b)
    of_a = _layout(m, k, a.strides[-2], a.strides[-1], batch_a, vector, a_aligned, False)
    of_b = _layout(n, k, b.strides[-1], b.strides[-2], batch_b, vector, b_aligned, sums)
    if of_a is None or of_b is None:
        return None
    batch = outer * inner
    tile, slices = tile_for(unit, itemsize, m, n, k, batch, multiprocessors, capability)
    tiles = blocks(m, tile.m) * blocks(n, tile.n) * batch
    length = slice_length(tile, k, slices if tiles <= COUNTERS else 1)
    slices = max(blocks(k, length), 1)
    stages, shared = tile.stages, 0
    if unit != FFMA:
        stage = stage_bytes(tile, itemsize, derivative_a > 0, derivative_b > 0)
        stages = max(2, min(stages, shared_limit(capability) // stage))
        shared = stages * stage
    per_thread = tile.m * tile.n // tile.threads + sums
    return Plan(
        kernel=_kernel(unit, storage, tile, stages, of_a, of_b, derivative_a, derivative_b, sums, activation),
        grid=(tiles, slices),
        threads=tile.threads,
        shared_bytes=shared,
        numbers=(m, n, k, length, of_a.stride, of_b.stride, n, inner, *of_a.batch, *of_b.batch, m * n),
        tiles=tiles,
        workspace=tiles * slices * per_thread * tile.threads if slices > 1 else 0,
    )


def _merged_batch(a: Matrices, b: Matrices) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None:
    """The batch as two axes: their sizes and each operand's strides; None where more than two are left."""
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    strides = [_batch_strides(x, len(shape)) for x in (a, b)]
    axes: list[tuple[int, int, int]] = []  # size and strides, the slowest first
    for size, of_a, of_b in zip(shape, *strides):
        if size == 1:
            continue
        if axes and axes[-1][1] == size * of_a and axes[-1][2] == size * of_b:
            axes[-1] = (axes[-1][0] * size, of_a, of_b)
        else:
            axes.append((size, of_a, of_b))
    if len(axes) > 2:
        return None
    axes = [(1, 0, 0)] * (2 - len(axes)) + axes
    (outer, outer_a, outer_b), (inner, inner_a, inner_b) = axes
    return (outer, inner), (outer_a, inner_a), (outer_b, inner_b)


def _batch_strides(x: Matrices, axes: int) -> Ints:
    """The strides of the batch axes, 0 where the operand is broadcast."""
    own = tuple(0 if size == 1 else stride for size, stride in zip(x.shape[:-2], x.strides[:-2]))
    return (0,) * (axes - len(own)) + own


def _layout(
    extent: int, k: int, stride: int, stride_k: int, batch: tuple[int, int], vector: int, aligned: bool, not_by_k: bool
) -> Layout | None:
    """How an operand with ``extent`` rows (of a) or columns (of b) is read; None where it must be copied first."""
    along_k, along_extent = stride_k == 1 or k <= 1, stride == 1 or extent <= 1
    by_k = along_k and (k > 1 or not along_extent) and not (not_by_k and along_extent)
    if not (by_k or along_extent) or (by_k and not_by_k):
        return None
    line, lines, between = (k, extent, stride) if by_k else (extent, k, stride_k)
    between = between if lines > 1 else 0
    whole = aligned and all(number % vector == 0 for number in (line, between, *batch))
    return Layout(by_k, between, batch, vector if whole else 1)


@lru_cache(maxsize=1024)
def _kernel(
    unit: str,
    storage: str,
    tile: Tile,
    stages: int,
    a: Layout,
    b: Layout,
    derivative_a: int,
    derivative_b: int,
    sums: bool,
    activation: int,
) -> Entry:
    shape: dict[str, Any]
    resident = tile.resident
    if unit == FFMA:
        file, shape = "gemm_ffma.cu", {"TM": tile.part[0], "TN": tile.part[1]}
        if (tile.m == 128 or storage == "double") and (derivative_a or derivative_b):
            resident = 1  # the activation's outputs need more registers than two blocks leave
    else:
        file = "gemm_mma.cu"
        shape = {"MULTIPLY": FORMATS[unit], "WM": tile.part[0], "WN": tile.part[1], "STAGES": stages}
    return entry(
        file, "gemm", T=storage, C="double" if storage == "double" else "float", BM=tile.m, BN=tile.n, BK=tile.k,
        **shape, MIN_BLOCKS=resident, A_BY_K=int(a.by_k), B_BY_K=int(b.by_k), VECTOR_A=a.vector,
        VECTOR_B=b.vector, DERIVATIVE_A=derivative_a, DERIVATIVE_B=derivative_b, COLUMN_SUMS=int(sums),
        ACTIVATION=activation,
    )  # fmt: skip
