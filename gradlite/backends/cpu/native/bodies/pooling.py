"""Pooling of any windows, and the gradients: an image's rows of windows, pixel by pixel, along the channels.

The first words of every body: images, height, width, c, rows and columns of the output, rows and columns of a window,
the strides, and how many rows and columns of padding lie in front.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.bodies import body, bytes_at, clear, external, floats, helper, share
from gradlite.backends.cpu.native.pixels import group_width
from gradlite.backends.cpu.native.target import host_target

FLOAT = 4  # bytes
GROUP = group_width(host_target())

affine_pooled = external("gradlite_affine_pooled", 10)


@helper
def taps(start: int, window: int, size: int) -> tuple[int, int]:
    """The first tap inside the image, and the one behind the last, of a window that begins at ``start``."""
    return min(window, max(0, -start)), max(0, min(window, size - start))


@helper
def take_first(c: int, source: int, tap: int, y: int, index: int) -> None:
    """Begin with a pixel of the window."""
    values, best, which = floats(source, c), floats(y, c), bytes_at(index, c)
    for j in range(c):
        best[j] = values[j]
        which[j] = tap


@helper
def take_larger(c: int, source: int, tap: int, y: int, index: int) -> None:
    """Take a pixel of the window where it is larger, or the first NaN."""
    values, best, which = floats(source, c), floats(y, c), bytes_at(index, c)
    for j in range(c):
        above = not (values[j] <= best[j]) and best[j] == best[j]
        best[j] = values[j] if above else best[j]
        which[j] = np.uint8(tap) if above else which[j]


@body
def largest(part: int, parts: int, words: Any) -> None:
    """Further words: x, y, index."""
    height, width, c, oh, ow, kh, kw = words[1], words[2], words[3], words[4], words[5], words[6], words[7]
    first, last = share(words[0] * oh, part, parts)
    for unit in range(first, last):
        row = unit % oh * words[8] - words[10]
        u0, u1 = taps(row, kh, height)
        image = words[12] + FLOAT * (unit // oh) * height * width * c
        for q in range(ow):
            column = q * words[9] - words[11]
            v0, v1 = taps(column, kw, width)
            element = (unit * ow + q) * c
            y, index = words[13] + FLOAT * element, words[14] + element
            if u0 >= u1 or v0 >= v1:
                best, which = floats(y, c), bytes_at(index, c)
                for j in range(c):
                    best[j] = -np.inf
                    which[j] = 0
            for u in range(u0, u1):
                for v in range(v0, v1):
                    source = image + FLOAT * ((row + u) * width + column + v) * c
                    if u == u0 and v == v0:
                        take_first(c, source, u * kw + v, y, index)
                    else:
                        take_larger(c, source, u * kw + v, y, index)


@body
def largest_of_pairs(part: int, parts: int, words: Any) -> None:
    """For windows of 2 x 2 pixels side by side. Further words: x, y, index, room (8 bytes a channel and part)."""
    height, width, c, oh, ow = words[1], words[2], words[3], words[4], words[5]
    one_at = words[15] + 8 * c * part
    one, zero = floats(one_at, c), floats(one_at + FLOAT * c, c)
    for j in range(c):
        one[j], zero[j] = 1.0, 0.0
    first, last = share(words[0] * oh, part, parts)
    for unit in range(first, last):
        x = words[12] + FLOAT * (unit // oh * height + 2 * (unit % oh)) * width * c
        element = unit * ow * c
        for group in range((c + GROUP - 1) // GROUP):
            j = group * GROUP
            at, size = FLOAT * j, min(GROUP, c - j)
            y, index = words[13] + FLOAT * element + at, words[14] + element + j
            affine_pooled(ow, size, c, x + at, width * c, one_at + at, one_at + FLOAT * c + at, 0, y, index)


@helper
def add_where(c: int, source: int, index: int, tap: int, target: int) -> None:
    """Add what the index says belongs to this tap."""
    values, which, sums = floats(source, c), bytes_at(index, c), floats(target, c)
    for j in range(c):
        sums[j] += values[j] if which[j] == tap else np.float32(0.0)


@helper
def take_where(c: int, source: int, index: int, tap: int, target: int) -> None:
    """Take what the index says is this tap's."""
    values, which, result = floats(source, c), bytes_at(index, c), floats(target, c)
    for j in range(c):
        result[j] = values[j] if which[j] == tap else result[j]


