"""gradlite: through ``fit`` and its relatives, its kernels one by one, and what an operation costs."""

from __future__ import annotations

from typing import Any

import gradlite
from benchmarks.rivals import gradlite_kernels, keras_rival


def configure(threads: int, eager: bool = False) -> dict[str, Any]:
    """gradlite's tasks; ``eager``: steps run one operation after the other instead of captured."""
    return {
        **keras_rival.tasks(gradlite.keras, **({"run_eagerly": True} if eager else {})),
        "kernel": gradlite_kernels.kernel,
        "operation": gradlite_kernels.operation,
        "inside": gradlite_kernels.inside,
    }
