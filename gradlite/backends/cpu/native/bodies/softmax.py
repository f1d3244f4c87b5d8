"""Softmax over rows, its logarithm, their gradients, and cross-entropies with labels.

All softmaxes here are the same numbers: what a cross-entropy computes is what the model's own softmax would.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.bodies import body, doubles, floats, helper, larger, share, summing
from gradlite.backends.cpu.native.bodies.exponential import exp, exponentials
from gradlite.backends.cpu.native.bodies.numbers import integer_at

FLOAT, DOUBLE = 4, 8  # bytes
# Numbers in a block of rows, which stays in the first-level cache.
BLOCK = 2048


@helper
def rows_of_block(k: int) -> int:
    """How many rows of k numbers make a block."""
    return max(1, BLOCK // k)


@summing
def total_of(address: int, n: int) -> float:
    """The sum of n numbers, in float64."""
    values, total = floats(address, n), 0.0
    for i in range(n):
        total += np.float64(values[i])
    return total


@summing
def product_sum(a_at: int, b_at: int, n: int) -> float:
    """The sum of n products, in float64."""
    a, b, total = floats(a_at, n), floats(b_at, n), 0.0
    for i in range(n):
        total += np.float64(a[i]) * np.float64(b[i])
    return total


@helper
def shift(x: int, y: int, rows: int, k: int) -> None:
    """y = x less the largest number of its row."""
    for r in range(rows):
        source, target = floats(x + FLOAT * r * k, k), floats(y + FLOAT * r * k, k)
        peak = source[0]
        for j in range(1, k):
            peak = larger(peak, source[j])
        for j in range(k):
            target[j] = source[j] - peak


@helper
def divide(address: int, k: int, total: float) -> None:
    """Divide a row by its total."""
    row, divisor = floats(address, k), np.float32(total)
    for j in range(k):
        row[j] /= divisor


@body
def softmax(part: int, parts: int, words: Any) -> None:
    """Words: rows, k, x, y."""
    k, (first, last) = words[1], share(words[0], part, parts)
    step = rows_of_block(k)
    for block in range((last - first + step - 1) // step):
        start = first + block * step
        rows = min(step, last - start)
        y = words[3] + FLOAT * start * k
        shift(words[2] + FLOAT * start * k, y, rows, k)
        exponentials(y, rows * k)
        for r in range(rows):
            row = y + FLOAT * r * k
            divide(row, k, total_of(row, k))


@body
def softmax_gradient(part: int, parts: int, words: Any) -> None:
    """Words: rows, k, gradient, y, dx."""
    k, (first, last) = words[1], share(words[0], part, parts)
    for r in range(first, last):
        at = FLOAT * r * k
        g, y, dx = floats(words[2] + at, k), floats(words[3] + at, k), floats(words[4] + at, k)
        total = np.float32(product_sum(words[2] + at, words[3] + at, k))
        for j in range(k):
            dx[j] = y[j] * (g[j] - total)


@body
def log_softmax(part: int, parts: int, words: Any) -> None:
    """Words: rows, k, x, y."""
    k, (first, last) = words[1], share(words[0], part, parts)
    for r in range(first, last):
        at = FLOAT * r * k
        shift(words[2] + at, words[3] + at, 1, k)
        logarithm = np.float32(np.log(exponential_sum(words[3] + at, k)))
        y = floats(words[3] + at, k)
        for j in range(k):
            y[j] -= logarithm


@summing
def exponential_sum(address: int, k: int) -> float:
    """The sum of k numbers' exponentials, in float64."""
    values, total = floats(address, k), 0.0
    for j in range(k):
        total += np.float64(exp(values[j]))
    return total


@body
def log_softmax_gradient(part: int, parts: int, words: Any) -> None:
    """Words: rows, k, gradient, y, dx."""
    k, (first, last) = words[1], share(words[0], part, parts)
    for r in range(first, last):
        at = FLOAT * r * k
        g, y, dx = floats(words[2] + at, k), floats(words[3] + at, k), floats(words[4] + at, k)
        total = np.float32(total_of(words[2] + at, k))
        for j in range(k):
            dx[j] = g[j] - exp(y[j]) * total


@helper
def place_of(labels: int, kind: int, row: int, k: int) -> int:
    """A label as a column; one below zero counts from the end, as everywhere in NumPy; -1 where there is none."""
    label = integer_at(labels, kind, row)
    if label < 0:
        label += k
    return label if 0 <= label < k else -1


