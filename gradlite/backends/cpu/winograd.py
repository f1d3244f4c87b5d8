"""Winograd's F(4 x 4, 3 x 3) for single precision on a CPU: 36 multiplications make the 16 outputs of a tile, not 144.

Lavin and Gray (2015), equation 11: y = A^T [(G w G^T) * (B^T x B)] A over tiles of 6 x 6 inputs, summed over channels
by 36 matrix products. The transforms are matrix products as well: B^T twice, first along rows, then down columns; G and
A^T as their Kronecker squares. Against im2col, errors are three to five times as large: 1e-6 of a result in the root
mean square, 1e-5 at worst. An infinite or missing number makes the whole tiles that read it NaN.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradlite.backends.cpu.elementwise import relu_rows
from gradlite.backends.cpu.parallel import run, scratch, single_threaded_blas, workspace
from gradlite.backends.cpu.statistics import BlockStatistics, ones
from gradlite.backends.cpu.windows import Block, Blocks, Geometry, PaddedImages
from gradlite.config import get_winograd

# Fewer channels do not pay for the transforms; with more, the transformed weights outgrow the cache.
CHANNELS = range(16, 129)
# Numbers in one of a block's 36 planes: enough that two threads seldom queue for the interpreter between two passes.
PLANE = 8192
# Planes at distances of powers of two would all want the same few lines of the first-level cache.
GAP = 16
# Polynomials are evaluated at these points and at infinity. 1/2 and -2 round less than the usual 2 and -2.
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
# The plane where both polynomials are evaluated at 1. Its column of A^T is all ones: what is added there is added to
# all 16 outputs; and the transpose finds the sum of all 16 there.
PLANE_OF_ONES = 7


def applies(geometry: Geometry, c: int, f: int, dtype: np.dtype) -> bool:
    """Whether a convolution is computed here: 3 x 3, stride 1, whole tiles, and as many channels as pay for it."""
    if get_winograd() is not True or dtype != np.float32 or c not in CHANNELS or f not in CHANNELS:
        return False
    kernel = (geometry.kh, geometry.kw, geometry.strides, geometry.dilation)
    return kernel == (3, 3, (1, 1), (1, 1)) and geometry.oh % 4 == 0 == geometry.ow % 4


def tile_blocks(geometry: Geometry, c: int, f: int) -> Blocks:
    """The blocks of a convolution, whose rows are rows of tiles."""
    return Blocks(geometry._replace(oh=geometry.oh // 4, ow=geometry.ow // 4), PLANE // max(c, f))


def convolve(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray,
    geometry: Geometry,
    rectified: bool = False,
    statistics: BlockStatistics | None = None,
) -> None:
    """y (n, oh, ow, f) = x (n, h, w, c) convolved with w (3, 3, c, f), plus bias; then rectified.

    ``statistics`` of as many blocks as ``tile_blocks`` says takes note of each while it is in cache.
    """
    c, f = w.shape[2:]
    _, kernel, outputs = _matrices()
    weights = scratch("weights", (36, c, f), np.float32)
    with single_threaded_blas:
        np.matmul(kernel, w.reshape(9, c * f), out=weights.reshape(36, c * f))
    blocks = tile_blocks(geometry, c, f)

    def part(t: int, threads: int) -> None:
        tiles = _Tiles(x, geometry, f)
        for number, block in blocks.numbered(t, threads):
            buffers = tiles.transform(block)
            np.matmul(buffers.inputs, weights, out=buffers.products)
            if bias is not None:
                ones_plane = buffers.products[PLANE_OF_ONES]
                np.add(ones_plane, bias, out=ones_plane)
            np.matmul(outputs, buffers.product_planes, out=buffers.results)
            if rectified:
                relu_rows(buffers.results)
            if statistics is not None:
                statistics.note(number, buffers.results)
            np.copyto(_as_tiles(y, block), buffers.result_tiles)

    run(part, parts=len(blocks), work=geometry.pixels * c * f)


def correlate(
    x: np.ndarray, gradient: np.ndarray, dw: np.ndarray, geometry: Geometry, db: np.ndarray | None = None
) -> None:
    """dw (3, 3, c, f), the transpose of ``convolve`` in w, from x (n, h, w, c) and gradient (n, oh, ow, f); and db (f),
    that in the bias."""
    c, f = dw.shape[2:]
    _, kernel, outputs = _matrices()
    outputs_back = np.ascontiguousarray(outputs.T)
    blocks = tile_blocks(geometry, c, f)
    totals: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def part(t: int, threads: int) -> None:
        tiles = _Tiles(x, geometry, f)
        total, product = scratch(f"total {t}", (36, c, f), np.float32), scratch("product", (36, c, f), np.float32)
        sums = np.zeros(f, np.float32)
        for i, (_, block) in enumerate(blocks.numbered(t, threads)):
            buffers = tiles.transform(block)
            np.copyto(buffers.result_tiles, _as_tiles(gradient, block))
            np.matmul(outputs_back, buffers.results, out=buffers.product_planes)
            np.matmul(buffers.inputs.transpose(0, 2, 1), buffers.products, out=product if i else total)
            if i:
                np.add(total, product, out=total)
            if db is not None:
                ones_plane = buffers.products[PLANE_OF_ONES]
                np.add(sums, np.dot(ones(len(ones_plane), np.float32), ones_plane), out=sums)
        totals[t] = total, sums

    run(part, parts=len(blocks), work=geometry.pixels * c * f)
    result, sums = totals[0]
    for t in range(1, len(totals)):
        result += totals[t][0]
        sums += totals[t][1]
    with single_threaded_blas:
        dw[...] = np.matmul(kernel.T, result.reshape(36, c * f)).reshape(dw.shape)
    if db is not None:
        db[...] = sums


@cache
def transforms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B^T (6, 6), G (6, 3) and A^T (4, 6), in double precision.

    They are Toom and Cook's: w is evaluated at the points, and the rows of B^T are the coefficients of the products of
    (t - p) over the other points p.
    """
    count = len(POINTS)
    inputs, kernel, outputs = np.zeros((6, 6)), np.zeros((6, 3)), np.zeros((4, 6))
    for i, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        inputs[i, :count] = np.poly(others)[::-1]
        kernel[i] = point ** np.arange(3) / np.prod([point - other for other in others])
        outputs[:, i] = point ** np.arange(4)
    inputs[count] = np.poly(POINTS)[::-1]
    kernel[count, 2] = outputs[3, count] = 1
    return inputs, kernel, outputs


