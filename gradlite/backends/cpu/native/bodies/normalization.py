"""Batch normalization with the pooling and the dropout that follow it, and all their gradients.

Work is cut into units: rows of pooled pixels, or some pixels in a row where nothing is pooled. Sums over a unit are
those of micro-kernels in float32; units are added up in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.bodies import (
    DOUBLE,
    FLOAT,
    body,
    clear_doubles,
    doubles,
    external,
    floats,
    helper,
    real,
    share,
)
from gradlite.backends.cpu.native.bodies.random import COUNTERS, ELEMENTS, draw_kept
from gradlite.backends.cpu.native.pixels import group_width
from gradlite.backends.cpu.native.target import host_target

GROUP = group_width(host_target())
# Rows of a block whose sums are float32.
MOST_ROWS = 128

column_sums = external("gradlite_column_sums", 7)
affine = external("gradlite_affine", 8)
affine_dropped = external("gradlite_affine_dropped", 8)
affine_pooled = external("gradlite_affine_pooled", 10)
affine_pooled_dropped = external("gradlite_affine_pooled_dropped", 10)
gradient_sums = external("gradlite_gradient_sums", 11)
gradient_sums_dropped = external("gradlite_gradient_sums_dropped", 11)
gradient_sums_pooled = external("gradlite_gradient_sums_pooled", 11)
gradient_sums_pooled_dropped = external("gradlite_gradient_sums_pooled_dropped", 11)
gradient_apply = external("gradlite_gradient_apply", 12)
gradient_apply_dropped = external("gradlite_gradient_apply_dropped", 12)
gradient_apply_pooled = external("gradlite_gradient_apply_pooled", 12)
gradient_apply_pooled_dropped = external("gradlite_gradient_apply_pooled_dropped", 12)
gradient_apply_masked = external("gradlite_gradient_apply_masked", 12)
gradient_apply_dropped_masked = external("gradlite_gradient_apply_dropped_masked", 12)
gradient_apply_pooled_masked = external("gradlite_gradient_apply_pooled_masked", 12)
gradient_apply_pooled_dropped_masked = external("gradlite_gradient_apply_pooled_dropped_masked", 12)


@helper
def merge(n: float, mean_at: int, m2_at: int, other_n: float, other_mean_at: int, other_m2_at: int, c: int) -> None:
    """Means and squared distances from them, of n elements, become those with ``other_n`` more (Chan, Golub and LeVeque
    1979); all float64."""
    mean, m2 = doubles(mean_at, c), doubles(m2_at, c)
    other_mean, other_m2 = doubles(other_mean_at, c), doubles(other_m2_at, c)
    weight = other_n / (n + other_n)
    for j in range(c):
        delta = other_mean[j] - mean[j]
        mean[j] += delta * weight
        m2[j] += other_m2[j] + delta * delta * n * weight


@helper
def sums_about(pixels: int, c: int, x: int, shift: int, sums: int, squares: int) -> None:
    """The sums of x - shift and of their squares, group by group."""
    for group in range((c + GROUP - 1) // GROUP):
        start = group * GROUP
        at, width = FLOAT * start, min(GROUP, c - start)
        column_sums(pixels, width, c, x + at, shift + at, sums + at, squares + at)


@helper
def add_block(seen: float, n: int, c: int, x: int, mean_at: int, m2_at: int, room: int) -> float:
    """Add n rows of x to the mean and the squared distances from it (float64) of the ``seen`` before; how many are seen
    now. ``room`` is 28 bytes a channel.

    Blocks are centred on the mean so far, the first on its own. That is as good as centring each on its own mean: where
    the two are far apart, so is the block from what came before, and the variance is as large.
    """
    block_m2_at = room + DOUBLE * c
    shift_at = block_m2_at + DOUBLE * c
    sums_at = shift_at + FLOAT * c
    squares_at = sums_at + FLOAT * c
    mean, block_mean, block_m2 = doubles(mean_at, c), doubles(room, c), doubles(block_m2_at, c)
    shift, sums, squares = floats(shift_at, c), floats(sums_at, c), floats(squares_at, c)
    for j in range(c):
        shift[j] = np.float32(mean[j])
    if seen == 0:
        sums_about(n, c, x, shift_at, sums_at, squares_at)
        for j in range(c):
            shift[j] = sums[j] / np.float32(n)
    sums_about(n, c, x, shift_at, sums_at, squares_at)
    share_of_one = 1.0 / n
    for j in range(c):
        distance = np.float64(sums[j]) * share_of_one
        block_mean[j] = np.float64(shift[j]) + distance
        block_m2[j] = np.float64(squares[j]) - np.float64(sums[j]) * distance
    merge(seen, mean_at, m2_at, np.float64(n), room, block_m2_at, c)
    return seen + n


@helper
def add_rows_in_blocks(seen: float, rows: int, c: int, x: int, mean_at: int, m2_at: int, room: int) -> float:
    """The same for any number of rows."""
    for block in range((rows + MOST_ROWS - 1) // MOST_ROWS):
        n = min(MOST_ROWS, rows - block * MOST_ROWS)
        seen = add_block(seen, n, c, x + FLOAT * block * MOST_ROWS * c, mean_at, m2_at, room)
    return seen


@body
def statistics(part: int, parts: int, words: Any) -> None:
    """Words: rows, c, rows of a block, x, means and squared distances from them (float64, a row a part), rows seen
    (float64, one a part), room (28 bytes a channel and part)."""
    rows, c, step = words[0], words[1], words[2]
    mean_at, m2_at, room = words[4] + DOUBLE * part * c, words[5] + DOUBLE * part * c, words[7] + 28 * part * c
    clear_doubles(mean_at, c)
    clear_doubles(m2_at, c)
    first, last = share((rows + step - 1) // step, part, parts)
    seen = 0.0
    for block in range(first, last):
        n = min(step, rows - block * step)
        seen = add_block(seen, n, c, words[3] + FLOAT * block * step * c, mean_at, m2_at, room)
    doubles(words[6], parts)[part] = seen


@body
def merged_statistics(part: int, parts: int, words: Any) -> None:
    """Words: c, parts, their means and squared distances, rows that they saw, mean, variance."""
    c, count, numbers = words[0], words[1], doubles(words[4], words[1])
    seen = 0.0
    for p in range(count):
        if p > 0 and numbers[p] > 0:
            at = DOUBLE * p * c
            merge(seen, words[2], words[3], numbers[p], words[2] + at, words[3] + at, c)
        seen += numbers[p]
    means, m2 = doubles(words[2], c), doubles(words[3], c)
    mean, variance = floats(words[5], c), floats(words[6], c)
    for j in range(c):
        mean[j] = np.float32(means[j])
        variance[j] = np.float32(m2[j] / seen)


@helper
def inverse_deviation(variance: float, epsilon: float) -> float:
    """1 / sqrt(variance + epsilon), in float64."""
    return 1.0 / np.sqrt(np.float64(variance) + epsilon)


@body
def coefficients(part: int, parts: int, words: Any) -> None:
    """The normalization as x scale + shift, times a factor.

    Words: c, gamma, beta, mean, variance, epsilon, factor, scale, shift."""
    c, epsilon, factor = words[0], real(words[5]), real(words[6])
    gamma, beta, mean, variance = floats(words[1], c), floats(words[2], c), floats(words[3], c), floats(words[4], c)
    scale, shift = floats(words[7], c), floats(words[8], c)
    for j in range(c):
        exact = inverse_deviation(variance[j], epsilon)
        if words[1] != 0:
            exact *= np.float64(gamma[j])
        moved = -np.float64(mean[j]) * exact
        if words[2] != 0:
            moved += np.float64(beta[j])
        scale[j], shift[j] = np.float32(exact * factor), np.float32(moved * factor)


@helper
def unit_of_image(unit: int, height: int, width: int, oh: int, c: int) -> int:
    """Where in x, in bytes, the two rows begin that a row of pooled pixels comes from."""
    return FLOAT * ((unit // oh * height + 2 * (unit % oh)) * width) * c


@helper
def draw_unit(room: int, kept: int, first: int, count: int, state: int, threshold: int) -> int:
    """Draw the bytes of ``count`` elements from ``first`` on; where the first of them lies, at or just behind ``kept``.
    ``room`` is that for the words of ``ELEMENTS`` elements."""
    counter, stop = first // 4, (first + count + 3) // 4
    for chunk in range((stop - counter + COUNTERS - 1) // COUNTERS):
        start = counter + chunk * COUNTERS
        draw_kept(kept + chunk * ELEMENTS, room, start, min(COUNTERS, stop - start), state, threshold)
    return kept + first % 4


@body
def apply(part: int, parts: int, words: Any) -> None:
    """Words: pixels of the output, those of a unit, c, x, height and width of an image and rows of its output (or 0
    where nothing is pooled), scale, shift, state (or 0), threshold, y, index,
    room for words and for a unit's bytes, its size a part."""
    total, pixels, c, x, height, width, oh = words[0], words[1], words[2], words[3], words[4], words[5], words[6]
    scale, shift, state, threshold, y, index = words[7], words[8], words[9], words[10], words[11], words[12]
    room = words[13] + words[14] * part
    first, last = share((total + pixels - 1) // pixels, part, parts)
    for unit in range(first, last):
        n = min(pixels, total - unit * pixels)
        element = unit * pixels * c
        source = x + (unit_of_image(unit, height, width, oh, c) if oh != 0 else FLOAT * element)
        kept = 0
        if state != 0:
            kept = draw_unit(room, room + FLOAT * ELEMENTS, element, n * c, state, threshold)
        for group in range((c + GROUP - 1) // GROUP):
            j = group * GROUP
            at, size = FLOAT * j, min(GROUP, c - j)
            target, place = y + FLOAT * element + at, index + element + j
            if oh != 0:
                row = width * c
                if state != 0:
                    affine_pooled_dropped(n, size, c, source + at, row, scale + at, shift + at, kept + j, target, place)
                else:
                    affine_pooled(n, size, c, source + at, row, scale + at, shift + at, 0, target, place)
            elif state != 0:
                affine_dropped(n, size, c, source + at, scale + at, shift + at, kept + j, target)
            else:
                affine(n, size, c, source + at, scale + at, shift + at, 0, target)


@body
def sums_of_gradient(part: int, parts: int, words: Any) -> None:
    """Words: as those of ``apply`` up to the rows of the output, then mean, gradient, index, state, threshold, totals
    (float64, a row of 2 c a part), room for sums and words, its size a part, where a unit's bytes go, their number."""
    total, pixels, c, x, height, width, oh = words[0], words[1], words[2], words[3], words[4], words[5], words[6]
    mean, g, index, state, threshold = words[7], words[8], words[9], words[10], words[11]
    totals, sums_at = words[12] + DOUBLE * 2 * c * part, words[13] + words[14] * part
    room = sums_at + 2 * FLOAT * c
    clear_doubles(totals, 2 * c)
    wide, sums = doubles(totals, 2 * c), floats(sums_at, 2 * c)
    first, last = share((total + pixels - 1) // pixels, part, parts)
    for unit in range(first, last):
        n = min(pixels, total - unit * pixels)
        element = unit * pixels * c
        source = x + (unit_of_image(unit, height, width, oh, c) if oh != 0 else FLOAT * element)
        kept = 0
        if state != 0:
            kept = draw_unit(room, words[15] + words[16] * unit, element, n * c, state, threshold)
        for group in range((c + GROUP - 1) // GROUP):
            j = group * GROUP
            at, size, row = FLOAT * j, min(GROUP, c - j), width * c
            gradient, place, to, to_products = g + FLOAT * element + at, index + element + j, sums_at + at, 0
            to_products = to + FLOAT * c
            if oh != 0 and state != 0:
                gradient_sums_pooled_dropped(
                    n, size, c, source + at, row, mean + at, gradient, place, kept + j, to, to_products
                )
            elif oh != 0:
                gradient_sums_pooled(n, size, c, source + at, row, mean + at, gradient, place, 0, to, to_products)
            elif state != 0:
                gradient_sums_dropped(n, size, c, source + at, 0, mean + at, gradient, 0, kept + j, to, to_products)
            else:
                gradient_sums(n, size, c, source + at, 0, mean + at, gradient, 0, 0, to, to_products)
        for j in range(2 * c):
            wide[j] += np.float64(sums[j])


@body
def gradient_coefficients(part: int, parts: int, words: Any) -> None:
    """dx = scale (g - mean(g) - z mean(g z)) with z = (x - mean) inverse, as scale g + slope x + offset.

    Words: c, rows of x, how many parts, totals, gamma, mean, variance, epsilon, factor of g, scale, slope, offset,
    dgamma, dbeta."""
    c, rows, epsilon, factor = words[0], np.float64(words[1]), real(words[7]), real(words[8])
    total = doubles(words[3], 2 * c)
    for p in range(1, words[2]):
        other = doubles(words[3] + DOUBLE * 2 * c * p, 2 * c)
        for j in range(2 * c):
            total[j] += other[j]
    sums, products = doubles(words[3], c), doubles(words[3] + DOUBLE * c, c)
    gamma, mean, variance = floats(words[4], c), floats(words[5], c), floats(words[6], c)
    scale, slope, offset = floats(words[9], c), floats(words[10], c), floats(words[11], c)
    dgamma, dbeta = floats(words[12], c), floats(words[13], c)
    for j in range(c):
        inverse = inverse_deviation(variance[j], epsilon)
        sum_g, sum_gc = sums[j] * factor, products[j] * factor
        dgamma[j], dbeta[j] = np.float32(sum_gc * inverse), np.float32(sum_g)
        exact = inverse * np.float64(gamma[j]) if words[4] != 0 else inverse
        steep = -exact * inverse * inverse * sum_gc / rows
        scale[j], slope[j] = np.float32(exact * factor), np.float32(steep)
        offset[j] = np.float32(-exact * sum_g / rows - steep * np.float64(mean[j]))


@helper
def apply_to_unit(
    pooled: bool, dropped: bool, n: int, c: int, row: int, x: int, g: int, index: int, kept: int, factors: Any, dx: int
) -> None:
    """dx of a unit; ``factors`` is (scale, slope, offset)."""
    scale, slope, offset = factors
    for group in range((c + GROUP - 1) // GROUP):
        j = group * GROUP
        at, size = FLOAT * j, min(GROUP, c - j)
        a, b, d, from_x, from_g, to = scale + at, slope + at, offset + at, x + at, g + at, dx + at
        if pooled and dropped:
            gradient_apply_pooled_dropped(n, size, c, from_x, row, from_g, index + j, kept + j, a, b, d, to)
        elif pooled:
            gradient_apply_pooled(n, size, c, from_x, row, from_g, index + j, 0, a, b, d, to)
        elif dropped:
            gradient_apply_dropped(n, size, c, from_x, 0, from_g, 0, kept + j, a, b, d, to)
        else:
            gradient_apply(n, size, c, from_x, 0, from_g, 0, 0, a, b, d, to)


@helper
def apply_to_unit_masked(
    pooled: bool, dropped: bool, n: int, c: int, row: int, x: int, g: int, index: int, kept: int, factors: Any, dx: int
) -> None:
    """The same, 0 where x is not positive."""
    scale, slope, offset = factors
    for group in range((c + GROUP - 1) // GROUP):
        j = group * GROUP
        at, size = FLOAT * j, min(GROUP, c - j)
        a, b, d, from_x, from_g, to = scale + at, slope + at, offset + at, x + at, g + at, dx + at
        if pooled and dropped:
            gradient_apply_pooled_dropped_masked(n, size, c, from_x, row, from_g, index + j, kept + j, a, b, d, to)
        elif pooled:
            gradient_apply_pooled_masked(n, size, c, from_x, row, from_g, index + j, 0, a, b, d, to)
        elif dropped:
            gradient_apply_dropped_masked(n, size, c, from_x, 0, from_g, 0, kept + j, a, b, d, to)
        else:
            gradient_apply_masked(n, size, c, from_x, 0, from_g, 0, 0, a, b, d, to)


@helper
def without_gradient(pixels: int, c: int, x: int, slope: int, offset: int, masked: int, dx: int) -> None:
    """dx = slope x + offset, for pixels that no window covers; 0 where masked and x is not positive."""
    a, b = floats(slope, c), floats(offset, c)
    for pixel in range(pixels):
        source, target = floats(x + FLOAT * pixel * c, c), floats(dx + FLOAT * pixel * c, c)
        for j in range(c):
            value = source[j] * a[j] + b[j]
            target[j] = value if masked == 0 or source[j] > 0 else np.float32(0.0)


@body
def apply_gradient(part: int, parts: int, words: Any) -> None:
    """Words: as those of ``apply`` up to the rows of the output, then gradient, index, state (or 0), scale, slope,
    offset, whether x is a relu's output and dx the gradient in front of it, dx, where a unit's bytes are, their number.
    """
    total, pixels, c, x, height, width, oh = words[0], words[1], words[2], words[3], words[4], words[5], words[6]
    g, index, state, slope, offset, masked, dx = (
        words[7],
        words[8],
        words[9],
        words[11],
        words[12],
        words[13],
        words[14],
    )
    factors = words[10], slope, offset
    first, last = share((total + pixels - 1) // pixels, part, parts)
    for unit in range(first, last):
        n = min(pixels, total - unit * pixels)
        element = unit * pixels * c
        where = unit_of_image(unit, height, width, oh, c) if oh != 0 else FLOAT * element
        source, goal, row = x + where, dx + where, width * c
        kept = words[15] + words[16] * unit + element % 4
        gradient, place = g + FLOAT * element, index + element
        if masked != 0:
            apply_to_unit_masked(oh != 0, state != 0, n, c, row, source, gradient, place, kept, factors, goal)
        else:
            apply_to_unit(oh != 0, state != 0, n, c, row, source, gradient, place, kept, factors, goal)
        if oh != 0:
            row *= FLOAT
            if 2 * n < width:
                edge = FLOAT * 2 * n * c
                without_gradient(width - 2 * n, c, source + edge, slope, offset, masked, goal + edge)
                without_gradient(width - 2 * n, c, source + row + edge, slope, offset, masked, goal + row + edge)
            if unit % oh == oh - 1 and 2 * oh < height:
                without_gradient(width, c, source + 2 * row, slope, offset, masked, goal + 2 * row)
