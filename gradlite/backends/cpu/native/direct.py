"""Plans of convolutions as they are defined, for any kernel, stride and dilation in one group."""

from __future__ import annotations

from typing import Any, NamedTuple

from gradlite.backends.cpu.native.launches import Launch, Scratch
from gradlite.backends.cpu.native.normalization import statistics_of_parts
from gradlite.backends.cpu.native.operands import threads_for
from gradlite.backends.cpu.native.reductions import sums_of_parts
from gradlite.backends.cpu.native.target import host_target


class Window(NamedTuple):
    """A convolution: x (n, height, width, c) to (n, oh, ow, f) by a kernel (kh, kw), zeros above and to the left."""

    n: int
    height: int
    width: int
    c: int
    oh: int
    ow: int
    f: int
    kh: int
    kw: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    top: int
    left: int

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """y's."""
        return self.n, self.oh, self.ow, self.f

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compute, or to compute it from."""
        return 0 in (*self.output_shape, self.c)

    @property
    def operations(self) -> float:
        """Multiplications and additions."""
        return 2.0 * self.n * self.oh * self.ow * self.f * self.kh * self.kw * self.c

    @property
    def columns(self) -> int:
        """Columns of x, with zeros around, that a row of y reads."""
        return (self.ow - 1) * self.stride_w + (self.kw - 1) * self.dilation_w + 1

    @property
    def rows(self) -> int:
        """Rows of x, with zeros around, that an image of y reads."""
        return (self.oh - 1) * self.stride_h + (self.kh - 1) * self.dilation_h + 1


class Behind(NamedTuple):
    """What becomes of a convolution's output before it is written: plus bias, rectified, times scale, plus offset, and
    the largest of every 2 x 2 pixels. ``mean`` and ``variance`` get the statistics of what is written. Vectors are (f,)
    or None."""

    bias: Any = None
    relu: bool = False
    scale: Any = None
    offset: Any = None
    pooled: bool = False
    mean: Any = None
    variance: Any = None

    def statistics(self, f: int, parts: int) -> tuple[tuple[Any, ...], list[Launch]]:
        """What bodies take for the statistics, and the launch behind them; see ``statistics_of_parts``."""
        if self.mean is None:
            return (None,) * 4, []
        words, merging = statistics_of_parts(f, parts, self.mean, self.variance)
        return words, [merging]


class Before(NamedTuple):
    """What becomes of a convolution's input when it is read: times scale, plus offset, both (c,) or None."""

    scale: Any = None
    offset: Any = None


AS_IT_IS = Before()


def convolve(window: Window, x: Any, w: Any, turned: bool, behind: Behind, y: Any) -> list[Launch]:
    """The convolution of x with w (kh, kw, c, f), not pooled; ``turned``: with w (kh, kw, f, c) turned round and
    transposed."""
    taps, padded = window.kh * window.kw, host_target().whole(window.f)
    parts = min(threads_for(window.operations), window.n * window.oh)
    launches = []
    if turned or padded != window.f:
        c, f = (window.f, window.c) if turned else (window.c, window.f)
        out = Scratch(4 * taps * window.c * padded)
        launches.append(Launch("convolution.kernel", parts, (taps, c, f, w, turned, out)))
        w = out
    strip = Scratch(4 * parts * (window.kh * window.columns * window.c + padded))
    statistics, merging = behind.statistics(window.f, parts)
    words = (*window, x, w, *behind[:4], y, strip, window.columns, *statistics)
    return [*launches, Launch("convolution.convolve", parts, words), *merging]


def correlate(window: Window, x: Any, gradient: Any, dw: Any, db: Any = None) -> list[Launch]:
    """The gradient of the kernel, dw (kh, kw, c, f), from x and the gradient of the convolution's output; and the sums
    of the latter, db (f,)."""
    padded, rows = host_target().whole(window.f), window.kh * window.kw * window.c
    parts = min(threads_for(window.operations), window.n)
    copies = Scratch(4 * parts * rows * padded)
    strip = Scratch(4 * parts * (window.rows * window.columns * window.c + window.oh * window.ow * padded))
    sums, adding = sums_of_parts(window.f, parts, db)
    words = (*window, x, gradient, copies, strip, window.rows, window.columns, *sums)
    return [
        Launch("convolution.correlate", parts, words),
        Launch("convolution.kernel_gradient", min(parts, rows), (rows, window.f, parts, copies, dw)),
        *adding,
    ]
