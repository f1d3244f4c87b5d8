"""Depthwise convolutions on a CPU: each channel has kernels of its own, so taps are multiplied and added in cache."""

from __future__ import annotations

import numpy as np

from gradlite.backends.cpu.parallel import run, scratch, share
from gradlite.backends.cpu.windows import BLOCK_BYTES, Blocks, Geometry, block_taps


def depthwise(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray, geometry: Geometry) -> None:
    """y (n, oh, ow, f): every channel of x (n, h, w, c) with its own f / c kernels, tap by tap in cache."""
    ow, kh, kw = geometry.ow, geometry.kh, geometry.kw
    f = y.shape[3]
    blocks = Blocks(geometry, BLOCK_BYTES // (4 * f * x.itemsize) + 1)
    weights = _weight_rows(w, ow)

    def part(t: int, threads: int) -> None:
        for block in blocks.part(t, threads):
            i0, i1, r0, r1 = block
            sums = y[i0:i1, r0:r1]
            sums[...] = 0 if bias is None else bias
            source = _repeat_channels(x[i0:i1], f)
            for tap, outs, ins in block_taps(geometry, x.shape[1:3], r0, r1):
                values = source[:, ins[0], ins[1]]
                product = scratch("product", values.shape, x.dtype)
                np.multiply(values, weights[tap, : values.shape[2]], out=product)
                target = sums[:, outs[0], outs[1]]
                target += product

    run(part, parts=len(blocks), work=2 * y.size * kh * kw)


def depthwise_input_gradient(gradient: np.ndarray, w: np.ndarray, dx: np.ndarray, geometry: Geometry) -> None:
    """dx (n, h, w, c) from gradient (n, oh, ow, f). Windows overlap, so a thread owns whole images."""
    n, oh, ow, kh, kw, *_ = geometry
    _, height, width, c = dx.shape
    f = gradient.shape[3]
    weights = _weight_rows(w, ow)

    def part(t: int, threads: int) -> None:
        for i in share(n, t, threads):
            sums = dx[i] if f == c else scratch("sums", (height, width, f), dx.dtype)
            sums.fill(0)
            for tap, outs, ins in block_taps(geometry, (height, width), 0, oh):
                values = gradient[i, outs[0], outs[1]]
                product = scratch("product", values.shape, dx.dtype)
                np.multiply(values, weights[tap, : values.shape[1]], out=product)
                target = sums[ins]
                target += product
            if f != c:
                np.sum(sums.reshape(height, width, c, f // c), axis=3, out=dx[i])

    run(part, parts=n, work=2 * gradient.size * kh * kw)


def depthwise_weight_gradient(x: np.ndarray, gradient: np.ndarray, dw: np.ndarray, geometry: Geometry) -> None:
    """dw (kh, kw, 1, f) from x (n, h, w, c) and gradient (n, oh, ow, f), summed thread by thread."""
    kh, kw = geometry.kh, geometry.kw
    f = gradient.shape[3]
    blocks = Blocks(geometry, BLOCK_BYTES // (4 * f * x.itemsize) + 1)
    totals: dict[int, np.ndarray] = {}

    def part(t: int, threads: int) -> None:
        total = np.zeros((kh * kw, f), x.dtype)
        for block in blocks.part(t, threads):
            i0, i1, r0, r1 = block
            source = _repeat_channels(x[i0:i1], f)
            for tap, outs, ins in block_taps(geometry, x.shape[1:3], r0, r1):
                values = source[:, ins[0], ins[1]]
                product = scratch("product", values.shape, x.dtype)
                np.multiply(values, gradient[i0:i1, r0:r1][:, outs[0], outs[1]], out=product)
                rows = product.reshape(product.shape[0] * product.shape[1], -1).sum(axis=0)
                total[tap] += rows.reshape(-1, f).sum(axis=0)
        totals[t] = total

    run(part, parts=len(blocks), work=2 * gradient.size * kh * kw)
    result = totals[0]
    for t in range(1, len(totals)):
        result += totals[t]
    dw[...] = result.reshape(dw.shape)


def _weight_rows(w: np.ndarray, ow: int) -> np.ndarray:
    """w (kh, kw, 1, f) as (kh * kw, ow, f): contiguous along a row of pixels, which NumPy then takes in one loop."""
    kh, kw, _, f = w.shape
    return np.ascontiguousarray(np.broadcast_to(w.reshape(kh * kw, 1, f), (kh * kw, ow, f)))


def _repeat_channels(x: np.ndarray, f: int) -> np.ndarray:
    """x (n, h, w, c) with every channel repeated f / c times: (n, h, w, f)."""
    n, h, w, c = x.shape
    if c == f:
        return x
    repeated = scratch("repeated", (n, h, w, c, f // c), x.dtype)
    repeated[...] = x[..., None]
    return repeated.reshape(n, h, w, f)
