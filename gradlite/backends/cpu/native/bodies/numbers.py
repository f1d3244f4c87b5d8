"""Counters, totals and labels: a few numbers of any type, element by element, computed as NumPy does.

Types are numbered as in ``operands.KINDS``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.bodies import body, bytes_at, doubles, floats, halves, helper, integers

FLOAT32, FLOAT64, INT64, UINT8, BOOL, INT32 = range(6)
ADD, SUBTRACT, MULTIPLY, DIVIDE, EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL = range(10)


@helper
def integer_at(address: int, kind: int, i: int) -> int:
    """Element i of an array of integers."""
    if kind == INT64:
        return integers(address + 8 * i, 1)[0]
    if kind == INT32:
        return np.int64(halves(address + 4 * i, 1)[0])
    return np.int64(bytes_at(address + i, 1)[0])


@helper
def real_at(address: int, kind: int, i: int) -> float:
    """Element i of any array."""
    if kind == FLOAT32:
        return np.float64(floats(address + 4 * i, 1)[0])
    if kind == FLOAT64:
        return doubles(address + 8 * i, 1)[0]
    return np.float64(integer_at(address, kind, i))


@helper
def combined(operation: int, a: Any, b: Any) -> Any:
    """The sum, difference or product."""
    if operation == ADD:
        return a + b
    if operation == SUBTRACT:
        return a - b
    return a * b


@helper
def holds(operation: int, a: Any, b: Any) -> bool:
    """A comparison."""
    if operation == EQUAL:
        return a == b
    if operation == NOT_EQUAL:
        return a != b
    if operation == LESS:
        return a < b
    if operation == LESS_EQUAL:
        return a <= b
    if operation == GREATER:
        return a > b
    return a >= b


@body
def binary(part: int, parts: int, words: Any) -> None:
    """Words: operation, the type it is done in, n, a, its type, elements from one to the next (0 or 1), the same three
    of b, out. Comparisons write bytes; everything else the type it was done in."""
    operation, kind, n, a, a_kind, a_step = words[0], words[1], words[2], words[3], words[4], words[5]
    b, b_kind, b_step, out = words[6], words[7], words[8], words[9]
    for i in range(n):
        if kind == INT64:
            x, y = integer_at(a, a_kind, i * a_step), integer_at(b, b_kind, i * b_step)
            if operation >= EQUAL:
                bytes_at(out + i, 1)[0] = 1 if holds(operation, x, y) else 0
            else:
                integers(out + 8 * i, 1)[0] = combined(operation, x, y)
            continue
        u, v = real_at(a, a_kind, i * a_step), real_at(b, b_kind, i * b_step)
        if operation >= EQUAL:
            bytes_at(out + i, 1)[0] = 1 if holds(operation, u, v) else 0
        elif kind == FLOAT64:
            doubles(out + 8 * i, 1)[0] = u / v if operation == DIVIDE else combined(operation, u, v)
        else:
            p, q = np.float32(u), np.float32(v)
            floats(out + 4 * i, 1)[0] = p / q if operation == DIVIDE else combined(operation, p, q)


@body
def convert(part: int, parts: int, words: Any) -> None:
    """Words: n, source, its type, elements from one to the next (0 or 1), target, its type: no smaller than the
    source's kind."""
    for i in range(words[0]):
        if words[5] == FLOAT32:
            floats(words[4] + 4 * i, 1)[0] = np.float32(real_at(words[1], words[2], i * words[3]))
        elif words[5] == FLOAT64:
            doubles(words[4] + 8 * i, 1)[0] = real_at(words[1], words[2], i * words[3])
        else:
            value = integer_at(words[1], words[2], i * words[3])
            if words[5] == INT64:
                integers(words[4] + 8 * i, 1)[0] = value
            elif words[5] == INT32:
                halves(words[4] + 4 * i, 1)[0] = np.int32(value)
            else:
                bytes_at(words[4] + i, 1)[0] = np.uint8(value)


@body
def count(part: int, parts: int, words: Any) -> None:
    """Words: n, flags (bytes), how many of them are not 0."""
    flags, total = bytes_at(words[1], words[0]), 0
    for i in range(words[0]):
        total += 1 if flags[i] != 0 else 0
    integers(words[2], 1)[0] = total


@helper
def largest_of(row: int, k: int) -> int:
    """The position of the first largest number of k, or of the first NaN."""
    values = floats(row, k)
    best = 0
    for j in range(1, k):
        if values[j] > values[best] or (values[j] != values[j] and values[best] == values[best]):
            best = j
    return best


@body
def argmax(part: int, parts: int, words: Any) -> None:
    """Words: rows, columns, x (float32), out."""
    out = integers(words[3], words[0])
    for r in range(words[0]):
        out[r] = largest_of(words[2] + 4 * r * words[1], words[1])


@body
def count_correct(part: int, parts: int, words: Any) -> None:
    """Words: rows, columns, scores (float32), labels, their type, how many rows are largest where the labels say."""
    total = 0
    for r in range(words[0]):
        place = largest_of(words[2] + 4 * r * words[1], words[1])
        total += 1 if place == integer_at(words[3], words[4], r) else 0
    integers(words[5], 1)[0] = total


@body
def draw_random(part: int, parts: int, words: Any) -> None:
    """Words: state, snapshot, each (seed, stream, draw)."""
    state, snapshot = integers(words[0], 3), integers(words[1], 3)
    for i in range(3):
        snapshot[i] = state[i]
    state[2] += 1
