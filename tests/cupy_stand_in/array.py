"""ndarray: ``cupy.ndarray`` over emulated memory.

It holds a NumPy view of that memory and is no NumPy array itself: ``np.asarray`` of a subclass gives the data without
asking anyone, and implicit conversion is the mistake most worth refusing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import indexing, reductions, streams, ufuncs
from .counters import count
from .dlpack import Capsule, export
from .flags import Flags
from .machine import Device
from .making import has_order, new_like, view
from .memory import MemoryPointer, alloc, byte_view
from .operations import SCALARS, change, operate
from .operators import add_operators


class ndarray:
    """An array in emulated device memory. New memory is 0xFF: NaN as floats.

    Args:
        memptr: memory to look at; the current allocator gives new one where it is None.
    """

    __slots__ = ("__weakref__", "_array", "base", "data")
    __array_priority__ = 100
    __hash__ = None

    _array: np.ndarray
    base: ndarray | None
    data: MemoryPointer

    def __init__(
        self,
        shape: Any,
        dtype: Any = float,
        memptr: MemoryPointer | None = None,
        strides: tuple[int, ...] | None = None,
        order: str = "C",
    ) -> None:
        dtype = np.dtype(dtype)
        if dtype.kind not in "biufcV":
            raise ValueError(f"Unsupported dtype {dtype}")
        shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)
        if any(n < 0 for n in shape):
            raise ValueError("Negative dimensions are not allowed")
        if order not in ("C", "F", None):
            raise ValueError(f"order not understood. order={order!r}")
        nbytes = math.prod(shape) * dtype.itemsize
        self.data = alloc(nbytes) if memptr is None else memptr
        self.base = None
        if nbytes == 0:
            self._array = np.empty(shape, dtype)
            return
        if strides is not None:
            nbytes = sum((n - 1) * s for n, s in zip(shape, strides)) + dtype.itemsize
        buffer = byte_view(self.data.ptr, nbytes)
        self._array = np.ndarray(shape, dtype, buffer, strides=strides, order="F" if order == "F" else "C")

    # ---- what needs no device

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def size(self) -> int:
        return self._array.size

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    @property
    def itemsize(self) -> int:
        return self._array.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        return self._array.strides

    @property
    def flags(self) -> Flags:
        flags = self._array.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, self.base is None)

    @property
    def device(self) -> Device:
        return Device(self.data.device_id)

    @property
    def T(self) -> ndarray:
        return view(self._array.T, self)

    @property
    def mT(self) -> ndarray:
        return view(self._array.mT, self)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    # ---- between host and device

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        """The values on the host. It waits for the stream unless told not to."""
        stream = stream or streams.get_current_stream()
        streams.refuse_under_capture("a copy to the host")
        if blocking:
            streams.wait(stream)
        count("device_to_host")
        if out is None:
            return self._array.copy(order)
        if not isinstance(out, np.ndarray) or out.dtype != self.dtype or out.shape != self.shape:
            raise ValueError(f"out must be a numpy.ndarray of shape {self.shape} and dtype {self.dtype}")
        out[...] = self._array
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Copy a NumPy array of the same shape and dtype here."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not self.flags.forc:
            raise RuntimeError("Cannot set to non-contiguous array")
        streams.refuse_under_capture("a copy from the host")
        count("host_to_device")
        self._array[...] = arr

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get().tobytes(order)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface: dict[str, Any] = {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "descr": self.dtype.descr,
            "data": (self.data.ptr, False),
            "strides": None if self.flags.c_contiguous else self.strides,
            "version": 3,
            "stream": streams.get_current_stream().ptr or 1,  # 1 is the legacy default stream
        }
        return interface

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Capsule | Any:
        return export(self, dl_device, copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.data.device_id  # kDLCUDA

    # ---- NumPy's functions of device arrays

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        ours = ufuncs.TABLE.get(ufunc.__name__)
        if ufunc is np.matmul and method == "__call__":
            from .functions import linear

            return linear.matmul(*inputs, **kwargs)
        if ours is None:
            return NotImplemented
        return ours(*inputs, **kwargs) if method == "__call__" else getattr(ours, method)(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from .functions import FUNCTIONS

        ours = FUNCTIONS.get(func.__name__) if func.__module__ == "numpy" else None
        if ours is None or not all(issubclass(t, ndarray) for t in types):
            return NotImplemented
        return ours(*args, **kwargs)

    # ---- elements

    def __getitem__(self, key: Any) -> ndarray:
        return indexing.get_item(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        indexing.set_item(self, key, value)

    def __iter__(self) -> Iterator[ndarray]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def take(self, indices: Any, axis: int | None = None, out: Any = None) -> ndarray:
        return indexing.take(self, indices, axis, out)

    def fill(self, value: Any) -> None:
        """Set every element to a scalar, which may be an array of no axes."""
        if isinstance(value, np.ndarray):
            if value.shape != ():
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            value = value.item()
        if isinstance(value, ndarray):
            if value.ndim:
                raise ValueError("stand-in: fill with an array that has axes")
        elif not isinstance(value, SCALARS):
            raise TypeError(f"Unsupported type {type(value)}")
        target, source = self._array, value._array if isinstance(value, ndarray) else value

        def write() -> None:
            target[...] = source

        change("fill", write, [self, value])

    def scatter_add(self, slices: Any, value: Any) -> None:
        indexing.scatter("add", self, slices, value)

    def scatter_max(self, slices: Any, value: Any) -> None:
        indexing.scatter("maximum", self, slices, value)

    def scatter_min(self, slices: Any, value: Any) -> None:
        indexing.scatter("minimum", self, slices, value)

    # ---- copies and views

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        if subok is not None:
            raise TypeError("subok is not supported yet")
        dtype = np.dtype(dtype)
        if casting is not None and not np.can_cast(self.dtype, dtype, casting):
            raise TypeError(f"Cannot cast array data from {self.dtype} to {dtype} according to the rule {casting!r}")
        if not copy and dtype == self.dtype and has_order(self, order):
            return self
        return self._copied(dtype, order)

    def copy(self, order: str = "C") -> ndarray:
        return self._copied(self.dtype, order)

    def _copied(self, dtype: np.dtype, order: str) -> ndarray:
        result = new_like(self._array, dtype, order)
        if result.size:
            indexing._assign(result, self)
        return result

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        if type is not None:
            raise NotImplementedError("stand-in: view(type=...)")
        return view(self._array.view() if dtype is None else self._array.view(dtype), self)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> ndarray:
        sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], (int, np.integer)) else shape
        reshaped = self._array.reshape(sizes, order=order)
        if not copy and (not self.size or np.may_share_memory(reshaped, self._array)):
            return view(reshaped, self)
        if copy is False:
            raise ValueError("Unable to avoid creating a copy while reshaping.")
        source = self._array
        result: ndarray = operate("reshape", lambda out: source.reshape(sizes, order=order), [self])
        return result

    def ravel(self, order: str = "C") -> ndarray:
        return self.reshape(-1, order=order)

    def flatten(self, order: str = "C") -> ndarray:
        return self.copy().reshape(-1) if order == "C" else self.T.flatten()

    def transpose(self, *axes: Any) -> ndarray:
        return view(self._array.transpose(*axes), self)

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return view(self._array.swapaxes(axis1, axis2), self)

    def squeeze(self, axis: Any = None) -> ndarray:
        return view(self._array.squeeze(axis), self)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ndarray:
        return view(self._array.diagonal(offset, axis1, axis2), self)

    def repeat(self, repeats: Any, axis: int | None = None) -> ndarray:
        from .functions import shapes

        return shapes.repeat(self, repeats, axis)

    # ---- reductions and the like

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return reductions.reduce("sum", self, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def prod(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return reductions.reduce("prod", self, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return reductions.reduce("mean", self, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return reductions.reduce("max", self, axis=axis, out=out, keepdims=keepdims)

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return reductions.reduce("min", self, axis=axis, out=out, keepdims=keepdims)

    def argmax(self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False) -> ndarray:
        return reductions.arg_reduce("argmax", self, axis, dtype, out, keepdims)

    def argmin(self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False) -> ndarray:
        return reductions.arg_reduce("argmin", self, axis, dtype, out, keepdims)

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return reductions.reduce("all", self, axis=axis, out=out, keepdims=keepdims)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return reductions.reduce("any", self, axis=axis, out=out, keepdims=keepdims)

    def var(
        self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: int = 0, keepdims: bool = False
    ) -> ndarray:
        return reductions.reduce("var", self, axis=axis, dtype=dtype, out=out, ddof=ddof, keepdims=keepdims)

    def std(
        self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: int = 0, keepdims: bool = False
    ) -> ndarray:
        return reductions.reduce("std", self, axis=axis, dtype=dtype, out=out, ddof=ddof, keepdims=keepdims)

    def cumsum(self, axis: Any = None, dtype: Any = None, out: Any = None) -> ndarray:
        return reductions.reduce("cumsum", self, axis=axis, dtype=dtype, out=out)

    def cumprod(self, axis: Any = None, dtype: Any = None, out: Any = None) -> ndarray:
        return reductions.reduce("cumprod", self, axis=axis, dtype=dtype, out=out)

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> ndarray:
        from .functions import selecting

        return selecting.clip(self, min, max, out)

    def argsort(self, axis: Any = -1, kind: Any = None) -> ndarray:
        return reductions.sort("argsort", self, axis, kind)

    def dot(self, b: Any, out: Any = None) -> ndarray:
        from .functions import linear

        return linear.dot(self, b, out)

    def __matmul__(self, other: Any) -> ndarray:
        from .functions import linear

        return linear.matmul(self, other)

    def __rmatmul__(self, other: Any) -> ndarray:
        from .functions import linear

        return linear.matmul(other, self)


add_operators(ndarray)
