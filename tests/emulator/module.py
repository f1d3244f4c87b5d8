"""Compiled modules, their kernels, and launching them with checked arguments."""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import EmulatorError, with_source_lines
from .memory import Allocation
from .runtime import library
from .settings import current_settings

_PARAMETER_BYTES = 4096  # a device has room for so many
_KINDS = {"p": "a pointer", "f": "a float", "i": "an integer", "u": "an integer", "b": "a bool", "s": "a struct"}
# Kinds of argument (as NumPy's dtype.kind) each kind of parameter takes.
_TAKES = {"p": "u", "f": "f", "i": "iu", "u": "iu", "b": "b", "s": "V"}


class Module:
    """What :func:`emulator.compile` returns.

    Attributes:
        names: the kernels' names, in the order of the text.
    """

    def __init__(self, build: Callable[[str], Path], name: str) -> None:
        self._build = build
        self._name = name
        self._loaded: dict[str, ctypes.PyDLL] = {}
        self.names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<emulator.Module {self._name}: {', '.join(self.names)}>"

    def load(self, profile: str) -> ctypes.PyDLL:
        """The library for a profile, built at first use."""
        if profile not in self._loaded:
            library()  # what the module's undefined names refer to; and where it does not build, let that be said
            loaded = ctypes.PyDLL(str(self._build(profile)))
            loaded.emu_names.restype = ctypes.c_char_p
            self.names = tuple(loaded.emu_names().decode().split())
            self._loaded[profile] = loaded
        return self._loaded[profile]

    def function(self, name: str) -> Function:
        """The kernel of that name."""
        if name not in self.names:
            raise EmulatorError(f"{self._name} has no kernel {name!r}; it has {', '.join(self.names) or 'none'}")
        return Function(self, name)


@dataclass(frozen=True)
class _Parameter:
    kind: str  # a key of _KINDS
    size: int
    type: str


def _parse_signature(text: str) -> list[_Parameter]:
    """Reads what ``emu::signature`` of entry.h wrote."""
    parameters = []
    for line in text.splitlines():
        kind, size, pretty = line.split(" ", 2)
        parameters.append(_Parameter(kind, int(size), _plain_type(pretty)))
    return parameters


def _plain_type(pretty: str) -> str:
    """ "const char* emu::pretty_name() [with T = long long unsigned int*]" -> "unsigned long long*"."""
    spelled = re.search(r"\[with T = (.*)\]$", pretty)
    name = spelled[1] if spelled else pretty
    for wordy, short in (("long long", "long long"), ("long", "long"), ("short", "short")):
        name = re.sub(rf"\b{wordy} unsigned int\b", f"unsigned {short}", name)
        name = re.sub(rf"\b{wordy} int\b", short, name)
    return name


_one_at_a_time = threading.RLock()


