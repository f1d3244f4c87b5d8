"""Philox bits and dropout on the CPU: the reference's bits, in cache-sized blocks and in-place passes."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.reference.random import (
    MULTIPLIERS,
    ROUNDS,
    WEYL,
    WORD,
    dropout_threshold,
    mask_shape,
    normal_from_bits,
    permutation_from_bits,
    uniform_from_bits,
    words_needed,
)

# Counters at a time. Fewer would be nearer the processor, but threads would queue for the interpreter between passes.
COUNTERS = 32768
# Passes over the counters, each as long as two over float32.
PASSES = 200
ELEMENTS = 4 * COUNTERS
# Elements that are dropped at a time: enough that threads seldom queue for the interpreter between two passes.
CHUNK = 2 * ELEMENTS

# 0-d arrays: NumPy converts a Python integer anew at each of the hundred calls a block takes.
_M0, _M1, _MASK, _SHIFT = (np.array(value, np.uint64) for value in (*MULTIPLIERS, WORD, 32))


def _philox_block(first: int, count: int, state: tuple[int, int, int], scratch: np.ndarray) -> list[np.ndarray]:
    """The four words of counters `first` to `first + count`, as rows of `scratch` (6, at least `count`).

    The first two rounds are unrolled: only the block index differs between elements, so half of their work is on
    plain numbers.
    """
    seed, stream, draw = state
    keys = [((seed & WORD) + r * WEYL[0] & WORD, (seed >> 32) + r * WEYL[1] & WORD) for r in range(ROUNDS)]
    c0, c1, c2, c3, p0, p1 = scratch[:, :count]

    p0[:] = np.arange(first, first + count, dtype=np.uint64)
    np.multiply(p0, _M0, out=p0)
    np.bitwise_and(p0, _MASK, out=c3)
    np.right_shift(p0, _SHIFT, out=c2)
    np.bitwise_xor(c2, np.uint64((draw >> 32) ^ keys[0][1]), out=c2)
    product = MULTIPLIERS[1] * (draw & WORD)
    word0, word1 = (product >> 32) ^ (stream & WORD) ^ keys[0][0], product & WORD

    np.multiply(c2, _M1, out=p1)
    np.bitwise_and(p1, _MASK, out=c1)
    np.right_shift(p1, _SHIFT, out=c0)
    np.bitwise_xor(c0, np.uint64(word1 ^ keys[1][0]), out=c0)
    product = MULTIPLIERS[0] * word0
    np.bitwise_xor(c3, np.uint64((product >> 32) ^ keys[1][1]), out=c2)
    c3[:] = product & WORD

    for key0, key1 in keys[2:]:
        np.multiply(c0, _M0, out=c0)
        np.multiply(c2, _M1, out=c2)
        np.right_shift(c2, _SHIFT, out=p0)
        np.bitwise_xor(p0, c1, out=p0)
        np.bitwise_xor(p0, np.uint64(key0), out=p0)
        np.right_shift(c0, _SHIFT, out=p1)
        np.bitwise_xor(p1, c3, out=p1)
        np.bitwise_xor(p1, np.uint64(key1), out=p1)
        np.bitwise_and(c2, _MASK, out=c2)
        np.bitwise_and(c0, _MASK, out=c0)
        c0, c1, c2, c3, p0, p1 = p0, c2, p1, c0, c1, c3
    return [c0, c1, c2, c3]


def _for_each_block(size: int, state: np.ndarray, store: Callable[[int, int, int, np.ndarray], Any]) -> None:
    """Call `store(word, start, stop, values)` for word 0 to 3 and the counters that cover `size` elements."""
    counters = (size + 3) // 4
    numbers = (int(state[0]), int(state[1]), int(state[2]))

    def work(thread: int, threads: int) -> None:
        scratch = parallel.scratch("philox", (6, min(counters, COUNTERS)), np.uint64)
        mine = parallel.share(counters, thread, threads)
        for start in range(mine.start, mine.stop, COUNTERS):
            stop = min(start + COUNTERS, mine.stop)
            for word, values in enumerate(_philox_block(start, stop - start, numbers, scratch)):
                store(word, start, stop, values)

    parallel.run(work, parts=counters, work=PASSES * parallel.PASS * counters)


@cpu_kernel
def random_bits(state: Any, *, size: int, out: Any = None) -> Any:
    """The reference's uint32 words."""
    words = np.empty(((size + 3) // 4, 4), np.uint32)

    def store(word: int, start: int, stop: int, values: np.ndarray) -> None:
        np.copyto(words[start:stop, word], values, casting="unsafe")

    _for_each_block(size, state, store)
    bits = words.reshape(-1)[:size]
    if out is None:
        return bits
    out[...] = bits
    return out


@cpu_kernel
def random_uniform(state: Any, *, shape: tuple[int, ...], dtype: Any, out: Any = None) -> Any:
    """The reference's uniform floats."""
    dtype = np.dtype(dtype)
    bits = random_bits(state, size=words_needed(math.prod(shape), dtype))
    return _write(out, uniform_from_bits(np, bits, dtype).reshape(shape))


@cpu_kernel
def random_normal(state: Any, *, shape: tuple[int, ...], dtype: Any, out: Any = None) -> Any:
    """The reference's normal floats."""
    dtype, size = np.dtype(dtype), math.prod(shape)
    bits = random_bits(state, size=words_needed(size + size % 2, dtype))
    return _write(out, normal_from_bits(np, bits, size, dtype).reshape(shape))


@cpu_kernel
def random_permutation(state: Any, *, size: int, out: Any = None) -> Any:
    """The reference's permutation."""
    return _write(out, permutation_from_bits(np, random_bits(state, size=2 * size)))


class _Masks:
    """The last few dropout masks (int8: -1 kept, 0 dropped), so that a backward pass need not draw its bits again."""

    ENTRIES, BYTES = 16, 32 << 20

    def __init__(self) -> None:
        self._masks: OrderedDict[tuple[int, ...], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, state: np.ndarray, threshold: int, size: int) -> np.ndarray:
        key = (int(state[0]), int(state[1]), int(state[2]), threshold, size)
        with self._lock:
            mask = self._masks.get(key)
        if mask is None:
            mask = _draw_mask(state, threshold, size)
            if mask.nbytes <= self.BYTES:
                with self._lock:
                    self._masks[key] = mask
                    while len(self._masks) > self.ENTRIES or sum(m.nbytes for m in self._masks.values()) > self.BYTES:
                        self._masks.popitem(last=False)
        return mask


_masks = _Masks()


def _draw_mask(state: np.ndarray, threshold: int, size: int) -> np.ndarray:
    keep = np.empty(((size + 3) // 4, 4), np.bool_)
    limit = np.array(threshold, np.uint64)

    def store(word: int, start: int, stop: int, values: np.ndarray) -> None:
        np.greater_equal(values, limit, out=keep[start:stop, word])

    _for_each_block(size, state, store)
    mask = keep.view(np.int8).reshape(-1)
    return np.negative(mask, out=mask)[:size]


@cpu_kernel
def dropout(
    x: Any, state: Any, *, rate: float, noise_shape: tuple[int | None, ...] | None = None, out: Any = None
) -> Any:
    """The reference's dropout. A bitwise "and" with 0 or -1 drops: a masked store takes NumPy twenty times as long."""
    threshold = dropout_threshold(rate)
    shape = mask_shape(x.shape, noise_shape)
    if out is None:
        out = np.empty(x.shape, x.dtype)
    if threshold > WORD:
        out[...] = 0
        return out
    mask = _masks.get(state, threshold, math.prod(shape))
    integer = np.dtype(f"i{x.dtype.itemsize}")
    keep = x.dtype.type(1.0 - rate)
    if shape != x.shape or not (x.flags.c_contiguous and out.flags.c_contiguous):
        np.divide(x, keep, out=out)
        bits = out.view(integer)
        np.bitwise_and(bits, mask.astype(integer).reshape(shape), out=bits)
        return out
    flat, result = x.reshape(-1), out.reshape(-1)
    dropping = Dropping(state, rate, x.size)
    runs = -(-x.size // ELEMENTS)

    def work(thread: int, threads: int) -> None:
        mine = parallel.share(runs, thread, threads)
        stop = min(mine.stop * ELEMENTS, x.size)
        for start in range(mine.start * ELEMENTS, stop, CHUNK):
            span = slice(start, min(start + CHUNK, stop))
            dropping.apply(flat[span], span, result[span])

    parallel.run(work, parts=runs, work=3 * parallel.PASS * x.size)
    return out


class Dropping:
    """The dropout of `size` elements, for any part of them at a time."""

    def __init__(self, state: Any, rate: float, size: int) -> None:
        threshold = dropout_threshold(rate)
        self.keep = 1.0 - rate
        self.mask = None if threshold > WORD else _masks.get(state, threshold, size)

    def apply(self, x: np.ndarray, span: slice, out: np.ndarray) -> None:
        """out = the dropout of x, vectors: the elements in `span`."""
        if self.mask is None:
            out[...] = 0
            return
        np.divide(x, x.dtype.type(self.keep), out=out)
        bits = out.view(f"i{out.itemsize}")
        mask = parallel.scratch("mask", bits.shape, bits.dtype)
        np.copyto(mask, self.mask[span])
        np.bitwise_and(bits, mask, out=bits)


def _write(out: Any, value: np.ndarray) -> np.ndarray:
    if out is None:
        return value
    out[...] = value
    return out
