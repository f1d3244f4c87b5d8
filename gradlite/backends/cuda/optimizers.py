"""Update kernels of the optimizers on a GPU: each one launch over flat parameters, gradients and state.

Learning rate and step stay on the device. Formulas are the reference's; float16 is computed in float32, and rounded
once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.assignment import assign
from gradlite.backends.cuda.elementwise import THREADS, binary, contiguous
from gradlite.backends.cuda.launch import C_TYPES, blocks, c_type
from gradlite.backends.cuda.reductions import run_reduction
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.cuda.sources import Entry, entry
from gradlite.backends.dtypes import FLOAT_KINDS

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend


def _of_floats(gpu: CudaBackend, *arrays: Any) -> bool:
    """Whether these are contiguous arrays of one floating-point type and shape (None stands for none)."""
    first = arrays[0]
    return first.dtype.kind in FLOAT_KINDS and all(
        x is None
        or (
            isinstance(x, gpu.array_type) and x.dtype == first.dtype and x.shape == first.shape and x.flags.c_contiguous
        )
        for x in arrays
    )


def _is_rate(gpu: CudaBackend, learning_rate: Any) -> bool:
    return (
        isinstance(learning_rate, gpu.array_type)
        and learning_rate.dtype.kind in FLOAT_KINDS
        and learning_rate.size == 1
    )


def _is_step(gpu: CudaBackend, step: Any) -> bool:
    return isinstance(step, gpu.array_type) and step.dtype == np.int64 and step.size == 1


@lru_cache(1024)
def _entry(file: str, name: str, of: np.dtype, *types: tuple[str, np.dtype]) -> Entry:
    return entry(file, name, T=c_type(of), **{macro: c_type(dtype) for macro, dtype in types})


def _run(gpu: CudaBackend, file: str, name: str, first: Any, *arguments: Any, **types: Any) -> None:
    """Launch an update of ``first``: four elements a thread. ``types`` are the dtypes that macros stand for. The last
    argument is the condition of a gated launch."""
    kernel = _entry(file, name, first.dtype, *types.items())
    gpu.run(kernel, (blocks(first.size, 4 * THREADS),), (THREADS,), first, *arguments, first.size, gpu.condition)


# Gradient descent.


@cuda_kernel
def sgd(gpu: CudaBackend, parameter: Any, gradient: Any, learning_rate: Any) -> None:
    """p -= lr g."""
    if not (_of_floats(gpu, parameter, gradient) and _is_rate(gpu, learning_rate)):
        return gpu.fallback("sgd", parameter, gradient, learning_rate)
    _run(gpu, "descent.cu", "sgd", parameter, gradient, learning_rate, L=learning_rate.dtype)


@cuda_kernel
def sgd_momentum(
    gpu: CudaBackend,
    parameter: Any,
    gradient: Any,
    velocity: Any,
    learning_rate: Any,
    *,
    momentum: float,
    nesterov: bool,
) -> None:
    """v = momentum v - lr g; p += v, or p += momentum v - lr g with Nesterov's look-ahead."""
    arrays = parameter, gradient, velocity
    if not (_of_floats(gpu, *arrays) and _is_rate(gpu, learning_rate)):
        return gpu.fallback("sgd_momentum", *arrays, learning_rate, momentum=momentum, nesterov=nesterov)
    rate = learning_rate.dtype
    _run(gpu, "descent.cu", "sgd_momentum", *arrays, learning_rate, momentum, bool(nesterov), L=rate)