class Function:
    """A kernel.

    Attributes:
        name: its name.
        parameters: the C types of its parameters, macros and typedefs resolved, without what only concerns the kernel
            itself: ``const float* __restrict__ const x`` is "const float*".
    """

    def __init__(self, module: Module, name: str) -> None:
        self.name = name
        self._module = module
        loaded = module.load(current_settings().profile)
        signature = getattr(loaded, f"emu_signature_{name}")
        signature.restype = ctypes.c_char_p
        self._parameters = _parse_signature(signature().decode())
        self._most_threads = getattr(loaded, f"emu_most_threads_{name}")()
        self._entries: dict[str, int] = {}
        self.parameters = tuple(parameter.type for parameter in self._parameters)

    def __repr__(self) -> str:
        return f"<emulator.Function {self.name}({', '.join(self.parameters)})>"

    def launch(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[Any],
        shared_bytes: int = 0,
        shared_limit: int = 48 * 1024,
    ) -> None:
        """Runs the kernel to its end under the settings in use.

        Args:
            grid, block: one to three sizes.
            arguments: one value for each parameter: NumPy scalars, ctypes values, arrays of one element (structs),
                allocations; addresses as ``np.uintp``.
            shared_bytes: dynamic shared memory.
            shared_limit: bytes of shared memory a block may have, static and dynamic together; a device allows
                48 KB unless told otherwise.

        Raises:
            EmulatorError: where an argument does not fit its parameter, a device would refuse the launch, or the kernel
                made a mistake.
        """
        # Arguments lie where the runtime keeps those of its one launch; Python may change threads on the way there.
        with _one_at_a_time:
            self._launch(self._place(arguments), grid, block, shared_bytes, shared_limit)

    def _launch(
        self,
        pointers: ctypes.Array[ctypes.c_void_p],
        grid: Sequence[int],
        block: Sequence[int],
        shared_bytes: int,
        shared_limit: int,
    ) -> None:
        settings = current_settings()
        sizes = [(ctypes.c_uint * 3)(*self._three(shape, what)) for shape, what in ((grid, "grid"), (block, "block"))]
        threads = sizes[1][0] * sizes[1][1] * sizes[1][2]
        if self._most_threads < threads <= 1024:
            raise EmulatorError(
                f"{self.name}: too many threads: a block of {threads} for a kernel compiled for {self._most_threads} "
                "by its __launch_bounds__, or for want of any: then threads may have too many registers for more"
            )
        options = settings.as_options()
        failed = library().emu_launch(
            self._entry(settings.profile), pointers, *sizes, shared_bytes, shared_limit, ctypes.byref(options)
        )
        if failed:
            raise EmulatorError(f"{self.name}: {with_source_lines(library().emu_error().decode())}")
        self._check_surroundings(pointers)

    def _entry(self, profile: str) -> int:
        if profile not in self._entries:
            call = getattr(self._module.load(profile), f"emu_call_{self.name}")
            self._entries[profile] = ctypes.cast(call, ctypes.c_void_p).value or 0
        return self._entries[profile]

    def _three(self, shape: Sequence[int], what: str) -> list[int]:
        sizes = [int(size) for size in shape]
        if not 1 <= len(sizes) <= 3 or any(not 0 <= size < 2**32 for size in sizes):
            raise EmulatorError(f"{self.name}: {what}={tuple(shape)}; it is one to three sizes")
        return sizes + [1] * (3 - len(sizes))

    def _place(self, arguments: Sequence[Any]) -> ctypes.Array[ctypes.c_void_p]:
        """Copies the arguments to where the kernel reads them, and returns pointers to them."""
        if len(arguments) != len(self._parameters):
            raise EmulatorError(
                f"{self.name}: {len(arguments)} arguments for {len(self._parameters)} parameters "
                f"({', '.join(self.parameters)})"
            )
        start = library().emu_parameters()
        offset = 0
        # The pointers lie there too: the checked profile sees the kernel's wrapper read them.
        pointers = (ctypes.c_void_p * len(arguments)).from_address(start + _PARAMETER_BYTES)
        for index, (argument, parameter) in enumerate(zip(arguments, self._parameters)):
            data = self._bytes_of(index, argument, parameter)
            alignment = min(16, len(data) & -len(data))
            offset = -(-offset // alignment) * alignment
            if offset + len(data) > _PARAMETER_BYTES:
                raise EmulatorError(f"{self.name}: more than {_PARAMETER_BYTES} bytes of arguments")
            ctypes.memmove(start + offset, data, len(data))
            pointers[index] = start + offset
            offset += len(data)
        return pointers

    def _bytes_of(self, index: int, argument: Any, parameter: _Parameter) -> bytes:
        kind, data = _kind_and_bytes(argument)
        if kind in _TAKES[parameter.kind] and len(data) == parameter.size:
            return data
        raise EmulatorError(
            f"{self.name}: argument {index} is {_describe(argument)}, {len(data)} bytes; the parameter is "
            f"{parameter.type!r}, {_KINDS[parameter.kind]} of {parameter.size} bytes"
        )

    def _check_surroundings(self, pointers: ctypes.Array[ctypes.c_void_p]) -> None:
        """Finds writes just outside the arrays a launch was given, which fault only a page further on."""
        for index, parameter in enumerate(self._parameters):
            if parameter.kind != "p":
                continue
            address = ctypes.c_void_p.from_address(pointers[index] or 0).value
            if address and not library().emu_check_slack(address):
                raise EmulatorError(
                    f"{self.name}: out of bounds: bytes just outside the array of argument {index} "
                    f"({parameter.type}) were overwritten; the profile 'checked' names the line"
                )


def _kind_and_bytes(argument: Any) -> tuple[str, bytes]:
    """An argument's kind, as NumPy's dtype.kind, and its bytes."""
    if isinstance(argument, Allocation):
        argument = np.uintp(argument.ptr)
    if isinstance(argument, np.generic) or (isinstance(argument, np.ndarray) and argument.size == 1):
        return argument.dtype.kind, argument.tobytes()
    if isinstance(argument, ctypes.Structure):
        return "V", bytes(argument)
    if isinstance(argument, ctypes._SimpleCData):
        kind = "u" if isinstance(argument, ctypes.c_void_p) else np.dtype(type(argument)).kind
        return kind, bytes(argument)
    raise EmulatorError(
        f"an argument is {_describe(argument)}; kernels take NumPy scalars, ctypes values, arrays of one element "
        "(for a struct), and addresses as np.uintp"
    )


def _describe(argument: Any) -> str:
    if isinstance(argument, np.generic | np.ndarray):
        return f"{argument!r} ({argument.dtype})"
    return f"{argument!r} ({type(argument).__name__})"