@cache
def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B^T (6, 6), and the Kronecker squares of G (36, 9) and A^T (16, 36), in single precision."""
    inputs, kernel, outputs = transforms()
    square_of_kernel, square_of_outputs = np.kron(kernel, kernel), np.kron(outputs, outputs)
    return inputs.astype(np.float32), square_of_kernel.astype(np.float32), square_of_outputs.astype(np.float32)


class _Buffers:
    """One thread's scratch memory for blocks of one size, as all the views that the passes over a block use.

    Attributes:
        padded: (images, rows, width, c): rows of the images with zeros around.
        padded_columns, columns: (6, rows, images, across, c): columns k, 4 + k, ... of the padded images; a view of
            them, in which columns that two tiles share are twice, and its copy.
        column_planes, half, half_windows, input_tiles: what the two products with B^T read and write.
        inputs: (36, tiles, c): B^T x B of every tile; tiles are counted by row of tiles, image and column.
        products, product_planes: (36, tiles, f), and the same as (36, tiles * f).
        results, result_tiles: (16, tiles * f), and the same as (images, down, 4, across, 4, f).
    """

    def __init__(self, images: int, down: int, across: int, c: int, f: int) -> None:
        rows, width, tiles = 4 * down + 2, images * across * c, down * images * across
        self.padded = scratch("padded", (images, rows, 4 * across + 2, c), np.float32)
        image, row, column, number = self.padded.strides
        shape, strides = (6, rows, images, across, c), (column, row, image, 4 * column, number)
        self.padded_columns = as_strided(self.padded, shape, strides, writeable=False)
        # The columns are done with when the products come, and the half-transformed when the results come.
        self.column_planes = _planes("tiles", 6, rows * width)
        self.columns = self.column_planes.reshape(shape)
        self.half = _planes("results", 6, rows * width)
        transformed = _planes("transformed", 36, tiles * c)
        plane, number = self.half.strides
        row = width * number
        # Tiles share two of their six rows with the tile above, and are read in place.
        self.half_windows = as_strided(self.half, (6, down, 6, width), (plane, 4 * row, row, number))
        plane = transformed.strides[0]
        self.input_tiles = as_strided(transformed, (6, down, 6, width), (plane, row, 6 * plane, number))
        self.inputs = transformed.reshape(36, tiles, c)
        self.product_planes = _planes("tiles", 36, tiles * f)
        self.products = self.product_planes.reshape(36, tiles, f)
        self.results = _planes("results", 16, tiles * f)
        self.result_tiles = self.results.reshape(4, 4, down, images, across, f).transpose(3, 2, 0, 4, 1, 5)


class _Tiles:
    """One thread's transformed input tiles, B^T x B, in two products with B^T: along the rows, then down the columns.

    For the first, column 4 q + k of the padded images is in plane k at q.
    """

    def __init__(self, x: np.ndarray, geometry: Geometry, f: int) -> None:
        self.x, self.geometry, self.f = x, geometry, f
        self.size = (0, 0)

    def transform(self, block: Block) -> _Buffers:
        """The buffers, ``inputs`` filled."""
        size = block.i1 - block.i0, block.r1 - block.r0
        if size != self.size:
            self.size = size
            self.buffers = workspace(_Buffers, *size, self.geometry.ow // 4, self.x.shape[3], self.f)
            self.images = PaddedImages(self.x, self.buffers.padded, self.geometry.left)
        buffers = self.buffers
        # Two copies: memory that is not in cache is read in its order.
        self.images.load(block.i0, block.i1, 4 * block.r0 - self.geometry.top)
        np.copyto(buffers.columns, buffers.padded_columns)
        inputs = _matrices()[0]
        np.matmul(inputs, buffers.column_planes, out=buffers.half)
        np.matmul(inputs, buffers.half_windows, out=buffers.input_tiles)
        return buffers


def _planes(name: str, count: int, length: int) -> np.ndarray:
    """Scratch of ``count`` planes, (count, length), with gaps between them. Splitting its axes keeps it a view."""
    return scratch(name, (count, length + GAP), np.float32)[:, :length]


def _as_tiles(images: np.ndarray, block: Block) -> np.ndarray:
    """A block of images (n, 4 th, 4 tw, f) as (images, down, 4, tw, 4, f)."""
    _, _, width, f = images.shape
    rows = images[block.i0 : block.i1, 4 * block.r0 : 4 * block.r1]
    return rows.reshape(block.i1 - block.i0, block.r1 - block.r0, 4, width // 4, 4, f)
