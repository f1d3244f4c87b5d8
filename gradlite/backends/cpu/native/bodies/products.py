"""The matrix product, with what stands around it in a dense layer."""

from __future__ import annotations

from typing import Any

from gradlite.backends.cpu.native.bodies import body, clear, copy, external, floats, helper, share
from gradlite.backends.cpu.native.target import host_target

ROWS = host_target().tile_rows
COLUMNS = host_target().tile_columns
LANES = host_target().lanes
FLOAT = 4  # bytes

tile = external("gradlite_product_tile", 14)
prefetch = external("gradlite_prefetch", 2)


@helper
def pack(
    packed: int, width: int, b: int, y: int, k0: int, k1: int, b_k: int, first: int, columns: int, b_column: int
) -> None:
    """Copy the rows k0 to k1 and the columns from ``first`` of b into a panel with rows of ``width``, padded with 0.
    Where there is a ``y``, laid out as b, only what stands at its positive elements is copied."""
    if b_column == 1:
        for k in range(k1 - k0):
            place = FLOAT * ((k0 + k) * b_k + first)
            target, source, output = floats(packed, columns), floats(b + place, columns), floats(y + place, columns)
            if y == 0:
                copy(b + place, packed, columns)
            else:
                for j in range(columns):
                    target[j] = source[j] if output[j] > 0 else 0.0
            clear(packed + FLOAT * columns, width - columns)
            packed += FLOAT * width
        return
    # A transposed matrix is read along its columns, which are what lies together in memory.
    count = k1 - k0
    for j in range(columns):
        place = FLOAT * ((first + j) * b_column + k0 * b_k)
        target, source = floats(packed + FLOAT * j, count * width), floats(b + place, count * b_k)
        output = floats(y + place, count * b_k)
        for k in range(count):
            target[k * width] = source[k * b_k] if y == 0 or output[k * b_k] > 0 else 0.0
    for k in range(count):
        clear(packed + FLOAT * (k * width + columns), width - columns)


@helper
def finish(c: int, rows: int, columns: int, c_row: int, bias: int, relu: int) -> None:
    """Add the bias and rectify, while the sums are in cache."""
    shift = floats(bias, columns)
    for i in range(rows):
        sums = floats(c + FLOAT * i * c_row, columns)
        if bias != 0:
            for j in range(columns):
                sums[j] += shift[j]
        if relu != 0:
            for j in range(columns):
                sums[j] = sums[j] if not (sums[j] <= 0) else 0.0


@helper
def turn(tile: int, width: int, rows: int, columns: int, c: int, c_row: int, onto: bool) -> None:
    """c (columns, rows), or its addition to what is there, from a tile (rows, width)."""
    for j in range(columns):
        source, target = floats(tile + FLOAT * j, rows * width), floats(c + FLOAT * j * c_row, rows)
        for i in range(rows):
            target[i] = target[i] + source[i * width] if onto else source[i * width]


@helper
def add_columns(sums: int, packed: int, width: int, k: int, columns: int, onto: bool) -> None:
    """The sums of a packed panel's columns, or their addition to what is there."""
    total = floats(sums, columns)
    if not onto:
        clear(sums, columns)
    for i in range(k):
        row = floats(packed + FLOAT * i * width, columns)
        for j in range(columns):
            total[j] += row[j]


