"""The table of CPU kernels that replace reference kernels of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

CPU: dict[str, Callable[..., Any]] = {}


def cpu_kernel(function: Kernel) -> Kernel:
    """Enter ``function(*arrays, **attributes, out=None)`` as the CPU's kernel of that name."""
    if function.__name__ in CPU:
        raise ValueError(f"There is already a CPU kernel named {function.__name__!r}.")
    CPU[function.__name__] = function
    return function