@cuda_kernel
def rmsprop(
    gpu: CudaBackend,
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
    """s = rho s + (1 - rho) g**2; p -= lr g / sqrt(s + epsilon); average and momentum_buffer may be None."""
    arrays = parameter, gradient, square, average, momentum_buffer
    if not (_of_floats(gpu, *arrays) and _is_rate(gpu, learning_rate)):
        return gpu.fallback("rmsprop", *arrays, learning_rate, rho=rho, momentum=momentum, epsilon=epsilon)
    _run(gpu, "descent.cu", "rmsprop", *arrays, learning_rate, rho, momentum, epsilon, L=learning_rate.dtype)


@cuda_kernel
def adagrad(
    gpu: CudaBackend, parameter: Any, gradient: Any, accumulator: Any, learning_rate: Any, *, epsilon: float
) -> None:
    """a += g**2; p -= lr g / sqrt(a + epsilon)."""
    arrays = parameter, gradient, accumulator
    if not (_of_floats(gpu, *arrays) and _is_rate(gpu, learning_rate)):
        return gpu.fallback("adagrad", *arrays, learning_rate, epsilon=epsilon)
    _run(gpu, "descent.cu", "adagrad", *arrays, learning_rate, epsilon, L=learning_rate.dtype)


@cuda_kernel
def adadelta(
    gpu: CudaBackend,
    parameter: Any,
    gradient: Any,
    square: Any,
    delta_square: Any,
    learning_rate: Any,
    *,
    rho: float,
    epsilon: float,
) -> None:
    """s = rho s + (1 - rho) g**2; d = g sqrt(e + eps) / sqrt(s + eps); e = rho e + (1 - rho) d**2; p -= lr d."""
    arrays = parameter, gradient, square, delta_square
    if not (_of_floats(gpu, *arrays) and _is_rate(gpu, learning_rate)):
        return gpu.fallback("adadelta", *arrays, learning_rate, rho=rho, epsilon=epsilon)
    _run(gpu, "descent.cu", "adadelta", *arrays, learning_rate, rho, epsilon, L=learning_rate.dtype)


@cuda_kernel
def lion(
    gpu: CudaBackend, parameter: Any, gradient: Any, m: Any, learning_rate: Any, *, beta_1: float, beta_2: float
) -> None:
    """p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g."""
    arrays = parameter, gradient, m
    if not (_of_floats(gpu, *arrays) and _is_rate(gpu, learning_rate)):
        return gpu.fallback("lion", *arrays, learning_rate, beta_1=beta_1, beta_2=beta_2)
    _run(gpu, "descent.cu", "lion", *arrays, learning_rate, beta_1, beta_2, L=learning_rate.dtype)


@cuda_kernel
def weight_decay(gpu: CudaBackend, parameter: Any, learning_rate: Any, *, rate: float) -> None:
    """p -= p rate lr."""
    if not (_of_floats(gpu, parameter) and _is_rate(gpu, learning_rate)):
        return gpu.fallback("weight_decay", parameter, learning_rate, rate=rate)
    _run(gpu, "descent.cu", "weight_decay", parameter, learning_rate, rate, L=learning_rate.dtype)


# Adam and its relatives.


@cuda_kernel
def adam(
    gpu: CudaBackend,
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
    """m += (g - m)(1 - b1); v += (g**2 - v)(1 - b2); p -= m lr sqrt(1 - b2**t) / (1 - b1**t) / (sqrt(v) + epsilon)."""
    arrays = parameter, gradient, m, v, v_max
    if not (_of_floats(gpu, *arrays) and _is_rate(gpu, learning_rate) and _is_step(gpu, step)):
        betas = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
        return gpu.fallback("adam", *arrays, learning_rate, step, **betas)
    types = {"L": learning_rate.dtype, "U": parameter.dtype}
    _run(gpu, "adam.cu", "adam", *arrays, learning_rate, step, beta_1, beta_2, epsilon, **types)


MAX_RUNS = 64

_RUNS = np.dtype(
    [
        ("count", np.int64),
        (
            "at",
            [
                ("parameter", np.uint64),
                ("gradient", np.uint64),
                ("m", np.uint64),
                ("v", np.uint64),
                ("size", np.int64),
                ("block", np.uint64),
            ],
            MAX_RUNS,
        ),
    ]
)


@cuda_kernel
def adam_segments(gpu: CudaBackend, *arrays: Any, beta_1: float, beta_2: float, epsilon: float) -> None:
    """``adam`` of several runs: all parameters, all gradients, all m, all v, then the learning rate and the step."""
    *given, learning_rate, step = arrays
    count = len(given) // 4
    runs = [(p, contiguous(gpu, g).reshape(-1), m, v) for p, g, m, v in (given[i::count] for i in range(count))]
    dtype = arrays[0].dtype
    fits = all(_of_floats(gpu, *run) and all(x.dtype == dtype and x.size == run[0].size for x in run) for run in runs)
    options = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    if not (fits and _is_rate(gpu, learning_rate) and _is_step(gpu, step)):
        for p, g, m, v in runs:
            adam(gpu, p, g, m, v, None, learning_rate, step, **options)
        return
    kernel = entry(
        "adam.cu", "adam_segments", T=c_type(dtype), L=c_type(learning_rate.dtype), U=c_type(learning_rate.dtype)
    )
    for start in range(0, count, MAX_RUNS):
        table = np.zeros((), _RUNS)
        block = filled = 0
        for p, g, m, v in runs[start : start + MAX_RUNS]:
            if p.size:
                table["at"][filled] = (p.data.ptr, g.data.ptr, m.data.ptr, v.data.ptr, p.size, block)
                block += blocks(p.size, 4 * THREADS)
                filled += 1
        table["count"] = filled
        gpu.run(kernel, (block,), (THREADS,), table[()], learning_rate, step, beta_1, beta_2, epsilon)


@cuda_kernel
def adamax(
    gpu: CudaBackend,
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
    """m += (g - m)(1 - b1); u = max(b2 u, |g|); p -= lr m / ((1 - b1**t)(u + epsilon))."""
    arrays = parameter, gradient, m, u
    if not (_of_floats(gpu, *arrays) and _is_rate(gpu, learning_rate) and _is_step(gpu, step)):
        betas = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
        return gpu.fallback("adamax", *arrays, learning_rate, step, **betas)
    types = {"L": learning_rate.dtype, "U": parameter.dtype}
    _run(gpu, "adam.cu", "adamax", *arrays, learning_rate, step, beta_1, beta_2, epsilon, **types)


@cuda_kernel
def nadam_product(gpu: CudaBackend, u_product: Any, step: Any, *, beta_1: float) -> None:
    """u_product *= b1 (1 - 0.96**t / 2), once an update and before ``nadam``."""
    if not (_of_floats(gpu, u_product) and u_product.size == 1 and _is_step(gpu, step)):
        return gpu.fallback("nadam_product", u_product, step, beta_1=beta_1)
    kind = c_type(u_product.dtype)
    kernel = entry("adam.cu", "nadam_product", T=kind, L=kind, U=kind)
    gpu.run(kernel, (1,), (1,), u_product, step, beta_1, gpu.condition)


@cuda_kernel
def nadam(
    gpu: CudaBackend,
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
    """Adam with Nesterov momentum: p -= (of_m m + of_g g) / (sqrt(of_v v) + epsilon), for factors of the schedule."""
    arrays = parameter, gradient, m, v
    numbers = u_product, learning_rate, step
    fits = _is_rate(gpu, u_product) and _is_rate(gpu, learning_rate) and _is_step(gpu, step)
    if not (fits and _of_floats(gpu, *arrays)):
        betas = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
        return gpu.fallback("nadam", *arrays, *numbers, **betas)
    types = {"L": learning_rate.dtype, "U": u_product.dtype}
    _run(gpu, "adam.cu", "nadam", *arrays, *numbers, beta_1, beta_2, epsilon, **types)


# Averages, limits and norms.


@cuda_kernel
def moving_average(gpu: CudaBackend, average: Any, value: Any, step: Any, *, momentum: float) -> None:
    """a = momentum a + (1 - momentum) value; at step 1, where there are steps, the value itself."""
    fits = _of_floats(gpu, average) and isinstance(value, gpu.array_type) and value.dtype in C_TYPES
    fits = fits and value.shape == average.shape and value.flags.c_contiguous
    if not (fits and (step is None or _is_step(gpu, step))):
        return gpu.fallback("moving_average", average, value, step, momentum=momentum)
    _run(gpu, "averages.cu", "moving_average", average, value, step, momentum, V=value.dtype)


MAX_AVERAGES = 64

_AVERAGES = np.dtype(
    [
        ("count", np.int64),
        (
            "at",
            [("average", np.uint64), ("value", np.uint64), ("size", np.int64), ("block", np.uint64)],
            MAX_AVERAGES,
        ),
    ]
)


@cuda_kernel
def moving_averages(gpu: CudaBackend, *arrays: Any, momentum: float) -> None:
    """``moving_average`` of several arrays, first all the averages, then the value of each, in one launch."""
    half = len(arrays) // 2
    pairs = list(zip(arrays[:half], arrays[half:]))
    dtype = arrays[0].dtype
    same = all(_of_floats(gpu, a, v) and a.dtype == dtype == v.dtype and a.shape == v.shape for a, v in pairs)
    if not same:
        for average, value in pairs:
            moving_average(gpu, average, value, None, momentum=momentum)
        return
    kernel = entry("averages.cu", "moving_averages", T=c_type(dtype), V=c_type(dtype))
    for start in range(0, half, MAX_AVERAGES):
        table = np.zeros((), _AVERAGES)  # CuPy passes an array of one structure by value, but no NumPy structure
        block = count = 0
        for average, value in pairs[start : start + MAX_AVERAGES]:
            if average.size:
                table["at"][count] = (average.data.ptr, value.data.ptr, average.size, block)
                block += blocks(average.size, 4 * THREADS)
                count += 1
        table["count"] = count
        gpu.run(kernel, (block,), (THREADS,), table, momentum)


@cuda_kernel
def scale(gpu: CudaBackend, values: Any, *, factor: float) -> None:
    """values *= factor."""
    binary(gpu, "multiply", values, values.dtype.type(factor), values)


@cuda_kernel
def clip_by_value(gpu: CudaBackend, gradient: Any, *, limit: float) -> None:
    """Limit every element to [-limit, limit]; NaN stays."""
    if not _of_floats(gpu, gradient):
        return gpu.fallback("clip_by_value", gradient, limit=limit)
    _run(gpu, "averages.cu", "clip_by_value", gradient, limit, V=gradient.dtype)


@cuda_kernel
def square_sum(gpu: CudaBackend, *arrays: Any, out: Any = None) -> Any:
    """The sum of the squares of all elements of all arrays: a 0-d float64 array."""
    if any(x.dtype not in C_TYPES for x in arrays):
        return gpu.fallback("square_sum", *arrays, out=out)
    parts = gpu.empty((len(arrays),), np.float64)
    for i, x in enumerate(arrays):
        run_reduction(gpu, "SquareSum", contiguous(gpu, x), (1, x.size, 1), "double", parts[i])
    if len(arrays) == 1:
        total = parts.reshape(())
    else:
        total = gpu.empty((), np.float64)
        run_reduction(gpu, "Sum", parts, (1, parts.size, 1), "double", total)
    if out is None:
        return total
    assign(gpu, out, total)
    return out


@cuda_kernel
def scale_to_norm(gpu: CudaBackend, gradient: Any, squares: Any, *, norm: float) -> None:
    """Scale ``gradient`` so that sqrt(``squares``) is at most ``norm``; NaN where that is not finite."""
    fits = isinstance(squares, gpu.array_type) and squares.dtype == np.float64 and squares.size == 1
    if not (fits and _of_floats(gpu, gradient)):
        return gpu.fallback("scale_to_norm", gradient, squares, norm=norm)
    _run(gpu, "averages.cu", "scale_to_norm", gradient, squares, norm, V=gradient.dtype)
