"""Micro-kernels of Winograd's convolutions: the transforms of tiles of inputs, outputs, gradients and weights.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), equation 11: an output tile is
A^T [(G w G^T) * (B^T x B)] A. The matrices are Toom's and Cook's: polynomials are evaluated at points and at infinity,
F(4 x 4) at 0, 1, -1, 1/2 and -2, which round less than the usual 2 in place of 1/2, F(2 x 2) at 0, 1 and -1. The
transforms are written out below so that what several of their rows need is computed once; a vector holds the same pixel
of neighbouring channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from gradlite.backends.cpu.native.emit import Emitter
from gradlite.backends.cpu.native.target import Target

Transform = Callable[[Emitter, Sequence[Any]], list[Any]]


class Algorithm(NamedTuple):
    """F(m x m, 3 x 3) along one axis: m outputs from m + 2 inputs, by as many multiplications.

    Attributes:
        outputs: m.
        points: where polynomials are evaluated, besides infinity.
        inputs: B^T, m + 2 numbers to m + 2.
        results: A^T, m + 2 to m.
        gradients: A, m to m + 2.
    """

    outputs: int
    points: tuple[float, ...]
    inputs: Transform
    results: Transform
    gradients: Transform

    @property
    def size(self) -> int:
        """Inputs along one axis of a tile, and multiplications."""
        return self.outputs + 2

    def kernel_matrix(self) -> np.ndarray:
        """G (m + 2, 3): values at the points, divided by the products of the points' distances."""
        matrix = np.zeros((self.size, 3))
        for i, point in enumerate(self.points):
            distances = [point - other for j, other in enumerate(self.points) if j != i]
            matrix[i] = np.array([1.0, point, point**2]) / np.prod(distances)
        matrix[-1, 2] = 1.0
        return matrix


def _inputs_4(e: Emitter, d: Sequence[Any]) -> list[Any]:
    three_halves, two = e.constant(1.5), e.constant(2.0)
    a, b = e.minus(d[4], d[2]), e.minus(d[3], d[1])
    u, v = e.fma(three_halves, d[3], a), e.fma(three_halves, d[2], b)
    return [
        e.fma(three_halves, b, e.plus(e.minus(a, d[2]), d[0])),
        e.plus(u, v),
        e.minus(u, v),
        e.fma(two, b, a),
        e.fma(e.constant(-0.5), b, a),
        e.fma(three_halves, a, e.plus(e.fma(e.constant(-2.0), d[3], d[5]), d[1])),
    ]


def _results_4(e: Emitter, m: Sequence[Any]) -> list[Any]:
    total, difference = e.plus(m[1], m[2]), e.minus(m[1], m[2])
    return [
        e.plus(e.plus(m[0], total), e.plus(m[3], m[4])),
        e.fma(e.constant(0.5), m[3], e.fma(e.constant(-2.0), m[4], difference)),
        e.fma(e.constant(0.25), m[3], e.fma(e.constant(4.0), m[4], total)),
        e.plus(e.fma(e.constant(0.125), m[3], e.fma(e.constant(-8.0), m[4], difference)), m[5]),
    ]


def _gradients_4(e: Emitter, y: Sequence[Any]) -> list[Any]:
    even, odd = e.plus(y[0], y[2]), e.plus(y[1], y[3])

    def value_at(point: float) -> Any:
        value = e.fma(e.constant(point), y[3], y[2])
        return e.fma(e.constant(point), e.fma(e.constant(point), value, y[1]), y[0])

    return [y[0], e.plus(even, odd), e.minus(even, odd), value_at(0.5), value_at(-2.0), y[3]]


def _inputs_2(e: Emitter, d: Sequence[Any]) -> list[Any]:
    return [e.minus(d[2], d[0]), e.plus(d[2], d[1]), e.minus(d[2], d[1]), e.minus(d[3], d[1])]


def _results_2(e: Emitter, m: Sequence[Any]) -> list[Any]:
    return [e.plus(e.plus(m[0], m[1]), m[2]), e.plus(e.minus(m[1], m[2]), m[3])]


def _gradients_2(e: Emitter, y: Sequence[Any]) -> list[Any]:
    return [y[0], e.plus(y[0], y[1]), e.minus(y[0], y[1]), y[1]]


