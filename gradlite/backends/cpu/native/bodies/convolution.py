"""Convolutions as they are defined: a tile of output pixels is a product whose left factor are windows of a strip.

Nothing is unfolded: the windows of neighbouring pixels overlap in memory, and a tile reads them a number at a time.
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
    share,
)
from gradlite.backends.cpu.native.bodies.normalization import GROUP, MOST_ROWS, add_rows_in_blocks
from gradlite.backends.cpu.native.bodies.products import COLUMNS, ROWS, tile
from gradlite.backends.cpu.native.bodies.reductions import add_all_rows
from gradlite.backends.cpu.native.bodies.strips import fill_strip, pad_rows, whole

finish, finish_affine = external("gradlite_finish", 6), external("gradlite_finish_affine", 8)


@body
def convolve(part: int, parts: int, words: Any) -> None:
    """y (n, oh, ow, f) = x (n, height, width, c) convolved with w (kh, kw, c, f padded), plus bias, rectified,
    times scale, plus offset.

    Words: n, height, width, c, oh, ow, f, kh, kw, stride_h, stride_w, dilation_h, dilation_w, top, left, x, w, bias,
    relu, scale (or 0), offset, y, scratch, columns of the strip; means (or 0), squared distances, rows seen, and room,
    as in `statistics`, for those of y.
    """
    n, height, width, c, oh, ow, f = words[0], words[1], words[2], words[3], words[4], words[5], words[6]
    kh, kw, stride_h, stride_w, dilation_h, dilation_w = words[7], words[8], words[9], words[10], words[11], words[12]
    top, left, x, w, bias, relu, scale, offset = (
        words[13],
        words[14],
        words[15],
        words[16],
        words[17],
        words[18],
        words[19],
        words[20],
    )
    y, columns = words[21], words[23]
    padded = whole(f)
    strip = words[22] + FLOAT * part * (kh * columns * c + padded)
    shift = strip + FLOAT * kh * columns * c
    clear(shift, padded)
    if bias != 0:
        copy(bias, shift, f)
    # Windows without gaps are one stretch of numbers for each of their rows.
    stretches, k = (kw, c) if dilation_w > 1 else (1, kw * c)
    tiles = (ow + ROWS - 1) // ROWS
    tall = (ow + tiles - 1) // tiles
    mean_at, m2_at, room = words[24] + DOUBLE * part * f, words[25] + DOUBLE * part * f, words[27] + 28 * part * f
    seen, waiting, at_once = 0.0, 0, max(1, MOST_ROWS // ow)
    if words[24] != 0:
        clear_doubles(mean_at, f)
        clear_doubles(m2_at, f)
    first, last = share(n * oh, part, parts)
    for r in range(first, last):
        image = x + FLOAT * (r // oh) * height * width * c
        fill_strip(strip, (kh, columns, c), dilation_h, image, (height, width, c), r % oh * stride_h - top, -left)
        for t in range(tiles):
            rows = min(tall, ow - t * tall)
            for p in range((padded + COLUMNS - 1) // COLUMNS):
                wide = min(COLUMNS, f - p * COLUMNS)
                target = y + FLOAT * ((r * ow + t * tall) * f + p * COLUMNS)
                for s in range(stretches):
                    source = strip + FLOAT * (t * tall * stride_w + s * dilation_w) * c
                    weights = w + FLOAT * (s * c * padded + p * COLUMNS)
                    tile(
                        rows, wide, k, source, stride_w * c, 1, weights, padded, target, f, 1 if s > 0 else 0,
                        kh, columns * c, kw * c * padded,
                    )  # fmt: skip
        for group in range((f + GROUP - 1) // GROUP):
            at, wide = FLOAT * group * GROUP, min(GROUP, f - group * GROUP)
            target = y + FLOAT * r * ow * f + at
            if scale != 0:
                finish_affine(ow, wide, f, target, shift + at, relu, scale + at, offset + at)
            elif bias != 0 or relu != 0:
                finish(ow, wide, f, target, shift + at, relu)
        waiting += 1
        if words[24] != 0 and (waiting == at_once or r == last - 1):
            place = y + FLOAT * (r + 1 - waiting) * ow * f
            seen = add_rows_in_blocks(seen, waiting * ow, f, place, mean_at, m2_at, room)
            waiting = 0
    if words[24] != 0:
        doubles(words[26], parts)[part] = seen


@body
def kernel(part: int, parts: int, words: Any) -> None:
    """The kernel w (kh, kw, c, f), its rows padded to whole vectors; or, ``turned``, turned round and with c and f
    exchanged: (kh, kw, f, c padded).

    Words: taps (kh kw), c, f, w, turned, out.
    """
    taps, c, f, turned = words[0], words[1], words[2], words[4]
    rows, columns = (f, c) if turned else (c, f)
    padded = whole(columns)
    first, last = share(taps * rows, part, parts)
    for line in range(first, last):
        tap, i = line // rows, line % rows
        place = words[5] + FLOAT * line * padded
        if turned:
            target, weights = floats(place, columns), floats(words[3] + FLOAT * ((taps - 1 - tap) * c * f + i), c * f)
            for j in range(columns):
                target[j] = weights[j * f]
        else:
            copy(words[3] + FLOAT * line * f, place, columns)
        clear(place + FLOAT * columns, padded - columns)


@body
def correlate(part: int, parts: int, words: Any) -> None:
    """The gradient of the kernel, dw (parts, kh, kw, c, f padded), from x and the gradient of y: products over pixels;
    and the sums of the latter's columns.

    Words: n, height, width, c, oh, ow, f, kh, kw, stride_h, stride_w, dilation_h, dilation_w, top, left, x, gradient,
    dw, scratch, rows of the strip, columns of the strip; totals (or 0; float64, a row a part), blocks (a row a part).
    """
    n, height, width, c, oh, ow, f = words[0], words[1], words[2], words[3], words[4], words[5], words[6]
    kh, kw, stride_h, stride_w, dilation_h, dilation_w = words[7], words[8], words[9], words[10], words[11], words[12]
    top, left, x, gradient = words[13], words[14], words[15], words[16]
    strip_rows, columns = words[19], words[20]
    padded = whole(f)
    strip = words[18] + FLOAT * part * (strip_rows * columns * c + oh * ow * padded)
    copied = strip + FLOAT * strip_rows * columns * c
    dw = words[17] + FLOAT * part * kh * kw * c * padded
    stretches, m = (kw, c) if dilation_w > 1 else (1, kw * c)
    tiles = (m + ROWS - 1) // ROWS
    tall = (m + tiles - 1) // tiles
    totals, sums = words[21] + DOUBLE * part * f, words[22] + FLOAT * part * f
    if words[21] != 0:
        clear_doubles(totals, f)
    first, last = share(n, part, parts)
    for image in range(first, last):
        inputs = x + FLOAT * image * height * width * c
        fill_strip(strip, (strip_rows, columns, c), 1, inputs, (height, width, c), -top, -left)
        right = gradient + FLOAT * image * oh * ow * f
        if words[21] != 0:
            add_all_rows(totals, sums, right, oh * ow, f)
        if padded != f:
            pad_rows(right, copied, oh * ow, f, padded)
            right = copied
        for row in range(kh):
            for s in range(stretches):
                for t in range(tiles):
                    rows = min(tall, m - t * tall)
                    source = strip + FLOAT * ((row * dilation_h * columns + s * dilation_w) * c + t * tall)
                    for p in range((padded + COLUMNS - 1) // COLUMNS):
                        wide = min(COLUMNS, padded - p * COLUMNS)
                        target = dw + FLOAT * ((row * kw * c + s * c + t * tall) * padded + p * COLUMNS)
                        tile(
                            rows, wide, ow, source, 1, stride_w * c, right + FLOAT * p * COLUMNS, padded,
                            target, padded, 1 if image > first else 0, oh, stride_h * columns * c, ow * padded,
                        )  # fmt: skip


@body
def kernel_gradient(part: int, parts: int, words: Any) -> None:
    """dw (rows, f), the sum of its copies (copies, rows, f padded) in order.

    Words: rows, f, copies, their place, dw.
    """
    rows, f, copies = words[0], words[1], words[2]
    padded = whole(f)
    first, last = share(rows, part, parts)
    for row in range(first, last):
        total = floats(words[4] + FLOAT * row * f, f)
        copy(words[3] + FLOAT * row * padded, words[4] + FLOAT * row * f, f)
        for k in range(1, copies):
            more = floats(words[3] + FLOAT * (k * rows + row) * padded, f)
            for i in range(f):
                total[i] += more[i]
