"""Winograd's F(4 x 4, 3 x 3) for single precision on a CPU: 36 multiplications make the 16 outputs of a tile, not 144.

Lavin and Gray (2015), equation 11: y = A^T [(G w G^T) * (B^T x B)] A over tiles of 6 x 6 inputs, summed over channels
by 36 matrix products. The transforms are matrix products as well, with Kronecker products such as B^T (x) B^T, which
BLAS computes faster than NumPy adds planes. Against im2col, errors are three to five times as large: 1e-6 of a result
in the root mean square, 1e-5 at worst. An infinite or missing number makes the whole tiles that read it NaN.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradlite.backends.cpu.parallel import run, scratch, single_threaded_blas
from gradlite.backends.cpu.windows import Blocks, Geometry, overlap, tap_range
from gradlite.config import get_winograd

# Fewer channels do not pay for the transforms; with more, the transformed weights outgrow the cache.
CHANNELS = range(16, 129)
# Numbers in one of a block's 36 planes: enough tiles for the products, few enough for the second-level cache.
PLANE = 8192
# Planes at distances of powers of two would all want the same few lines of the first-level cache.
GAP = 16
# Polynomials are evaluated at these points and at infinity. 1/2 and -2 round less than the usual 2 and -2.
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)


def applies(geometry: Geometry, c: int, f: int, dtype: np.dtype) -> bool:
    """Whether a convolution is computed here: 3 x 3, stride 1, whole tiles, and as many channels as pay for it."""
    if get_winograd() is not True or dtype != np.float32 or c not in CHANNELS or f not in CHANNELS:
        return False
    kernel = (geometry.kh, geometry.kw, geometry.strides, geometry.dilation)
    return kernel == (3, 3, (1, 1), (1, 1)) and geometry.oh % 4 == 0 == geometry.ow % 4


def convolve(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, geometry: Geometry) -> None:
    """y (n, oh, ow, f) = x (n, h, w, c) convolved with w (3, 3, c, f), plus bias."""
    c, f = w.shape[2:]
    _, kernel, outputs = _squares()
    with single_threaded_blas:
        weights = np.matmul(kernel, w.reshape(9, c * f)).reshape(36, c, f)
    blocks = _tile_blocks(geometry, max(c, f))

    def part(t: int, threads: int) -> None:
        tiles = _Tiles(x, geometry, blocks)
        for i0, i1, r0, r1 in blocks.part(t, threads):
            inputs = tiles.transformed(i0, i1, r0, r1)
            products = _planes("tiles", 36, inputs.shape[1] * f)
            np.matmul(inputs, weights, out=products.reshape(36, -1, f))
            results = _planes("results", 16, products.shape[1])
            np.matmul(outputs, products, out=results)
            target, results = _as_tiles(y[i0:i1, 4 * r0 : 4 * r1], results)
            if bias is None:
                np.copyto(target, results)
            else:
                np.add(results, bias, out=target)

    run(part, parts=len(blocks), work=geometry.pixels * c * f)


def correlate(x: np.ndarray, gradient: np.ndarray, dw: np.ndarray, geometry: Geometry) -> None:
    """dw (3, 3, c, f), the transpose of ``convolve`` in w, from x (n, h, w, c) and gradient (n, oh, ow, f)."""
    c, f = dw.shape[2:]
    _, kernel, outputs = _squares()
    outputs_back = np.ascontiguousarray(outputs.T)
    blocks = _tile_blocks(geometry, max(c, f))
    totals: dict[int, np.ndarray] = {}

    def part(t: int, threads: int) -> None:
        tiles = _Tiles(x, geometry, blocks)
        total = np.zeros((36, c, f), np.float32)
        product = scratch("product", total.shape, np.float32)
        for i0, i1, r0, r1 in blocks.part(t, threads):
            inputs = tiles.transformed(i0, i1, r0, r1)
            results = _planes("results", 16, inputs.shape[1] * f)
            source, target = _as_tiles(gradient[i0:i1, 4 * r0 : 4 * r1], results)
            np.copyto(target, source)
            products = _planes("tiles", 36, results.shape[1])
            np.matmul(outputs_back, results, out=products)
            np.matmul(inputs.transpose(0, 2, 1), products.reshape(36, -1, f), out=product)
            np.add(total, product, out=total)
        totals[t] = total

    run(part, parts=len(blocks), work=geometry.pixels * c * f)
    result = totals[0]
    for t in range(1, len(totals)):
        result += totals[t]
    with single_threaded_blas:
        dw[...] = np.matmul(kernel.T, result.reshape(36, c * f)).reshape(dw.shape)


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
def _squares() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B^T (6, 6), and the Kronecker squares of G (36, 9) and A^T (16, 36), in single precision."""
    inputs, kernel, outputs = transforms()
    return tuple(matrix.astype(np.float32) for matrix in (inputs, np.kron(kernel, kernel), np.kron(outputs, outputs)))


