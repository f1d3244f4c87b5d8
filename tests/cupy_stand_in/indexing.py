"""Indexing as CuPy does it: views, gathers and scatters, with indices out of range wrapped round, not refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import streams
from .counters import count
from .operations import change, operate

if TYPE_CHECKING:
    from .array import ndarray

# What atomics on a GPU can add up, and so on: the dtypes that each kind of `ufunc.at` takes.
_REAL = ("int32", "uint32", "uint64", "float32", "float64")
SCATTER = {
    "add": (np.add, (*_REAL, "float16", "complex64", "complex128")),
    "subtract": (np.subtract, ("int32", "uint32")),
    "maximum": (np.maximum, _REAL),
    "minimum": (np.minimum, _REAL),
    "bitwise_and": (np.bitwise_and, ("int32", "int64", "uint32", "uint64")),
    "bitwise_or": (np.bitwise_or, ("int32", "int64", "uint32", "uint64")),
    "bitwise_xor": (np.bitwise_xor, ("int32", "int64", "uint32", "uint64")),
}


class Index:
    """An index, taken apart.

    Attributes:
        parts: what NumPy indexes with.
        wraps: (position in ``parts``, length of its axis) of the integer arrays among them.
        arrays: the device arrays among them.
        selects_view: whether there are only integers, slices, None and Ellipsis.
        has_mask: whether there is a boolean array, whose count of True the host must read.
    """

    def __init__(self, array: ndarray, key: Any) -> None:
        from .array import ndarray
        from .making import array as make_array

        self.parts: list[Any] = []
        self.wraps: list[tuple[int, int]] = []
        self.arrays: list[ndarray] = []
        self.has_mask = False
        parts: list[Any] = []
        for part in key if isinstance(key, tuple) else (key,):
            basic = part is None or part is Ellipsis or isinstance(part, (slice, ndarray))
            number = isinstance(part, (int, np.integer)) and not isinstance(part, (bool, np.bool_))
            if not (basic or number):
                empty = isinstance(part, (list, tuple)) and len(part) == 0
                part = make_array(part, dtype=np.int32 if empty else None)
            parts.append(part)
        used = sum(_axes_of(part) for part in parts)
        axis = 0
        for part in parts:
            if isinstance(part, ndarray):
                self.arrays.append(part)
                if part.dtype.kind == "b":
                    self.has_mask = True
                elif part.dtype.kind in "iu":
                    self.wraps.append((len(self.parts), array.shape[axis] if axis < array.ndim else 1))
                else:
                    raise IndexError(
                        f"arrays used as indices must be of integer or boolean type. (actual: {part.dtype.type})"
                    )
                self.parts.append(part._array)
            else:
                self.parts.append(part)
            axis += array.ndim - used if part is Ellipsis else _axes_of(part)
        self.selects_view = not self.arrays
        if self.selects_view and Ellipsis not in self.parts:
            self.parts.append(Ellipsis)  # so that NumPy gives a 0-d view, never a scalar

    def resolver(self) -> Callable[[], tuple[Any, ...]]:
        """A function that gives the index for NumPy from the then content of its arrays, without keeping them alive."""
        parts, wraps = self.parts, self.wraps

        def resolve() -> tuple[Any, ...]:
            resolved = list(parts)
            for position, length in wraps:
                if length:
                    resolved[position] = np.remainder(resolved[position], length).astype(np.intp)
            return tuple(resolved)

        return resolve


def _axes_of(part: Any) -> int:
    """How many axes of the array a part of an index consumes."""
    if part is None or part is Ellipsis:
        return 0
    dtype = getattr(part, "dtype", None)
    return part.ndim if dtype is not None and dtype.kind == "b" and not isinstance(part, np.generic) else 1


def _read_masks(index: Index) -> None:
    if index.has_mask:
        streams.refuse_under_capture("indexing with a boolean array makes the host wait")
        count("synchronizations")
        count("device_to_host")


def get_item(array: ndarray, key: Any) -> ndarray:
    """``array[key]``."""
    from .making import view

    index = Index(array, key)
    source = array._array
    if index.selects_view:
        return view(source[tuple(index.parts)], array)
    _read_masks(index)
    resolve = index.resolver()
    return operate("take", lambda out: source[resolve()], [array, *index.arrays])


def set_item(array: ndarray, key: Any, value: Any) -> None:
    """``array[key] = value``."""
    from .array import ndarray
    from .making import array as make_array
    from .making import view

    index = Index(array, key)
    target = array._array
    if index.selects_view:
        place = view(target[tuple(index.parts)], array)
        if isinstance(value, ndarray):
            _assign(place, value)
        else:
            place.fill(value)
        return
    _read_masks(index)
    source = value if isinstance(value, ndarray) else make_array(value, dtype=array.dtype)
    values, resolve = source._array, index.resolver()

    def write() -> None:
        target[resolve()] = values

    change("scatter_update", write, [array, source, *index.arrays])


def _assign(place: ndarray, source: ndarray) -> None:
    target, values = place._array, source._array
    while values.ndim and values.shape[0] == 1:  # leading axes of length one are left out
        values = values[0, ...]
    same_layout = target.shape == values.shape and target.strides == values.strides
    if same_layout and place.data.ptr == source.data.ptr:
        return
    if same_layout and place.flags.c_contiguous and place.dtype == source.dtype:
        place.data.copy_from_device_async(source.data, source.nbytes)
        return

    def write() -> None:
        target[...] = values

    change("copy", write, [place, source])


def take(array: ndarray, indices: Any, axis: int | None, out: Any) -> ndarray:
    """``array.take(indices, axis, out)``; indices out of range wrap."""
    from .array import ndarray
    from .making import array as make_array

    if not np.isscalar(indices) and not isinstance(indices, ndarray):
        indices = make_array(indices, dtype=int)
    source = array._array
    places = indices._array if isinstance(indices, ndarray) else indices
    length = source.size if axis is None else source.shape[axis]
    count_of_places = indices.size if isinstance(indices, ndarray) else 1
    if length == 0 and count_of_places:
        raise IndexError("cannot do a non-empty take from an empty axes.")
    shape = np.shape(places) if axis is None else _taken_shape(source.shape, axis, np.shape(places))
    if out is not None:
        if out.dtype != array.dtype:
            raise TypeError("Output dtype mismatch")
        if out.shape != shape:
            raise ValueError("Output shape mismatch")

    def compute(destination: Any) -> Any:
        wrapped = np.remainder(places, length).astype(np.intp) if length else np.zeros(np.shape(places), np.intp)
        result = np.take(source, wrapped, axis=axis) if length else np.empty(shape, source.dtype)
        return result if destination is None else np.copyto(destination, result)

    return operate("take", compute, [array, indices], out)


def _taken_shape(shape: tuple[int, ...], axis: int, places: tuple[int, ...]) -> tuple[int, ...]:
    axis %= len(shape)
    return shape[:axis] + places + shape[axis + 1 :]


def scatter(name: str, array: ndarray, key: Any, value: Any) -> None:
    """``ufunc.at``: several values for one position all take part, in no order that a program may rely on.

    Raises:
        TypeError: for a dtype that a GPU has no atomic operation for.
    """
    from .array import ndarray
    from .making import array as make_array
    from .making import view

    ufunc, dtypes = SCATTER[name]
    index = Index(array, key)
    if index.selects_view:
        place = view(array._array[tuple(index.parts)], array)
        right = value._array if isinstance(value, ndarray) else value
        whole = place._array
        operate(name, lambda out: ufunc(whole, right, out=out, casting="unsafe"), [place, value], place)
        return
    _read_masks(index)
    source = value if isinstance(value, ndarray) else make_array(value, dtype=array.dtype)
    if array.dtype.name not in dtypes:
        raise TypeError(f"{name}.at only supports {', '.join(dtypes)} as data type. Received: {array.dtype}")
    target, values, resolve = array._array, source._array, index.resolver()

    def write() -> None:
        ufunc.at(target, resolve(), values.astype(target.dtype, copy=False))

    change(f"{name}.at", write, [array, source, *index.arrays])
