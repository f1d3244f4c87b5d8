"""NVIDIA's run-time compiler, called without a driver: what it says of a source, and what each kernel takes.

The library comes with ``pip install nvidia-cuda-nvrtc-cu12``, which needs no GPU.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import struct
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
    """What one thread or block of a compiled kernel takes; shared memory is the static part, code that of the entry."""

    registers: int
    spilled_bytes: int
    stack_bytes: int
    shared_bytes: int
    code_bytes: int


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
    log = buffer.value.decode()
    if failed:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
        raise CompileError(log)
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    binary = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, binary)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    code = code_bytes(binary.raw)
    return {match["name"]: _resources(match, code[match["name"]]) for match in _RESOURCES.finditer(log)}


def code_bytes(binary: bytes) -> dict[str, int]:
    """The size of every entry's instructions: of the sections ``.text.<name>`` of a 64-bit ELF file."""
    (table,) = struct.unpack_from("<Q", binary, 0x28)
    entry_size, count, names_at = struct.unpack_from("<HHH", binary, 0x3A)
    # Of a section: its name's place among the names, 20 bytes of other things, its place in the file and its size.
    sections = [struct.unpack_from("<I20xQQ", binary, table + i * entry_size) for i in range(count)]
    _, start, size = sections[names_at]
    names = binary[start : start + size]
    named = {names[at : names.index(0, at)].decode(): size for at, _, size in sections}
    return {name.removeprefix(".text."): size for name, size in named.items() if name.startswith(".text.")}


def _resources(match: re.Match[str], code: int) -> Resources:
    shared = _SHARED.search(match["rest"])
    return Resources(
        registers=int(match["registers"]),
        spilled_bytes=int(match["stores"]) + int(match["loads"]),
        stack_bytes=int(match["stack"]),
        shared_bytes=int(shared[1]) if shared else 0,
        code_bytes=code,
    )
