"""Sums over rows: column by column, blocks of rows in float32, blocks in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.bodies import DOUBLE, FLOAT, body, clear_doubles, doubles, floats, helper, share

# Rows summed in float32 before they join a total in float64.
ROWS = 64


@helper
def add_rows(totals: int, block: int, x: int, rows: int, columns: int) -> None:
    """Add up to ``ROWS`` rows to totals (float64); ``block`` is room for a row."""
    sums = floats(block, columns)
    for j in range(columns):
        sums[j] = 0.0
    for quarter in range(rows // 4):
        at = x + 4 * FLOAT * quarter * columns
        a, b = floats(at, columns), floats(at + FLOAT * columns, columns)
        c, d = floats(at + 2 * FLOAT * columns, columns), floats(at + 3 * FLOAT * columns, columns)
        for j in range(columns):
            sums[j] += (a[j] + b[j]) + (c[j] + d[j])
    for r in range(rows // 4 * 4, rows):
        row = floats(x + FLOAT * r * columns, columns)
        for j in range(columns):
            sums[j] += row[j]
    wide = doubles(totals, columns)
    for j in range(columns):
        wide[j] += np.float64(sums[j])


@helper
def add_all_rows(totals: int, block: int, x: int, rows: int, columns: int) -> None:
    """Add any number of rows to totals (float64); ``block`` is room for a row."""
    for k in range((rows + ROWS - 1) // ROWS):
        add_rows(totals, block, x + FLOAT * k * ROWS * columns, min(ROWS, rows - k * ROWS), columns)


@body
def column_sums(part: int, parts: int, words: Any) -> None:
    """Words: rows, columns, x, totals (float64, a row a part), blocks (a row a part)."""
    columns, (first, last) = words[1], share(words[0], part, parts)
    totals, block = words[3] + DOUBLE * part * columns, words[4] + FLOAT * part * columns
    clear_doubles(totals, columns)
    add_all_rows(totals, block, words[2] + FLOAT * first * columns, last - first, columns)


@body
def sum_of_parts(part: int, parts: int, words: Any) -> None:
    """Words: columns, how many parts, totals, out."""
    columns, out = words[0], floats(words[3], words[0])
    total = doubles(words[2], columns)
    for p in range(1, words[1]):
        other = doubles(words[2] + DOUBLE * p * columns, columns)
        for j in range(columns):
            total[j] += other[j]
    for j in range(columns):
        out[j] = np.float32(total[j])
