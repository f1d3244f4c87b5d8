"""Where a convolution's windows lie, how its output is cut into blocks, and the copying out of windows (im2col).

A block is a run of output pixels: some whole images, or some rows of one. Its windows make a matrix
(pixels, kh * kw * c) small enough to stay in a core's cache between the copy and the product that uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradlite.backends.cpu.parallel import available_threads, scratch, share
from gradlite.backends.reference.convolution import Pair

# What a block's windows may take: a core's second-level cache.
BLOCK_BYTES = 1 << 19
# Up to this many consecutive numbers in a window's row, whole planes of one tap are faster to copy than windows.
PLANAR_RUN = 16


class Geometry(NamedTuple):
    """Where the windows of a convolution lie. ``top`` and ``left`` may be negative: the image is cropped there."""

    n: int
    oh: int
    ow: int
    kh: int
    kw: int
    strides: Pair
    dilation: Pair
    top: int
    left: int

    @property
    def pixels(self) -> int:
        return self.n * self.oh * self.ow


class Block(NamedTuple):
    """Images i0 to i1, output rows r0 to r1. More than one image only where the rows are all rows."""

    i0: int
    i1: int
    r0: int
    r1: int

    def pixels(self, geometry: Geometry) -> slice:
        """The block's place among all output pixels (n * oh * ow)."""
        start = (self.i0 * geometry.oh + self.r0) * geometry.ow
        return slice(start, start + (self.i1 - self.i0) * (self.r1 - self.r0) * geometry.ow)


