"""Builds and loads the runtime, a shared library that compiled kernels are linked against when they are loaded."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
import sys
from pathlib import Path

from .errors import EmulatorError
from .toolchain import HERE, cached, folder_text, run_compiler

# Addresses for global memory. Some nine times as many are reserved in all; only what is used takes memory.
_ARENA_BYTES = int(os.environ.get("GRADLITE_EMULATOR_ARENA", 8 << 30))

_FLAGS = ["-std=c++17", "-O3", "-march=native", "-g1", "-fPIC", "-fvisibility=hidden", "-shared", "-Wall"]


def _build(target: Path) -> None:
    sources = sorted(str(path) for path in (HERE / "runtime").iterdir() if path.suffix in (".cpp", ".S"))
    run_compiler([*_FLAGS, "-o", str(target), *sources, "-ldl", "-lrt"], "the emulator's runtime")


@functools.cache
def library() -> ctypes.PyDLL:
    """The loaded runtime.

    A PyDLL keeps Python's lock during calls: there is one runtime with one state, and this is all the locking it needs.
    """
    path = cached(".runtime.so", folder_text("runtime"), folder_text("include"), " ".join(_FLAGS), build=_build)
    loaded = ctypes.PyDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    loaded.emu_error.restype = ctypes.c_char_p
    loaded.emu_parameters.restype = ctypes.c_void_p
    loaded.emu_allocate.restype = ctypes.c_void_p
    loaded.emu_allocate.argtypes = [ctypes.c_size_t]
    for name in ("emu_free", "emu_is_alive", "emu_check_slack", "emu_statistics"):
        getattr(loaded, name).argtypes = [ctypes.c_void_p]
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    loaded.emu_launch.argtypes = [pointer, pointer, pointer, pointer, size, size, pointer]
    loaded.emu_start.argtypes = [ctypes.c_size_t]
    if not loaded.emu_start(_ARENA_BYTES):
        raise EmulatorError(
            f"the CUDA emulator could not reserve {10 * _ARENA_BYTES >> 30} GB of addresses, of which it uses few; "
            "set GRADLITE_EMULATOR_ARENA to fewer bytes, or lift the limit on virtual memory"
        )
    return loaded


@functools.cache
def available() -> str | None:
    """None where the emulator works; otherwise a sentence that says why it does not, for a test to skip with."""
    if sys.platform != "linux":
        return f"the CUDA emulator runs on Linux, not on {sys.platform}"
    if platform.machine() not in ("x86_64", "aarch64"):
        return f"the CUDA emulator runs on x86_64 and aarch64, not on {platform.machine()}"
    if shutil.which("g++") is None:
        return "the CUDA emulator needs g++, which is not on PATH"
    try:
        library()
    except (EmulatorError, OSError) as error:
        return str(error)
    return None
