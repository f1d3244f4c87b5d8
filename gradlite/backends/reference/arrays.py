"""Reference kernels that move and select elements: copies, gathers and scatters."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from gradlite.backends.reference.reductions import count_correct
from gradlite.backends.registry import into, reference_kernel


@reference_kernel
def astype(xp: ModuleType, x: Any, *, dtype: Any, out: Any = None) -> Any:
    """``x`` converted to ``dtype``, always a copy."""
    return into(out, x.astype(dtype) if out is None else x)


@reference_kernel
def astype_each(xp: ModuleType, *arrays: Any, dtype: Any, out: Any = None) -> tuple[Any, ...]:
    """Every array converted to ``dtype``."""
    return tuple(astype(xp, x, dtype=dtype, out=o) for x, o in zip(arrays, out or (None,) * len(arrays)))


@reference_kernel
def copy(xp: ModuleType, x: Any, *, out: Any = None) -> Any:
    """A C-contiguous copy."""
    return into(out, xp.array(x, order="C", copy=True) if out is None else x)


@reference_kernel
def assign(xp: ModuleType, target: Any, value: Any) -> None:
    """Update kernel: write ``value`` (an array that broadcasts, or a number) into ``target``."""
    target[...] = value


@reference_kernel
def assign_add(xp: ModuleType, target: Any, value: Any) -> None:
    """Update kernel: add ``value`` to ``target``."""
    xp.add(target, value, out=target, casting="same_kind")


@reference_kernel
def accumulate(xp: ModuleType, *totals: Any, values: tuple[Any, ...], copies: tuple[Any, ...] = ()) -> None:
    """Update kernel: ``assign_add`` of several totals of one number.

    The value of each total is a number, an array of one, or what is computed first: ("times", array, number), their
    product in the array's type; ("correct", labels, scores), ``count_correct`` of them. ``copies`` are
    None, or arrays that the new totals are written to as well.
    """
    for total, value, copy in zip(totals, values, copies or (None,) * len(totals)):
        assign_add(xp, total, _value(xp, *value) if isinstance(value, tuple) else value)
        if copy is not None:
            copy[...] = total


def _value(xp: ModuleType, what: str, first: Any, second: Any) -> Any:
    return count_correct(xp, first, second) if what == "correct" else xp.multiply(first, second)


@reference_kernel
def assign_at(xp: ModuleType, target: Any, value: Any, *, index: Any) -> None:
    """Update kernel: ``target[index] = value``."""
    target[index] = value


@reference_kernel
def where(xp: ModuleType, condition: Any, a: Any, b: Any, *, out: Any = None) -> Any:
    """``a`` where ``condition`` holds, else ``b``, with broadcasting."""
    return into(out, xp.where(condition, a, b))


@reference_kernel
def concatenate(xp: ModuleType, *arrays: Any, axis: int, out: Any = None) -> Any:
    """The arrays one after the other along ``axis``."""
    return xp.concatenate(arrays, axis=axis, out=out)


@reference_kernel
def pad(xp: ModuleType, x: Any, *, widths: tuple[tuple[int, int], ...], value: float, out: Any = None) -> Any:
    """``x`` with ``widths[axis] = (before, after)`` elements of ``value`` around it."""
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, widths))
    result = xp.empty(shape, x.dtype) if out is None else out
    result[...] = value
    result[tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, widths))] = x
    return result


@reference_kernel
def gather(xp: ModuleType, x: Any, *, index: Any, out: Any = None) -> Any:
    """``x[index]`` for an index that holds arrays: a copy."""
    return into(out, x[index])


@reference_kernel
def scatter(xp: ModuleType, values: Any, *, index: Any, shape: tuple[int, ...], out: Any = None) -> Any:
    """Zeros of ``shape``, with ``values`` added at ``index``; a position named twice receives both.

    The transpose of reading ``x[index]``.
    """
    result = xp.empty(shape, values.dtype) if out is None else out
    result[...] = 0
    if is_basic(index):
        result[index] = values
    else:
        xp.add.at(result, index, values)
    return result


def is_basic(index: Any) -> bool:
    """Whether an index consists of integers, slices, None and Ellipsis: it selects a view, and no position repeats."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts)


@reference_kernel
def take(xp: ModuleType, x: Any, indices: Any, *, axis: int, out: Any = None) -> Any:
    """``x`` at ``indices`` along ``axis``; the shape of ``indices`` replaces that axis."""
    return into(out, xp.take(x, indices, axis=axis))


@reference_kernel
def take_gradient(
    xp: ModuleType, gradient: Any, indices: Any, *, shape: tuple[int, ...], axis: int, out: Any = None
) -> Any:
    """The transpose of ``take``: zeros of ``shape`` with each row of ``gradient`` added where it was read."""
    result = xp.zeros(shape, gradient.dtype)
    rows = xp.moveaxis(result, axis, 0)
    spread = xp.moveaxis(gradient.reshape(shape[:axis] + (indices.size,) + shape[axis + 1 :]), axis, 0)
    xp.add.at(rows, indices.reshape(-1), spread)
    return into(out, result)


@reference_kernel
def take_along_axis(xp: ModuleType, x: Any, indices: Any, *, axis: int, out: Any = None) -> Any:
    """Elements of ``x`` named by ``indices``, an array of the same rank, along ``axis``."""
    return into(out, xp.take_along_axis(x, indices, axis=axis))


@reference_kernel
def take_along_axis_gradient(
    xp: ModuleType, gradient: Any, indices: Any, *, shape: tuple[int, ...], axis: int, out: Any = None
) -> Any:
    """The transpose of ``take_along_axis``."""
    result = xp.zeros(shape, gradient.dtype)
    grid = [xp.arange(n).reshape((-1,) + (1,) * (len(shape) - 1 - i)) for i, n in enumerate(indices.shape)]
    grid[axis] = indices
    xp.add.at(result, tuple(grid), gradient)
    return into(out, result)


@reference_kernel
def one_hot(xp: ModuleType, indices: Any, *, depth: int, dtype: Any, out: Any = None) -> Any:
    """Rows of zeros with a one at each index; an index outside ``[0, depth)`` gives a row of zeros."""
    return into(out, (indices[..., None] == xp.arange(depth)).astype(dtype))


@reference_kernel
def argsort(xp: ModuleType, x: Any, *, axis: int, out: Any = None) -> Any:
    """The stable order that sorts ``x`` along ``axis``."""
    return into(out, xp.argsort(x, axis=axis, kind="stable"))
