"""gradlite: through ``fit``, its kernels one by one, and what an operation and a captured step cost."""

from __future__ import annotations

from typing import Any

import gradlite
from benchmarks.rivals import keras_rival


def configure(threads: int, eager: bool = False) -> dict[str, Any]:
    """gradlite's tasks; ``eager``: steps run one operation after the other instead of captured."""
    tasks = keras_rival.tasks(gradlite.keras, **({"run_eagerly": True} if eager else {}))
    return tasks