ALGORITHMS = {
    4: Algorithm(4, (0.0, 1.0, -1.0, 0.5, -2.0), _inputs_4, _results_4, _gradients_4),
    2: Algorithm(2, (0.0, 1.0, -1.0), _inputs_2, _results_2, _gradients_2),
}


def _linear(matrix: np.ndarray) -> Transform:
    """The transform by a matrix, term by term."""

    def transform(e: Emitter, values: Sequence[Any]) -> list[Any]:
        results = []
        for row in matrix:
            total = None
            for factor, value in zip(row, values):
                if factor and total is None:
                    total = e.times(e.constant(float(factor)), value)
                elif factor:
                    total = e.fma(e.constant(float(factor)), value, total)
            results.append(total)
        return results

    return transform


def _both_axes(
    e: Emitter, transform: Transform, size: int, number: Callable[[int, int], Any]
) -> Iterator[tuple[int, list[Any]]]:
    """A transform of all columns of a tile (size, size), then of all rows: one after the other, each with its place.

    ``number(r, q)`` loads one of the tile. A column is loaded when its turn has come, and a row may be written before
    the next is computed: so most of what lies between fits in registers.
    """
    columns = [transform(e, [number(r, q) for r in range(size)]) for q in range(size)]
    for place, row in enumerate(zip(*columns)):
        yield place, transform(e, row)


def _input_transform(module: ir.Module, target: Target, algorithm: Algorithm) -> None:
    """``gradlite_winograd{m}_inputs(vectors, x, row, pixel, v, plane)``: B^T x B of a tile, to planes of v."""
    size = algorithm.size
    emit = Emitter(module, target, f"gradlite_winograd{algorithm.outputs}_inputs", 6)
    vectors, x, row, pixel, v, plane = emit.arguments
    _planes_from_tile(emit, vectors, (x, row, pixel, size), (v, plane), algorithm.inputs)


def _gradient_transform(module: ir.Module, target: Target, algorithm: Algorithm) -> None:
    """``gradlite_winograd{m}_gradients(vectors, g, row, pixel, z, plane)``: A g A^T of a tile, to planes of z."""
    emit = Emitter(module, target, f"gradlite_winograd{algorithm.outputs}_gradients", 6)
    vectors, g, row, pixel, z, plane = emit.arguments
    _planes_from_tile(emit, vectors, (g, row, pixel, algorithm.outputs), (z, plane), algorithm.gradients)


def _kernel_transform(module: ir.Module, target: Target, algorithm: Algorithm) -> None:
    """``gradlite_winograd{m}_kernel(vectors, w, row, tap, u, plane)``: G w G^T, to planes of u."""
    emit = Emitter(module, target, f"gradlite_winograd{algorithm.outputs}_kernel", 6)
    vectors, w, row, tap, u, plane = emit.arguments
    _planes_from_tile(emit, vectors, (w, row, tap, 3), (u, plane), _linear(algorithm.kernel_matrix()))


def _planes_from_tile(
    emit: Emitter, vectors: Any, source: tuple[Any, Any, Any, int], planes: tuple[Any, Any], transform: Transform
) -> None:
    """Transform a tile for each of ``vectors`` vectors of channels."""
    start, row, column, size = source
    start, target = emit.pointer(start), emit.pointer(planes[0])

    def body(i: Any, _: list[Any]) -> list[Any]:
        shift = emit.multiply(i, emit.lanes)

        def number(r: int, q: int) -> Any:
            place = emit.add(emit.multiply(row, r), emit.multiply(column, q))
            return emit.load(emit.at(start, emit.add(place, shift)))

        for r, line in _both_axes(emit, transform, size, number):
            for q, value in enumerate(line):
                plane = emit.multiply(planes[1], r * len(line) + q)
                emit.store(value, emit.at(target, emit.add(plane, shift)))
        return []

    emit.loop(vectors, [], body)
    emit.finish()


def _tile_from_planes(
    emit: Emitter, source: tuple[Any, Any, Any], size: int, transform: Transform
) -> Iterator[tuple[int, list[Any]]]:
    """Load a number from each plane at a shift, and transform."""
    start, plane, shift = source

    def number(r: int, q: int) -> Any:
        return emit.load(emit.at(start, emit.add(emit.multiply(plane, r * size + q), shift)))

    return _both_axes(emit, transform, size, number)