class _Tiles:
    """One thread's transformed input tiles, B^T x B, in two products with B^T: along the rows, then down the columns.

    For the first, column 4 q + k of the padded image is in plane k, at q: six planes, in which columns that two tiles
    share are twice. For the second, the six rows of a tile are read in place; tiles share rows there.
    """

    def __init__(self, x: np.ndarray, geometry: Geometry, blocks: Blocks) -> None:
        self.x, self.top, self.across = x, geometry.top, geometry.ow // 4
        self.columns = [tap_range(x.shape[2], self.across, 4, k - geometry.left) for k in range(6)]

    def transformed(self, i0: int, i1: int, r0: int, r1: int) -> np.ndarray:
        """The tiles of tile rows r0 to r1 of images i0 to i1: (36, tiles, c), tile rows first, then images."""
        images, down, across, c = i1 - i0, r1 - r0, self.across, self.x.shape[3]
        rows, width = 4 * down + 2, images * across * c
        planes = _planes("tiles", 6, rows * width)
        self._load(planes.reshape(6, rows, images, across, c), i0, i1, 4 * r0 - self.top)
        half = _planes("results", 6, rows * width)
        inputs = _squares()[0]
        np.matmul(inputs, planes, out=half)
        transformed = _planes("transformed", 36, down * width)
        plane, number = half.strides
        windows = as_strided(half, (6, down, 6, width), (plane, 4 * width * number, width * number, number))
        plane = transformed.strides[0]
        tiles = as_strided(transformed, (6, down, 6, width), (plane, width * number, 6 * plane, number))
        np.matmul(inputs, windows, out=tiles)
        return transformed.reshape(36, -1, c)

    def _load(self, planes: np.ndarray, i0: int, i1: int, row: int) -> None:
        """planes (6, rows, images, across, c) = columns k, 4 + k, ... of the padded images, from ``row`` on."""
        into, source = overlap(row, planes.shape[1], self.x.shape[1])
        planes[:, : into.start] = 0
        planes[:, into.stop :] = 0
        for plane, (tiles, columns) in zip(planes, self.columns):
            plane[into, :, : tiles.start] = 0
            plane[into, :, tiles.stop :] = 0
            plane[into, :, tiles] = self.x[i0:i1, source, columns].swapaxes(0, 1)


def _tile_blocks(geometry: Geometry, channels: int) -> Blocks:
    """Blocks whose rows are rows of tiles."""
    return Blocks(geometry._replace(oh=geometry.oh // 4, ow=geometry.ow // 4), PLANE // channels)


def _planes(name: str, count: int, length: int) -> np.ndarray:
    """Scratch of ``count`` planes, (count, length), with gaps between them. Splitting its axes keeps it a view."""
    return scratch(name, (count, length + GAP), np.float32)[:, :length]


def _as_tiles(image: np.ndarray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of images (n, 4 th, 4 tw, f) and planes (16, th * n * tw * f) as views of one shape (n, th, 4, tw, 4, f)."""
    n, height, width, f = image.shape
    image = image.reshape(n, height // 4, 4, width // 4, 4, f)
    tiles = planes.reshape(4, 4, height // 4, n, width // 4, f)
    return image, tiles.transpose(3, 2, 0, 4, 1, 5)