class Blocks:
    """The output cut into blocks of about ``pixels`` pixels, all of nearly one size."""

    def __init__(self, geometry: Geometry, pixels: int) -> None:
        n, oh, ow = geometry.n, geometry.oh, geometry.ow
        # No larger than a thread's share, so that every thread has a block.
        pixels = min(pixels, -(-geometry.pixels // available_threads()))
        images = max(1, pixels // (oh * ow))
        self.rows = 1 if pixels >= oh * ow else -(-oh // max(1, pixels // ow))
        self.images = -(-n // images)
        if self.images > available_threads():
            # As many for each thread, where there are images enough.
            self.images = min(n, -(-self.images // available_threads()) * available_threads())
        self.n, self.oh = n, oh

    def __len__(self) -> int:
        return self.images * self.rows

    def part(self, t: int, threads: int) -> Iterator[Block]:
        """The blocks of thread t."""
        for _, block in self.numbered(t, threads):
            yield block

    def numbered(self, t: int, threads: int) -> Iterator[tuple[int, Block]]:
        """The blocks of thread t with their numbers."""
        for number in share(len(self), t, threads):
            yield number, self._block(*divmod(number, self.rows))

    def part_of_images(self, t: int, threads: int) -> Iterator[Block]:
        """The blocks of thread t where blocks of one image must not be parted."""
        for number in share(self.images, t, threads):
            for row in range(self.rows):
                yield self._block(number, row)

    def _block(self, image: int, row: int) -> Block:
        i0, i1 = image * self.n // self.images, (image + 1) * self.n // self.images
        return Block(i0, i1, row * self.oh // self.rows, (row + 1) * self.oh // self.rows)

    def largest(self) -> Pair:
        """Images and rows of the largest block."""
        return -(-self.n // self.images), -(-self.oh // self.rows)


class PaddedImages:
    """One thread's copy of rows of x (n, h, w, c) with zeros around, for windows that reach beyond the image."""

    def __init__(self, x: np.ndarray, buffer: np.ndarray, left: int) -> None:
        self.x, self.buffer = x, buffer
        # The borders at left and right stay zero; rows outside the image are cleared at every load.
        buffer.fill(0)
        self.into, self.source = overlap(-left, buffer.shape[2], x.shape[2])

    def load(self, i0: int, i1: int, row: int) -> None:
        """Images i0 to i1, from ``row`` on, which may be negative."""
        target = self.buffer[: i1 - i0]
        into, source = overlap(row, target.shape[1], self.x.shape[1])
        target[:, : into.start, self.into] = 0
        target[:, into.stop :, self.into] = 0
        target[:, into, self.into] = self.x[i0:i1, source, self.source]


class Unfold:
    """One thread's im2col of x (n, h, w, c): ``unfold(block)`` gives the block's windows as (pixels, kh * kw * c)."""

    def __init__(self, x: np.ndarray, geometry: Geometry, blocks: Blocks) -> None:
        _, height, width, c = x.shape
        _, oh, ow, kh, kw, (sh, sw), (dh, dw), top, left = geometry
        self.x, self.geometry = x, geometry
        images, rows = blocks.largest()
        # How many rows and columns of the padded image the windows of a block and of a row meet.
        rows_read, columns_read = (rows - 1) * sh + (kh - 1) * dh + 1, (ow - 1) * sw + (kw - 1) * dw + 1
        inside = top == 0 == left and (oh - 1) * sh + (kh - 1) * dh < height and columns_read <= width
        self.whole = inside and kh == kw == sh == sw == 1 and (oh, ow) == (height, width)
        if self.whole:
            return
        self.planar = (kw * c if dw == 1 else c) <= PLANAR_RUN and ow > c
        self.columns = scratch("columns", (images * rows * ow * kh * kw * c,), x.dtype)
        self.padded: PaddedImages | None = None
        source, count = x, (geometry.n, oh)
        if not inside:
            count = images, rows
            if self.planar:
                source = scratch("padded", (c, images, rows_read, columns_read), x.dtype).transpose(1, 2, 3, 0)
            else:
                source = scratch("padded", (images, rows_read, columns_read, c), x.dtype)
            self.padded = PaddedImages(x, source, left)
        i, r, q, k = source.strides
        strides = (i, r * sh, q * sw, r * dh, q * dw, k)
        self.windows = as_strided(source, (*count, ow, kh, kw, c), strides, writeable=False)

    def __call__(self, block: Block) -> np.ndarray:
        i0, i1, r0, r1 = block
        c = self.x.shape[3]
        if self.whole:
            return self.x[i0:i1, r0:r1].reshape(-1, c)
        if self.padded is None:
            windows = self.windows[i0:i1, r0:r1]
        else:
            self.padded.load(i0, i1, r0 * self.geometry.strides[0] - self.geometry.top)
            windows = self.windows[: i1 - i0, : r1 - r0]
        depth = windows.shape[3] * windows.shape[4] * c
        columns = self.columns[: windows.size]
        if self.planar:
            taps_first = windows.transpose(3, 4, 5, 0, 1, 2)
            np.copyto(columns.reshape(taps_first.shape), taps_first)
            return columns.reshape(depth, -1).T
        np.copyto(columns.reshape(windows.shape), windows)
        return columns.reshape(-1, depth)


def overlap(start: int, length: int, size: int) -> tuple[slice, slice]:
    """Where ``length`` positions from ``start`` meet an axis of ``size``: the slices of the positions, of the axis."""
    first = min(max(0, -start), length)
    last = max(first, min(length, size - start))
    return slice(first, last), slice(start + first, start + last)


def tap_range(size: int, count: int, stride: int, offset: int) -> tuple[slice, slice]:
    """The windows r of ``count`` for which position ``r * stride + offset`` is inside ``size``, and those positions."""
    first = max(0, -(offset // stride))
    last = max(first, min(count, (size - 1 - offset) // stride + 1))
    start = first * stride + offset
    return slice(first, last), slice(start, start + (last - first) * stride, stride)


def block_taps(
    geometry: Geometry, size: Pair, r0: int, r1: int
) -> Iterator[tuple[int, tuple[slice, slice], tuple[slice, slice]]]:
    """Every tap that output rows r0 to r1 read from an image of ``size``: tap, slices of the outputs, of the image."""
    _, _, ow, kh, kw, (sh, sw), (dh, dw), top, left = geometry
    for tap in range(kh * kw):
        outs_y, ins_y = tap_range(size[0], r1 - r0, sh, tap // kw * dh - top + r0 * sh)
        outs_x, ins_x = tap_range(size[1], ow, sw, tap % kw * dw - left)
        if outs_y.start < outs_y.stop and outs_x.start < outs_x.stop:
            yield tap, (outs_y, outs_x), (ins_y, ins_x)
