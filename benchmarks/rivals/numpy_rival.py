"""NumPy: single operations, forward alone. It does the same arithmetic once, and says how fast the machine is."""

from __future__ import annotations

from typing import Any

import numpy as np

X, CONSTANT = np.array([1.5], np.float32), np.array([2.0], np.float32)


def configure(threads: int) -> dict[str, Any]:
    """The operations."""
    functions = {"exp": lambda: np.exp(X), "multiply": lambda: X * CONSTANT, "add": lambda: X + CONSTANT}
    return {"operation": lambda name: functions[name]}
