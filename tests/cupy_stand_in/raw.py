"""RawModule and RawKernel over the emulator.

A kernel gets what CuPy would pass: the address of an array, whatever its strides; a Python float as a double and an int
as 64 bits. Unlike a GPU the emulator then compares count, kind and size of the arguments with the kernel's parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import emulator
import numpy as np

from . import streams
from .array import ndarray
from .counters import count_kernel
from .errors import ILLEGAL_ADDRESS, INVALID_VALUE, CompileException, CUDARuntimeError
from .machine import MACHINE, SHARED_BYTES, current_device, opt_in_shared_bytes
from .memory import MemoryPointer
from .operations import SCALARS


class RawModule:
    """Kernels of one source text, compiled when the first is asked for."""

    def __init__(
        self,
        code: str | None = None,
        *,
        path: str | None = None,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Any = None,
        jitify: Any = None,
    ) -> None:
        if (code is None) == (path is None):
            raise TypeError("Exactly one of `code` and `path` keyword arguments must be given.")
        if path is not None or name_expressions is not None or enable_cooperative_groups or translate_cucomplex:
            raise NotImplementedError("stand-in: RawModule takes code, options and backend")
        if not isinstance(options, tuple):
            raise TypeError(f"options must be a tuple of str. Received: {type(options)}")
        self.code, self.options, self.backend = code, options, backend
        self._module: Any = None

    def compile(self, log_stream: Any = None) -> None:
        """Compile now.

        Raises:
            CompileException: where the compiler refuses the text.
        """
        if self._module is not None:
            return
        source, name = self.code or "", "kernels.cu"
        try:
            self._module = emulator.compile(source, self.options, name, int(MACHINE.compute_capability))
        except emulator.EmulatorError as error:
            raise CompileException(str(error), source, name, self.options, self.backend) from error

    def get_function(self, name: str) -> RawKernel:
        """The kernel of that name."""
        self.compile()
        kernel = object.__new__(RawKernel)
        kernel._set(name, self, self._module.function(name))
        return kernel


class RawKernel:
    """One kernel, of a source text or of a module."""

    def __init__(
        self,
        code: str,
        name: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        *,
        enable_cooperative_groups: bool = False,
        jitify: Any = None,
    ) -> None:
        self._set(name, RawModule(code, options=options, backend=backend), None)

    def _set(self, name: str, module: RawModule, function: Any) -> None:
        self.name = self.__name__ = name
        self._module = module
        self._function = function
        self._shared_bytes, self._asked = SHARED_BYTES, False

    @property
    def code(self) -> str | None:
        return self._module.code

    @property
    def options(self) -> tuple[str, ...]:
        return self._module.options

    def compile(self, log_stream: Any = None) -> None:
        """Compile now."""
        if self._function is None:
            self._module.compile()
            self._function = self._module._module.function(self.name)

    @property
    def max_threads_per_block(self) -> int:
        return 1024

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """How much dynamic shared memory a launch may ask for."""
        return self._shared_bytes

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, value: int) -> None:
        if value > opt_in_shared_bytes():
            raise CUDARuntimeError(INVALID_VALUE, f"{value} bytes of shared memory; it has {opt_in_shared_bytes()}")
        self._shared_bytes, self._asked = value, True

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        """Launch on ``stream``, by default the current one."""
        if not isinstance(grid, tuple) or not isinstance(block, tuple):
            raise TypeError(f"grid and block must be tuples. Received: {type(grid)} and {type(block)}")
        self.compile()
        # CuPy makes one block of an empty grid.
        blocks, threads = ([max(1, int(n)) for n in (*sizes, 1, 1)[:3]] for sizes in (grid, block))
        if shared_mem > self._shared_bytes:
            raise CUDARuntimeError(
                INVALID_VALUE,
                f"{self.name} asks for {shared_mem} bytes of shared memory; "
                f"max_dynamic_shared_size_bytes is {self._shared_bytes}",
            )
        values, pointers = _arguments(self.name, args)
        limit = opt_in_shared_bytes() if self._asked else SHARED_BYTES  # with the kernel's own arrays
        function, on = self._function, stream or streams.get_current_stream()
        streams.note_launch(self.name, on)
        count_kernel(self.name)
        streams.submit(self.name, lambda: function.launch(blocks, threads, values, shared_mem, limit), pointers, on)


def _arguments(kernel: str, args: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """What the kernel gets, and the starts of the memory that it is given."""
    device = current_device()
    values: list[Any] = []
    pointers: list[int] = []
    for i, arg in enumerate(args):
        if isinstance(arg, (ndarray, MemoryPointer)):
            pointer = arg.data if isinstance(arg, ndarray) else arg
            if pointer.device_id != device and pointer.ptr:
                raise CUDARuntimeError(
                    ILLEGAL_ADDRESS,
                    f"argument {i} of {kernel} is on device {pointer.device_id}, the launch is on device {device}",
                )
            pointers.append(pointer.mem.ptr)
            values.append(np.uintp(pointer.ptr))
        else:
            values.append(_by_value(arg))
    return values, pointers


def _by_value(arg: Any) -> Any:
    if arg is None:
        return np.uintp(0)
    if isinstance(arg, np.ndarray):
        if arg.size != 1:
            raise TypeError(
                f"You are trying to pass a numpy.ndarray of shape {arg.shape} as a kernel parameter. Only "
                "numpy.ndarrays of size one can be passed by value. If you meant to pass a pointer to __global__ "
                "memory, you need to pass a cupy.ndarray instead."
            )
        return arg.copy()
    if isinstance(arg, np.void):
        return np.array([arg], arg.dtype)
    if isinstance(arg, np.generic):
        return arg
    if isinstance(arg, SCALARS):
        return np.asarray(arg)[()]  # bool, int64 (uint64 for large numbers), float64, complex128
    raise TypeError(f"Unsupported type {type(arg)}")
