"""Convolutions on a CPU: the windows of a block of pixels are laid side by side (im2col), one matrix product a block.

The idea is that of Chellapilla, Puri and Simard (2006). A block is as large as a core's cache, so that the product
finds its windows there and the bias is added while the product is hot. Blocks are dealt to the threads in runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradlite.backends.cpu import winograd
from gradlite.backends.cpu.depthwise import depthwise, depthwise_input_gradient, depthwise_weight_gradient
from gradlite.backends.cpu.elementwise import activate_in_place, relu_rows
from gradlite.backends.cpu.normalization import channel_statistics
from gradlite.backends.cpu.parallel import run, scratch
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.cpu.statistics import BlockStatistics, column_sum
from gradlite.backends.cpu.windows import BLOCK_BYTES, Blocks, Geometry, Unfold, block_taps
from gradlite.backends.reference.convolution import Padding, Pair, output_size
from gradlite.backends.registry import into

# A product packs all its weights anew, which only enough pixels pay for.
FEWEST_PIXELS = 256
# Below this many channels the products of an input gradient are laid out in planes.
PLANAR_CHANNELS = 8


def _blocks(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> Blocks:
    """The blocks of a convolution whose windows are laid side by side."""
    return Blocks(geometry, max(FEWEST_PIXELS, BLOCK_BYTES // (w[..., 0].size * x.itemsize)))


def _convolve(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray,
    geometry: Geometry,
    rectified: bool = False,
    statistics: BlockStatistics | None = None,
) -> None:
    """y (pixels, f) = windows of x (n, h, w, c) times w (kh, kw, c, f), plus bias; then rectified."""
    kh, kw, c, f = w.shape
    weights = np.ascontiguousarray(w).reshape(kh * kw * c, f)
    blocks = _blocks(x, w, geometry)
    ow = geometry.ow
    # Added to a row of pixels at once: one inner loop of ow * f numbers rather than ow loops of f.
    bias_row = np.tile(0 if bias is None else bias, ow)

    def part(t: int, threads: int) -> None:
        unfold = Unfold(x, geometry, blocks)
        for number, block in blocks.numbered(t, threads):
            product = y[block.pixels(geometry)]
            np.matmul(unfold(block), weights, out=product)
            joined = product.flags.c_contiguous
            if joined:
                product = product.reshape(-1, ow * f)
            if bias is not None:
                np.add(product, bias_row if joined else bias, out=product)
            if rectified:
                relu_rows(product)
            if statistics is not None:
                statistics.note(number, product)

    run(part, parts=len(blocks), work=2 * geometry.pixels * weights.size)


@cpu_kernel
def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    *,
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    activation: str | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Cross-correlation of x (n, h, w, c) with w (kh, kw, c // groups, f), plus bias (f,) or None: (n, oh, ow, f)."""
    if x.dtype == np.float16:
        wide_bias = None if bias is None else bias.astype(np.float32)
        options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
        wide = conv2d(x.astype(np.float32), w.astype(np.float32), wide_bias, activation=activation, **options)
        return _narrow(wide, x.dtype, out)
    y, geometry = _output(x, w, strides, padding, dilation, out)
    if y.size:
        _convolve_by_shape(x, w, bias, y, geometry, groups, activation)
    return y


@cpu_kernel
def conv2d_statistics(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    *,
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    activation: str | None = None,
    out: Any = None,
) -> tuple[Any, Any, Any]:
    """The reference's (y, mean, variance)."""
    first, to_mean, to_variance = out or (None, None, None)
    if groups > 1 or activation not in (None, "relu") or x.dtype not in (np.float32, np.float64) or not x.size:
        options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
        y = conv2d(x, w, bias, activation=activation, out=first, **options)
        mean, variance = channel_statistics(y)
    else:
        y, geometry = _output(x, w, strides, padding, dilation, first)
        mean, variance = _convolve_by_shape(x, w, bias, y, geometry, 1, activation, wants_statistics=True)
    return y, into(to_mean, mean), into(to_variance, variance)


def _output(
    x: np.ndarray, w: np.ndarray, strides: Pair, padding: Padding, dilation: Pair, out: np.ndarray | None
) -> tuple[np.ndarray, Geometry]:
    """The output of a convolution, not yet computed, and where its windows lie."""
    n, height, width, _ = x.shape
    kh, kw, _, f = w.shape
    oh = output_size(height, kh, strides[0], padding[0], dilation[0])
    ow = output_size(width, kw, strides[1], padding[1], dilation[1])
    y = np.empty((n, oh, ow, f), x.dtype) if out is None else out
    return y, Geometry(n, oh, ow, kh, kw, strides, dilation, padding[0][0], padding[1][0])


