"""NVIDIA's run-time compiler, called without a driver: what it says of a source, and what each kernel takes.

The library comes with ``pip install nvidia-cuda-nvrtc-cu12``, which needs no GPU.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_RESOURCES = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Resources:
    """What one thread or block of a compiled kernel takes; shared memory is the static part."""

    registers: int
    spilled_bytes: int
    stack_bytes: int
    shared_bytes: int


class CompileError(RuntimeError):
    """The compiler refused the source; the message is its log."""


@cache
def library() -> Any:
    """The library, or None where it is not installed."""
    found = importlib.util.find_spec("nvidia")
    for root in found.submodule_search_locations or () if found else ():
        for path in sorted(Path(root, "cuda_nvrtc", "lib").glob("libnvrtc.so.*")):
            return ctypes.CDLL(str(path))
    return None


def compile_source(text: str, architecture: int, options: Sequence[str] = ()) -> dict[str, Resources]:
    """Compile for ``sm_<architecture>`` as CuPy would; the resources of every entry, by name.

    Raises:
        CompileError: with the compiler's log.
    """
    nvrtc = library()
    flags = [
        f"--gpu-architecture=sm_{architecture}",
        "--std=c++17",
        "-ftz=true",
        "-default-device",
        "--ptxas-options=-v",
        *options,
    ]
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    encoded = [flag.encode() for flag in flags]
    failed = nvrtc.nvrtcCompileProgram(program, len(encoded), (ctypes.c_char_p * len(encoded))(*encoded))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, buffer)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    log = buffer.value.decode()
    if failed:
        raise CompileError(log)
    return {match["name"]: _resources(match) for match in _RESOURCES.finditer(log)}


def _resources(match: re.Match[str]) -> Resources:
    shared = _SHARED.search(match["rest"])
    return Resources(
        registers=int(match["registers"]),
        spilled_bytes=int(match["stores"]) + int(match["loads"]),
        stack_bytes=int(match["stack"]),
        shared_bytes=int(shared[1]) if shared else 0,
    )
