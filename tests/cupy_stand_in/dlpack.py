"""DLPack between stand-in arrays: a capsule that only this module reads, since no other library has the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .array import ndarray

CPU, CUDA = 1, 2


class Capsule:
    """What ``__dlpack__`` hands over; it is consumed once, as a real one."""

    def __init__(self, array: ndarray) -> None:
        self._array: ndarray | None = array

    def consume(self) -> ndarray:
        """The array, the first time."""
        array, self._array = self._array, None
        if array is None:
            raise ValueError("a DLPack tensor cannot be consumed multiple times, see the DLPack spec for details")
        return array


def export(array: ndarray, dl_device: tuple[int, int] | None, copy: bool | None) -> Any:
    """``array.__dlpack__(...)``: where the CPU is asked for, the capsule is NumPy's, of a copy.

    Raises:
        BufferError: where another GPU is asked for.
        ValueError: where the CPU is asked for and no copy allowed.
    """
    if dl_device is not None and dl_device[0] == CPU:
        if copy is False:
            raise ValueError("GPU memory cannot be exported to the CPU without a copy")
        return array.get().__dlpack__()
    if dl_device is not None and dl_device != (CUDA, array.data.device_id):
        raise BufferError(f"cannot export an array on device {array.data.device_id} to {dl_device}")
    return Capsule(array.copy() if copy else array)


def from_dlpack(array: Any, *, device: Any = None, copy: bool | None = None) -> ndarray:
    """``cupy.from_dlpack``: a view of the memory that another array hands over.

    Raises:
        TypeError: for what cannot hand it over.
        BufferError: where the memory is not on a GPU.
    """
    from .making import view

    if not hasattr(array, "__dlpack__") or not hasattr(array, "__dlpack_device__"):
        raise TypeError(f"{type(array)} does not support the DLPack protocol")
    kind, number = array.__dlpack_device__()
    if kind != CUDA:
        raise BufferError(f"CPU arrays cannot be directly imported to CuPy. Received: an array on device type {kind}.")
    from .machine import Device

    with Device(number):
        capsule = array.__dlpack__(stream=None, max_version=(1, 1))
    if not isinstance(capsule, Capsule):
        raise BufferError(f"stand-in: {type(array)} hands over memory of a real GPU")
    source = capsule.consume()
    return source.copy() if copy else view(source._array, source)