def _convolve_by_shape(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray,
    geometry: Geometry,
    groups: int,
    activation: str | None,
    wants_statistics: bool = False,
) -> Any:
    """Write the convolution into ``y``, in the way that suits its shape; its (mean, variance) if they are wanted."""
    c, f = x.shape[3], w.shape[3]
    rectified = activation == "relu"
    if groups == c > 1:
        depthwise(x, w, bias, y, geometry)
        activate_in_place(y, activation)
        return None
    if groups > 1 or not (rectified or activation is None):
        pixels = y.reshape(-1, f)
        for ins, outs in _group_slices(groups, c, f):
            _convolve(x[..., ins], w[..., outs], None if bias is None else bias[outs], pixels[:, outs], geometry)
        activate_in_place(y, activation)
        return None
    suits_winograd = winograd.applies(geometry, c, f, x.dtype)
    statistics = None
    if wants_statistics:
        blocks = winograd.tile_blocks(geometry, c, f) if suits_winograd else _blocks(x, w, geometry)
        statistics = BlockStatistics(len(blocks), f, y.dtype)
    if suits_winograd:
        winograd.convolve(x, w, bias, y, geometry, rectified, statistics)
    else:
        _convolve(x, w, bias, y.reshape(-1, f), geometry, rectified, statistics)
    return None if statistics is None else statistics.merged(y.dtype)


