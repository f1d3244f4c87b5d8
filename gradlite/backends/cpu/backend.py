"""CpuBackend: NumPy on the host, 16-bit floats computed in float32; runs of native launches as one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from gradlite.backends import narrow
from gradlite.backends.base import ARRAY_FUNCTIONS, Backend
from gradlite.backends.cpu.rows import CpuRows
from gradlite.backends.dtypes import is_bfloat16, is_narrow
from gradlite.backends.rows import Rows

# What only moves elements or converts them, which NumPy does in any type.
MOVES = frozenset({"assign", "assign_at", "astype", "astype_each", "copy", "gated", "pack"})

# What NumPy computes of float16 in float32, and rounds once, by itself. It adds up in float16, though.
ROUNDED_ONCE = frozenset(ARRAY_FUNCTIONS) - {"cumsum", "matmul", "prod", "sum"} | {"relu", "relu_gradient", "where"}


class CpuBackend(Backend):
    """The backend of the host's processor."""

    fusions = Backend.fusions | {"normalized output", "normalized input", "weight updates"}

    def launch(self, kernel: str, *arrays: Any, **attributes: Any) -> Any:
        # Asked of every launch, so without a call where it can be: nearly all arrays are of 4 or 8 bytes an element.
        for x in arrays:
            if isinstance(x, np.ndarray) and x.itemsize == 2:
                return self.function(kernel, arrays, attributes)(*arrays, **attributes)
        if kernel in ("astype", "astype_each"):
            return self.function(kernel, arrays, attributes)(*arrays, **attributes)
        return self.kernels[kernel](*arrays, **attributes)

    def function(self, kernel: str, arrays: tuple[Any, ...], attributes: dict[str, Any]) -> Callable[..., Any]:
        function = self.kernels[kernel]
        if kernel in MOVES:
            to = attributes.get("dtype")
            moves = narrow.takes_part(np.ndarray, arrays) or (to is not None and is_narrow(np.dtype(to)))
            return partial(_silently, function) if moves else function
        if not narrow.takes_part(np.ndarray, arrays):
            return function
        if kernel in ROUNDED_ONCE and not any(isinstance(x, np.ndarray) and is_bfloat16(x.dtype) for x in arrays):
            return partial(_silently, function)
        return partial(_silently, narrow.run, np.ndarray, _converted, _write, kernel, function)

    def computes_at_once(self, kernel: str, arrays: tuple[Any, ...], attributes: dict[str, Any]) -> bool:
        planner = getattr(self.kernels[kernel], "plan", None)
        return planner is not None and planner(*arrays, **attributes) is not None

    def bind(self, calls: Sequence[Callable[[], Any]]) -> Callable[[int], None]:
        """One function that makes all calls in order, as many times as it is told; neighbours that have plans are one
        list of native launches."""
        steps: list[Callable[..., Any]] = []
        planned = [(call, _plan_of(call)) for call in calls]
        for is_native, group in groupby(planned, key=lambda pair: pair[1] is not None):
            if is_native:
                from gradlite.backends.cpu.native.launches import bind_plans

                steps.append(bind_plans([plan for _, plan in group]))
            else:
                steps += [call for call, _ in group]
        if len(steps) == 1 and planned[0][1] is not None:
            return steps[0]  # all is native, and so is the loop
        return super().bind(steps)

    def rows(self, arrays: Sequence[Any] = (), order: Any = None) -> Rows:
        return CpuRows(self, arrays, order)


def _silently(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Without warnings: numbers beyond float16's range become infinite, which loss scaling is there to notice."""
    with np.errstate(over="ignore", invalid="ignore"):
        return function(*arguments, **options)


def _converted(array: Any, dtype: Any) -> Any:
    return array.astype(dtype)


def _write(target: np.ndarray, values: Any) -> None:
    target[...] = values


def _plan_of(call: Callable[[], Any]) -> Any:
    """The plan of a bound call of a kernel that has one for these arrays; or None."""
    if not isinstance(call, partial):
        return None
    planner = getattr(call.func, "plan", None)
    return None if planner is None else planner(*call.args, **call.keywords)
