"""Micro-kernels of matrix products: a tile of sums that stays in registers while the factors stream past.

The scheme is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): of the right
factor a panel, as wide as the tile, lies packed in cache; the left factor is read a number at a time, from wherever its
strides say, so that it may be a matrix, its transpose, or windows of an image.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from llvmlite import ir

from gradlite.backends.cpu.native.emit import Emitter
from gradlite.backends.cpu.native.target import Target

# Numbers in a cache line.
LINE = 16


def product_tile(module: ir.Module, target: Target) -> None:
    """``gradlite_product_tile(rows, columns, k, a, a_row, a_k, b, b_k, c, c_row, accumulate, pieces, a_piece,
    b_piece)``.

    c (rows, columns) = or += a (rows, k) times b (k, columns), where a's element (i, l) is at ``i * a_row + l * a_k``,
    b's rows are ``b_k`` apart and padded to whole vectors, and c's rows ``c_row`` apart. At most a tile of the target.
    Only c's own columns are touched. The sum goes over so many ``pieces`` of length k, each ``a_piece``
    and ``b_piece`` behind the one before: the rows of a convolution's window.
    """
    emit = Emitter(module, target, "gradlite_product_tile", 14)
    rows, columns, k, a, a_row, a_k, b, b_k, c, c_row, accumulate, pieces, a_piece, b_piece = emit.arguments
    lanes = target.lanes
    a, b, c = emit.pointer(a), emit.pointer(b), emit.pointer(c)
    # Which code: the rows, the vectors of a row, whether the last vector is shorter, whether sums go on from c.
    vectors = emit.builder.udiv(emit.add(columns, lanes - 1), emit.integer(lanes))
    last = emit.builder.sub(columns, emit.multiply(emit.add(vectors, -1), lanes))
    is_short = emit.builder.zext(emit.builder.icmp_signed("<", last, emit.integer(lanes)), rows.type)
    which = emit.multiply(rows, 32)
    for value, weight in ((vectors, 4), (is_short, 2), (accumulate, 1)):
        which = emit.add(which, emit.multiply(value, weight))

    def tile(m: int, n: int, short: bool, onto: bool) -> None:
        mask = emit.mask(last) if short else None
        places = [[emit.at(c, emit.add(emit.multiply(c_row, i), lanes * j)) for j in range(n)] for i in range(m)]

        def first(i: int, j: int) -> Any:
            if not onto:
                return emit.zero()
            return emit.load_masked(places[i][j], mask) if short and j == n - 1 else emit.load(places[i][j])

        a_rows = [emit.at(a, emit.multiply(a_row, i)) for i in range(m)]

        def piece(number: Any, sums: list[Any]) -> list[Any]:
            a_start, b_start = emit.multiply(number, a_piece), emit.at(b, emit.multiply(number, b_piece))

            def step(index: Any, sums: list[Any]) -> list[Any]:
                b_row = emit.at(b_start, emit.multiply(index, b_k))
                right = [emit.load(emit.at(b_row, lanes * j)) for j in range(n)]
                offset = emit.add(a_start, emit.multiply(index, a_k))
                new = []
                for i in range(m):
                    left = emit.broadcast(emit.at(a_rows[i], offset))
                    new += [emit.fma(left, right[j], sums[i * n + j]) for j in range(n)]
                return new

            return emit.loop(k, sums, step)

        sums = emit.loop(pieces, [first(i, j) for i in range(m) for j in range(n)], piece)
        for i in range(m):
            for j in range(n):
                if short and j == n - 1:
                    emit.store_masked(sums[i * n + j], places[i][j], mask)
                else:
                    emit.store(sums[i * n + j], places[i][j])

    shapes = {(m, n) for m in range(1, target.tile_rows + 1) for n in range(1, target.tile_vectors + 1)}
    emit.choose(
        which,
        {
            32 * m + 4 * n + 2 * short + onto: partial(tile, m, n, bool(short), bool(onto))
            for m, n in sorted(shapes)
            for short in (0, 1)
            for onto in (0, 1)
        },
    )
    emit.finish()


def prefetch(module: ir.Module, target: Target) -> None:
    """``gradlite_prefetch(start, numbers)``: ask for the cache lines of so many numbers, at least one of them."""
    emit = Emitter(module, target, "gradlite_prefetch", 2)
    start, numbers = emit.arguments
    lines = emit.builder.udiv(emit.add(numbers, LINE - 1), emit.integer(LINE))
    pointer = emit.pointer(start)

    def body(i: Any, _: list[Any]) -> list[Any]:
        emit.prefetch(emit.at(pointer, emit.multiply(i, LINE)))
        return []

    emit.loop(lines, [], body)
    emit.finish()


def generate(module: ir.Module, target: Target) -> None:
    """Write all tiles into ``module``."""
    product_tile(module, target)
    prefetch(module, target)
