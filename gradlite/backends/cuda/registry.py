"""The table of CUDA kernels: functions that launch our own kernels in place of reference ones, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

CUDA: dict[str, Callable[..., Any]] = {}


def cuda_kernel(function: Kernel) -> Kernel:
    """Enter ``function(gpu, *arrays, **attributes, out=None)`` under its own name, which is that of a reference kernel.

    Its signature is the reference's with ``gpu``, a ``CudaBackend``, in the place of ``xp``.
    """
    CUDA[function.__name__] = function
    return function
