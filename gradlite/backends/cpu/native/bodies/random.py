"""Philox4x32-10 (see ``backends/reference/random.py``), some thousand counters at a time, and dropout by it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.bodies import body, bytes_at, floats, helper, integers, real, share, unsigned

FLOAT = 4  # bytes
MULTIPLIER_0, MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL_0, WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
WORD, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
# Counters drawn at a time: their words and what comes of them stay in the first-level cache.
COUNTERS = 512
ELEMENTS = 4 * COUNTERS
# Bytes that drawing takes: the words, and a byte for each element.
ROOM = 4 * ELEMENTS + ELEMENTS


@helper
def draw(words: int, first: int, count: int, state: int) -> None:
    """The words of ``count`` counters from ``first`` on: all first words, from ``COUNTERS`` on all second ones, ..."""
    of_state = integers(state, 3)
    seed, stream, number = np.uint64(of_state[0]), np.uint64(of_state[1]), np.uint64(of_state[2])
    w0, w1 = unsigned(words, count), unsigned(words + FLOAT * COUNTERS, count)
    w2, w3 = unsigned(words + 2 * FLOAT * COUNTERS, count), unsigned(words + 3 * FLOAT * COUNTERS, count)
    for i in range(count):
        c0, c1 = np.uint64(first + i) & WORD, stream & WORD
        c2, c3 = number & WORD, number >> SHIFT
        k0, k1 = seed & WORD, seed >> SHIFT
        for _ in range(10):
            p0, p1 = c0 * MULTIPLIER_0, c2 * MULTIPLIER_1
            c0, c1 = (p1 >> SHIFT) ^ c1 ^ k0, p1 & WORD
            c2, c3 = (p0 >> SHIFT) ^ c3 ^ k1, p0 & WORD
            k0, k1 = (k0 + WEYL_0) & WORD, (k1 + WEYL_1) & WORD
        w0[i], w1[i] = np.uint32(c0), np.uint32(c1)
        w2[i], w3[i] = np.uint32(c2), np.uint32(c3)


@helper
def draw_kept(kept: int, words: int, first: int, count: int, state: int, threshold: int) -> None:
    """For the elements of these counters a byte each: 1 where the element is kept, else 0."""
    draw(words, first, count, state)
    flags, limit = bytes_at(kept, 4 * count), np.uint32(threshold)
    w0, w1 = unsigned(words, count), unsigned(words + FLOAT * COUNTERS, count)
    w2, w3 = unsigned(words + 2 * FLOAT * COUNTERS, count), unsigned(words + 3 * FLOAT * COUNTERS, count)
    for i in range(count):
        flags[4 * i] = 1 if w0[i] >= limit else 0
        flags[4 * i + 1] = 1 if w1[i] >= limit else 0
        flags[4 * i + 2] = 1 if w2[i] >= limit else 0
        flags[4 * i + 3] = 1 if w3[i] >= limit else 0


@body
def dropout(part: int, parts: int, words: Any) -> None:
    """Words: n, x, state, threshold, what is kept of 1, out, room (``ROOM`` bytes a part)."""
    n, kept_share = words[0], np.float32(real(words[4]))
    room = words[6] + ROOM * part
    kept = room + 4 * ELEMENTS
    blocks = (n + ELEMENTS - 1) // ELEMENTS
    first, last = share(blocks, part, parts)
    for block in range(first, last):
        start = block * ELEMENTS
        size = min(ELEMENTS, n - start)
        draw_kept(kept, room, block * COUNTERS, (size + 3) // 4, words[2], words[3])
        x, out = floats(words[1] + FLOAT * start, size), floats(words[5] + FLOAT * start, size)
        flags = bytes_at(kept, size)
        for i in range(size):
            out[i] = x[i] / kept_share if flags[i] != 0 else np.float32(0.0)
