"""Elementwise kernels on a GPU: arithmetic, functions, comparison, selection, conversion and assignment.

Every operation is a function of kernels/operations.cuh, compiled for the types it meets. Result types are NumPy's
(array types promote, Python numbers take the type of the array). What there is no kernel for, such as functions of
integers that NumPy computes in a type of its own choice, runs as CuPy's function.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.launch import NARROW, Strided, blocks, c_type
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.cuda.sources import Entry, entry
from gradlite.backends.cuda.strided import clashes, layout
from gradlite.backends.dtypes import FLOAT_KINDS, is_bfloat16

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

THREADS = 256

# Every combination of types is a kernel of its own, so there are some for the types and pairs that programs use, and
# CuPy's functions for the others.
TYPES = (*(np.dtype(name) for name in ("float32", "float64", "int64", "int32", "uint8", "bool")), *NARROW)
PAIRS = (
    ("float32", "float64"), ("float32", "bool"), ("float64", "int64"), ("float64", "bool"),
    ("int64", "uint8"), ("int64", "bool"), ("int64", "int32"),
)  # fmt: skip
_PAIRS = {frozenset(map(np.dtype, pair)) for pair in PAIRS} | {frozenset((dtype,)) for dtype in TYPES}
_PAIRS |= {frozenset((np.dtype(other), dtype)) for dtype in NARROW for other in ("float32", "bool")}

# Operations of any type, and those that are computed in floating point alone.
UNARY = ("negative", "abs", "sign", "square", "logical_not")
FLOAT_UNARY = (
    "sqrt", "rsqrt", "reciprocal", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan",
    "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "floor", "ceil", "rint",
    "trunc", "erf", "sigmoid", "softplus", "isnan", "isinf", "isfinite",
)  # fmt: skip
BINARY = (
    "add", "subtract", "multiply", "floor_divide", "remainder", "maximum", "minimum", "equal", "not_equal", "less",
    "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_xor",
)  # fmt: skip
FLOAT_BINARY = ("divide", "power", "hypot", "arctan2")
# Those that the array module does not have: their result has the operand's type.
OURS = ("rsqrt", "erf", "sigmoid", "softplus", "relu", "relu_gradient")


def grid_for(gpu: CudaBackend, size: int, each: int = 1) -> tuple[int]:
    """Blocks for a grid-stride loop over ``size`` elements, ``each`` a thread: enough to fill the device a few times,
    and no more than there is work."""
    return (min(blocks(size, each * THREADS), 16 * gpu.multiprocessors),)


def computing_type(dtype: np.dtype) -> str:
    """What the sources call the type that elements of ``dtype`` are computed in: those of 16 bits in float32."""
    return "float" if dtype in NARROW else c_type(dtype)


Loop = tuple[np.dtype, np.dtype]


@lru_cache(4096)
def loop(name: str, *kinds: Any) -> Loop | None:
    """The types that an operation is computed in and results in, for operands of these kinds: dtypes, or ``int`` and
    ``float`` for Python numbers. None where there is no kernel for it; at least one operand needs no conversion."""
    if any(kind is None for kind in kinds):  # by identity: NumPy takes None for float64 where it compares dtypes
        return None
    dtypes = {kind for kind in kinds if isinstance(kind, np.dtype)}
    if frozenset(dtypes) not in _PAIRS:
        return None
    # NumPy has no rules for bfloat16: it promotes as float16 does.
    bfloat16 = next((dtype for dtype in dtypes if is_bfloat16(dtype)), None)
    half = np.dtype(np.float16)
    asked = [half if kind is bfloat16 else kind for kind in kinds]
    if name in OURS:
        inputs, result = set(asked), asked[0]
    else:
        try:
            *resolved, result = getattr(np, name).resolve_dtypes((*asked, None))
        except TypeError:  # the operation is not defined for them: CuPy shall say so
            return None
        inputs = set(resolved)
    if len(inputs) != 1:
        return None
    computed = inputs.pop()
    if bfloat16 is not None:
        computed, result = (bfloat16 if dtype == half else dtype for dtype in (computed, result))
    integers_too = name in UNARY or name in BINARY or name in ("relu", "relu_gradient")
    if computed not in dtypes or (computed.kind not in FLOAT_KINDS and not integers_too):
        return None
    return computed, result


def kind_of(gpu: CudaBackend, x: Any) -> Any:
    """A dtype, ``int`` or ``float``; None for what is no operand of a kernel."""
    if isinstance(x, (gpu.array_type, np.generic)):
        return x.dtype
    if isinstance(x, bool):
        return np.dtype(bool)
    return int if isinstance(x, int) else float if isinstance(x, float) else None


def number(x: Any, dtype: np.dtype) -> Any:
    """A number as one of ``dtype``, as a Python number; None where it does not fit."""
    if dtype.kind in FLOAT_KINDS:
        return float(x) if dtype.itemsize > 2 else float(dtype.type(x))
    value = int(x)
    if dtype.kind == "b":
        return value if value in (0, 1) else None
    bounds = np.iinfo(dtype)
    return value if bounds.min <= value <= bounds.max else None


def destination(gpu: CudaBackend, out: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """``out``, or a new array; None where ``out`` is not of that shape or cannot hold that type."""
    if out is None:
        return gpu.empty(shape, dtype)
    fits = out.shape == shape and out.dtype in TYPES
    return out if fits and np.can_cast(dtype, out.dtype, "same_kind") else None


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that these broadcast to.

    Raises:
        ValueError: where they do not.
    """
    first = shapes[0]
    if all(shape == first or not shape for shape in shapes[1:]):
        return first
    return np.broadcast_shapes(*shapes)


