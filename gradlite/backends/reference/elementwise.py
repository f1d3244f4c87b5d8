"""Reference elementwise kernels that the array module has no function for; see also special.py."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from gradlite.backends.registry import reference_kernel


@reference_kernel
def rsqrt(xp: ModuleType, x: Any, *, out: Any = None) -> Any:
    """``1 / sqrt(x)``."""
    root = xp.sqrt(x, out=out)
    return xp.reciprocal(root, out=root if out is not None else None)
