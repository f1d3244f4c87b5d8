"""Element by element in float32: one pass, over operands that are arrays, rows of them, or numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradlite.backends.cpu.native.bodies import body, bytes_at, floats, helper, larger, lines, share

FLOAT = 4  # bytes

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "maximum": lambda a, b: larger(a, b),
    "minimum": lambda a, b: -larger(-a, -b),
    "relu_gradient": lambda a, b: a if b > 0 else np.float32(0.0),
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "negative": lambda a: -a,
    "abs": lambda a: abs(a),
    "square": lambda a: a * a,
    "sqrt": lambda a: np.sqrt(a),
    "relu": lambda a: a if not (a <= 0) else np.float32(0.0),
}


def _binary(name: str, function: Callable[[Any, Any], Any]) -> None:
    """Enter the kernel of a function of two numbers.

    Words: rows, columns, a, whether a has one number a row, from row to row in a, the same three of b, out. A part
    takes its share of the rows, or of the columns of the only one.
    """
    operation = helper(function)

    @helper
    def row(n: int, a_at: int, a_is_number: int, b_at: int, b_is_number: int, out_at: int) -> None:
        a, b, out = floats(a_at, n), floats(b_at, n), floats(out_at, n)
        if a_is_number != 0:
            number = a[0]
            for i in range(n):
                out[i] = operation(number, b[i])
        elif b_is_number != 0:
            number = b[0]
            for i in range(n):
                out[i] = operation(a[i], number)
        else:
            for i in range(n):
                out[i] = operation(a[i], b[i])

    def kernel(part: int, parts: int, words: Any) -> None:
        columns, a, a_is_number, a_row = words[1], words[2], words[3], words[4]
        b, b_is_number, b_row, out = words[5], words[6], words[7], words[8]
        if words[0] == 1:
            start, stop = lines(columns, part, parts)
            if a_is_number == 0:
                a += FLOAT * start
            if b_is_number == 0:
                b += FLOAT * start
            row(stop - start, a, a_is_number, b, b_is_number, out + FLOAT * start)
        else:
            start, stop = share(words[0], part, parts)
            for r in range(start, stop):
                a_at, b_at = a + FLOAT * r * a_row, b + FLOAT * r * b_row
                row(columns, a_at, a_is_number, b_at, b_is_number, out + FLOAT * r * columns)

    kernel.__name__ = name
    body(kernel)


def _unary(name: str, function: Callable[[Any], Any]) -> None:
    """Enter the kernel of a function of a number. Words: n, a, out."""
    operation = helper(function)

    def kernel(part: int, parts: int, words: Any) -> None:
        start, stop = lines(words[0], part, parts)
        a, out = floats(words[1] + FLOAT * start, stop - start), floats(words[2] + FLOAT * start, stop - start)
        for i in range(stop - start):
            out[i] = operation(a[i])

    kernel.__name__ = name
    body(kernel)


for _name, _of_two in BINARY.items():
    _binary(_name, _of_two)
for _name, _of_one in UNARY.items():
    _unary(_name, _of_one)


@body
def copy(part: int, parts: int, words: Any) -> None:
    """Words: bytes, source, target."""
    start, stop = lines(words[0], part, parts)
    source, target = bytes_at(words[1] + start, stop - start), bytes_at(words[2] + start, stop - start)
    for i in range(stop - start):
        target[i] = source[i]
