"""Counter-based random numbers: Philox4x32-10, uniform and normal draws, dropout and permutations.

A random number here is a pure function of (seed, stream, draw, position), after Salmon, Moraes, Dror and Shaw,
"Parallel random numbers: as easy as 1, 2, 3" (SC 2011). That is why every backend gives the same bits whatever its
number of threads, and why a backward pass can repeat its forward's mask without keeping it.

    key      = the 64-bit seed as (low word, high word)
    counter  = (element // 4, stream, low word of draw, high word of draw);  element % 4 picks one of the four words

`state` is a uint64 array (seed, stream, draw). It lives where the computation does: `draw_random` snapshots and
advances it without the host reading a thing.
"""

from __future__ import annotations

import math
from typing import Any

from gradlite.backends.registry import into, reference_kernel

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFFFFFF
ROUNDS = 10


def philox4x32(xp: Any, counter: tuple[Any, Any, Any, Any], key: tuple[Any, Any]) -> tuple[Any, Any, Any, Any]:
    """The four output words of Philox4x32-10; every word in and out is a uint64 array of values below 2**32.

    Arrays of at least one dimension, since NumPy warns when 0-d integers wrap around.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0 = c0 * xp.uint64(MULTIPLIERS[0])
        p1 = c2 * xp.uint64(MULTIPLIERS[1])
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & WORD, (p0 >> 32) ^ c3 ^ k1, p0 & WORD
        k0 = (k0 + WEYL[0]) & WORD
        k1 = (k1 + WEYL[1]) & WORD
    return c0, c1, c2, c3


def words_needed(size: int, dtype: Any) -> int:
    """How many 32-bit words `size` random numbers of this float dtype take: one each, two each in float64."""
    return 2 * size if dtype.itemsize == 8 else size


def uniform_from_bits(xp: Any, bits: Any, dtype: Any) -> Any:
    """Floats in [0, 1): 24 bits of a word for float32, 11 for float16 (none rounds to 1), 53 of two for float64."""
    if dtype.itemsize == 8:
        high, low = bits[0::2] >> 5, bits[1::2] >> 6
        return (high * dtype.type(2.0**26) + low) * dtype.type(2.0**-53)
    kept = 24 if dtype.itemsize == 4 else 11
    return ((bits >> (32 - kept)).astype("float32") * xp.float32(2.0**-kept)).astype(dtype)


def normal_from_bits(xp: Any, bits: Any, size: int, dtype: Any) -> Any:
    """Standard normal floats from an even number of uniforms, by Box and Muller (1958), computed in float64.

    Uniform number 2i is the radius and 2i + 1 the angle of normals 2i and 2i + 1.
    """
    if dtype.itemsize == 8:
        uniform = uniform_from_bits(xp, bits, dtype)
    else:
        uniform = bits.astype("float64") * 2.0**-32
    radius = xp.sqrt(-2.0 * xp.log1p(-uniform[0::2]))  # 1 - u is in (0, 1]: never the logarithm of 0
    angle = (2.0 * math.pi) * uniform[1::2]
    pairs = xp.stack([radius * xp.cos(angle), radius * xp.sin(angle)], axis=1)
    return pairs.reshape(-1)[:size].astype(dtype)


def dropout_threshold(rate: float) -> int:
    """An element is kept where its 32 bits are at least this; 2**32 (rate 1) keeps none."""
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"A dropout rate is a fraction from 0 to 1. Received: rate={rate}.")
    return int(rate * 2.0**32)


def mask_shape(shape: tuple[int, ...], noise_shape: tuple[int | None, ...] | None) -> tuple[int, ...]:
    """`noise_shape` with None entries filled in from `shape`, checked to broadcast to it."""
    if noise_shape is None:
        return shape
    if len(noise_shape) == len(shape):
        filled = tuple(n if m is None else m for n, m in zip(shape, noise_shape))
        if all(m in (1, n) for n, m in zip(shape, filled)):
            return filled
    raise ValueError(
        f"noise_shape must have one entry per axis of the input, each 1 (one decision for the whole axis), None or the "
        f"axis' own size. Received: noise_shape={noise_shape} for an input of shape {shape}."
    )


@reference_kernel
def draw_random(xp: Any, state: Any, *, out: Any = None) -> Any:
    """A copy of `state` for one random operation; advances `state`'s draw in place, so the next copy differs."""
    snapshot = into(out, state.copy())
    state[2:3] += xp.uint64(1)
    return snapshot


@reference_kernel
def draw_random_each(xp: Any, *states: Any, out: Any = None) -> tuple[Any, ...]:
    """`draw_random` of several states, none of them twice -> a snapshot of each."""
    return tuple(draw_random(xp, state, out=o) for state, o in zip(states, out or (None,) * len(states)))


@reference_kernel
def random_bits(xp: Any, state: Any, *, size: int, out: Any = None) -> Any:
    """`size` random uint32 words, shape (size,)."""
    block = xp.arange((size + 3) // 4, dtype=xp.uint64)
    words = philox4x32(
        xp,
        (block, state[1:2] & WORD, state[2:3] & WORD, state[2:3] >> 32),
        (state[0:1] & WORD, state[0:1] >> 32),
    )
    return into(out, xp.stack(words, axis=1).astype(xp.uint32).reshape(-1)[:size])


@reference_kernel
def random_uniform(xp: Any, state: Any, *, shape: tuple[int, ...], dtype: Any, out: Any = None) -> Any:
    """Uniform floats in [0, 1) of `shape`."""
    dtype = xp.dtype(dtype)
    bits = random_bits(xp, state, size=words_needed(math.prod(shape), dtype))
    return into(out, uniform_from_bits(xp, bits, dtype).reshape(shape))


@reference_kernel
def random_normal(xp: Any, state: Any, *, shape: tuple[int, ...], dtype: Any, out: Any = None) -> Any:
    """Standard normal floats of `shape`."""
    dtype, size = xp.dtype(dtype), math.prod(shape)
    bits = random_bits(xp, state, size=words_needed(size + size % 2, dtype))
    return into(out, normal_from_bits(xp, bits, size, dtype).reshape(shape))


@reference_kernel
def dropout(
    xp: Any, x: Any, state: Any, *, rate: float, noise_shape: tuple[int | None, ...] | None = None, out: Any = None
) -> Any:
    """x / (1 - rate) where kept, 0 where dropped; each element is dropped with probability `rate`.

    The decision belongs to the row-major index in the noise shape; an axis of size 1 there shares it. It is a
    selection, not a product: a dropped NaN or infinity is exactly 0, as in Keras, and a kept one stays. Applied to an
    incoming gradient with the same snapshot this is also the derivative.
    """
    threshold = dropout_threshold(rate)
    shape = mask_shape(x.shape, noise_shape)
    if threshold > WORD:
        return into(out, xp.zeros(x.shape, x.dtype))
    keep = random_bits(xp, state, size=math.prod(shape)).reshape(shape) >= xp.uint32(threshold)
    return into(out, xp.where(keep, x / x.dtype.type(1.0 - rate), x.dtype.type(0)))


@reference_kernel
def random_permutation(xp: Any, state: Any, *, size: int, out: Any = None) -> Any:
    """The numbers 0 to size - 1 in random order, int64: the order that sorts `size` random 64-bit keys."""
    return into(out, permutation_from_bits(xp, random_bits(xp, state, size=2 * size)))


def permutation_from_bits(xp: Any, bits: Any) -> Any:
    keys = (bits[0::2].astype(xp.uint64) << 32) | bits[1::2]
    return xp.argsort(keys, kind="stable").astype(xp.int64)
