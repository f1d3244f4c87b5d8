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

from gradlite.backends.cpu.parallel import run, scratch
from gradlite.backends.cpu.windows import Blocks, Geometry, PaddedImages
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
    _, kernel, outputs = transforms()
    weights = (kernel @ w.reshape(9, c * f)).astype(np.float32).reshape(36, c, f)
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
    _, kernel, outputs = transforms()
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
            total += product
        totals[t] = total

    run(part, parts=len(blocks), work=geometry.pixels * c * f)
    result = totals[0]
    for t in range(1, len(totals)):
        result += totals[t]
    dw[...] = (kernel.T @ result.reshape(36, c * f)).reshape(dw.shape)


@cache
def transforms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The Kronecker squares of B^T (36, 36), G (36, 9) and A^T (16, 36); G in double precision, for it is applied once.

    The one-dimensional matrices are Toom and Cook's: w is evaluated at the points, and the rows of B^T are the
    coefficients of the products of (t - p) over the other points p.
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
    squares = [np.kron(matrix, matrix) for matrix in (inputs, kernel, outputs)]
    return squares[0].astype(np.float32), squares[1], squares[2].astype(np.float32)


class _Tiles:
    """One thread's transformed input tiles, B^T x B."""

    def __init__(self, x: np.ndarray, geometry: Geometry, blocks: Blocks) -> None:
        c = x.shape[3]
        self.c, self.top, self.across = c, geometry.top, geometry.ow // 4
        images, rows = blocks.largest()
        buffer = scratch("padded", (images, 4 * rows + 2, geometry.ow + 2, c), np.float32)
        self.padded = PaddedImages(x, buffer, geometry.left)
        i, r, q, k = buffer.strides
        shape, strides = (6, 6, images, rows, self.across, c), (r, q, i, 4 * r, 4 * q, k)
        self.windows = as_strided(buffer, shape, strides, writeable=False)

    def transformed(self, i0: int, i1: int, r0: int, r1: int) -> np.ndarray:
        """The tiles of tile rows r0 to r1 of images i0 to i1: (36, tiles, c)."""
        self.padded.load(i0, i1, 4 * r0 - self.top)
        windows = self.windows[:, :, : i1 - i0, : r1 - r0]
        length = (i1 - i0) * (r1 - r0) * self.across * self.c
        tiles, transformed = _planes("tiles", 36, length), _planes("transformed", 36, length)
        np.copyto(tiles.reshape(windows.shape), windows)
        np.matmul(transforms()[0], tiles, out=transformed)
        return transformed.reshape(36, -1, self.c)


def _tile_blocks(geometry: Geometry, channels: int) -> Blocks:
    """Blocks whose rows are rows of tiles."""
    return Blocks(geometry._replace(oh=geometry.oh // 4, ow=geometry.ow // 4), PLANE // channels)


def _planes(name: str, count: int, length: int) -> np.ndarray:
    """Scratch of ``count`` planes, (count, length), with gaps between them. Splitting its axes keeps it a view."""
    return scratch(name, (count, length + GAP), np.float32)[:, :length]


def _as_tiles(image: np.ndarray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of images (n, 4 th, 4 tw, f) and planes (16, n * th * tw * f) as views of one shape (n, th, 4, tw, 4, f)."""
    n, height, width, f = image.shape
    image = image.reshape(n, height // 4, 4, width // 4, 4, f)
    tiles = planes.reshape(4, 4, n, height // 4, width // 4, f)
    return image, tiles.transpose(2, 3, 0, 4, 1, 5)
