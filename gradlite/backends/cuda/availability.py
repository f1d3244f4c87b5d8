"""Whether a GPU works here: CuPy, the driver and the device, looked at in this order, and what to do about each."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib import import_module
from typing import Any

OLDEST_CUPY = (13, 0)  # the first one made for NumPy 2
OLDEST_CAPABILITY = (7, 0)  # Volta: the kernels count on lanes that are scheduled independently

# For each extra of this package: the CUDA version that its CuPy is built for, and the oldest driver that runs it.
EXTRAS = (("cuda13", (13, 0), "580"), ("cuda12", (12, 0), "525"))


class GpuUnavailable(RuntimeError):
    """A GPU was asked for, and there is none that works; the message says what is missing and what to install."""


def driver_version() -> tuple[int, int] | None:
    """The CUDA version that the installed driver supports, such as (12, 4); None without a driver.

    Asks the driver's own library, so that it works where CuPy is missing.
    """
    for name in ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        version = ctypes.c_int(0)
        if library.cuDriverGetVersion(ctypes.byref(version)) == 0 and version.value:
            return _split(version.value)
    return None


def _split(version: int) -> tuple[int, int]:
    """12040 is CUDA 12.4."""
    return version // 1000, version % 1000 // 10


def extra_for(driver: tuple[int, int] | None) -> str:
    """The command that installs a CuPy which this driver can run; both where that is not known."""
    for extra, needed, _ in EXTRAS:
        if driver is not None and driver >= needed:
            return f'pip install "gradlite[{extra}]"'
    return " or ".join(
        f'pip install "gradlite[{extra}]" (driver {oldest} or newer)' for extra, _, oldest in reversed(EXTRAS)
    )


def load_cupy() -> Any:
    """The module CuPy, imported now.

    Raises:
        GpuUnavailable: where it is not installed, broken or too old.
    """
    try:
        cupy = import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise GpuUnavailable(f"CuPy is installed but cannot be imported: {error}.") from error
        raise GpuUnavailable(f"CuPy is not installed. Install it with: {extra_for(driver_version())}.") from None
    except Exception as error:  # a missing library, a half-removed installation: whatever it is, it says so itself
        raise GpuUnavailable(
            f"CuPy is installed but cannot be imported: {error}. Install it anew: {extra_for(driver_version())}."
        ) from error
    if version_of(cupy) < OLDEST_CUPY:
        raise GpuUnavailable(
            f"CuPy {cupy.__version__} is too old, gradlite needs {OLDEST_CUPY[0]} or newer. "
            f"Install it with: {extra_for(driver_version())}."
        )
    return cupy


def version_of(cupy: Any) -> tuple[int, int]:
    """(14, 2) for CuPy 14.2.0."""
    major, minor = cupy.__version__.split(".")[:2]
    return int(major), int(minor)


def require_gpu(number: int) -> Any:
    """CuPy, after making sure that GPU ``number`` works with it.

    Raises:
        GpuUnavailable: naming what is missing or too old (CuPy, the driver, the device), and what to install.
    """
    cupy = load_cupy()
    count = _device_count(cupy)
    if number >= count:
        there = ", ".join(f"gpu:{i}" for i in range(count))
        raise GpuUnavailable(f"There is no GPU {number} here: there {'is' if count == 1 else 'are'} {there}.")
    capability = capability_of(cupy, number)
    if capability < OLDEST_CAPABILITY:
        raise GpuUnavailable(
            f"GPU {number} has compute capability {_dotted(capability)}; gradlite's kernels need "
            f"{_dotted(OLDEST_CAPABILITY)} (Volta, 2017) or newer."
        )
    try:
        with cupy.cuda.Device(number):
            cupy.empty((1,), "float32").fill(0)
    except Exception as error:
        raise GpuUnavailable(f"GPU {number} is there but does not work: {error}") from error
    return cupy


def capability_of(cupy: Any, number: int) -> tuple[int, int]:
    """The compute capability of a device: (9, 0) for an H100."""
    text = str(cupy.cuda.Device(number).compute_capability)
    return int(text[:-1]), int(text[-1])


def _device_count(cupy: Any) -> int:
    """How many devices CuPy sees, one at least."""
    runtime = cupy.cuda.runtime
    try:
        count = int(runtime.getDeviceCount())
    except Exception as error:
        driver, needed = _split(runtime.driverGetVersion()), _split(runtime.runtimeGetVersion())
        if driver == (0, 0):
            raise GpuUnavailable(
                "CuPy is installed, but NVIDIA's driver is not (or this container does not see it). Install the driver "
                "of your GPU from nvidia.com or your distribution; in a container, start it with --gpus all."
            ) from error
        if driver[0] < needed[0]:
            raise GpuUnavailable(
                f"NVIDIA's driver is too old: it supports CUDA {_dotted(driver)}, and the installed CuPy is made for "
                f"CUDA {needed[0]}. Update the driver, or install another CuPy: {extra_for(driver)}."
            ) from error
        raise GpuUnavailable(f"CuPy and NVIDIA's driver are there, but no device can be used: {error}") from error
    if count == 0:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = "" if visible is None else f" CUDA_VISIBLE_DEVICES is {visible!r}, which may hide it."
        raise GpuUnavailable(f"CuPy and NVIDIA's driver are there, but the driver sees no GPU.{hint}")
    return count


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
