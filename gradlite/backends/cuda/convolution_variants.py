"""Which kernel computes a convolution, and how it is launched: by shape, precision and alignment.

Three kernels gather pixels, for the forward direction and for the input gradient alike: ``conv_halo.cu`` (tensor cores,
3 x 3, stride 1, one group), ``conv_mma.cu`` (tensor cores, everything else), and ``conv_ffma.cu`` (exact float32,
float64, devices without tensor cores, 16-bit floats that cannot be read in chunks of 16 bytes). Images of few channels,
which cannot either, have ``conv_few.cu`` in the forward direction, which needs tensor cores too. Weight gradients
likewise: ``conv_weight_halo.cu``, ``conv_weight_few.cu`` (of up to three channels), ``conv_weight_mma.cu`` and
``conv_weight_ffma.cu``. Depthwise ones have their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite import config
from gradlite.backends.cuda.convolution_plan import (
    BF16,
    FEW_STAGES,
    FP16,
    HALF_BF16,
    HALVES,
    TF32,
    Geometry,
    HaloTile,
    few_shared_bytes,
    few_tile,
    ffma_tile,
    halo_tile,
    is_weight_of_few,
    split_pixels,
    tensor_tile,
    weight_few_shared_bytes,
    weight_halo_tile,
    weight_tensor_tile,
    weight_tile,
)
from gradlite.backends.cuda.counters import COUNTERS
from gradlite.backends.cuda.launch import blocks, c_type
from gradlite.backends.cuda.sources import Entry, entry
from gradlite.backends.dtypes import is_bfloat16

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

# As conv_epilogue.cuh numbers them.
ACTIVATIONS = {None: 0, "relu": 1, "sigmoid": 2, "tanh": 3}
# Shared memory that a block can ask for, by compute capability (CUDA C++ Programming Guide, technical specifications).
SHARED_LIMITS = {(7, 5): 64, (8, 0): 163, (8, 7): 163, (9, 0): 227, (10, 0): 227, (10, 3): 227, (11, 0): 227}
LEAST_SHARED_LIMIT = 99
# Bytes of the statistics of all blocks that the last of them merges: 256 of 32 channels, 130 of 64. They come to its
# shared memory in one journey to L2; many take longer than a launch of more threads for it.
MOST_MERGED = 68 * 1024


@dataclass(frozen=True)
class Launch:
    """A kernel with its grid. ``columns`` is how many channels a block computes; ``merges``: the last block of those
    channels should merge the statistics of all."""

    kernel: Entry
    grid: tuple[int, int, int]
    threads: int
    shared_bytes: int = 0
    columns: int = 1
    merges: bool = False

    def record_size(self, itemsize: int) -> int:
        """Elements of a block's statistics: Record of conv_epilogue.cuh."""
        return 2 * self.columns + 16 // itemsize


@dataclass(frozen=True, eq=False)
class Device:
    """What variants depend on; ``device_of`` makes one of each kind."""

    compute_capability: tuple[int, int]
    multiprocessors: int

    @property
    def shared_limit(self) -> int:
        """Bytes of shared memory that a block can have."""
        return 1024 * SHARED_LIMITS.get(self.compute_capability, LEAST_SHARED_LIMIT)


_device = lru_cache(64)(Device)


def device_of(gpu: CudaBackend) -> Device:
    """The kind of device that a backend runs on."""
    return _device(gpu.compute_capability, gpu.multiprocessors)


def accumulator(dtype: Any) -> np.dtype[Any]:
    """What sums are kept in, and statistics returned as."""
    return np.dtype(np.float64) if dtype == np.float64 else np.dtype(np.float32)


def precision_of(gpu: CudaBackend, dtype: Any) -> str | None:
    """Which product of tensor cores computes with elements of ``dtype``; None: ordinary arithmetic."""
    if dtype == np.float16:
        return FP16 if gpu.compute_capability >= (7, 5) else None
    if is_bfloat16(dtype):
        return HALF_BF16 if gpu.compute_capability >= (8, 0) else None
    if dtype != np.float32 or gpu.compute_capability < (8, 0):
        return None
    return {"highest": None, "high": TF32, "medium": BF16}[config.get_matmul_precision()]


