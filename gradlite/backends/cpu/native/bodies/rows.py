"""Gathering the samples of a step."""

from __future__ import annotations

from typing import Any

from gradlite.backends.cpu.native.bodies import body, bytes_at, integers, share


@body
def select(part: int, parts: int, words: Any) -> None:
    """The samples from a position of the order on; behind the last comes the first.

    Words: the table (samples, order, arrays), position, how many samples, how many arrays, and for each of these the
    target and the bytes of a sample.
    """
    size, count = words[2], words[3]
    table = integers(words[0], 2 + count)
    samples, order = table[0], table[1]
    if samples == 0:
        return  # the rows were cleared
    start = integers(words[1], 1)[0]
    first, last = share(size, part, parts)
    for i in range(first, last):
        number = (start + i) % samples
        if order != 0:
            number = integers(order + 8 * number, 1)[0]
        for k in range(count):
            nbytes = words[5 + 2 * k]
            source = bytes_at(table[2 + k] + number * nbytes, nbytes)
            target = bytes_at(words[4 + 2 * k] + i * nbytes, nbytes)
            for j in range(nbytes):
                target[j] = source[j]
