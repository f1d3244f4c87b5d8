"""Optimizer updates on the CPU: the reference's element-wise formulas, chunk by chunk in cache, on all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.placement import placed
from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.reference import optimizers as reference

# A second-level cache's worth of parameter, gradient, states and temporaries. Much shorter chunks are dearer: between
# two of them the threads queue for the interpreter.
CHUNK = 262_144
# Threads share out runs of this many elements, a page of float32: what is well placed for one chunk is so for all.
RUN = 1024
# Operations an element, by which threads are chosen: a root takes as long as seven sums, a quotient as long as two
# or three.
PLAIN = 20
WITH_ROOTS = 40


def _in_chunks(part: Callable[..., None], *arrays: Any, operations: int = PLAIN, **factors: Any) -> None:
    """`part(np, *chunks, **factors)` for consecutive chunks, every thread its share of them; `operations` an element.

    Every element is computed alone: chunks change no bit.
    """
    size = arrays[0].size
    runs = (size + RUN - 1) // RUN

    def work(thread: int, threads: int) -> None:
        mine = parallel.share(runs, thread, threads)
        stop = min(mine.stop * RUN, size)
        for start in range(mine.start * RUN, stop, CHUNK):
            span = slice(start, min(start + CHUNK, stop))
            part(np, *[None if a is None else a[span] for a in arrays], **factors)

    parallel.run(work, parts=runs, work=operations * size)


def _rate(parameter: np.ndarray, learning_rate: Any) -> Any:
    return parameter.dtype.type(learning_rate)


@cpu_kernel
def sgd(parameter: Any, gradient: Any, learning_rate: Any) -> None:
    """The reference's update."""
    _in_chunks(reference.sgd_part, parameter, gradient, rate=_rate(parameter, learning_rate))


@cpu_kernel
def sgd_momentum(
    parameter: Any, gradient: Any, velocity: Any, learning_rate: Any, *, momentum: float, nesterov: bool
) -> None:
    """The reference's update."""
    _in_chunks(
        reference.sgd_momentum_part,
        parameter,
        gradient,
        velocity,
        rate=_rate(parameter, learning_rate),
        momentum=momentum,
        nesterov=nesterov,
    )


