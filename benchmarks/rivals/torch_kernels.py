"""PyTorch's kernels, called alone."""

from __future__ import annotations

from typing import Any


def kernel(name: str, **sizes: Any) -> Any:
    """A call of one kernel."""
    raise NotImplementedError(name)


def operation(name: str) -> Any:
    """A call of one operation, forward and backward."""
    raise NotImplementedError(name)