def apart(gpu: CudaBackend, out: Any, x: Any) -> Any:
    """``x``, or a copy of it where writing ``out`` would change it before it is read."""
    return fresh(gpu, x) if x is not out and clashes(out, x) else x


def fresh(gpu: CudaBackend, x: Any) -> Any:
    """A C-contiguous copy."""
    if x.dtype in TYPES:
        result = gpu.empty(x.shape, x.dtype)
        if map_unary(gpu, "identity", x, result, computing_type(x.dtype)):
            return result
    return gpu.fallback("copy", x)


def contiguous(gpu: CudaBackend, x: Any) -> Any:
    """``x`` itself, or a copy where its elements do not lie in line."""
    return x if x.flags.c_contiguous else fresh(gpu, x)


# One operand.


@lru_cache(4096)
def _unary_entry(name: str, operation: str, of: np.dtype, computed: str, result: np.dtype) -> Entry:
    return entry("unary.cu", name, A=c_type(of), C=computed, R=c_type(result), OPERATION=f"op_{operation}")


def map_unary(gpu: CudaBackend, operation: str, x: Any, out: Any, computed: str) -> bool:
    """Launch ``out = operation(x)``, with ``x`` broadcast to ``out``; False where there is no layout for it."""
    if out.size == 0:
        return True
    if x.shape == out.shape and x.flags.c_contiguous and out.flags.c_contiguous:
        kernel = _unary_entry("unary", operation, x.dtype, computed, out.dtype)
        gpu.run(kernel, grid_for(gpu, out.size, 4), (THREADS,), x, out, out.size)
        return True
    arrangement = layout(out.shape, x, out)
    if arrangement is None:
        return False
    kernel = _unary_entry("unary_strided", operation, x.dtype, computed, out.dtype)
    gpu.run(kernel, grid_for(gpu, out.size), (THREADS,), Strided(x), Strided(out), arrangement)
    return True


def unary(gpu: CudaBackend, name: str, x: Any, out: Any = None) -> Any:
    """The elementwise operation ``name`` of one array."""
    types = loop(name, kind_of(gpu, x))
    result = None if types is None or not isinstance(x, gpu.array_type) else destination(gpu, out, x.shape, types[1])
    if types is None or result is None:
        return gpu.fallback(name, x, out=out)
    operand = x if out is None else apart(gpu, out, x)
    if not map_unary(gpu, name, operand, result, computing_type(types[0])):
        return gpu.fallback(name, x, out=out)
    return result


