"""Strips of images in scratch memory: rows with zeros around them, where convolutions read without looking at edges."""

from __future__ import annotations

from typing import Any

from gradlite.backends.cpu.native.bodies import FLOAT, clear, copy, helper
from gradlite.backends.cpu.native.bodies.normalization import GROUP, affine
from gradlite.backends.cpu.native.target import host_target

LANES = host_target().lanes


@helper
def whole(channels: int) -> int:
    """Channels padded to whole vectors."""
    return (channels + LANES - 1) // LANES * LANES


@helper
def fill_strip(strip: int, shape: Any, step: int, x: int, image_shape: Any, first_row: int, first_column: int) -> None:
    """Copy part of an image to a strip, zeros where there is no image.

    The strip has ``shape`` (rows, columns, channels), with at least as many channels as the image of ``image_shape``
    (height, width, c). It gets the image's rows from ``first_row``, ``step`` apart, and columns from ``first_column``.
    """
    fill_normalized_strip(strip, shape, step, x, image_shape, first_row, first_column, (0, 0))


@helper
def fill_normalized_strip(
    strip: int, shape: Any, step: int, x: int, image_shape: Any, first_row: int, first_column: int, factors: Any
) -> None:
    """The same of an image times scale, plus offset, for ``factors`` (scale, offset), of the channels; or (0, 0)."""
    rows, columns, channels = shape
    height, width, c = image_shape
    q0 = min(columns, max(0, -first_column))
    q1 = max(q0, min(columns, width - first_column))
    for r in range(rows):
        target = strip + FLOAT * r * columns * channels
        row = first_row + r * step
        inside = row >= 0 and row < height
        start, end = (q0, q1) if inside else (0, 0)
        clear(target, start * channels)
        source = x + FLOAT * (row * width + first_column + start) * c
        if factors[0] != 0 and end > start:
            normalize(source, target + FLOAT * start * channels, end - start, c, channels, factors)
        elif channels == c:
            copy(source, target + FLOAT * start * c, (end - start) * c)
        else:
            pad_rows(source, target + FLOAT * start * channels, end - start, c, channels)
        clear(target + FLOAT * end * channels, (columns - end) * channels)


@helper
def normalize(source: int, target: int, pixels: int, c: int, channels: int, factors: Any) -> None:
    """Pixels times scale, plus offset; where they are padded to more channels, zeros in these."""
    if channels != c:
        pad_rows(source, target, pixels, c, channels)
        source = target
    for group in range((c + GROUP - 1) // GROUP):
        at, width = FLOAT * group * GROUP, min(GROUP, c - group * GROUP)
        affine(pixels, width, channels, source + at, factors[0] + at, factors[1] + at, 0, target + at)


@helper
def pad_rows(source: int, target: int, rows: int, numbers: int, padded: int) -> None:
    """Copy rows of so many numbers to rows of whole vectors."""
    for r in range(rows):
        copy(source + FLOAT * r * numbers, target + FLOAT * r * padded, numbers)
        clear(target + FLOAT * (r * padded + numbers), padded - numbers)