@helper
def sparse_losses(
    x: int, labels: int, kind: int, losses: int, p: int, gradient: int, weight: float, k: int, first: int, last: int
) -> None:
    """The losses (float64), softmax and, unless 0, weighted gradient of the rows from first to last. A label that is
    no column gives NaN."""
    step = rows_of_block(k)
    for block in range((last - first + step - 1) // step):
        start = first + block * step
        rows = min(step, last - start)
        at = FLOAT * start * k
        shift(x + at, p + at, rows, k)
        loss = doubles(losses + DOUBLE * start, rows)
        for r in range(rows):
            place = place_of(labels, kind, start + r, k)
            picked = floats(p + at + FLOAT * (r * k + max(place, 0)), 1)[0]
            loss[r] = -np.float64(picked) if place >= 0 else np.nan
        exponentials(p + at, rows * k)
        for r in range(rows):
            row = p + at + FLOAT * r * k
            total = total_of(row, k)
            loss[r] += np.log(total)
            divide(row, k, total)
            if gradient != 0:
                place = place_of(labels, kind, start + r, k)
                scaled_difference(row, place, weight, gradient + at + FLOAT * r * k, k)


@helper
def scaled_difference(p_at: int, place: int, weight: float, out_at: int, k: int) -> None:
    """(p - 1 at the place) times the weight."""
    p, out = floats(p_at, k), floats(out_at, k)
    for j in range(k):
        out[j] = p[j] * weight
    if place >= 0:
        out[place] = (p[place] - np.float32(1.0)) * weight


@body
def sparse_loss(part: int, parts: int, words: Any) -> None:
    """Words: rows, k, logits, labels, their type, losses (float64), p, gradient."""
    first, last = share(words[0], part, parts)
    weight = np.float32(1.0 / words[0])
    sparse_losses(words[2], words[3], words[4], words[5], words[6], words[7], weight, words[1], first, last)


@body
def mean(part: int, parts: int, words: Any) -> None:
    """Words: n, numbers (float64), their mean."""
    values, total = doubles(words[1], words[0]), 0.0
    for i in range(words[0]):
        total += values[i]
    floats(words[2], 1)[0] = np.float32(total / words[0])


@body
def mean_of_singles(part: int, parts: int, words: Any) -> None:
    """Words: n, numbers (float32), their mean, summed in float64."""
    floats(words[2], 1)[0] = np.float32(total_of(words[1], words[0]) / words[0])


@body
def sparse_cross_entropy(part: int, parts: int, words: Any) -> None:
    """Words: rows, k, logits, labels, their type, losses (float64), p, losses (float32)."""
    first, last = share(words[0], part, parts)
    weight = np.float32(0.0)
    sparse_losses(words[2], words[3], words[4], words[5], words[6], 0, weight, words[1], first, last)
    wide = doubles(words[5] + DOUBLE * first, last - first)
    narrow = floats(words[7] + FLOAT * first, last - first)
    for i in range(last - first):
        narrow[i] = np.float32(0.0 + wide[i])


@body
def sparse_cross_entropy_gradient(part: int, parts: int, words: Any) -> None:
    """Words: rows, k, gradient (rows), p, labels, their type, dx."""
    k, (first, last) = words[1], share(words[0], part, parts)
    weights = floats(words[2], words[0])
    for r in range(first, last):
        at = FLOAT * r * k
        scaled_difference(words[3] + at, place_of(words[4], words[5], r, k), weights[r], words[6] + at, k)


@body
def cross_entropy(part: int, parts: int, words: Any) -> None:
    """Words: rows, k, logits, labels (rows, k), losses, p."""
    k, (first, last) = words[1], share(words[0], part, parts)
    losses = floats(words[4], words[0])
    for r in range(first, last):
        at = FLOAT * r * k
        p = words[5] + at
        shift(words[2] + at, p, 1, k)
        total = exponential_sum(p, k)
        losses[r] = np.float32(logarithms_sum(words[3] + at, p, np.log(total), k))
        exponentials(p, k)
        divide(p, k, total_of(p, k))


@summing
def logarithms_sum(labels_at: int, shifted_at: int, logarithm: float, k: int) -> float:
    """The sum of labels times (logarithm - shifted logits). A label of 0 counts nothing unless its logit is not
    finite."""
    labels, shifted, total = floats(labels_at, k), floats(shifted_at, k), 0.0
    for j in range(k):
        total += np.float64(labels[j]) * (logarithm - np.float64(shifted[j]))
    return total


@body
def cross_entropy_gradient(part: int, parts: int, words: Any) -> None:
    """Words: rows, k, gradient (rows), p, labels (rows, k), dx."""
    k, (first, last) = words[1], share(words[0], part, parts)
    weights = floats(words[2], words[0])
    for r in range(first, last):
        at = FLOAT * r * k
        p, labels, dx = floats(words[3] + at, k), floats(words[4] + at, k), floats(words[5] + at, k)
        total, weight = np.float32(total_of(words[4] + at, k)), weights[r]
        for j in range(k):
            dx[j] = (p[j] * total - labels[j]) * weight