def width(array: Any, channels: int, most: int) -> int:
    """``most`` where so many of a group's channels can always be read at once, else 1: a view may begin anywhere."""
    return 1 if channels % most or array.data.ptr % (most * array.dtype.itemsize) else most


def gather_launch(
    gpu: CudaBackend, g: Geometry, source: Any, w: Any, y: Any, backward: bool, activation: str | None, statistics: bool
) -> Launch:
    """How the forward product (source x, result y) or the input gradient (source the gradient) is launched."""
    in_channels, out_channels = source.shape[3] // g.groups, y.shape[3] // g.groups
    device = device_of(gpu)
    precision = None if g.depthwise else precision_of(gpu, y.dtype)
    chunk = 8 if precision in HALVES else 4
    few = None
    if precision is not None and not backward and width(source, in_channels, chunk) == 1:
        few = few_tile(g, precision, device.multiprocessors, device.shared_limit)
    if few is None and precision in HALVES and 1 in (width(source, in_channels, 8), width(w, g.w[3] // g.groups, 8)):
        precision, chunk = None, 4
    a, b = width(source, in_channels, chunk), width(w, g.w[3] // g.groups, chunk)
    if backward:  # the weights' lines run along what is summed over, as the image's do: one width for both
        a = b = min(a, b)
    stored = width(y, out_channels, chunk)
    return _gather_launch(device, g, y.dtype, precision, backward, activation, statistics, a, b, stored, few)


@lru_cache(4096)
def _gather_launch(
    device: Device, g: Geometry, dtype: np.dtype[Any], precision: str | None, backward: bool, activation: str | None,
    statistics: bool, a: int, b: int, stored: int, few: HaloTile | None,
) -> Launch:  # fmt: skip
    n, rows, columns, channels = g.x if backward else g.y
    channels //= g.groups
    phases = g.strides[0] * g.strides[1] if backward else 1
    pixels = n * blocks(rows, g.strides[0]) * blocks(columns, g.strides[1]) if backward else g.pixels
    macros = {
        "T": c_type(dtype), "GRADIENT": int(backward), "ACTIVATION": ACTIVATIONS[activation],
        "STATISTICS": int(statistics), "VEC_Y": stored,
    }  # fmt: skip
    if precision is None:
        tile = ffma_tile(pixels, channels, device.multiprocessors, dtype.itemsize == 8)
        kind = {"STAT": c_type(accumulator(dtype)), "VEC_A": a, "VEC_B": b}
        kernel = entry("conv_ffma.cu", "conv_ffma", **macros, **kind, **tile.macros())
        grid = blocks(pixels, tile.m), blocks(channels, tile.n), phases * g.groups
        launch = Launch(kernel, grid, tile.threads, columns=tile.n)
    elif few is not None:
        window = {"CHANNELS": g.x[3], "KERNEL_H": g.w[0], "KERNEL_W": g.w[1]}
        window |= {"STRIDE_Y": g.strides[0], "STRIDE_X": g.strides[1], "VEC_B": b}
        tile_macros = few.macros()
        del macros["GRADIENT"], tile_macros["STAGES"]
        kernel = entry("conv_few.cu", "conv_few", PRECISION=precision, **macros, **tile_macros, **window)
        grid = (few.blocks(n, rows, columns, 1), blocks(channels, few.n), 1)
        launch = Launch(kernel, grid, few.threads, few_shared_bytes(g, few, precision), few.n)
    elif halo := _halo_tile(device, g, dtype, precision, backward, a, b):
        kernel = entry("conv_halo.cu", "conv_halo", PRECISION=precision, **macros, **halo.macros())
        grid = (halo.blocks(n, rows, columns, 1), blocks(channels, halo.n), 1)
        launch = Launch(kernel, grid, halo.threads, halo.shared_bytes(precision, backward), halo.n)
    else:
        tensor = tensor_tile(pixels, channels, device.multiprocessors, a == 1, device.shared_limit)
        kernel = entry("conv_mma.cu", "conv_mma", PRECISION=precision, VEC_A=a, VEC_B=b, **macros, **tensor.macros())
        grid = (blocks(pixels, tensor.m), blocks(channels, tensor.n), phases * g.groups)
        launch = Launch(kernel, grid, tensor.threads, tensor.shared_bytes(backward), tensor.n)
    return _merging(device, launch, accumulator(dtype).itemsize) if statistics else launch


def _halo_tile(
    device: Device, g: Geometry, dtype: np.dtype[Any], precision: str, backward: bool, a: int, b: int
) -> HaloTile | None:
    """The tile of ``conv_halo.cu``, where that kernel takes the convolution."""
    if not (g.is_3x3 and a == b == 16 // dtype.itemsize):
        return None
    n, rows, columns, channels = g.x if backward else g.y
    return halo_tile(n, rows, columns, channels, precision, device.multiprocessors, device.shared_limit)


def _merging(device: Device, launch: Launch, itemsize: int) -> Launch:
    """The launch; where its last block should merge records of elements of ``itemsize``, with room for them."""
    records = launch.grid[0] * launch.record_size(itemsize) * itemsize
    # Beside dynamic shared memory there are the sums of warps, and the tiles of conv_ffma.cu.
    fits = records <= min(MOST_MERGED, device.shared_limit - 24 * 1024)
    if not fits or launch.grid[1] * launch.grid[2] > COUNTERS:
        return launch
    return replace(launch, shared_bytes=max(launch.shared_bytes, records), merges=True)


@dataclass(frozen=True)
class Split:
    """A launch whose pixels (or tiles of them) are cut into ``ranges`` of ``length``."""

    launch: Launch
    length: int
    ranges: int


def weight_launch(gpu: CudaBackend, g: Geometry, x: Any, gradient: Any, dw: Any) -> Split:
    """How the weight gradient is launched, which goes to dw unless there are several ranges."""
    filters = g.w[3] // g.groups
    precision = None if g.depthwise else precision_of(gpu, x.dtype)
    if precision in HALVES and 1 in (width(x, g.w[2], 8), width(gradient, filters, 8)):
        precision = None
    chunk = 8 if precision in HALVES else 4
    a, b = width(x, g.w[2], chunk), width(gradient, filters, chunk)
    if precision is None:
        return _weight_launch(device_of(gpu), g, x.dtype, a, b)
    return _weight_tensor_launch(device_of(gpu), g, x.dtype, precision, a, b, _stored_at_once(dw, filters))


@lru_cache(4096)
def _weight_tensor_launch(
    device: Device, g: Geometry, dtype: np.dtype[Any], precision: str, a: int, b: int, at_once: int
) -> Split:
    macros = {"PRECISION": precision, "T": c_type(dtype)}
    halo = None
    if g.is_3x3 and 1 not in (a, b):
        halo = weight_halo_tile(g, dtype.itemsize, device.multiprocessors, device.shared_limit)
    if halo is not None:
        columns, lines = blocks(g.x[3], halo.c), blocks(g.y[3], halo.n)
        pixel_tiles = g.pixels // (16 * halo.th)
        length = blocks(pixel_tiles, max(1, device.multiprocessors // (columns * lines)))
        ranges = blocks(pixel_tiles, length)
        macros |= _stored(dtype, g, ranges, at_once)
        kernel = entry("conv_weight_halo.cu", "conv_weight_halo", **macros, **halo.macros())
        launch = Launch(kernel, (columns, lines, ranges), halo.threads, halo.shared_bytes(dtype.itemsize))
        return Split(launch, length, ranges)
    if is_weight_of_few(g, dtype.itemsize) and b != 1:
        lines, pixel_tiles = blocks(g.y[3], 32), g.pixels // 128
        length = blocks(pixel_tiles, max(1, 2 * device.multiprocessors // lines))
        ranges = blocks(pixel_tiles, length)
        macros |= _stored(dtype, g, ranges, at_once) | {"CHANNELS": g.x[3], "STAGES": FEW_STAGES}
        kernel = entry("conv_weight_few.cu", "conv_weight_few", **macros)
        return Split(Launch(kernel, (1, lines, ranges), 256, weight_few_shared_bytes(g.x[3])), length, ranges)
    k, n = g.taps * g.w[2], g.w[3] // g.groups
    tile = weight_tensor_tile(k, n, dtype.itemsize)
    columns, lines = blocks(k, tile.m), blocks(n, tile.n)
    length, ranges = split_pixels(g.pixels, columns * lines * g.groups, device.multiprocessors, tile.pixels)
    macros |= _stored(dtype, g, ranges, at_once)
    kernel = entry("conv_weight_mma.cu", "conv_weight_mma", VEC_A=a, VEC_B=b, **macros, **tile.macros())
    launch = Launch(kernel, (columns, lines, g.groups * ranges), tile.threads, tile.shared_bytes(dtype.itemsize))
    return Split(launch, length, ranges)


@lru_cache(4096)
def _weight_launch(device: Device, g: Geometry, dtype: np.dtype[Any], a: int, b: int) -> Split:
    k, n = g.taps * g.w[2], g.w[3] // g.groups
    tile = weight_tile(k, n)
    tiles = blocks(k, tile.m) * blocks(n, tile.n) * g.groups
    length, ranges = split_pixels(g.pixels, tiles, device.multiprocessors, tile.k)
    kernel = entry(
        "conv_weight_ffma.cu", "conv_weight_ffma", T=c_type(dtype), RESULT=_result(dtype, ranges),
        VEC_A=a, VEC_B=b, **tile.macros("BP"),
    )  # fmt: skip
    grid = (blocks(k, tile.m), blocks(n, tile.n), g.groups * ranges)
    return Split(Launch(kernel, grid, tile.threads), length, ranges)


@lru_cache(4096)
def depthwise_launch(g: Geometry, dtype: np.dtype[Any], backward: bool, activation: str | None) -> Launch:
    """How a depthwise forward convolution or input gradient is launched."""
    n, rows, columns, channels = g.x if backward else g.y
    step_y, step_x = g.strides if backward else (1, 1)
    threads = n * blocks(rows, step_y) * blocks(blocks(columns, step_x), 4) * channels
    kernel = entry(
        "conv_depthwise.cu", "depthwise", T=c_type(dtype), GRADIENT=int(backward), ACTIVATION=ACTIVATIONS[activation]
    )
    return Launch(kernel, (blocks(threads, 128), 1, step_y * step_x), 128)


@lru_cache(4096)
def depthwise_weight_launch(device: Device, g: Geometry, dtype: np.dtype[Any]) -> Split:
    """How a depthwise weight gradient is launched."""
    tiles = blocks(g.w[3], 32) * g.w[0]
    length, ranges = split_pixels(g.pixels, tiles, device.multiprocessors, 8)
    kernel = entry(
        "conv_depthwise.cu", "depthwise_weight", T=c_type(dtype), RESULT=_result(dtype, ranges), KERNEL_W=g.w[1]
    )
    return Split(Launch(kernel, (blocks(g.w[3], 32), g.w[0], ranges), 256), length, ranges)


@lru_cache(4096)
def sum_launch(device: Device, dtype: np.dtype[Any], size: int, ranges: int) -> Launch:
    """How ``ranges`` rows of ``size`` sums are added: by more warps a block where there are few blocks."""
    grid = blocks(size, 32)
    warps = 32 if ranges > 64 and grid < device.multiprocessors else 8
    kind = {"T": c_type(dtype), "STAT": c_type(accumulator(dtype)), "WARPS": warps}
    return Launch(entry("conv_partials.cu", "sum_partials", **kind), (grid, 1, 1), 32 * warps)


@lru_cache(64)
def merge_kernel(kind: np.dtype[Any], columns: int) -> Entry:
    """Merges the statistics of blocks of so many channels."""
    return entry("conv_statistics.cu", "merge_statistics", STAT=c_type(kind), WIDTH=columns)


def _result(dtype: np.dtype[Any], ranges: int) -> str:
    """What a range's sums are stored as: rounded at once where there is only one."""
    return c_type(dtype if ranges == 1 else accumulator(dtype))


def _stored(dtype: np.dtype[Any], g: Geometry, ranges: int, at_once: int) -> dict[str, Any]:
    """The type of a range's sums, and how many are stored at once: ``at_once`` of those that go to dw; the lines of a
    workspace begin where filters allow it."""
    filters = g.w[3] // g.groups
    in_workspace = 1 if filters % 2 else 2 if filters % 4 else 4
    return {"RESULT": _result(dtype, ranges), "VEC_Y": at_once if ranges == 1 else in_workspace}


def _stored_at_once(dw: Any, filters: int) -> int:
    """How many neighbouring sums of a group's can be stored at once."""
    return max(width(dw, filters, most) for most in (1, 2, 4))