@cpu_kernel
def adam(
    parameter: Any,
    gradient: Any,
    m: Any,
    v: Any,
    v_max: Any,
    learning_rate: Any,
    step: Any,
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """The reference's update."""
    rate = reference.adam_rate(np, parameter.dtype, learning_rate, step, beta_1, beta_2)
    factors = {"rate": rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    _in_chunks(_adam_part, parameter, gradient, m, v, v_max, operations=WITH_ROOTS, **factors)


def _adam_part(
    np: Any, p: Any, g: Any, m: Any, v: Any, v_max: Any, *, rate: Any, beta_1: float, beta_2: float, epsilon: float
) -> None:
    """The reference's formula in two temporaries that are kept: most models train with this one."""
    pages = -(-p.size // RUN) * RUN
    both = placed("adam", 2 * pages, p)
    a, b = both[: p.size], both[pages : pages + p.size]
    np.subtract(g, m, out=a)
    np.multiply(a, 1.0 - beta_1, out=a)
    np.add(m, a, out=m)
    np.square(g, out=a)
    np.subtract(a, v, out=a)
    np.multiply(a, 1.0 - beta_2, out=a)
    np.add(v, a, out=v)
    if v_max is not None:
        v = np.maximum(v_max, v, out=v_max)
    np.sqrt(v, out=a)
    np.add(a, epsilon, out=a)
    np.multiply(m, rate, out=b)
    np.divide(b, a, out=b)
    np.subtract(p, b, out=p)


@cpu_kernel
def adamax(
    parameter: Any,
    gradient: Any,
    m: Any,
    u: Any,
    learning_rate: Any,
    step: Any,
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """The reference's update."""
    rate = reference.adamax_rate(np, parameter.dtype, learning_rate, step, beta_1)
    _in_chunks(
        reference.adamax_part, parameter, gradient, m, u, rate=rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon
    )


@cpu_kernel
def nadam(
    parameter: Any,
    gradient: Any,
    m: Any,
    v: Any,
    u_product: Any,
    learning_rate: Any,
    step: Any,
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """The reference's update."""
    factors = reference.nadam_factors(np, parameter.dtype, u_product, learning_rate, step, beta_1, beta_2)
    betas = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    _in_chunks(reference.nadam_part, parameter, gradient, m, v, operations=WITH_ROOTS, factors=factors, **betas)


@cpu_kernel
def rmsprop(
    parameter: Any,
    gradient: Any,
    square: Any,
    average: Any,
    momentum_buffer: Any,
    learning_rate: Any,
    *,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None:
    """The reference's update."""
    _in_chunks(
        reference.rmsprop_part,
        parameter,
        gradient,
        square,
        average,
        momentum_buffer,
        operations=WITH_ROOTS,
        rate=_rate(parameter, learning_rate),
        rho=rho,
        momentum=momentum,
        epsilon=epsilon,
    )


@cpu_kernel
def adagrad(parameter: Any, gradient: Any, accumulator: Any, learning_rate: Any, *, epsilon: float) -> None:
    """The reference's update."""
    rate = _rate(parameter, learning_rate)
    factors = {"rate": rate, "epsilon": epsilon}
    _in_chunks(reference.adagrad_part, parameter, gradient, accumulator, operations=WITH_ROOTS, **factors)


@cpu_kernel
def adadelta(
    parameter: Any, gradient: Any, square: Any, delta_square: Any, learning_rate: Any, *, rho: float, epsilon: float
) -> None:
    """The reference's update."""
    rate = _rate(parameter, learning_rate)
    factors = {"rate": rate, "rho": rho, "epsilon": epsilon}
    _in_chunks(reference.adadelta_part, parameter, gradient, square, delta_square, operations=WITH_ROOTS, **factors)


@cpu_kernel
def lion(parameter: Any, gradient: Any, m: Any, learning_rate: Any, *, beta_1: float, beta_2: float) -> None:
    """The reference's update."""
    rate = _rate(parameter, learning_rate)
    _in_chunks(reference.lion_part, parameter, gradient, m, rate=rate, beta_1=beta_1, beta_2=beta_2)


@cpu_kernel
def weight_decay(parameter: Any, learning_rate: Any, *, rate: float) -> None:
    """The reference's update."""
    _in_chunks(reference.weight_decay_part, parameter, rate=(learning_rate * rate).astype(parameter.dtype))


@cpu_kernel
def moving_average(average: Any, value: Any, step: Any, *, momentum: float) -> None:
    """The reference's update."""
    dtype = average.dtype
    kept = dtype.type(momentum) if step is None else (momentum * (step != 1)).astype(dtype)
    if average.ndim == 1:
        _in_chunks(reference.moving_average_part, average, value, kept=kept, new=1 - kept)
    else:
        reference.moving_average_part(np, average, value, kept=kept, new=1 - kept)


@cpu_kernel
def square_sum(*arrays: Any, out: Any = None) -> Any:
    """The reference's sum, added up by chunks in a fixed order."""
    spans = [(a, i) for a in (array.reshape(-1) for array in arrays) for i in range(0, a.size, CHUNK)]
    sums = np.zeros(len(spans))

    def work(thread: int, threads: int) -> None:
        for k in parallel.share(len(spans), thread, threads):
            array, start = spans[k]
            wide = array[start : start + CHUNK].astype(np.float64)
            sums[k] = np.square(wide, out=wide).sum()

    parallel.run(work, parts=len(spans), work=4 * CHUNK * len(spans))
    total = np.asarray(sums.sum())
    if out is None:
        return total
    out[...] = total
    return out


@cpu_kernel
def gated(*arrays: Any, update: str, **attributes: Any) -> None:
    """The reference's: here the host can look, and leaves the update out."""
    from gradlite.backends.cpu import BACKEND

    *arguments, go = arrays
    if go.item():
        BACKEND.launch(update, *arguments, **attributes)
