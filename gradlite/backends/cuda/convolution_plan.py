"""Convolutions on a GPU, planned: sizes as kernels take them, and which tile computes which shape.

Everything here is arithmetic on shapes and cached, so that a launch costs no more than looking up its plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd, prod
from typing import Any

import numpy as np

from gradlite.backends.cuda.launch import blocks

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
Shape = tuple[int, ...]

# The structure Convolution of conv_geometry.cuh, field by field.
FIELDS = (
    "images", "height", "width", "channels", "rows", "columns", "filters", "kernel_h", "kernel_w",
    "stride_y", "stride_x", "top", "left", "dilation_y", "dilation_x", "groups", "skip_y", "skip_x",
)  # fmt: skip
STRUCTURE = np.dtype([(name, np.int32) for name in FIELDS])


@dataclass(frozen=True, eq=False)
class Geometry:
    """A convolution of x (n, h, w, c) with w (kh, kw, c // groups, f) to y (n, oh, ow, f).

    ``geometry`` makes one of each kind, so that caches can tell them apart by identity, which costs nothing.
    """

    x: Shape
    w: Shape
    y: Shape
    strides: Pair
    padding: Padding
    dilation: Pair
    groups: int

    @property
    def pixels(self) -> int:
        """Output pixels in all images."""
        return prod(self.y[:3])

    @property
    def taps(self) -> int:
        """Taps of the kernel."""
        return self.w[0] * self.w[1]

    @property
    def depthwise(self) -> bool:
        """Whether every channel is convolved by itself."""
        return self.groups > 1 and self.w[2] == 1

    @property
    def is_3x3(self) -> bool:
        """Whether ``conv_halo.cu`` takes it: 3 x 3 taps next to each other, stride 1, one group."""
        return self.w[:2] == (3, 3) and self.strides == (1, 1) == self.dilation and self.groups == 1

    @property
    def fits(self) -> bool:
        """Whether there is something to compute, and kernels can count its elements in 32 bits, image by image."""
        empty = 0 in (*self.x, *self.w, *self.y)
        return not empty and max(prod(self.x[1:]), prod(self.y[1:]), prod(self.w), self.x[0]) < 2**31

    def structure(self) -> Any:
        """As kernels take it."""
        skips = [s // gcd(s, d) for s, d in zip(self.strides, self.dilation)]
        values = (*self.x, *self.y[1:], *self.w[:2], *self.strides, self.padding[0][0], self.padding[1][0],
                  *self.dilation, self.groups, *skips)  # fmt: skip
        return np.array(values, STRUCTURE)


@lru_cache(4096)
def geometry(
    x: Shape, w: Shape, y: Shape, strides: Pair, padding: Padding, dilation: Pair, groups: int
) -> tuple[Geometry, Any]:
    """The geometry, and its structure."""
    g = Geometry(x, w, y, strides, padding, dilation, groups)
    return g, g.structure() if g.fits else None


@dataclass(frozen=True)
class Tile:
    """What a block of an FFMA kernel computes: m x n, in slabs of k, by threads of tm x tn."""

    m: int
    n: int
    tm: int
    tn: int
    k: int = 8

    @property
    def threads(self) -> int:
        return self.m // self.tm * (self.n // self.tn)

    def macros(self, k: str = "BK") -> dict[str, int]:
        """As the sources call it; ``k`` is the name of the slab's length."""
        return {"BM": self.m, "BN": self.n, "TM": self.tm, "TN": self.tn, k: self.k}


def ffma_tile(m: int, n: int, multiprocessors: int, wide: bool) -> Tile:
    """The tile for m pixels and n channels (of one group).

    The width follows n: 32 and 64 for the layers of small networks, 128 where n allows. 8 x 8 a thread is the best
    ratio of arithmetic to loads; where that leaves multiprocessors without a block, smaller tiles make more of them.
    ``wide`` elements, of 8 bytes, take two registers each: 4 x 8 a thread at most.
    """
    width = 32 if n <= 32 else 64
    if not wide and n > 64 and blocks(m, 128) * blocks(n, 128) >= 2 * multiprocessors:
        return Tile(128, 128, 8, 8)
    if not wide and blocks(m, 128) * blocks(n, width) >= multiprocessors:
        return Tile(128, width, 8, 4 if width == 32 else 8)
    return Tile(64, width, 4, width // 8) if m > 32 else Tile(32, 32, 4, 4)


def weight_tile(k: int, n: int) -> Tile:
    """The tile for a weight gradient with k = taps * channels rows and n filters (of one group)."""
    if k <= 32 or n <= 8:
        return Tile(32, 32, 4, 4)
    return Tile(64, 32, 4, 4) if n <= 32 else Tile(64, 64, 4, 8)


def split_pixels(pixels: int, tiles: int, multiprocessors: int, slab: int) -> tuple[int, int]:
    """(pixels of a range, ranges) for a sum over pixels: ``tiles`` blocks of a range each should fill the device.

    Four blocks a multiprocessor; a range has at least 8 slabs, so that the workspace stays small beside what is read.
    """
    ranges = max(1, min(blocks(4 * multiprocessors, tiles), pixels // (8 * slab)))
    length = blocks(blocks(pixels, ranges), slab) * slab
    return length, blocks(pixels, length)


# Tensor cores.

# As conv_tensor.cuh calls them.
TF32, BF16, FP16, HALF_BF16 = "TF32", "BF16", "FP16", "HALF_BF16"
# Those of 16 bits in memory.
HALVES = (FP16, HALF_BF16)


def result_bytes(m: int, n: int) -> int:
    """Of shared memory for a tile of results on their way out; see conv_results.cuh."""
    return 4 * m * (n + 8)


@dataclass(frozen=True)
class TensorTile:
    """What a block of conv_mma.cu computes: m x n, by warps of wm x wn, with ``stages`` slabs under way."""

    m: int
    n: int
    wm: int
    wn: int
    stages: int = 3

    @property
    def threads(self) -> int:
        return self.m // self.wm * (self.n // self.wn) * 32

    def macros(self) -> dict[str, int]:
        return {"BM": self.m, "BN": self.n, "WM": self.wm, "WN": self.wn, "STAGES": self.stages}

    def shared_bytes(self, lines_of_k: bool) -> int:
        """Of dynamic shared memory; ``lines_of_k``: the weights lie as lines of k, 64 bytes of each, not of n."""
        weights = self.n * 64 if lines_of_k else 64 * (self.n + 8)
        return max(self.stages * (self.m * 64 + weights), result_bytes(self.m, self.n))


def tensor_tile(m: int, n: int, multiprocessors: int, single: bool, shared_limit: int) -> TensorTile:
    """The tile for m pixels and n channels (of one group).

    Warp tiles of 64 x 32 where there is enough work for every multiprocessor, since they reread shared memory least.
    With ``single`` elements copied one by one, a thread keeps 8 pixels at most.
    """
    width = 32 if n <= 32 else 64
    if single:
        return TensorTile(128, 64, 32, 32) if width == 64 else TensorTile(64, 32, 16, 32)
    large = TensorTile(128, 128, 64, 32)
    if n > 64 and blocks(m, 128) * blocks(n, 128) >= 2 * multiprocessors and large.shared_bytes(False) <= shared_limit:
        return large
    if width == 32 and blocks(m, 256) >= 2 * multiprocessors:
        return TensorTile(256, 32, 64, 32)
    if blocks(m, 128) * blocks(n, width) >= multiprocessors:
        return TensorTile(128, 64, 64, 32) if width == 64 else TensorTile(128, 32, 32, 32)
    return TensorTile(64, 64, 32, 32) if width == 64 else TensorTile(64, 32, 16, 32)


@dataclass(frozen=True)
class HaloTile:
    """What a block of conv_halo.cu computes: th x 16 pixels of n channels, a warp wm pixels of 32 channels."""

    th: int
    n: int
    wm: int
    stages: int = 3

    @property
    def threads(self) -> int:
        return self.th * 16 // self.wm * (self.n // 32) * 32

    def macros(self) -> dict[str, int]:
        return {"TH": self.th, "BN": self.n, "WM": self.wm, "WN": 32, "STAGES": self.stages}

    def covers(self, rows: int, columns: int) -> float:
        """Which part of the pixels of tiles lies in an image."""
        return rows * columns / (blocks(rows, self.th) * self.th * blocks(columns, 16) * 16)

    def blocks(self, images: int, rows: int, columns: int, n: int) -> int:
        return images * blocks(rows, self.th) * blocks(columns, 16) * blocks(n, self.n)

    def shared_bytes(self, precision: str, lines_of_k: bool) -> int:
        """Of dynamic shared memory: patches 20 pixels wide and nine taps' weights; see conv_halo.cu."""
        part = 64 if precision == BF16 else 32  # bytes of a pixel in a stage
        patch = (self.th + 2) * 20 * part
        weights = 9 * self.n * part if lines_of_k else 9 * part * (self.n + 8)
        return max(self.stages * (patch + weights), result_bytes(16 * self.th, self.n))


# From the one that rereads least to the one that makes most blocks. Patches are reread at their borders, and weights by
# every block: for 64 channels and filters 24 bytes from L2 for a thousand products with 16 rows, 41 with 8; for 32 and
# 32, 24 bytes with 32 rows, 33 with 16, 51 with 8. An H100's L2 gives about 33 while a thousand are done in TF32.
# Small images are over before the first copies have come, so the small tiles have more of them under way.
HALO_TILES = (HaloTile(16, 64, 64), HaloTile(8, 64, 32), HaloTile(8, 32, 32, 4))
NARROW_HALO_TILES = (HaloTile(32, 32, 64), HaloTile(16, 32, 32, 4), HaloTile(8, 32, 32, 4))


def halo_tile(
    images: int, rows: int, columns: int, n: int, precision: str, multiprocessors: int, shared_limit: int
) -> HaloTile | None:
    """The tile for n channels of images (rows, columns), or None where patches would hang over their borders too far.

    The largest tile that gives three of four multiprocessors a block and fits into ``shared_limit`` bytes, else the
    smallest; with as many stages as fit, two at least.
    """
    tiles = HALO_TILES if n > 32 else NARROW_HALO_TILES
    for tile in tiles:
        enough = tile is tiles[-1] or 4 * tile.blocks(images, rows, columns, n) >= 3 * multiprocessors
        if tile.covers(rows, columns) < 0.7 or not enough:
            continue
        for stages in range(tile.stages, 1, -1):
            fitting = replace(tile, stages=stages)
            if max(fitting.shared_bytes(precision, kind) for kind in (False, True)) <= shared_limit:
                return fitting
    return None


# For images of few channels, conv_few.cu: an image's patches are reread at their borders from L2 only.
FEW_TILES = (HaloTile(16, 64, 64), HaloTile(8, 64, 32), HaloTile(8, 32, 32))
NARROW_FEW_TILES = (HaloTile(32, 32, 64), HaloTile(16, 32, 32), HaloTile(8, 32, 32))
# The longest kernel, taps times channels, whose weights conv_few.cu holds in shared memory at once.
MOST_OF_FEW = 160


@lru_cache(4096)
def few_tile(g: Geometry, precision: str, multiprocessors: int, shared_limit: int) -> HaloTile | None:
    """The tile of conv_few.cu, or None where another kernel should run."""
    if g.groups != 1 or g.dilation != (1, 1) or g.taps * g.w[2] > MOST_OF_FEW:
        return None
    tiles = FEW_TILES if g.y[3] > 32 else NARROW_FEW_TILES
    for tile in tiles:
        enough = tile is tiles[-1] or 4 * tile.blocks(*g.y) >= 3 * multiprocessors
        if tile.covers(*g.y[1:3]) >= 0.5 and enough and few_shared_bytes(g, tile, precision) <= shared_limit:
            return tile
    return None


def few_shared_bytes(g: Geometry, tile: HaloTile, precision: str) -> int:
    """Of dynamic shared memory: all weights, padded to whole products, and a patch."""
    size, step = (4, 8) if precision == TF32 else (2, 16)
    lines = blocks(g.taps * g.w[2], step) * step
    rows, columns = ((n - 1) * stride + k for n, stride, k in zip((tile.th, 16), g.strides, g.w))
    return max(size * (lines * (tile.n + 8) + rows * columns * g.w[2]), result_bytes(16 * tile.th, tile.n))


@dataclass(frozen=True)
class WeightHaloTile:
    """What a block of conv_weight_halo.cu computes: all taps of c channels and n filters, th x 16 pixels at a time."""

    c: int
    n: int
    slices: int
    th: int = 8
    stages: int = 2

    @property
    def threads(self) -> int:
        return self.c // 16 * (self.n // 16) * self.slices * 32

    def macros(self) -> dict[str, int]:
        return {"CB": self.c, "BN": self.n, "TH": self.th, "SLICES": self.slices, "STAGES": self.stages}

    def shared_bytes(self, itemsize: int) -> int:
        """Of dynamic shared memory: tiles under way, or the sums of half of the slices."""
        stage = ((self.th + 2) * 18 * (self.c + 8) + self.th * 16 * (self.n + 8)) * itemsize
        return max(self.stages * stage, self.slices // 2 * 9 * self.c * self.n * 4)


def weight_halo_tile(g: Geometry, itemsize: int, multiprocessors: int, shared_limit: int) -> WeightHaloTile | None:
    """The tile for a 3 x 3 weight gradient; None where the output isn't made of whole tiles of 8 x 16 pixels.

    Wide ones reread the image less often; they need three tiles a block, for half as many ranges of narrow ones leave
    half as many sums to be stored and added. Three stages where shared memory allows, and eight warps.
    """
    if g.y[1] % 8 or g.y[2] % 16:
        return None
    c = 16 if g.x[3] <= 16 else 32
    tiles = [WeightHaloTile(c, 32, 64 // c, stages=stages) for stages in (3, 2)]
    if g.y[3] > 32 and g.pixels // 128 * blocks(g.x[3], c) * blocks(g.y[3], 64) >= 3 * multiprocessors:
        tiles = [WeightHaloTile(c, 64, 32 // c, stages=stages) for stages in (3, 2)] + tiles
    return next((tile for tile in tiles if tile.shared_bytes(itemsize) <= shared_limit), None)


# Tiles that a block of conv_weight_few.cu has under way, each of 10 x 18 pixels of x and 128 lines of the gradient.
FEW_STAGES = 4


def weight_few_shared_bytes(channels: int) -> int:
    """Dynamic shared memory of conv_weight_few.cu, which its warps' sums fit into too."""
    return FEW_STAGES * (blocks(180 * channels, 4) * 4 + 128 * 40) * 4


def is_weight_of_few(g: Geometry, itemsize: int) -> bool:
    """Whether conv_weight_few.cu takes it: 3 x 3, up to three channels of float32, whole tiles of 8 x 16 pixels."""
    return g.is_3x3 and itemsize == 4 and g.x[3] <= 3 and g.y[1] % 8 == 0 and g.y[2] % 16 == 0


@dataclass(frozen=True)
class WeightTensorTile:
    """What a block of conv_weight_mma.cu computes: m x n, by warps of wm x wn, from slabs of ``pixels``."""

    m: int
    n: int
    wm: int
    wn: int
    pixels: int
    stages: int = 3

    @property
    def threads(self) -> int:
        return self.m // self.wm * (self.n // self.wn) * 32

    def macros(self) -> dict[str, int]:
        tile = {"BM": self.m, "BN": self.n, "WM": self.wm, "WN": self.wn}
        return tile | {"BP": self.pixels, "STAGES": self.stages}

    def shared_bytes(self, itemsize: int) -> int:
        """Of dynamic shared memory: lines of both tiles, 8 elements longer than the tile."""
        return self.stages * self.pixels * (self.m + self.n + 16) * itemsize


def weight_tensor_tile(k: int, n: int, itemsize: int) -> WeightTensorTile:
    """The tile for a weight gradient with k = taps * channels rows and n filters (of one group)."""
    pixels = 64 // itemsize
    if k <= 32:
        return WeightTensorTile(32, 32, 16, 16, pixels)
    return WeightTensorTile(64, 32, 16, 32, pixels) if n <= 32 else WeightTensorTile(64, 64, 32, 32, pixels)