@body
def scatter(part: int, parts: int, words: Any) -> None:
    """Further words: gradient, index, dx. Parts take images: windows may overlap."""
    height, width, c, oh, ow, kh, kw = words[1], words[2], words[3], words[4], words[5], words[6], words[7]
    first, last = share(words[0], part, parts)
    for n in range(first, last):
        image = words[14] + FLOAT * n * height * width * c
        clear(image, height * width * c)
        for p in range(oh):
            row = p * words[8] - words[10]
            u0, u1 = taps(row, kh, height)
            for q in range(ow):
                column = q * words[9] - words[11]
                v0, v1 = taps(column, kw, width)
                element = ((n * oh + p) * ow + q) * c
                for u in range(u0, u1):
                    for v in range(v0, v1):
                        target = image + FLOAT * ((row + u) * width + column + v) * c
                        add_where(c, words[12] + FLOAT * element, words[13] + element, u * kw + v, target)


@body
def gather(part: int, parts: int, words: Any) -> None:
    """Further words: x, index, y."""
    height, width, c, oh, ow, kh, kw = words[1], words[2], words[3], words[4], words[5], words[6], words[7]
    first, last = share(words[0] * oh, part, parts)
    for unit in range(first, last):
        row = unit % oh * words[8] - words[10]
        u0, u1 = taps(row, kh, height)
        image = words[12] + FLOAT * (unit // oh) * height * width * c
        for q in range(ow):
            column = q * words[9] - words[11]
            v0, v1 = taps(column, kw, width)
            element = (unit * ow + q) * c
            clear(words[14] + FLOAT * element, c)
            for u in range(u0, u1):
                for v in range(v0, v1):
                    source = image + FLOAT * ((row + u) * width + column + v) * c
                    take_where(c, source, words[13] + element, u * kw + v, words[14] + FLOAT * element)


@helper
def add(c: int, source: int, target: int, factor: float) -> None:
    """Add numbers times a factor."""
    values, sums = floats(source, c), floats(target, c)
    for j in range(c):
        sums[j] += values[j] * factor


@body
def average(part: int, parts: int, words: Any) -> None:
    """Further words: x, y."""
    height, width, c, oh, ow, kh, kw = words[1], words[2], words[3], words[4], words[5], words[6], words[7]
    first, last = share(words[0] * oh, part, parts)
    for unit in range(first, last):
        row = unit % oh * words[8] - words[10]
        u0, u1 = taps(row, kh, height)
        image = words[12] + FLOAT * (unit // oh) * height * width * c
        for q in range(ow):
            column = q * words[9] - words[11]
            v0, v1 = taps(column, kw, width)
            target = words[13] + FLOAT * (unit * ow + q) * c
            clear(target, c)
            for u in range(u0, u1):
                for v in range(v0, v1):
                    add(c, image + FLOAT * ((row + u) * width + column + v) * c, target, np.float32(1.0))
            count = np.float32(max(1, max(0, u1 - u0) * max(0, v1 - v0)))
            y = floats(target, c)
            for j in range(c):
                y[j] /= count


@body
def average_gradient(part: int, parts: int, words: Any) -> None:
    """Further words: gradient, dx. Parts take images: windows may overlap."""
    height, width, c, oh, ow, kh, kw = words[1], words[2], words[3], words[4], words[5], words[6], words[7]
    first, last = share(words[0], part, parts)
    for n in range(first, last):
        image = words[13] + FLOAT * n * height * width * c
        clear(image, height * width * c)
        for p in range(oh):
            row = p * words[8] - words[10]
            u0, u1 = taps(row, kh, height)
            for q in range(ow):
                column = q * words[9] - words[11]
                v0, v1 = taps(column, kw, width)
                source = words[12] + FLOAT * ((n * oh + p) * ow + q) * c
                factor = np.float32(1.0) / np.float32(max(1, max(0, u1 - u0) * max(0, v1 - v0)))
                for u in range(u0, u1):
                    for v in range(v0, v1):
                        add(c, source, image + FLOAT * ((row + u) * width + column + v) * c, factor)
