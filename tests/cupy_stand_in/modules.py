"""The modules that ``install`` puts in place: cupy, cupy.cuda and those below it, cupy.random and cupyx."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from . import array, errors, functions, machine, memory, random, raw, runtime, streams, ufuncs

VERSION = "14.0.0"
DTYPES = (
    *("bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "intp", "uintp", "intc"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
OTHER = ("dtype", "finfo", "iinfo", "generic", "number", "integer", "signedinteger", "unsignedinteger", "inexact")
OTHER += ("floating", "complexfloating", "newaxis", "inf", "nan", "pi", "e", "euler_gamma", "AxisError")


def is_available() -> bool:
    """Whether there is a GPU."""
    return machine.MACHINE.devices > 0


def _cuda() -> dict[str, ModuleType]:
    in_memory = {
        "BaseMemory": memory.BaseMemory,
        "Memory": memory.Memory,
        "MemoryPointer": memory.MemoryPointer,
        "MemoryPool": memory.MemoryPool,
        "UnownedMemory": memory.UnownedMemory,
        "alloc": memory.alloc,
        "get_allocator": memory.get_allocator,
        "set_allocator": memory.set_allocator,
    }
    in_streams = {
        "Event": streams.Event,
        "Stream": streams.Stream,
        "get_current_stream": streams.get_current_stream,
        "get_elapsed_time": streams.get_elapsed_time,
    }
    pinned = {
        "PinnedMemoryPointer": memory.PinnedMemoryPointer,
        "PinnedMemoryPool": memory.PinnedMemoryPool,
        "alloc_pinned_memory": memory.alloc_pinned_memory,
    }
    below = {
        "compiler": _module("cupy.cuda.compiler", {"CompileException": errors.CompileException}),
        "runtime": _module("cupy.cuda.runtime", {name: getattr(runtime, name) for name in runtime.__all__}),
        "memory": _module("cupy.cuda.memory", {**in_memory, "OutOfMemoryError": errors.OutOfMemoryError}),
        "stream": _module("cupy.cuda.stream", in_streams),
        "graph": _module("cupy.cuda.graph", {"Graph": streams.Graph}),
        "device": _module("cupy.cuda.device", {"Device": machine.Device}),
        "pinned_memory": _module("cupy.cuda.pinned_memory", pinned),
    }
    cuda = {
        "Device": machine.Device,
        "Graph": streams.Graph,
        "is_available": is_available,
        "using_allocator": memory.using_allocator,
        **below,
    }
    modules = {"cupy.cuda": _module("cupy.cuda", {**cuda, **in_memory, **in_streams, **pinned})}
    modules.update((f"cupy.cuda.{name}", module) for name, module in below.items())
    return modules


def _module(name: str, content: dict[str, Any]) -> ModuleType:
    module = ModuleType(name)
    module.__doc__ = f"What stands in for {name}."
    vars(module).update(content)
    return module


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """A NumPy array in pinned memory, not initialised."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, memory.alloc_pinned_memory(nbytes), order=order)


def zeros_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """A NumPy array of zeros in pinned memory."""
    result = empty_pinned(shape, dtype, order)
    result[...] = 0
    return result


def scatter_add(a: Any, slices: Any, value: Any) -> None:
    """``cupy.add.at``."""
    a.scatter_add(slices, value)


def build() -> dict[str, ModuleType]:
    """All modules by their names, made anew."""
    modules = _cuda()
    modules["cupy.random"] = _module("cupy.random", {name: getattr(random, name) for name in random.__all__})
    content: dict[str, Any] = dict(functions.FUNCTIONS)
    content.update((name, getattr(np, name)) for name in (*DTYPES, *OTHER) if hasattr(np, name))
    content.update(
        AxisError=np.exceptions.AxisError,
        RawKernel=raw.RawKernel,
        RawModule=raw.RawModule,
        cuda=modules["cupy.cuda"],
        get_default_memory_pool=memory.get_default_memory_pool,
        get_default_pinned_memory_pool=memory.get_default_pinned_memory_pool,
        is_available=is_available,
        ndarray=array.ndarray,
        random=modules["cupy.random"],
        ufunc=ufuncs.ufunc,
        __version__=VERSION,
    )
    modules["cupy"] = _module("cupy", content)
    modules["cupyx"] = _module(
        "cupyx", {"empty_pinned": empty_pinned, "scatter_add": scatter_add, "zeros_pinned": zeros_pinned}
    )
    return modules
