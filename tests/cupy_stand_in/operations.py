"""Running an operation of the array module: checking operands, counting, recording under capture, placing results.

An operation is computed by NumPy on views of the emulated memory. A GPU gives no warnings, so none are given here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import streams
from .counters import count_operation
from .machine import current_device

if TYPE_CHECKING:
    from .array import ndarray

Compute = Callable[[Any], Any]
SCALARS = (bool, int, float, complex, np.bool_, np.number)


def operand(value: Any) -> Any:
    """What NumPy computes with for an operand: the view of a device array, or a scalar as it is.

    Raises:
        TypeError: for NumPy arrays, sequences and everything else that CuPy does not take.
    """
    from .array import ndarray

    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, SCALARS):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def device_array(value: Any) -> ndarray:
    """``value``, which must be a device array."""
    from .array import ndarray

    if not isinstance(value, ndarray):
        raise TypeError(f"Unsupported type {type(value)}: a cupy.ndarray is needed")
    return value


def operate(name: str, compute: Compute, operands: Iterable[Any], out: Any = None, capturable: bool = True) -> Any:
    """Run ``compute(out)``, where out is a NumPy view to write to or None, as one operation of the current stream.

    Args:
        name: as it is logged.
        compute: a pure function of NumPy views that it holds. It must not hold device arrays: a graph does not keep
            alive what it uses.
        operands: everything passed in; device arrays among them must be of the current device.
        out: a device array for the result, or None for a new one, C-contiguous as in CuPy.
        capturable: whether CuPy can have it captured.

    Returns:
        A device array, or a tuple of them where ``compute`` gives a tuple; ``out`` where it was given.
    """
    from .array import ndarray

    if out is not None and not isinstance(out, ndarray):
        raise TypeError(f"Output arguments type must be cupy.ndarray. Received: {type(out)}")
    arrays = [x for x in (*operands, out) if isinstance(x, ndarray)]
    check_devices(arrays)
    stream = streams.get_current_stream()
    if not capturable:
        streams.refuse_under_capture(f"{name} cannot be captured")
    streams.note_launch(name, stream)
    count_operation(name)
    if stream.is_capturing():
        return _record(name, compute, arrays, out, stream)
    streams.submit(name, lambda: None, (), stream)
    with np.errstate(all="ignore"):
        result = compute(None if out is None else out._array)
    if out is not None:
        return out
    return tuple(map(_placed, result)) if isinstance(result, tuple) else _placed(result)


def _placed(result: Any) -> ndarray:
    from .making import new

    result = np.asarray(result)
    array = new(result.shape, result.dtype)
    array._array[...] = result
    return array


def _record(name: str, compute: Compute, arrays: list[ndarray], out: Any, stream: streams.Stream) -> Any:
    """Record the operation. What it computes from the present content of its operands only tells shape and dtype."""
    from .making import new

    with np.errstate(all="ignore"):
        probe = compute(None if out is None else np.empty_like(out._array))
    several = isinstance(probe, tuple)
    shapes = [np.asarray(p) for p in (probe if several else (probe,))]
    results = [new(p.shape, p.dtype) for p in shapes] if out is None else [out]
    views = [r._array for r in results]

    def run() -> None:
        with np.errstate(all="ignore"):
            if out_given:
                compute(views[0])
                return
            values = compute(None)
        for view, value in zip(views, values if several else (values,)):
            view[...] = value

    out_given = out is not None
    streams.submit(name, run, [a.data.mem.ptr for a in (*arrays, *results)], stream)
    return tuple(results) if several else results[0]


def change(name: str, write: Callable[[], Any], operands: Iterable[Any], capturable: bool = True) -> None:
    """Run ``write()``, which changes operands in place, as one operation of the current stream."""
    from .array import ndarray

    arrays = [x for x in operands if isinstance(x, ndarray)]
    check_devices(arrays)
    stream = streams.get_current_stream()
    if not capturable:
        streams.refuse_under_capture(f"{name} cannot be captured")
    streams.note_launch(name, stream)
    count_operation(name)

    def run() -> None:
        with np.errstate(all="ignore"):
            write()

    streams.submit(name, run, [a.data.mem.ptr for a in arrays], stream)


def check_devices(arrays: Iterable[ndarray]) -> None:
    """Raises where an array is not on the current device: the machine that is stood in for has no peer access."""
    device = current_device()
    for array in arrays:
        if array.data.device_id != device and array.size:
            raise ValueError(
                f"The device where the array resides ({array.data.device_id}) is different from the current device "
                f"({device}). Peer access is unavailable between these devices."
            )
