"""A CUDA kernel against the reference in float64: values, dtypes, strided operands, out=, and inputs that stay."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from devices import emulated
from helpers import assert_close, strided

from gradlite.backends.registry import REFERENCE

DTYPES = ("float32", "float64", "float16")


def launch(gpu: Any, name: str, arrays: Sequence[Any], **attributes: Any) -> list[np.ndarray]:
    """The kernel's results on the host; arrays from the host are uploaded first."""
    results = gpu.launch(name, *uploaded(gpu, arrays), **attributes)
    return [np.asarray(r.get()) for r in listed(results)]


def uploaded(gpu: Any, arrays: Sequence[Any]) -> list[Any]:
    """The arrays on the device; None and what is there already stay."""
    return [gpu.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays]


def listed(results: Any) -> list[Any]:
    return list(results) if isinstance(results, tuple) else [results]


def reference(name: str) -> Callable[..., Any]:
    """What a kernel means: the reference of this name, or NumPy's function."""
    return partial(REFERENCE[name], np) if name in REFERENCE else getattr(np, name)


def expected(name: str, arrays: Sequence[Any], kind: Any = np.float64, /, **attributes: Any) -> list[np.ndarray]:
    """What the reference says, with all floating-point arrays in ``kind``; None: as they are."""
    wide = [
        a.astype(kind or a.dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arrays
    ]  # fmt: skip
    return [np.asarray(r) for r in listed(reference(name)(*wide, **attributes))]


def on_device_strided(gpu: Any, array: Any) -> Any:
    """The array's values on the device in memory that is neither contiguous nor in order."""
    if not isinstance(array, np.ndarray) or array.ndim == 0 or array.dtype.kind != "f":
        return gpu.asarray(array) if isinstance(array, np.ndarray) else array
    base = strided(array).base
    return gpu.asarray(np.ascontiguousarray(base))[(slice(None, None, -2),) * array.ndim]


def check(gpu: Any, name: str, arrays: Sequence[Any], scale: float = 1, **attributes: Any) -> list[np.ndarray]:
    """Hold a kernel to the reference; returns what it computed."""
    dtype = next(a.dtype for a in arrays if isinstance(a, np.ndarray) and a.dtype.kind == "f")
    operands = uploaded(gpu, arrays)
    results = listed(gpu.launch(name, *operands, **attributes))
    wanted = expected(name, arrays, **attributes)
    types = [r.dtype for r in expected(name, arrays, None, **attributes)]
    assert len(results) == len(wanted)
    for result, value, own in zip(results, wanted, types):
        assert result.dtype == own
        assert_close(result.get(), value, dtype, scale)
    buffers = tuple(gpu.full(r.shape, 77, r.dtype) for r in results)
    returned = listed(gpu.launch(name, *operands, **attributes, out=buffers if len(buffers) > 1 else buffers[0]))
    views = [on_device_strided(gpu, a) for a in arrays]
    for result, buffer, again, other in zip(results, buffers, returned, listed(gpu.launch(name, *views, **attributes))):
        assert again is buffer
        assert buffer.get().tobytes() == result.get().tobytes(), "the same bits go into out="
        assert_close(other.get(), result.get(), dtype, scale)
    for before, after in zip(arrays, operands):
        if isinstance(before, np.ndarray):
            np.testing.assert_array_equal(after.get(), before, err_msg="a kernel must not change its input")
    return [r.get() for r in results]


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """The emulator's first schedule, whatever the test's own is."""
    if not emulated():
        yield
        return
    import emulator

    with emulator.using(order=0, copies="late", seed=0):
        yield


def check_bits(gpu: Any, name: str, arrays: Sequence[Any], **attributes: Any) -> None:
    """The kernel's bits under the test's schedule are those under the first one."""
    with in_order():
        first = launch(gpu, name, arrays, **attributes)
    for a, b in zip(first, launch(gpu, name, arrays, **attributes)):
        assert a.tobytes() == b.tobytes()


def count_launches(gpu: Any, monkeypatch: Any, name: str, arrays: Sequence[Any], **attributes: Any) -> list[str]:
    """The names of the kernels that one call launches; it must not fall back to the array module's functions."""
    launched: list[str] = []
    run = type(gpu).run

    def counted(self: Any, kernel: Any, *rest: Any, **options: Any) -> None:
        launched.append(kernel.name)
        run(self, kernel, *rest, **options)

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError(f"{name} should have a kernel of its own for this")

    operands = uploaded(gpu, arrays)
    with monkeypatch.context() as patch:
        patch.setattr(type(gpu), "run", counted)
        patch.setattr(type(gpu), "fallback", refused)
        gpu.launch(name, *operands, **attributes)
    return launched
