"""Devices: which backend an array belongs to, and where new tensors go."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gradlite.backends.base import Backend
from gradlite.backends.cpu import BACKEND as _CPU

__all__ = [
    "Backend",
    "backend_of",
    "default_backend",
    "device",
    "empty_cache",
    "existing_backend",
    "foreign_array",
    "get_backend",
    "get_device",
    "gpu_of",
    "memory_stats",
    "set_device",
    "synchronize",
]

_GPU_NAME = re.compile(r"gpu(?::(\d+))?")
_CUDA_MEMORY = (2, 13)  # what DLPack calls memory of a CUDA device, and memory managed for it

_default: Backend = _CPU
_leave: Callable[[], None] | None = None  # undoes what set_device did to CuPy's current stream
_gpus: dict[int, Backend] = {}


def get_backend(device: str | Backend) -> Backend:
    """The backend of a device name: ``"cpu"``, ``"gpu"``, ``"gpu:1"`` or ``"auto"`` (a GPU that works, else the CPU).

    CuPy is imported when a GPU is first asked for.

    Raises:
        ValueError: for a name that is none of these.
        RuntimeError: where a GPU is asked for and there is none that works; it says what is missing.
    """
    if isinstance(device, Backend):
        return device
    if device == "cpu":
        return _CPU
    if device == "auto":
        return _gpu_or_cpu()
    match = _GPU_NAME.fullmatch(device) if isinstance(device, str) else None
    if match is None:
        raise ValueError(f"Unknown device {device!r}. Devices are 'auto', 'cpu', 'gpu' and 'gpu:N'.")
    number = int(match[1] or 0)
    if number in _gpus:
        return _gpus[number]
    try:
        return _gpu(number)
    except RuntimeError as error:
        raise RuntimeError(
            f"Device {device!r} was asked for, but it does not work here. {error} "
            "Use set_device('cpu'), or set_device('auto') for a GPU where there is one."
        ) from error


def _gpu(number: int) -> Backend:
    """The backend of a GPU, one for each, made when it is first asked for."""
    if number not in _gpus:
        from gradlite.backends.cuda import CudaBackend
        from gradlite.backends.cuda.availability import require_gpu

        made = CudaBackend(require_gpu(number), number)
        _gpus.setdefault(number, made)  # of two threads that asked at once, both get the first one's
    return _gpus[number]


def _gpu_or_cpu() -> Backend:
    from gradlite.backends.cuda.availability import GpuUnavailable

    try:
        return _gpu(0)
    except GpuUnavailable:
        return _CPU


def backend_of(array: Any) -> Backend | None:
    """The backend whose arrays are of this type, or None where ``array`` is no array of NumPy or CuPy."""
    return _CPU if isinstance(array, (np.ndarray, np.generic)) else gpu_of(array)


def gpu_of(array: Any) -> Backend | None:
    """The backend of the GPU that ``array`` is on; None for everything that is no array of CuPy."""
    # An array of CuPy can be here only if CuPy was imported.
    cupy: Any = sys.modules.get("cupy")
    kind: Any = None if cupy is None else getattr(cupy, "ndarray", None)  # None too while another thread imports it
    return _gpu(array.device.id) if kind is not None and isinstance(array, kind) else None


def foreign_array(array: Any) -> Any:
    """Another library's array as NumPy's or CuPy's, on the same memory, by DLPack or ``__cuda_array_interface__``.

    What the other library has launched so far is ordered before what we launch.
    """
    if gpu_of(array) is not None:
        return array
    if not hasattr(array, "__dlpack_device__"):
        return get_backend("gpu").asarray(array)
    kind, number = array.__dlpack_device__()
    if kind not in _CUDA_MEMORY:
        return np.from_dlpack(array)
    return get_backend(f"gpu:{number}").from_dlpack(array)


def default_backend() -> Backend:
    """The backend on which new tensors and models are made."""
    return _default


def existing_backend(device: str) -> Backend:
    """The backend of this device, or the current one where it does not work here: for what comes out of a file."""
    try:
        return get_backend(device)
    except RuntimeError:
        return _default


def get_device() -> str:
    """The name of the device on which new tensors and models are made.

    >>> import gradlite
    >>> gradlite.get_device()
    'cpu'
    """
    return _default.device


def set_device(device: str) -> None:
    """Choose where new tensors and models go: ``"auto"``, ``"cpu"``, ``"gpu"`` or ``"gpu:1"``.

    With a GPU, CuPy's current device and stream become gradlite's in this thread, so that CuPy code beside it is
    ordered with it. Under another stream everything works too, a few microseconds an operation slower.

    Raises:
        ValueError: for an unknown name.
        RuntimeError: where that device does not work here; it says what is missing.
    """
    global _default, _leave
    chosen = get_backend(device)
    if _leave is not None:
        _leave()
    _default, _leave = chosen, chosen.adopt()


@contextmanager
def device(name: str) -> Iterator[None]:
    """``with gradlite.device("cpu"):`` new tensors and models are made there, and as before afterwards."""
    global _default
    chosen, previous = get_backend(name), _default
    leave = chosen.adopt()
    _default = chosen
    try:
        yield
    finally:
        _default = previous
        leave()


def synchronize() -> None:
    """Wait until the current device has done everything that was asked of it; nothing to wait for on the CPU."""
    _default.synchronize()


def memory_stats(device: str | None = None) -> dict[str, int]:
    """Bytes of a GPU's memory: "used" by arrays, "pooled" for the next ones, "free" and "total" on the device.

    Args:
        device: the current one by default. The CPU's memory is not counted: an empty dict.

    >>> import gradlite
    >>> gradlite.memory_stats("cpu")
    {}
    """
    return (_default if device is None else get_backend(device)).memory_stats()


def empty_cache(device: str | None = None) -> None:
    """Give GPU memory that is only kept for later arrays back to the driver, for other programs."""
    (_default if device is None else get_backend(device)).empty_cache()


# A script that names no device, such as one written for tf.keras, runs where the environment says.
if os.environ.get("GRADLITE_DEVICE"):
    set_device(os.environ["GRADLITE_DEVICE"])
