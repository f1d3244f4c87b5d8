"""Micro-kernels that go along the pixels of a row, or along rows of numbers, for a group of channels.

Each holds what belongs to the channels in registers: factors, and sums. They serve batch normalization with what
follows it, pooling of windows of 2 x 2 pixels and dropout. All take ``pixels`` (at least 1), ``width``, the channels of
the group, and ``stride``, those of the image. Where pooling is, x is read at two rows, ``x_row`` apart, and the names
end in ``_pooled``; where dropout is, a byte of ``kept`` says of each element whether it stays, and they end in
``_dropped``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llvmlite import ir

from gradlite.backends.cpu.native.emit import Emitter
from gradlite.backends.cpu.native.target import Target

Vectors = list[Any]


def group_width(target: Target) -> int:
    """The most channels of a group."""
    return target.lanes * target.group_vectors


class _Group:
    """The channels of a group as vectors, the last of them perhaps shorter."""

    def __init__(self, emit: Emitter, vectors: int, mask: Any) -> None:
        self.emit, self.vectors, self.mask = emit, vectors, mask

    def _places(self, place: Callable[[Any, Any], Any], pointer: Any) -> list[tuple[Any, Any]]:
        """The address of every vector, and its mask."""
        last = self.vectors - 1
        return [(place(pointer, self.emit.lanes * j), self.mask if j == last else None) for j in range(self.vectors)]

    def load(self, pointer: Any) -> Vectors:
        emit = self.emit
        return [
            emit.load(place) if mask is None else emit.load_masked(place, mask)
            for place, mask in self._places(emit.at, pointer)
        ]

    def store(self, values: Sequence[Any], pointer: Any) -> None:
        for value, (place, mask) in zip(values, self._places(self.emit.at, pointer)):
            if mask is None:
                self.emit.store(value, place)
            else:
                self.emit.store_masked(value, place, mask)

    def load_bytes(self, pointer: Any) -> Vectors:
        return [self.emit.load_bytes(place, mask) for place, mask in self._places(self.emit.at_byte, pointer)]

    def store_bytes(self, values: Sequence[Any], pointer: Any) -> None:
        for value, (place, mask) in zip(values, self._places(self.emit.at_byte, pointer)):
            self.emit.store_bytes(value, place, mask)

    def kept(self, values: Vectors, pointer: Any) -> Vectors:
        """The values whose byte is not 0, else 0."""
        emit = self.emit
        flags = self.load_bytes(pointer)
        return [
            emit.select(emit.same_bytes(flag, emit.byte_constant(0)), emit.zero(), value)
            for flag, value in zip(flags, values)
        ]


def _by_group(emit: Emitter, width: Any, vectors: int, case: Callable[[_Group], None]) -> None:
    """The code of ``case`` for every number of vectors, whole ones and with a shorter one at the end."""
    count = emit.builder.udiv(emit.add(width, emit.lanes - 1), emit.integer(emit.lanes))
    last = emit.builder.sub(width, emit.multiply(emit.add(count, -1), emit.lanes))
    is_short = emit.builder.zext(emit.builder.icmp_signed("<", last, emit.integer(emit.lanes)), width.type)

    def write(n: int, short: int) -> None:
        case(_Group(emit, n, emit.mask(last) if short else None))

    cases: dict[int, Callable[[], None]] = {
        2 * n + short: partial(write, n, short) for n in range(1, vectors + 1) for short in (0, 1)
    }
    emit.choose(emit.add(emit.multiply(count, 2), is_short), cases)
    emit.finish()


def _suffix(pooled: bool, dropped: bool, masked: bool = False) -> str:
    return "_pooled" * pooled + "_dropped" * dropped + "_masked" * masked


def _taps(emit: Emitter, x: Any, x_row: Any, pixel: Any, stride: Any, pooled: bool) -> list[Any]:
    """Where the pixels of x are that one pixel of the output comes from, row by row."""
    if not pooled:
        return [emit.at(x, emit.multiply(pixel, stride))]
    first = emit.at(x, emit.multiply(pixel, emit.multiply(stride, 2)))
    second = emit.at(first, x_row)
    return [first, emit.at(first, stride), second, emit.at(second, stride)]


def _where_positive(emit: Emitter, x: Vectors, values: Vectors) -> Vectors:
    """The values where x is positive, else 0."""
    return [emit.select(emit.positive(a), v, emit.zero()) for a, v in zip(x, values)]


def column_sums(module: ir.Module, target: Target) -> None:
    """``gradlite_column_sums(pixels, width, stride, x, shift, sums, squares)``: the sums of x - shift and of their
    squares."""
    emit = Emitter(module, target, "gradlite_column_sums", 7)
    pixels, width, stride = emit.arguments[:3]
    x, shift, sums, squares = map(emit.pointer, emit.arguments[3:])

    def case(group: _Group) -> None:
        n, centre = group.vectors, group.load(shift)

        def body(pixel: Any, held: Vectors) -> Vectors:
            centred = [emit.minus(v, c) for v, c in zip(group.load(_taps(emit, x, 0, pixel, stride, False)[0]), centre)]
            added = [emit.plus(total, v) for total, v in zip(held[:n], centred)]
            return added + [emit.fma(v, v, total) for total, v in zip(held[n:], centred)]

        found = emit.loop(pixels, [emit.zero()] * (2 * n), body)
        group.store(found[:n], sums)
        group.store(found[n:], squares)

    _by_group(emit, width, target.group_vectors, case)


def affine(module: ir.Module, target: Target, dropped: bool) -> None:
    """``gradlite_affine(pixels, width, stride, x, scale, shift, kept, y)``: y = x scale + shift."""
    emit = Emitter(module, target, "gradlite_affine" + _suffix(False, dropped), 8)
    pixels, width, stride = emit.arguments[:3]
    x, scale, shift, kept, y = map(emit.pointer, emit.arguments[3:])

    def case(group: _Group) -> None:
        scales, shifts = group.load(scale), group.load(shift)

        def body(pixel: Any, _: Vectors) -> Vectors:
            place = emit.multiply(pixel, stride)
            values = [emit.fma(v, a, b) for v, a, b in zip(group.load(emit.at(x, place)), scales, shifts)]
            group.store(group.kept(values, emit.at_byte(kept, place)) if dropped else values, emit.at(y, place))
            return []

        emit.loop(pixels, [], body)

    _by_group(emit, width, target.group_vectors, case)


def finish(module: ir.Module, target: Target, moved: bool) -> None:
    """``gradlite_finish(pixels, width, stride, y, bias, relu)``: y += bias, rectified where ``relu`` is not 0;
    ``_affine(..., scale, offset)``: then times scale, plus offset."""
    emit = Emitter(module, target, "gradlite_finish" + "_affine" * moved, 8 if moved else 6)
    pixels, width, stride = emit.arguments[:3]
    y, bias, *factors = (emit.pointer(emit.arguments[i]) for i in ((3, 4, 6, 7) if moved else (3, 4)))
    rectified = emit.builder.icmp_signed("!=", emit.arguments[5], emit.integer(0))
    floor = emit.select(rectified, emit.zero(), emit.constant(float("-inf")))

    def case(group: _Group) -> None:
        biases, vectors = group.load(bias), [group.load(factor) for factor in factors]

        def body(pixel: Any, _: Vectors) -> Vectors:
            place = emit.at(y, emit.multiply(pixel, stride))
            values = [emit.plus(v, b) for v, b in zip(group.load(place), biases)]
            # NaN is not below the floor, and stays.
            values = [emit.select(emit.builder.fcmp_ordered("<=", v, floor), floor, v) for v in values]
            if moved:
                values = [emit.fma(v, a, b) for v, a, b in zip(values, *vectors)]
            group.store(values, place)
            return []

        emit.loop(pixels, [], body)

    _by_group(emit, width, target.group_vectors, case)


def affine_pooled(module: ir.Module, target: Target, dropped: bool) -> None:
    """``gradlite_affine_pooled(pixels, width, stride, x, x_row, scale, shift, kept, y, index)``: y is the first largest
    of x scale + shift in each window, or its first NaN, and index says which."""
    emit = Emitter(module, target, "gradlite_affine" + _suffix(True, dropped), 10)
    pixels, width, stride = emit.arguments[:3]
    x_row = emit.arguments[4]
    x, scale, shift, kept, y, index = (emit.pointer(emit.arguments[i]) for i in (3, 5, 6, 7, 8, 9))

    def case(group: _Group) -> None:
        scales, shifts = group.load(scale), group.load(shift)

        def body(pixel: Any, _: Vectors) -> Vectors:
            best: Vectors = []
            which: Vectors = []
            for tap, place in enumerate(_taps(emit, x, x_row, pixel, stride, True)):
                values = [emit.fma(v, a, b) for v, a, b in zip(group.load(place), scales, shifts)]
                if tap == 0:
                    best, which = values, [emit.byte_constant(0)] * group.vectors
                    continue
                better = [emit.above(v, b) for v, b in zip(values, best)]
                best = [emit.select(c, v, b) for c, v, b in zip(better, values, best)]
                which = [emit.select(c, emit.byte_constant(tap), w) for c, w in zip(better, which)]
            place = emit.multiply(pixel, stride)
            group.store(group.kept(best, emit.at_byte(kept, place)) if dropped else best, emit.at(y, place))
            group.store_bytes(which, emit.at_byte(index, place))
            return []

        emit.loop(pixels, [], body)

    _by_group(emit, width, target.group_vectors, case)


def gradient_sums(module: ir.Module, target: Target, pooled: bool, dropped: bool) -> None:
    """``gradlite_gradient_sums(pixels, width, stride, x, x_row, mean, g, index, kept, sums, products)``: the sums of g
    and of g (x - mean), where g is the gradient of the pixel of x that index names."""
    emit = Emitter(module, target, "gradlite_gradient_sums" + _suffix(pooled, dropped), 11)
    pixels, width, stride = emit.arguments[:3]
    x_row = emit.arguments[4]
    x, mean, g, index, kept, sums, products = (emit.pointer(emit.arguments[i]) for i in (3, 5, 6, 7, 8, 9, 10))

    def case(group: _Group) -> None:
        n, means = group.vectors, group.load(mean)

        def body(pixel: Any, held: Vectors) -> Vectors:
            place = emit.multiply(pixel, stride)
            gradients = group.load(emit.at(g, place))
            if dropped:
                gradients = group.kept(gradients, emit.at_byte(kept, place))
            first, *others = _taps(emit, x, x_row, pixel, stride, pooled)
            chosen = group.load(first)
            if pooled:
                which = group.load_bytes(emit.at_byte(index, place))
                for tap, other in enumerate(others, 1):
                    here = [emit.same_bytes(w, emit.byte_constant(tap)) for w in which]
                    chosen = [emit.select(c, v, b) for c, v, b in zip(here, group.load(other), chosen)]
            centred = [emit.minus(v, m) for v, m in zip(chosen, means)]
            added = [emit.plus(total, v) for total, v in zip(held[:n], gradients)]
            return added + [emit.fma(v, c, total) for total, v, c in zip(held[n:], gradients, centred)]

        found = emit.loop(pixels, [emit.zero()] * (2 * n), body)
        group.store(found[:n], sums)
        group.store(found[n:], products)

    _by_group(emit, width, target.group_vectors, case)


def gradient_apply(module: ir.Module, target: Target, pooled: bool, dropped: bool, masked: bool) -> None:
    """``gradlite_gradient_apply(pixels, width, stride, x, x_row, g, index, kept, scale, slope, offset, dx)``:
    dx = slope x + offset, and scale g more where index names the pixel; ``_masked``: where x is positive, else 0."""
    emit = Emitter(module, target, "gradlite_gradient_apply" + _suffix(pooled, dropped, masked), 12)
    pixels, width, stride = emit.arguments[:3]
    x_row = emit.arguments[4]
    x, g, index, kept, scale, slope, offset, dx = (emit.pointer(emit.arguments[i]) for i in (3, 5, 6, 7, 8, 9, 10, 11))

    def case(group: _Group) -> None:
        scales, slopes, offsets = group.load(scale), group.load(slope), group.load(offset)

        def body(pixel: Any, _: Vectors) -> Vectors:
            place = emit.multiply(pixel, stride)
            gradients = [emit.times(v, a) for v, a in zip(group.load(emit.at(g, place)), scales)]
            if dropped:
                gradients = group.kept(gradients, emit.at_byte(kept, place))
            which = group.load_bytes(emit.at_byte(index, place)) if pooled else []
            sources, targets = (_taps(emit, base, x_row, pixel, stride, pooled) for base in (x, dx))
            for tap, (source, goal) in enumerate(zip(sources, targets)):
                mine = gradients
                if pooled:
                    here = [emit.same_bytes(w, emit.byte_constant(tap)) for w in which]
                    mine = [emit.select(c, v, emit.zero()) for c, v in zip(here, gradients)]
                inputs = group.load(source)
                values = [emit.plus(v, b) for v, b in zip(mine, offsets)]
                values = [emit.fma(v, a, b) for v, a, b in zip(inputs, slopes, values)]
                group.store(_where_positive(emit, inputs, values) if masked else values, goal)
            return []

        emit.loop(pixels, [], body)

    _by_group(emit, width, target.group_vectors, case)


def generate(module: ir.Module, target: Target) -> None:
    """Write all of them into ``module``."""
    column_sums(module, target)
    for moved in (False, True):
        finish(module, target, moved)
    for dropped in (False, True):
        affine(module, target, dropped)
        affine_pooled(module, target, dropped)
        for pooled in (False, True):
            gradient_sums(module, target, pooled, dropped)
            for masked in (False, True):
                gradient_apply(module, target, pooled, dropped, masked)
