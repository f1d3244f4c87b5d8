"""Winograd's convolutions: blocks of tiles, transformed, multiplied position by position, and transformed back.

A block is some rows of tiles, few enough that its planes stay in the second-level cache. Channels are padded to whole
vectors in what is transformed, so that only the last step looks at ragged edges.
"""

from __future__ import annotations

from typing import Any

from gradlite.backends.cpu.native.bodies import (
    DOUBLE,
    FLOAT,
    body,
    clear,
    clear_doubles,
    copy,
    doubles,
    external,
    floats,
    helper,
    lines,
    share,
)
from gradlite.backends.cpu.native.bodies.normalization import add_rows_in_blocks
from gradlite.backends.cpu.native.bodies.products import COLUMNS, ROWS, prefetch, tile
from gradlite.backends.cpu.native.bodies.reductions import add_all_rows
from gradlite.backends.cpu.native.bodies.strips import LANES, fill_normalized_strip, fill_strip, whole
from gradlite.backends.cpu.native.winograd import GAP

inputs_4, inputs_2 = external("gradlite_winograd4_inputs", 6), external("gradlite_winograd2_inputs", 6)
gradients_4, gradients_2 = external("gradlite_winograd4_gradients", 6), external("gradlite_winograd2_gradients", 6)
kernel_4, kernel_2 = external("gradlite_winograd4_kernel", 6), external("gradlite_winograd2_kernel", 6)
results_4, results_2 = external("gradlite_winograd4_results", 10), external("gradlite_winograd2_results", 10)
affine_4, affine_2 = (external(f"gradlite_winograd{m}_results_affine", 10) for m in (4, 2))
pooled_4, pooled_2 = (external(f"gradlite_winograd{m}_results_pooled", 10) for m in (4, 2))
back_4, back_2 = external("gradlite_winograd4_kernel_gradient", 6), external("gradlite_winograd2_kernel_gradient", 6)


