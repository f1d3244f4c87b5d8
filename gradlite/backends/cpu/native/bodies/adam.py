"""Adam and what goes with it in most steps: packed gradients and moving averages."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.bodies import body, copy, floats, helper, integers, larger, lines, real, share
from gradlite.backends.cpu.native.bodies.products import COLUMNS, FLOAT, ROWS, add_columns, prefetch, tile
from gradlite.backends.cpu.native.bodies.products import pack as pack_panel


@helper
def adam_rate(learning_rate: int, step: int, beta_1: float, beta_2: float) -> float:
    """lr sqrt(1 - b2**t) / (1 - b1**t), every number of it rounded to float32, from the addresses of lr and t."""
    one, t = np.float32(1.0), np.float64(np.float32(integers(step, 1)[0]))
    first = one - np.float32(np.float64(np.float32(beta_1)) ** t)
    second = one - np.float32(np.float64(np.float32(beta_2)) ** t)
    return floats(learning_rate, 1)[0] * np.sqrt(second) / first


@helper
def adam_step(
    n: int, p_at: int, g_at: int, m_at: int, v_at: int, v_max: int, rate: float, betas: tuple[float, float, float]
) -> None:
    """The update of n parameters."""
    p, g, m, v, largest = floats(p_at, n), floats(g_at, n), floats(m_at, n), floats(v_at, n), floats(v_max, n)
    new_1, new_2, epsilon = np.float32(1.0 - betas[0]), np.float32(1.0 - betas[1]), np.float32(betas[2])
    if v_max == 0:
        for i in range(n):
            m[i] += (g[i] - m[i]) * new_1
            v[i] += (g[i] * g[i] - v[i]) * new_2
            p[i] -= m[i] * rate / (np.sqrt(v[i]) + epsilon)
    else:
        for i in range(n):
            m[i] += (g[i] - m[i]) * new_1
            v[i] += (g[i] * g[i] - v[i]) * new_2
            largest[i] = larger(largest[i], v[i])
            p[i] -= m[i] * rate / (np.sqrt(largest[i]) + epsilon)


@body
def adam(part: int, parts: int, words: Any) -> None:
    """Words: n, parameter, gradient, m, v, v_max, learning_rate, step, beta_1, beta_2, epsilon."""
    start, stop = lines(words[0], part, parts)
    offset = FLOAT * start
    betas = real(words[8]), real(words[9]), real(words[10])
    rate = adam_rate(words[6], words[7], betas[0], betas[1])
    v_max = words[5] + offset if words[5] != 0 else 0
    adam_step(
        stop - start, words[1] + offset, words[2] + offset, words[3] + offset, words[4] + offset, v_max, rate, betas
    )


@body
def adam_segments(part: int, parts: int, words: Any) -> None:
    """Words: runs, numbers in all, learning_rate, step, beta_1, beta_2, epsilon; then for each run n, parameter,
    gradient, m, v. A part takes its share of all runs laid end to end."""
    betas = real(words[4]), real(words[5]), real(words[6])
    rate = adam_rate(words[2], words[3], betas[0], betas[1])
    first, last = lines(words[1], part, parts)
    position = 0
    for run in range(words[0]):
        n = words[7 + 5 * run]
        start, stop = max(first - position, 0), min(last - position, n)
        if start < stop:
            offset = FLOAT * start
            p, g = words[8 + 5 * run] + offset, words[9 + 5 * run] + offset
            m, v = words[10 + 5 * run] + offset, words[11 + 5 * run] + offset
            adam_step(stop - start, p, g, m, v, 0, rate, betas)
        position += n


@body
def weight_gradient_adam(part: int, parts: int, words: Any) -> None:
    """The gradient of a dense layer's kernel, x (k, m) transposed times g (k, n), masked by y > 0 where there is a y;
    the sums of g's columns; and the update of the kernel.

    Words: m, n, k, x, g, y, sums, parameter, m, v, learning_rate, step, beta_1, beta_2, epsilon, scratch, its size a
    part. Parts take rows of the kernel, a tile's at a time.
    """
    m, n, k, x, g, y, sums = words[0], words[1], words[2], words[3], words[4], words[5], words[6]
    betas = real(words[12]), real(words[13]), real(words[14])
    rate = adam_rate(words[10], words[11], betas[0], betas[1])
    packed = words[15] + FLOAT * part * words[16]
    panels = (n + COLUMNS - 1) // COLUMNS
    left = packed + FLOAT * panels * k * COLUMNS
    dw = left + FLOAT * ROWS * k
    for p in range(panels):
        columns, panel = min(COLUMNS, n - p * COLUMNS), packed + FLOAT * p * k * COLUMNS
        pack_panel(panel, COLUMNS, g, y, 0, k, n, p * COLUMNS, columns, 1)
        if part == 0:
            add_columns(sums + FLOAT * p * COLUMNS, panel, COLUMNS, k, columns, False)
    first, last = share((m + ROWS - 1) // ROWS, part, parts)
    for t in range(first, last):
        rows = min(ROWS, m - t * ROWS)
        offset = FLOAT * t * ROWS * n
        following = min(ROWS, m - (t + 1) * ROWS) * n if t + 1 < last else 0
        # The rows of x are far apart, perhaps by a power of two: side by side they stay in cache for all panels.
        for row in range(k):
            copy(x + FLOAT * (row * m + t * ROWS), left + FLOAT * row * ROWS, rows)
        for p in range(panels):
            columns, panel = min(COLUMNS, n - p * COLUMNS), packed + FLOAT * p * k * COLUMNS
            tile(rows, columns, k, left, 1, ROWS, panel, COLUMNS, dw + FLOAT * p * COLUMNS, n, 0, 1, 0, 0)
            # What the next rows' update will read comes from memory while this tile is computed.
            start, stop = lines(following, p, panels)
            if start < stop:
                ahead = offset + FLOAT * (ROWS * n + start)
                for array in range(7, 10):
                    prefetch(words[array] + ahead, stop - start)
        adam_step(rows * n, words[7] + offset, dw, words[8] + offset, words[9] + offset, 0, rate, betas)


@body
def pack(part: int, parts: int, words: Any) -> None:
    """Words: arrays, numbers in all; then for each array n, where it is, where it goes."""
    first, last = lines(words[1], part, parts)
    position = 0
    for array in range(words[0]):
        n = words[2 + 3 * array]
        start, stop = max(first - position, 0), min(last - position, n)
        if start < stop:
            source = floats(words[3 + 3 * array] + FLOAT * start, stop - start)
            target = floats(words[4 + 3 * array] + FLOAT * start, stop - start)
            for i in range(stop - start):
                target[i] = source[i]
        position += n


@body
def moving_averages(part: int, parts: int, words: Any) -> None:
    """Words: arrays, step (or 0), momentum; then for each average n, where it is, the value."""
    kept = np.float32(real(words[2]))
    if words[1] != 0 and integers(words[1], 1)[0] == 1:
        kept = np.float32(0.0)
    new = np.float32(1.0) - kept
    for array in range(words[0]):
        start, stop = lines(words[3 + 3 * array], part, parts)
        average = floats(words[4 + 3 * array] + FLOAT * start, stop - start)
        value = floats(words[5 + 3 * array] + FLOAT * start, stop - start)
        for i in range(stop - start):
            average[i] = average[i] * kept + value[i] * new
