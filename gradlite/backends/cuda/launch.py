"""The launch boundary: everything that runs on a GPU in a kernel of ours passes here.

CuPy checks neither the number nor the types of a raw kernel's arguments, passes a Python float as a double and an int
as 64 bits, and ignores strides. Here each argument is held against the parameter that the source declares: arrays must
be of its dtype, on this device and C-contiguous; numbers are converted to its type. Nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlite.backends.cuda.sources import Entry, Parameter, parameters
from gradlite.backends.dtypes import narrow_floats

# What the element type of a pointer is called in the sources. 16-bit floats are words there: their arithmetic is done
# in float32, or in tensor cores.
DTYPES: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "half_t": np.dtype(np.float16),
    "bool": np.dtype(np.bool_),
    "unsigned char": np.dtype(np.uint8),
    "signed char": np.dtype(np.int8),
    "short": np.dtype(np.int16),
    "unsigned short": np.dtype(np.uint16),
    "int": np.dtype(np.int32),
    "unsigned": np.dtype(np.uint32),
    "long long": np.dtype(np.int64),
    "unsigned long long": np.dtype(np.uint64),
}
NARROW = narrow_floats()
if len(NARROW) > 1:
    DTYPES["bfloat16_t"] = NARROW[1]
# And the other way round.
C_TYPES = {dtype: name for name, dtype in DTYPES.items()}

OPTIONS = ("--std=c++17",)
# A launch that wants more dynamic shared memory asks for it: without that a block has 48 KB, of which the kernel's own
# arrays take their part.
UNASKED_SHARED_BYTES = 16 * 1024
GRID_LIMITS = (2**31 - 1, 65535, 65535)

Dimensions = tuple[int, ...]


@dataclass(frozen=True)
class Strided:
    """An array whose kernel reads its strides from other arguments, so that it need not be contiguous."""

    array: Any


def c_type(dtype: Any) -> str:
    """What the sources call an element type: ``float`` for float32, ``half_t`` for float16."""
    return C_TYPES[np.dtype(dtype)]


def blocks(size: int, threads: int) -> int:
    """How many blocks of ``threads`` cover ``size`` elements."""
    return -(-size // threads)


class Launcher:
    """Compiles entries on first use, and launches them on one device.

    Args:
        cupy: the module.
        device: the number of the GPU.
    """

    def __init__(self, cupy: Any, device: int) -> None:
        self._cupy = cupy
        self._device = device
        self._modules: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}
        self._functions: dict[Entry, tuple[Any, tuple[Parameter, ...]]] = {}
        self._shared_bytes: dict[Entry, int] = {}

    def __call__(
        self, kernel: Entry, grid: Dimensions, block: Dimensions, arguments: Sequence[Any], shared_bytes: int = 0
    ) -> None:
        """Launch ``kernel`` over ``grid`` blocks of ``block`` threads; a grid with a zero in it launches nothing.

        Args:
            arguments: arrays (or ``Strided`` ones), numbers, and None for a pointer that the kernel may find missing.
            shared_bytes: dynamic shared memory.

        Raises:
            TypeError: for arguments that the kernel does not take.
            ValueError: for a grid that is too large.
        """
        if 0 in grid:
            return
        if any(n > limit for n, limit in zip(grid, GRID_LIMITS)):
            raise ValueError(f"{kernel.name}: a grid of {grid} blocks is larger than {GRID_LIMITS}.")
        function, declared = self._functions.get(kernel) or self._load(kernel)
        if len(arguments) != len(declared):
            names = ", ".join(p.name for p in declared)
            raise TypeError(f"{kernel.name} takes {len(declared)} arguments ({names}). Received: {len(arguments)}.")
        converted = tuple([self._argument(kernel, p, value) for p, value in zip(declared, arguments)])
        # A property of the function that stays; setting it again costs a driver call, so only when it must grow.
        if shared_bytes > UNASKED_SHARED_BYTES and self._shared_bytes.get(kernel, 0) < shared_bytes:
            function.max_dynamic_shared_size_bytes = self._shared_bytes[kernel] = shared_bytes
        function(grid, block, converted, shared_mem=shared_bytes)

    def _load(self, kernel: Entry) -> tuple[Any, tuple[Parameter, ...]]:
        key = (kernel.file, kernel.macros)
        module = self._modules.get(key)
        if module is None:
            module = self._cupy.RawModule(code=kernel.text, options=OPTIONS)
            self._modules[key] = module
        self._functions[kernel] = module.get_function(kernel.name), parameters(kernel)
        return self._functions[kernel]

    def _argument(self, kernel: Entry, parameter: Parameter, value: Any) -> Any:
        if not parameter.pointer:
            return self._number(kernel, parameter, value)
        if value is None:
            return np.uintp(0)
        strided = isinstance(value, Strided)
        array = value.array if strided else value
        if not isinstance(array, self._cupy.ndarray):
            raise TypeError(f"{kernel.name}: {parameter.name} must be an array on the GPU. Received: {type(array)}.")
        if array.dtype != DTYPES[parameter.type]:
            raise TypeError(
                f"{kernel.name}: {parameter.name} must hold {DTYPES[parameter.type]}. Received: {array.dtype}."
            )
        if not strided and not array.flags.c_contiguous:
            raise TypeError(f"{kernel.name}: {parameter.name} must be C-contiguous. Received: strides {array.strides}.")
        if array.data.device_id != self._device:
            raise TypeError(
                f"{kernel.name}: {parameter.name} is on GPU {array.data.device_id}, "
                f"the kernel runs on GPU {self._device}."
            )
        return array

    def _number(self, kernel: Entry, parameter: Parameter, value: Any) -> Any:
        if isinstance(value, np.void | np.ndarray):  # a structure, which CuPy passes by value as an array of one
            return np.asarray(value)
        dtype = DTYPES[parameter.type]
        if dtype.kind in "iu" and int(value) != value:
            raise TypeError(f"{kernel.name}: {parameter.name} must be a whole number. Received: {value!r}.")
        try:
            return dtype.type(value)
        except OverflowError:
            raise ValueError(f"{kernel.name}: {parameter.name}={value} does not fit into {parameter.type}.") from None