@cpu_kernel
def conv2d_input_gradient(
    gradient: np.ndarray,
    w: np.ndarray,
    *,
    input_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The transpose of conv2d in x: gradient (n, oh, ow, f) goes back to ``input_shape`` (n, h, w, c)."""
    options: dict[str, Any] = {"input_shape": input_shape, "strides": strides, "padding": padding, "dilation": dilation}
    if gradient.dtype == np.float16:
        wide = conv2d_input_gradient(gradient.astype(np.float32), w.astype(np.float32), groups=groups, **options)
        return _narrow(wide, gradient.dtype, out)
    n, height, width, c = input_shape
    _, oh, ow, f = gradient.shape
    kh, kw = w.shape[:2]
    (top, _), (left, _) = padding
    dx = np.empty(input_shape, gradient.dtype) if out is None else out
    if dx.size == 0 or gradient.size == 0:
        dx.fill(0)
        return dx
    geometry = Geometry(n, oh, ow, kh, kw, strides, dilation, top, left)
    if groups == c > 1:
        depthwise_input_gradient(gradient, w, dx, geometry)
        return dx
    # At stride 1 each input pixel gathers from the outputs that read it: a convolution with the kernel turned round.
    turned_top, turned_left = (kh - 1) * dilation[0] - top, (kw - 1) * dilation[1] - left
    turned = Geometry(n, height, width, kh, kw, strides, dilation, turned_top, turned_left)
    if groups == 1 and winograd.applies(turned, f, c, dx.dtype):
        winograd.convolve(gradient, w[::-1, ::-1].swapaxes(2, 3), None, dx, turned)
        return dx
    for ins, outs in _group_slices(groups, c, f):
        # (kh, kw, f, c): the weights with input and output exchanged.
        back = w[..., outs].swapaxes(2, 3)
        if strides == (1, 1) and c // groups >= PLANAR_CHANNELS:
            _convolve(gradient[..., outs], back[::-1, ::-1], None, dx.reshape(-1, c)[:, ins], turned)
        else:
            _scatter(gradient[..., outs], back, dx[..., ins], geometry)
    return dx


@cpu_kernel
def conv2d_weight_gradient(
    x: np.ndarray,
    gradient: np.ndarray,
    *,
    kernel_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The transpose of conv2d in w: x (n, h, w, c) and gradient (n, oh, ow, f) give ``kernel_shape``."""
    options: dict[str, Any] = {
        "kernel_shape": kernel_shape,
        "strides": strides,
        "padding": padding,
        "dilation": dilation,
    }
    if x.dtype == np.float16:
        wide = conv2d_weight_gradient(x.astype(np.float32), gradient.astype(np.float32), groups=groups, **options)
        return _narrow(wide, x.dtype, out)
    kh, kw, _, f = kernel_shape
    n, oh, ow, _ = gradient.shape
    c = x.shape[3]
    dw = np.empty(kernel_shape, x.dtype) if out is None else out
    if dw.size == 0 or gradient.size == 0:
        dw.fill(0)
        return dw
    gradient = np.ascontiguousarray(gradient)
    geometry = Geometry(n, oh, ow, kh, kw, strides, dilation, padding[0][0], padding[1][0])
    if groups == c > 1:
        depthwise_weight_gradient(x, gradient, dw, geometry)
        return dw
    if groups == 1 and winograd.applies(geometry, c, f, x.dtype):
        winograd.correlate(x, gradient, dw, geometry)
        return dw
    for ins, outs in _group_slices(groups, c, f):
        _correlate(x[..., ins], gradient.reshape(-1, f)[:, outs], dw[..., outs], geometry)
    return dw


@cpu_kernel
def conv2d_parameter_gradients(
    x: Any,
    gradient: Any,
    *,
    kernel_shape: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Any = None,
) -> tuple[Any, Any]:
    """The reference's (dw, db)."""
    to_kernel, to_bias = out or (None, None)
    kh, kw, c, f = kernel_shape
    _, oh, ow, _ = gradient.shape
    geometry = Geometry(len(x), oh, ow, kh, kw, strides, dilation, padding[0][0], padding[1][0])
    if groups == 1 and winograd.applies(geometry, c, f, x.dtype) and x.size and gradient.size:
        dw = np.empty(kernel_shape, x.dtype) if to_kernel is None else to_kernel
        db = np.empty(f, x.dtype) if to_bias is None else to_bias
        winograd.correlate(x, gradient, dw, geometry, db)
        return dw, db
    options: dict[str, Any] = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    dw = conv2d_weight_gradient(x, gradient, kernel_shape=kernel_shape, out=to_kernel, **options)
    return dw, column_sum(gradient, out=to_bias)


def _group_slices(groups: int, c: int, f: int) -> Iterator[tuple[slice, slice]]:
    """The input channels and the output channels of every group."""
    ins, outs = c // groups, f // groups
    for group in range(groups):
        yield slice(group * ins, (group + 1) * ins), slice(group * outs, (group + 1) * outs)


def _narrow(value: np.ndarray, dtype: np.dtype, out: np.ndarray | None) -> np.ndarray:
    """Half precision is computed in single precision and rounded once."""
    if out is None:
        return value.astype(dtype)
    out[...] = value
    return out


def _scatter(gradient: np.ndarray, back: np.ndarray, dx: np.ndarray, geometry: Geometry) -> None:
    """dx (n, h, w, c): every output pixel adds gradient (f) times back (kh, kw, f, c) to the pixels of its window.

    Windows overlap, so a thread owns whole images; within one, taps are added in a fixed order.
    """
    oh, ow, depth = geometry.oh, geometry.ow, geometry.kh * geometry.kw
    _, height, width, c = dx.shape
    f = gradient.shape[3]
    planar = c < PLANAR_CHANNELS
    blocks = Blocks(geometry, max(FEWEST_PIXELS, BLOCK_BYTES // (depth * c * dx.itemsize)))
    weights = np.ascontiguousarray(back.transpose(2, 0, 1, 3)).reshape(f, depth * c)

    def part(t: int, threads: int) -> None:
        for i0, i1, r0, r1 in blocks.part_of_images(t, threads):
            sums = dx[i0:i1]
            if planar:
                sums = scratch("sums", (c, i1 - i0, height, width), dx.dtype).transpose(1, 2, 3, 0)
            if r0 == 0:
                sums[...] = 0
            rows = gradient[i0:i1, r0:r1].reshape(-1, f)
            shape = i1 - i0, r1 - r0, ow
            if planar:
                products = np.matmul(weights.T, rows.T, out=scratch("columns", (depth * c, len(rows)), dx.dtype))
                taps = products.reshape(depth, c, *shape).transpose(0, 2, 3, 4, 1)
            else:
                products = np.matmul(rows, weights, out=scratch("columns", (len(rows), depth * c), dx.dtype))
                taps = products.reshape(*shape, depth, c).transpose(3, 0, 1, 2, 4)
            for tap, outs, ins in block_taps(geometry, (height, width), r0, r1):
                target = sums[:, ins[0], ins[1]]
                target += taps[tap, :, outs[0], outs[1]]
            if planar and r1 == oh:
                dx[i0:i1] = sums

    run(part, parts=blocks.images, work=2 * geometry.pixels * back.size)


def _correlate(x: np.ndarray, gradient: np.ndarray, dw: np.ndarray, geometry: Geometry) -> None:
    """dw (kh, kw, c, f) = transposed windows of x (n, h, w, c) times gradient (pixels, f)."""
    kh, kw, c, f = dw.shape
    depth = kh * kw * c
    # Each block's product is added to a total of the same size: a large one asks for blocks that are worth it.
    fewest = FEWEST_PIXELS if depth * f < 1 << 17 else 4 * FEWEST_PIXELS
    blocks = Blocks(geometry, max(fewest, BLOCK_BYTES // (depth * x.itemsize)))
    totals: dict[int, np.ndarray] = {}

    def part(t: int, threads: int) -> None:
        unfold = Unfold(x, geometry, blocks)
        total = np.zeros((depth, f), x.dtype)
        product = scratch("product", (depth, f), x.dtype)
        for block in blocks.part(t, threads):
            np.matmul(unfold(block).T, gradient[block.pixels(geometry)], out=product)
            np.add(total, product, out=total)
        totals[t] = total

    run(part, parts=len(blocks), work=2 * geometry.pixels * depth * f)
    result = totals[0]
    for t in range(1, len(totals)):
        result += totals[t]
    dw[...] = result.reshape(dw.shape)