@helper
def transform_inputs(
    m: int, x: int, shape: Any, tiles: Any, rows: Any, strip: int, v: int, plane: int, factors: Any
) -> None:
    """The planes v (positions, tiles, c) of the tile rows ``rows`` of x, for shape (height, width, c, top, left) and
    tiles (down, across); ``factors`` as in `fill_normalized_strip`."""
    height, width, c, top, left = shape
    down, across = tiles
    r0, r1 = rows
    padded = whole(c)
    columns = across * m + 2
    for r in range(r0, r1):
        image = x + FLOAT * (r // down) * height * width * c
        fill_normalized_strip(
            strip, (m + 2, columns, padded), 1, image, (height, width, c), r % down * m - top, -left, factors
        )
        for q in range(across):
            start = strip + FLOAT * q * m * padded
            target = v + FLOAT * ((r - r0) * across + q) * padded
            if m == 4:
                inputs_4(padded // LANES, start, columns * padded, padded, target, plane)
            else:
                inputs_2(padded // LANES, start, columns * padded, padded, target, plane)


@helper
def rows_ahead(x: int, shape: Any, down: int, m: int, first: int, last: int) -> tuple[int, int]:
    """Where the pixels lie that the tile rows from ``first`` to ``last`` cover in images of ``shape`` (height, width,
    numbers of a pixel), and how many numbers they are; none where there are no such rows."""
    height, width, c = shape
    if first >= last:
        return x, 0
    start = first // down * height + min(first % down * m, height)
    stop = (last - 1) // down * height + min((last - 1) % down * m + m, height)
    return x + FLOAT * start * width * c, (stop - start) * width * c


@helper
def ask_for(ahead: tuple[int, int], turn: int, turns: int) -> None:
    """Have the numbers of an address brought to the cache whose turn it is, when all are in so many turns."""
    start, stop = lines(ahead[1], turn, turns)
    if start < stop:
        prefetch(ahead[0] + FLOAT * start, stop - start)


@helper
def multiply_planes(
    positions: int, count: int, c: int, f: int, v: int, v_plane: int, u: int, out: int, o_plane: int, ahead: Any
) -> None:
    """out (positions, count, f) = v (positions, count, c) times u (positions, c, f), for padded f and planes of u with
    a gap. Meanwhile numbers
    ``ahead`` come from memory."""
    padded = whole(c)
    for position in range(positions):
        ask_for(ahead[0], position, positions)
        ask_for(ahead[1], position, positions)
        left, right = v + FLOAT * position * v_plane, u + FLOAT * position * (c * f + GAP)
        target = out + FLOAT * position * o_plane
        for t in range((count + ROWS - 1) // ROWS):
            rows = min(ROWS, count - t * ROWS)
            for p in range((f + COLUMNS - 1) // COLUMNS):
                columns = min(COLUMNS, f - p * COLUMNS)
                tile(
                    rows, columns, c, left + FLOAT * t * ROWS * padded, padded, 1, right + FLOAT * p * COLUMNS, f,
                    target + FLOAT * (t * ROWS * f + p * COLUMNS), f, 0, 1, 0, 0,
                )  # fmt: skip


@helper
def write_results(m: int, f: int, source: int, plane: int, behind: Any, pooled: int, y: int, row: int) -> None:
    """A tile of y from its place in the planes; ``behind`` it are (bias, relu, scale, offset)."""
    bias, relu, scale, offset = behind
    if pooled != 0:
        if m == 4:
            pooled_4(f, source, plane, bias, relu, scale, offset, y, row, f)
        else:
            pooled_2(f, source, plane, bias, relu, scale, offset, y, row, f)
    elif scale != 0:
        if m == 4:
            affine_4(f, source, plane, bias, relu, scale, offset, y, row, f)
        else:
            affine_2(f, source, plane, bias, relu, scale, offset, y, row, f)
    elif m == 4:
        results_4(f, source, plane, bias, relu, 0, 0, y, row, f)
    else:
        results_2(f, source, plane, bias, relu, 0, 0, y, row, f)


@helper
def padded_vector(source: int, target: int, count: int) -> int:
    """Copy numbers to where they may be read as whole vectors; the address there, or 0 where there are none."""
    clear(target, whole(count))
    if source == 0:
        return 0
    copy(source, target, count)
    return target


@body
def convolve(part: int, parts: int, words: Any) -> None:
    """y (n, oh, ow, f) = x (n, height, width, c) convolved with the transformed kernel u, plus bias, rectified, times
    scale, plus offset, and the largest of every 2 x 2 pixels, (n, oh // 2, ow // 2, f). Or y as it is rectified, and
    its channels' statistics.

    Words: m, n, height, width, c, top, left, oh, ow, f, x, u, bias, relu, scale (or 0), offset, pooled, y, block,
    scratch, scratch_numbers; means (or 0), squared distances, rows seen, and room, as in `statistics`; scale (or 0) and
    offset of x, by which it is normalized first. A block has ``block`` rows of tiles.
    """
    m, n, height, width, c, top, left = words[0], words[1], words[2], words[3], words[4], words[5], words[6]
    oh, ow, f, x, u, relu, pooled, y = (
        words[7],
        words[8],
        words[9],
        words[10],
        words[11],
        words[13],
        words[16],
        words[17],
    )
    block, scratch, factors = words[18], words[19] + FLOAT * part * words[20], (words[25], words[26])
    down, across = (oh + m - 1) // m, (ow + m - 1) // m
    positions = (m + 2) * (m + 2)
    v_plane, o_plane = block * across * whole(c) + GAP, block * across * whole(f) + GAP
    v = scratch
    products = v + FLOAT * positions * v_plane
    strip = products + FLOAT * positions * o_plane
    vectors = strip + FLOAT * (m + 2) * (across * m + 2) * whole(c)
    padded_vector(words[12], vectors, f)
    scale = padded_vector(words[14], vectors + FLOAT * whole(f), f)
    offset = padded_vector(words[15], vectors + FLOAT * 2 * whole(f), f)
    behind = vectors, relu, scale, offset
    edge = vectors + FLOAT * 3 * whole(f)
    side, height_y, width_y = (m // 2, oh // 2, ow // 2) if pooled else (m, oh, ow)
    mean_at, m2_at, room = words[21] + DOUBLE * part * f, words[22] + DOUBLE * part * f, words[24] + 28 * part * f
    seen = 0.0
    if words[21] != 0:
        clear_doubles(mean_at, f)
        clear_doubles(m2_at, f)
    first, last = share(n * down, part, parts)
    for b in range((last - first + block - 1) // block):
        r0 = first + b * block
        r1 = min(r0 + block, last)
        transform_inputs(m, x, (height, width, c, top, left), (down, across), (r0, r1), strip, v, v_plane, factors)
        x_ahead = rows_ahead(x, (height, width, c), down, m, r1, min(r1 + block, last))
        ahead = x_ahead, rows_ahead(y, (height_y, width_y, f), down, side, r0, r1)
        multiply_planes(positions, (r1 - r0) * across, c, whole(f), v, v_plane, u, products, o_plane, ahead)
        for r in range(r0, r1):
            for q in range(across):
                source = products + FLOAT * ((r - r0) * across + q) * whole(f)
                rows, columns = min(side, height_y - r % down * side), min(side, width_y - q * side)
                place = y + FLOAT * (((r // down) * height_y + r % down * side) * width_y + q * side) * f
                whole_tile = rows == side and columns == side
                target, row = (place, width_y * f) if whole_tile else (edge, side * f)
                write_results(m, f, source, o_plane, behind, pooled, target, row)
                if not whole_tile:
                    for line in range(rows):
                        copy(edge + FLOAT * line * side * f, place + FLOAT * line * width_y * f, columns * f)
            if words[21] != 0:
                rows = min(m, oh - r % down * m) * ow
                place = y + FLOAT * (r // down * oh + r % down * m) * ow * f
                seen = add_rows_in_blocks(seen, rows, f, place, mean_at, m2_at, room)
    if words[21] != 0:
        doubles(words[23], parts)[part] = seen


@body
def kernel(part: int, parts: int, words: Any) -> None:
    """u (positions, c, f padded) = G w G^T for w (3, 3, c, f); or, ``turned``, for w turned round and with c and f
    exchanged: u (positions, f, c padded).

    Words: m, c, f, w, turned, u, scratch, scratch_numbers.
    """
    m, c, f, w, turned, u = words[0], words[1], words[2], words[3], words[4], words[5]
    scratch = words[6] + FLOAT * part * words[7]
    rows, columns = (f, c) if turned else (c, f)
    padded = whole(columns)
    first, last = share(rows, part, parts)
    for i in range(first, last):
        for tap in range(9):
            taps = floats(scratch + FLOAT * tap * padded, padded)
            if turned:
                weights = floats(w + FLOAT * ((8 - tap) * c * f + i), c * f)
                for j in range(columns):
                    taps[j] = weights[j * f]
            else:
                copy(w + FLOAT * (tap * c + i) * f, scratch + FLOAT * tap * padded, columns)
            clear(scratch + FLOAT * (tap * padded + columns), padded - columns)
        if m == 4:
            kernel_4(padded // LANES, scratch, 3 * padded, padded, u + FLOAT * i * padded, rows * padded + GAP)
        else:
            kernel_2(padded // LANES, scratch, 3 * padded, padded, u + FLOAT * i * padded, rows * padded + GAP)


@body
def correlate(part: int, parts: int, words: Any) -> None:
    """The transformed gradient of the kernel, du (parts, positions, c, f padded), from x and the gradient of y; and the
    sums of the latter's columns.

    Words: m, n, height, width, c, top, left, oh, ow, f, x, gradient, du, block, scratch, scratch_numbers; totals (or
    0; float64, a row a part), blocks (a row a part); scale (or 0) and offset of x, by which it is normalized first.
    """
    m, n, height, width, c, top, left = words[0], words[1], words[2], words[3], words[4], words[5], words[6]
    oh, ow, f, x, gradient, block = words[7], words[8], words[9], words[10], words[11], words[13]
    scratch = words[14] + FLOAT * part * words[15]
    down, across = (oh + m - 1) // m, (ow + m - 1) // m
    positions = (m + 2) * (m + 2)
    padded_c, padded_f = whole(c), whole(f)
    v_plane, z_plane = block * across * padded_c + GAP, block * across * padded_f + GAP
    v = scratch
    z = v + FLOAT * positions * v_plane
    strip = z + FLOAT * positions * z_plane
    du_plane = c * padded_f + GAP
    du = words[12] + FLOAT * part * positions * du_plane
    totals, sums, factors = words[16] + DOUBLE * part * f, words[17] + FLOAT * part * f, (words[18], words[19])
    if words[16] != 0:
        clear_doubles(totals, f)
    first, last = share(n * down, part, parts)
    for b in range((last - first + block - 1) // block):
        r0 = first + b * block
        r1 = min(r0 + block, last)
        transform_inputs(m, x, (height, width, c, top, left), (down, across), (r0, r1), strip, v, v_plane, factors)
        for r in range(r0, r1):
            rows = min(m, oh - r % down * m)
            lines_of_gradient = gradient + FLOAT * (r // down * oh + r % down * m) * ow * f
            in_place = rows == m and across * m == ow and padded_f == f
            if not in_place:
                fill_strip(strip, (m, across * m, padded_f), 1, lines_of_gradient, (rows, ow, f), 0, 0)
            source = lines_of_gradient if in_place else strip
            for q in range(across):
                start = source + FLOAT * q * m * padded_f
                target = z + FLOAT * ((r - r0) * across + q) * padded_f
                if m == 4:
                    gradients_4(padded_f // LANES, start, across * m * padded_f, padded_f, target, z_plane)
                else:
                    gradients_2(padded_f // LANES, start, across * m * padded_f, padded_f, target, z_plane)
            if words[16] != 0:
                add_all_rows(totals, sums, lines_of_gradient, rows * ow, f)
        count = (r1 - r0) * across
        r2 = min(r1 + block, last)
        x_ahead = rows_ahead(x, (height, width, c), down, m, r1, r2)
        gradient_ahead = rows_ahead(gradient, (oh, ow, f), down, m, r1, r2)
        for position in range(positions):
            ask_for(x_ahead, position, positions)
            ask_for(gradient_ahead, position, positions)
            left_plane, right_plane = v + FLOAT * position * v_plane, z + FLOAT * position * z_plane
            for t in range((c + ROWS - 1) // ROWS):
                rows = min(ROWS, c - t * ROWS)
                for p in range((padded_f + COLUMNS - 1) // COLUMNS):
                    columns = min(COLUMNS, padded_f - p * COLUMNS)
                    target = du + FLOAT * (position * du_plane + t * ROWS * padded_f + p * COLUMNS)
                    tile(
                        rows, columns, count, left_plane + FLOAT * t * ROWS, 1, padded_c,
                        right_plane + FLOAT * p * COLUMNS, padded_f, target, padded_f, 1 if b > 0 else 0, 1, 0, 0,
                    )  # fmt: skip


@body
def kernel_gradient(part: int, parts: int, words: Any) -> None:
    """dw (3, 3, c, f) = G^T du G, for du (copies, positions, c, f padded), summed over its copies in order.

    Words: m, c, f, du, copies, dw.
    """
    m, c, f, du, copies, dw = words[0], words[1], words[2], words[3], words[4], words[5]
    positions = (m + 2) * (m + 2)
    padded = whole(f)
    plane = c * padded + GAP
    first, last = share(c, part, parts)
    for i in range(first, last):
        for position in range(positions):
            total = floats(du + FLOAT * (position * plane + i * padded), padded)
            for k in range(1, copies):
                more = floats(du + FLOAT * ((k * positions + position) * plane + i * padded), padded)
                for j in range(padded):
                    total[j] += more[j]
        start, target = du + FLOAT * i * padded, dw + FLOAT * i * f
        if m == 4:
            back_4(f, start, plane, target, 3 * c * f, c * f)
        else:
            back_2(f, start, plane, target, 3 * c * f, c * f)