@body
def product(part: int, parts: int, words: Any) -> None:
    """c (m, n) = a (m, k) times b (k, n): + bias, rectified; b masked by y > 0; and the sums of b's columns.

    Words: m, n, k, a, a_row, a_k, b, b_k, b_column, y, c, c_row, bias, relu, sums, packed, depth, width, by_rows,
    in_place, turned. Parts take columns, panels at a time, or rows; a pass packs ``depth`` rows and ``width`` columns
    of b. ``in_place``: whole panels of b are read where they lie. ``turned``: c is written transposed,
    (n, m), without the bias and what follows it.
    """
    m, n, k, a, a_row, a_k = words[0], words[1], words[2], words[3], words[4], words[5]
    b, b_k, b_column, y, c, c_row = words[6], words[7], words[8], words[9], words[10], words[11]
    bias, relu, sums, packed, depth, width = words[12], words[13], words[14], words[15], words[16], words[17]
    by_rows, in_place, turned = words[18], words[19], words[20]
    tall, broad = ROWS, COLUMNS
    packed += FLOAT * part * (depth * width + tall * broad)
    turning = packed + FLOAT * depth * width
    panels = (n + broad - 1) // broad
    tiles = (m + tall - 1) // tall
    panel0, panel1, tile0, tile1 = 0, panels, 0, tiles
    if by_rows != 0:
        tile0, tile1 = share(tiles, part, parts)
    else:
        panel0, panel1 = share(panels, part, parts)
    if tile0 == tile1 or panel0 == panel1:
        return
    step = width // broad
    for block in range((panel1 - panel0 + step - 1) // step):
        p0 = panel0 + block * step
        p1 = min(p0 + step, panel1)
        for slab in range((k + depth - 1) // depth):
            k0 = slab * depth
            k1 = min(k0 + depth, k)
            for p in range(p0, p1):
                columns = min(broad, n - p * broad)
                if in_place and columns == broad:
                    continue
                panel = packed + FLOAT * (p - p0) * depth * broad
                pack(panel, broad, b, y, k0, k1, b_k, p * broad, columns, b_column)
                if sums != 0 and tile0 == 0:
                    add_columns(sums + FLOAT * p * broad, panel, broad, k1 - k0, columns, k0 > 0)
            for t in range(tile0, tile1):
                rows = min(tall, m - t * tall)
                left = a + FLOAT * (t * tall * a_row + k0 * a_k)
                for p in range(p0, p1):
                    columns = min(broad, n - p * broad)
                    panel, panel_k = packed + FLOAT * (p - p0) * depth * broad, broad
                    if in_place and columns == broad:
                        panel, panel_k = b + FLOAT * (k0 * b_k + p * broad), b_k
                    onto = 1 if k0 > 0 else 0
                    if turned:
                        tile(rows, columns, k1 - k0, left, a_row, a_k, panel, panel_k, turning, broad, 0, 1, 0, 0)
                        place = c + FLOAT * (p * broad * c_row + t * tall)
                        turn(turning, broad, rows, columns, place, c_row, k0 > 0)
                        continue
                    target = c + FLOAT * (t * tall * c_row + p * broad)
                    tile(rows, columns, k1 - k0, left, a_row, a_k, panel, panel_k, target, c_row, onto, 1, 0, 0)
                    if k1 == k and (bias != 0 or relu != 0):
                        shift = bias + FLOAT * p * broad if bias != 0 else 0
                        finish(target, rows, columns, c_row, shift, relu)


# Rows of the right factor that are read at a time: for each of their numbers a sum is loaded and stored once.
AT_ONCE = 8


@body
def few_rows(part: int, parts: int, words: Any) -> None:
    """c (m, n) = a (m, k) times b (k, n), + bias, rectified, for a few rows: b is read once for each, as it lies.

    Words: m, n, k, a, b, bias, relu, c. Parts take columns.
    """
    m, n, k, bias, relu = words[0], words[1], words[2], words[5], words[6]
    first, last = share((n + LANES - 1) // LANES, part, parts)
    start = first * LANES
    count = min(last * LANES, n) - start
    for i in range(m):
        c = words[7] + FLOAT * (i * n + start)
        if bias != 0:
            copy(bias + FLOAT * start, c, count)
        else:
            clear(c, count)
        sums, factors = floats(c, count), floats(words[3] + FLOAT * i * k, k)
        for block in range(k // AT_ONCE):
            a = floats(words[3] + FLOAT * (i * k + block * AT_ONCE), AT_ONCE)
            at = words[4] + FLOAT * (block * AT_ONCE * n + start)
            b0, b1 = floats(at, count), floats(at + FLOAT * n, count)
            b2, b3 = floats(at + FLOAT * 2 * n, count), floats(at + FLOAT * 3 * n, count)
            b4, b5 = floats(at + FLOAT * 4 * n, count), floats(at + FLOAT * 5 * n, count)
            b6, b7 = floats(at + FLOAT * 6 * n, count), floats(at + FLOAT * 7 * n, count)
            for j in range(count):
                some = a[0] * b0[j] + a[1] * b1[j] + a[2] * b2[j] + a[3] * b3[j]
                others = a[4] * b4[j] + a[5] * b5[j] + a[6] * b6[j] + a[7] * b7[j]
                sums[j] += some + others
        for row in range(k // AT_ONCE * AT_ONCE, k):
            b = floats(words[4] + FLOAT * (row * n + start), count)
            for j in range(count):
                sums[j] += factors[row] * b[j]
        if relu != 0:
            finish(c, 1, count, count, 0, relu)
