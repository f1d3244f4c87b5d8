"""Enlarging images (n, h, w, c) by whole factors: nearest neighbour and bilinear, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradlite.backends.registry import into, reference_kernel

Pair = tuple[int, int]


@reference_kernel
def upsample2d_nearest(xp: Any, x: Any, *, size: Pair, out: Any = None) -> Any:
    """Every pixel of x (n, h, w, c) becomes a block of sh x sw pixels: (n, h * sh, w * sw, c)."""
    n, h, w, c = x.shape
    y = xp.empty((n, h, size[0], w, size[1], c), x.dtype)
    y[...] = x[:, :, None, :, None, :]
    return into(out, y.reshape(n, h * size[0], w * size[1], c))


@reference_kernel
def upsample2d_nearest_gradient(xp: Any, gradient: Any, *, size: Pair, out: Any = None) -> Any:
    """The transpose of upsample2d_nearest: the sum of every block."""
    n, height, width, c = gradient.shape
    h, w = height // size[0], width // size[1]
    blocks = gradient.reshape(n, h, size[0], w, size[1], c)
    return into(out, blocks.sum(axis=(2, 4), dtype=_accumulator(xp, gradient.dtype)).astype(gradient.dtype))


@reference_kernel
def upsample2d_bilinear(xp: Any, x: Any, *, size: Pair, out: Any = None) -> Any:
    """Linear interpolation between pixel centers along both axes: (n, h, w, c) -> (n, h * sh, w * sw, c).

    Output i lies at (i + 0.5) / s - 0.5 in the image; beyond the outermost centers the image's edge goes on.
    """
    y = x.astype(_accumulator(xp, x.dtype))
    for axis in (1, 2):
        y = _enlarge(xp, y, axis, size[axis - 1])
    return into(out, xp.ascontiguousarray(y.astype(x.dtype)))


@reference_kernel
def upsample2d_bilinear_gradient(xp: Any, gradient: Any, *, size: Pair, out: Any = None) -> Any:
    """The transpose of upsample2d_bilinear: (n, h * sh, w * sw, c) -> (n, h, w, c)."""
    dx = gradient.astype(_accumulator(xp, gradient.dtype))
    for axis in (2, 1):
        dx = _enlarge_transposed(xp, dx, axis, size[axis - 1])
    return into(out, xp.ascontiguousarray(dx.astype(gradient.dtype)))


def _phases(factor: int) -> Iterator[tuple[int, int, float]]:
    """(phase, side, share): outputs i * factor + phase mix input i with a ``share`` of its neighbour at ``side``."""
    for phase in range(factor):
        distance = (phase + 0.5) / factor - 0.5
        yield phase, (-1 if distance < 0 else 1), abs(distance)


def _enlarge(xp: Any, x: Any, axis: int, factor: int) -> Any:
    x = xp.moveaxis(x, axis, 0)
    y = xp.empty((x.shape[0], factor, *x.shape[1:]), x.dtype)
    for phase, side, share in _phases(factor):
        # The edge is its own neighbour.
        neighbour = xp.concatenate((x[:1], x[:-1]) if side < 0 else (x[1:], x[-1:]))
        y[:, phase] = x * (1 - share) + neighbour * share
    return xp.moveaxis(y.reshape(x.shape[0] * factor, *x.shape[1:]), 0, axis)


def _enlarge_transposed(xp: Any, gradient: Any, axis: int, factor: int) -> Any:
    gradient = xp.moveaxis(gradient, axis, 0)
    blocks = gradient.reshape(gradient.shape[0] // factor, factor, *gradient.shape[1:])
    dx = xp.zeros((blocks.shape[0], *gradient.shape[1:]), gradient.dtype)
    for phase, side, share in _phases(factor):
        dx += blocks[:, phase] * (1 - share)
        to_neighbour = blocks[:, phase] * share
        if side < 0:
            dx[:-1] += to_neighbour[1:]
            dx[:1] += to_neighbour[:1]
        else:
            dx[1:] += to_neighbour[:-1]
            dx[-1:] += to_neighbour[-1:]
    return xp.moveaxis(dx, 0, axis)


def _accumulator(xp: Any, dtype: Any) -> Any:
    """Half precision is interpolated in single precision."""
    return xp.dtype(xp.float32) if dtype == xp.float16 else dtype
