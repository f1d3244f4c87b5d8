"""Plans of 3 x 3 convolutions by Winograd's algorithm; the accuracy of each is in the table of ``convolution.py``."""

from __future__ import annotations

from typing import Any

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.native.direct import AS_IT_IS, Before, Behind, Window
from gradlite.backends.cpu.native.launches import Launch, Scratch
from gradlite.backends.cpu.native.reductions import sums_of_parts
from gradlite.backends.cpu.native.target import host_target
from gradlite.config import get_winograd

# Fewer channels do not pay for the transforms; with more, the transformed weights outgrow the cache.
CHANNELS = range(16, 257)
# Numbers of one position's planes, inputs and products together: the planes of a block stay in the second-level cache.
PLANE_NUMBERS = 2048
# Tiles may reach over the edge of an image by so much that this part of them is left.
LEAST_COVERED = 0.6
# Planes at distances of powers of two would all want the same few lines of the first-level cache.
GAP = 16


def outputs_of_tiles(window: Window) -> int:
    """Which algorithm suits a convolution: the outputs along a tile's side; 0 for none."""
    plain = (window.kh, window.kw, window.stride_h, window.stride_w, window.dilation_h, window.dilation_w)
    mode = get_winograd()
    if plain != (3, 3, 1, 1, 1, 1) or mode is False:
        return 0
    if window.c not in CHANNELS or window.f not in CHANNELS:
        return 0
    m = 2 if mode == "safe" else 4
    covered = (window.oh + -window.oh % m) * (window.ow + -window.ow % m)
    return m if window.oh * window.ow >= LEAST_COVERED * covered else 0


def convolve(
    m: int, window: Window, x: Any, w: Any, turned: bool, behind: Behind, y: Any, before: Before = AS_IT_IS
) -> list[Launch]:
    """The convolution of x with w (3, 3, c, f); ``turned``: with w (3, 3, f, c) turned round and transposed."""
    c, f = window.c, window.f
    u = Scratch(4 * _positions(m) * (c * host_target().whole(f) + GAP))
    tap_numbers = 9 * host_target().whole(f)
    kernel_parts = min(parallel.get_num_threads(), c)
    row = _Rows(m, window)
    numbers = _positions(m) * (row.plane(c) + row.plane(f)) + row.strip(c) + 3 * host_target().whole(f) + m * m * f
    w_c, w_f = (f, c) if turned else (c, f)
    statistics, merging = behind.statistics(f, row.parts)
    room = Scratch(4 * row.parts * numbers), numbers
    words = (m, *_shape(window), x, u, *behind[:5], y, row.block, *room, *statistics, *before)
    return [
        Launch(
            "winograd.kernel",
            kernel_parts,
            (m, w_c, w_f, w, turned, u, Scratch(4 * kernel_parts * tap_numbers), tap_numbers),
        ),
        Launch("winograd.convolve", row.parts, words),
        *merging,
    ]


def correlate(
    m: int, window: Window, x: Any, gradient: Any, dw: Any, db: Any = None, before: Before = AS_IT_IS
) -> list[Launch]:
    """The gradient of the kernel, dw (3, 3, c, f), from x and the gradient of the convolution's output; and the sums of
    the latter, db (f,)."""
    c, f = window.c, window.f
    row = _Rows(m, window)
    du = Scratch(4 * row.parts * _positions(m) * (c * host_target().whole(f) + GAP))
    numbers = _positions(m) * (row.plane(c) + row.plane(f)) + max(row.strip(c), row.strip(f))
    sums, adding = sums_of_parts(f, row.parts, db)
    room = Scratch(4 * row.parts * numbers), numbers
    words = (m, *_shape(window), x, gradient, du, row.block, *room, *sums, *before)
    return [
        Launch("winograd.correlate", row.parts, words),
        Launch("winograd.kernel_gradient", min(parallel.get_num_threads(), c), (m, c, f, du, row.parts, dw)),
        *adding,
    ]


class _Rows:
    """How rows of tiles are dealt to the parts, and how many make a block."""

    def __init__(self, m: int, window: Window) -> None:
        self.across = -(-window.ow // m)
        rows = window.n * -(-window.oh // m)
        self.parts = min(parallel.get_num_threads(), rows)
        most = PLANE_NUMBERS // ((host_target().whole(window.c) + host_target().whole(window.f)) * self.across)
        self.block = max(1, min(most, -(-rows // self.parts)))
        self._columns = (m + 2) * (self.across * m + 2)

    def plane(self, channels: int) -> int:
        """Numbers from one position's plane to the next."""
        return self.block * self.across * host_target().whole(channels) + GAP

    def strip(self, channels: int) -> int:
        """Numbers of the strip that a row of tiles reads."""
        return self._columns * host_target().whole(channels)


def _shape(window: Window) -> tuple[int, ...]:
    """What the kernels take for it: n, height, width, c, top, left, oh, ow, f."""
    return (*window[:4], window.top, window.left, *window[4:7])


def _positions(m: int) -> int:
    return (m + 2) ** 2
