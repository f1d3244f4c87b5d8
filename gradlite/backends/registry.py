"""The table of reference kernels: names and meaning of everything that computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

REFERENCE: dict[str, Callable[..., Any]] = {}


def reference_kernel(function: Kernel) -> Kernel:
    """Enter ``function(xp, *arrays, **attributes, out=None)`` into the table under its own name."""
    if function.__name__ in REFERENCE:
        raise ValueError(f"There is already a reference kernel named {function.__name__!r}.")
    REFERENCE[function.__name__] = function
    return function


def into(out: Any, value: Any) -> Any:
    """``value``, or ``out`` with ``value`` written into it where a caller brought its own buffer."""
    if out is None:
        return value
    out[...] = value
    return out
