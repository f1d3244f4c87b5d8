"""Plans of batch normalization, alone and with pooling and dropout behind it, in float32.

Every pass goes over memory once: sums, then what is computed of them; a handful of numbers a channel lies between.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradlite.backends.cpu.native.launches import Launch, Plan, Scratch
from gradlite.backends.cpu.native.operands import apart, are_pairs, are_plain, is_plain, parts_for
from gradlite.backends.cpu.native.random import ELEMENTS, is_state
from gradlite.backends.reference.convolution import Padding, Pair
from gradlite.backends.reference.fused import is_pooling
from gradlite.backends.reference.random import WORD, dropout_threshold

# Numbers in a block of rows, or in a unit: what stays in the first-level cache; but so many rows at least, and at most,
# which are summed in float32.
BLOCK, FEWEST_ROWS, MOST_ROWS = 4096, 8, 128
# Bytes that moving one is worth.
COST = 2


class _Cut(NamedTuple):
    """How a pass is cut into units: the first words of its bodies, and what its scratch memory takes.

    Attributes:
        words: pixels of the output, pixels of a unit, channels, x, height, width and rows of the output, or zeros.
        shape: the output's.
        parts: how many parts there are.
        state, threshold: of the dropout; None and 0 where there is none.
        factor: what kept elements are multiplied with.
    """

    words: tuple[Any, ...]
    shape: tuple[int, ...]
    parts: int
    state: Any
    threshold: int
    factor: float

    def room(self, extra: int, with_bytes: bool) -> tuple[Scratch, int]:
        """Memory for each part: ``extra``, the words that a unit's bytes are drawn from, and the bytes; its size."""
        drawn = 0 if self.state is None else 4 * ELEMENTS + with_bytes * self.unit_bytes
        size = extra + drawn + -(extra + drawn) % 64
        return Scratch(size * self.parts), size

    @property
    def unit_bytes(self) -> int:
        """The bytes that say what of a unit is kept; the first of them is up to 3 behind the start."""
        return self.words[1] * self.words[2] + 64

    def kept(self) -> tuple[Scratch, int]:
        """Memory for the bytes of all units; its size for one."""
        units = 0 if self.state is None else -(-self.words[0] // self.words[1])
        return Scratch(units * self.unit_bytes), self.unit_bytes


def _cut(x: Any, state: Any, rate: float, window: Pair, strides: Pair, padding: Padding) -> _Cut | None:
    """The units of a pass; None for other windows than pairs side by side, or where nothing is kept."""
    if not is_plain(x) or x.ndim == 0 or x.size == 0:
        return None
    threshold = 0 if state is None else dropout_threshold(rate)
    if threshold == 0:
        state = None
    elif threshold > WORD or not is_state(state):
        return None
    c, shape, image = x.shape[-1], x.shape, (0, 0, 0)
    pixels = _rows_of_block(c)
    if is_pooling(window, strides, padding):
        if not are_pairs(window, strides, padding) or x.ndim != 4:
            return None
        image = (*x.shape[1:3], x.shape[1] // 2)
        pixels = x.shape[2] // 2
        shape = (x.shape[0], image[2], pixels, c)
        if 0 in shape:
            return None
    total = int(np.prod(shape[:-1]))
    parts = min(parts_for(COST * 8 * x.size), -(-total // pixels))
    factor = 1.0 if state is None else float(1 / np.float32(1.0 - rate))
    return _Cut((total, pixels, c, x, *image), shape, parts, state, threshold, factor)


def _rows_of_block(c: int) -> int:
    return min(max(FEWEST_ROWS, BLOCK // c), MOST_ROWS)


def are_vectors(c: int, *vectors: Any) -> bool:
    """Whether these are float32 numbers for each channel, or None."""
    return are_plain(*vectors) and all(v is None or v.shape == (c,) for v in vectors)


def _outs(out: Any, shapes: tuple[tuple[int, ...], ...], *inputs: Any) -> tuple[Any, ...] | None:
    """Float32 buffers of these shapes: the given ones, if they may be written, or new ones."""
    if out is None:
        return tuple(np.empty(shape, np.float32) for shape in shapes)
    fits = are_plain(*out) and all(o.shape == shape and apart(o, *inputs) for o, shape in zip(out, shapes))
    return tuple(out) if fits else None


def channel_statistics(x: Any, mean: Any, variance: Any) -> list[Launch]:
    """The launches that compute the mean and the population variance (c,) of every channel of x (..., c)."""
    c = x.shape[-1]
    rows, step = x.size // c, _rows_of_block(c)
    parts = min(parts_for(COST * 4 * x.size), -(-rows // step))
    room, merging = statistics_of_parts(c, parts, mean, variance)
    return [Launch("normalization.statistics", parts, (rows, c, step, x, *room)), merging]


def statistics_of_parts(c: int, parts: int, mean: Any, variance: Any) -> tuple[tuple[Scratch, ...], Launch]:
    """What bodies take that add up the statistics of a part: means, squared distances, rows seen, and room; and the
    launch that makes of them the mean and the variance (c,) of all."""
    means, squares, seen = Scratch(8 * c * parts), Scratch(8 * c * parts), Scratch(8 * parts)
    merging = Launch("normalization.merged_statistics", 1, (c, parts, means, squares, seen, mean, variance))
    return (means, squares, seen, Scratch(28 * c * parts)), merging


def coefficients(
    c: int, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float, factor: float = 1.0
) -> tuple[Scratch, Scratch, Launch]:
    """Scale and shift (c,), by which a normalization with given statistics is x scale + shift, times a factor; and the
    launch that computes them."""
    scale, shift = Scratch(4 * c), Scratch(4 * c)
    words = c, gamma, beta, mean, variance, float(epsilon), factor, scale, shift
    return scale, shift, Launch("normalization.coefficients", 1, words)


def _apply(
    cut: _Cut, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float, y: Any, index: Any
) -> list[Launch]:
    """The launches of normalization with given statistics, pooling and dropout."""
    scale, shift, factors = coefficients(cut.words[2], gamma, beta, mean, variance, epsilon, cut.factor)
    given = *cut.words, scale, shift, cut.state, cut.threshold, y, index, *cut.room(0, True)
    return [factors, Launch("normalization.apply", cut.parts, given)]


_NO_POOLING: dict[str, Any] = {"window": (1, 1), "strides": (1, 1), "padding": ((0, 0), (0, 0))}


def _index(cut: _Cut, out: Any) -> Any:
    """A buffer for where the largest elements were, empty where nothing is pooled; None where ``out`` is none."""
    shape = cut.shape if cut.words[-1] else (0,)
    if out is None:
        return np.empty(shape, np.uint8)
    return out if is_plain(out, np.dtype(np.uint8)) and out.shape == shape else None


def batch_norm_max_pool2d_dropout(
    x: Any,
    gamma: Any,
    beta: Any,
    state: Any,
    *,
    epsilon: float,
    window: Pair,
    strides: Pair,
    padding: Padding,
    rate: float,
    out: Any = None,
) -> Plan | None:
    """Statistics, then the rest."""
    cut = _cut(x, state, rate, window, strides, padding)
    if cut is None or not are_vectors(x.shape[-1], gamma, beta):
        return None
    c = x.shape[-1]
    outs = _outs(None if out is None else out[:3], (cut.shape, (c,), (c,)), x, gamma, beta)
    index = _index(cut, None if out is None else out[3])
    if outs is None or index is None:
        return None
    y, mean, variance = outs
    launches = channel_statistics(x, mean, variance) + _apply(cut, gamma, beta, mean, variance, epsilon, y, index)
    return Plan((*outs, index), launches)


def batch_norm_apply_max_pool2d_dropout(
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    state: Any,
    *,
    epsilon: float,
    window: Pair,
    strides: Pair,
    padding: Padding,
    rate: float,
    out: Any = None,
) -> Plan | None:
    """One pass."""
    cut = _cut(x, state, rate, window, strides, padding)
    if cut is None or mean is None or variance is None or not are_vectors(x.shape[-1], gamma, beta, mean, variance):
        return None
    outs = _outs(None if out is None else out[:1], (cut.shape,), x, gamma, beta, mean, variance)
    index = _index(cut, None if out is None else out[1])
    if outs is None or index is None:
        return None
    return Plan((*outs, index), _apply(cut, gamma, beta, mean, variance, epsilon, outs[0], index))


def batch_norm_max_pool2d_dropout_gradient(
    gradient: Any,
    x: Any,
    gamma: Any,
    mean: Any,
    variance: Any,
    index: Any,
    state: Any,
    *,
    epsilon: float,
    window: Pair,
    strides: Pair,
    padding: Padding,
    rate: float,
    activation: str | None = None,
    out: Any = None,
) -> Plan | None:
    """Sums over the gradient, then the input's gradient."""
    cut = _cut(x, state, rate, window, strides, padding)
    if (
        cut is None
        or activation not in (None, "relu")
        or mean is None
        or variance is None
        or not are_vectors(x.shape[-1], gamma, mean, variance)
    ):
        return None
    # One row is its own mean: its gradient is exactly 0, which sums of rounded factors miss.
    if not is_plain(gradient) or gradient.shape != cut.shape or x.size == x.shape[-1]:
        return None
    if cut.words[-1] and not (is_plain(index, np.dtype(np.uint8)) and index.shape == cut.shape):
        return None
    c = x.shape[-1]
    outs = _outs(out, (x.shape, (c,), (c,)), x, gamma, mean, variance, gradient)
    if outs is None or (cut.words[-1] and np.may_share_memory(outs[0], gradient)):
        return None
    totals, scale, slope, offset = (Scratch(size * c) for size in (16 * cut.parts, 4, 4, 4))
    kept = cut.kept()
    sums = *cut.words, mean, gradient, index, cut.state, cut.threshold, totals, *cut.room(8 * c, False), *kept
    rows = x.size // c
    words = c, rows, cut.parts, totals, gamma, mean, variance, float(epsilon), cut.factor, scale, slope, offset
    factors = scale, slope, offset, activation == "relu"
    given = *cut.words, gradient, index, cut.state, *factors, outs[0], *kept
    launches = [
        Launch("normalization.sums_of_gradient", cut.parts, sums),
        Launch("normalization.gradient_coefficients", 1, (*words, *outs[1:])),
        Launch("normalization.apply_gradient", cut.parts, given),
    ]
    return Plan(outs, launches)


def batch_norm(x: Any, gamma: Any, beta: Any, *, epsilon: float, out: Any = None) -> Plan | None:
    """The same without pooling and dropout."""
    outs = None if out is None else (*out, np.empty((0,), np.uint8))
    plan = batch_norm_max_pool2d_dropout(x, gamma, beta, None, epsilon=epsilon, rate=0.0, out=outs, **_NO_POOLING)
    return plan and Plan(plan.result[:3], plan.launches)


def batch_norm_inference(
    x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> Plan | None:
    """The same without pooling and dropout."""
    outs = None if out is None else (out, np.empty((0,), np.uint8))
    plan = batch_norm_apply_max_pool2d_dropout(
        x, gamma, beta, mean, variance, None, epsilon=epsilon, rate=0.0, out=outs, **_NO_POOLING
    )
    return plan and Plan(plan.result[0], plan.launches)


def batch_norm_gradient(
    gradient: Any, x: Any, gamma: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> Plan | None:
    """The same without pooling and dropout."""
    return batch_norm_max_pool2d_dropout_gradient(
        gradient, x, gamma, mean, variance, None, None, epsilon=epsilon, rate=0.0, out=out, **_NO_POOLING
    )


PLANS = (
    *(batch_norm, batch_norm_inference, batch_norm_gradient, batch_norm_max_pool2d_dropout),
    *(batch_norm_apply_max_pool2d_dropout, batch_norm_max_pool2d_dropout_gradient),
)