# What a tile of results goes through before it is written, and what that adds to the name.
BEHIND = ("", "_affine", "_pooled")


def _result_transform(module: ir.Module, target: Target, algorithm: Algorithm, behind: str) -> None:
    """``gradlite_winograd{m}_results(channels, m, plane, bias, relu, scale, offset, y, row, pixel)``: A^T m A + bias of
    a tile of y.

    ``_affine``: then times scale, plus offset; ``_pooled``: then the first largest of each 2 x 2 pixels, or the first
    NaN. Beyond ``channels`` nothing of y is touched; m, bias, scale and offset are padded to whole vectors.
    """
    emit = Emitter(module, target, f"gradlite_winograd{algorithm.outputs}_results{behind}", 10)
    channels, m, plane, bias, relu, scale, offset, y, row, pixel = emit.arguments
    m, y, builder = emit.pointer(m), emit.pointer(y), emit.builder
    vectors = builder.udiv(emit.add(channels, emit.lanes - 1), emit.integer(emit.lanes))
    bias, scale, offset = emit.pointer(bias), emit.pointer(scale), emit.pointer(offset)
    floor = builder.select(builder.icmp_signed("!=", relu, emit.integer(0)), emit.zero(), emit.constant(float("-inf")))

    def body(i: Any, _: list[Any]) -> list[Any]:
        shift = emit.multiply(i, emit.lanes)
        mask = emit.mask(builder.sub(channels, shift))
        added = emit.load(emit.at(bias, shift))
        a, b = (emit.load(emit.at(factor, shift)) for factor in (scale, offset)) if behind else (None, None)
        upper: list[Any] = []
        for r, line in _tile_from_planes(emit, (m, plane, shift), algorithm.size, algorithm.results):
            line = [emit.plus(value, added) for value in line]
            # NaN is not below the floor, and stays.
            line = [emit.select(builder.fcmp_ordered("<", value, floor), floor, value) for value in line]
            if behind:
                line = [emit.fma(value, a, b) for value in line]
            if behind == "_pooled":
                if r % 2 == 0:
                    upper = line
                    continue
                r //= 2
                line = [_largest(emit, upper[q : q + 2] + line[q : q + 2]) for q in range(0, len(line), 2)]
            for q, value in enumerate(line):
                place = emit.add(emit.add(emit.multiply(row, r), emit.multiply(pixel, q)), shift)
                emit.store_masked(value, emit.at(y, place), mask)
        return []

    emit.loop(vectors, [], body)
    emit.finish()


def _largest(emit: Emitter, values: Sequence[Any]) -> Any:
    """The first of the largest values, or the first NaN."""
    best, *others = values
    for value in others:
        best = emit.select(emit.above(value, best), value, best)
    return best


def _kernel_gradient(module: ir.Module, target: Target, algorithm: Algorithm) -> None:
    """``gradlite_winograd{m}_kernel_gradient(channels, u, plane, w, row, tap)``: G^T u G, to the taps of w."""
    emit = Emitter(module, target, f"gradlite_winograd{algorithm.outputs}_kernel_gradient", 6)
    channels, u, plane, w, row, tap = emit.arguments
    u, w, builder = emit.pointer(u), emit.pointer(w), emit.builder
    vectors = builder.udiv(emit.add(channels, emit.lanes - 1), emit.integer(emit.lanes))
    transform = _linear(algorithm.kernel_matrix().T)

    def body(i: Any, _: list[Any]) -> list[Any]:
        shift = emit.multiply(i, emit.lanes)
        mask = emit.mask(builder.sub(channels, shift))
        for r, line in _tile_from_planes(emit, (u, plane, shift), algorithm.size, transform):
            for q, value in enumerate(line):
                place = emit.add(emit.add(emit.multiply(row, r), emit.multiply(tap, q)), shift)
                emit.store_masked(value, emit.at(w, place), mask)
        return []

    emit.loop(vectors, [], body)
    emit.finish()


def generate(module: ir.Module, target: Target) -> None:
    """Write the transforms of all algorithms into ``module``."""
    for algorithm in ALGORITHMS.values():
        for write in (_input_transform, _gradient_transform, _kernel_transform, _kernel_gradient):
            write(module, target, algorithm)
        for behind in BEHIND:
            _result_transform(module, target, algorithm, behind)