# Two operands.


@lru_cache(4096)
def _binary_entry(name: str, operation: str, a: np.dtype, b: np.dtype, computed: np.dtype, result: np.dtype) -> Entry:
    types = {"A": c_type(a), "B": c_type(b), "C": computing_type(computed), "R": c_type(result)}
    return entry("binary.cu", name, **types, OPERATION=f"op_{operation}")


def binary(gpu: CudaBackend, name: str, a: Any, b: Any, out: Any = None) -> Any:
    """The elementwise operation ``name`` of two operands, one of them or both arrays."""
    types = loop(name, kind_of(gpu, a), kind_of(gpu, b))
    if types is None:
        return gpu.fallback(name, a, b, out=out)
    computed, resulting = types
    arrays = [x if isinstance(x, gpu.array_type) else None for x in (a, b)]
    values = [0 if x is not None else number(y, computed) for x, y in zip(arrays, (a, b))]
    shape = broadcast(*(x.shape for x in arrays if x is not None)) if any(x is not None for x in arrays) else ()
    result = None if None in values else destination(gpu, out, shape, resulting)
    if result is None:
        return gpu.fallback(name, a, b, out=out)
    if out is not None:
        arrays = [None if x is None else apart(gpu, out, x) for x in arrays]
    if not _map_binary(gpu, name, arrays, values, computed, result):
        return gpu.fallback(name, a, b, out=out)
    return result


def _map_binary(
    gpu: CudaBackend, name: str, arrays: list[Any], values: list[Any], computed: np.dtype, out: Any
) -> bool:
    if out.size == 0:
        return True
    a, b = arrays
    kinds = [computed if x is None else x.dtype for x in arrays]
    if out.flags.c_contiguous and all(
        x is None or x.size == 1 or (x.shape == out.shape and x.flags.c_contiguous) for x in arrays
    ):
        kernel = _binary_entry("binary", name, *kinds, computed, out.dtype)
        steps = [0 if x is None or x.size == 1 else 1 for x in arrays]
        grid = grid_for(gpu, out.size, 4)
        gpu.run(kernel, grid, (THREADS,), a, steps[0], values[0], b, steps[1], values[1], out, out.size)
        return True
    arrangement = layout(out.shape, a, b, out)
    if arrangement is None:
        return False
    kernel = _binary_entry("binary_strided", name, *kinds, computed, out.dtype)
    a, b = (None if x is None else Strided(x) for x in arrays)
    gpu.run(kernel, grid_for(gpu, out.size), (THREADS,), a, values[0], b, values[1], Strided(out), arrangement)
    return True


# The kernels that are nothing but one operation.


def _enter_unary(name: str) -> None:
    def kernel(gpu: CudaBackend, x: Any, *, out: Any = None) -> Any:
        return unary(gpu, name, x, out)

    kernel.__name__, kernel.__doc__ = name, f"Elementwise {name}."
    cuda_kernel(kernel)


def _enter_binary(name: str) -> None:
    def kernel(gpu: CudaBackend, a: Any, b: Any, *, out: Any = None) -> Any:
        return binary(gpu, name, a, b, out)

    kernel.__name__, kernel.__doc__ = name, f"Elementwise {name}, with broadcasting."
    cuda_kernel(kernel)


for _name in (*UNARY, *FLOAT_UNARY, "relu"):
    _enter_unary(_name)
for _name in (*BINARY, *FLOAT_BINARY):
    _enter_binary(_name)


@cuda_kernel
def relu_gradient(gpu: CudaBackend, gradient: Any, y: Any, *, out: Any = None) -> Any:
    """The gradient where relu's output is positive, else 0."""
    return binary(gpu, "relu_gradient", gradient, y, out)
