"""``cupy.cuda.runtime``: the functions of the CUDA runtime that a backend calls, and its constants."""

from __future__ import annotations

from typing import Any

from . import memory, streams
from .errors import CUDARuntimeError
from .machine import MACHINE, SHARED_BYTES, check_device, current_device, opt_in_shared_bytes, set_current_device

__all__ = [
    "CUDARuntimeError",
    "deviceCanAccessPeer",
    "deviceSynchronize",
    "driverGetVersion",
    "getDevice",
    "getDeviceCount",
    "getDeviceProperties",
    "is_hip",
    "memGetInfo",
    "memcpy",
    "memcpyAsync",
    "memcpyDefault",
    "memcpyDeviceToDevice",
    "memcpyDeviceToHost",
    "memcpyHostToDevice",
    "memcpyHostToHost",
    "memset",
    "memsetAsync",
    "runtimeGetVersion",
    "setDevice",
    "streamBeginCapture",
    "streamCaptureModeGlobal",
    "streamCaptureModeRelaxed",
    "streamCaptureModeThreadLocal",
    "streamIsCapturing",
    "streamSynchronize",
]

is_hip = False
streamCaptureModeGlobal = streams.MODE_GLOBAL
streamCaptureModeThreadLocal = streams.MODE_THREAD_LOCAL
streamCaptureModeRelaxed = streams.MODE_RELAXED
memcpyHostToHost, memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice, memcpyDefault = range(5)

_KINDS = {
    memcpyHostToDevice: "host_to_device",
    memcpyDeviceToHost: "device_to_host",
    memcpyDeviceToDevice: "device_to_device",
}


def getDeviceCount() -> int:
    current_device()  # raises where there is none
    return MACHINE.devices


def getDevice() -> int:
    return current_device()


def setDevice(device: int) -> None:
    set_current_device(device)


def driverGetVersion() -> int:
    return 12090 if MACHINE.devices else 0


def runtimeGetVersion() -> int:
    return 12090


def deviceSynchronize() -> None:
    streams.synchronize_device()


def deviceCanAccessPeer(device: int, peerDevice: int) -> int:
    return 0


def memGetInfo() -> tuple[int, int]:
    """(free, total) bytes of the current device."""
    return MACHINE.memory - memory.reserved_bytes(current_device()), MACHINE.memory


def getDeviceProperties(device: int) -> dict[str, Any]:
    check_device(device)
    major, minor = divmod(int(MACHINE.compute_capability), 10)
    return {
        "name": b"Stand-in GPU",
        "totalGlobalMem": MACHINE.memory,
        "sharedMemPerBlock": SHARED_BYTES,
        "sharedMemPerBlockOptin": opt_in_shared_bytes(),
        "sharedMemPerMultiprocessor": opt_in_shared_bytes() + 1024,
        "regsPerBlock": 65536,
        "regsPerMultiprocessor": 65536,
        "warpSize": 32,
        "maxThreadsPerBlock": 1024,
        "maxThreadsPerMultiProcessor": 2048,
        "maxThreadsDim": (1024, 1024, 64),
        "maxGridSize": (2**31 - 1, 65535, 65535),
        "multiProcessorCount": MACHINE.multiprocessors,
        "l2CacheSize": 4 << 20,
        "memoryBusWidth": 1024,
        "memoryClockRate": 1_000_000,
        "clockRate": 1_000_000,
        "major": major,
        "minor": minor,
        "pciBusID": device,
        "pciDeviceID": 0,
        "pciDomainID": 0,
        "ECCEnabled": 1,
        "integrated": 0,
    }


def memcpy(dst: int, src: int, size: int, kind: int) -> None:
    streams.copy_bytes(dst, src, size, _kind(kind), None)


def memcpyAsync(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    streams.copy_bytes(dst, src, size, _kind(kind), streams.stream_of(stream))


def _kind(kind: int) -> str:
    if kind not in _KINDS:
        raise NotImplementedError("stand-in: a copy says whether it goes from host or device and to which")
    return _KINDS[kind]


def memset(ptr: int, value: int, size: int) -> None:
    streams.fill_bytes(ptr, value, size, None)


def memsetAsync(ptr: int, value: int, size: int, stream: int) -> None:
    streams.fill_bytes(ptr, value, size, streams.stream_of(stream))


def streamSynchronize(stream: int) -> None:
    streams.wait(streams.stream_of(stream))


def streamIsCapturing(stream: int) -> bool:
    return streams.stream_of(stream).is_capturing()


def streamBeginCapture(stream: int, mode: int = streamCaptureModeRelaxed) -> None:
    streams.stream_of(stream).begin_capture(mode)
