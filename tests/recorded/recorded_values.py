"""What `record_keras` wrote, and the comparison that the tests beside it use."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent


@cache
def facts() -> dict[str, Any]:
    """values.json."""
    return json.loads((HERE / "values.json").read_text(encoding="utf-8"))


@cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of layers.npz, functions.npz or optimizers.npz."""
    with np.load(HERE / f"{name}.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def array_of(value: Any) -> np.ndarray:
    """A Tensor, array or number as an array."""
    return value.numpy() if hasattr(value, "numpy") else np.asarray(value)


def assert_recorded(actual: Any, expected: Any, rtol: float = 2e-5, what: str = "") -> None:
    """`actual` has the recorded shape, and differs by at most `rtol` of the largest recorded value."""
    actual, expected = array_of(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, Keras has {expected.shape}"
    scale = float(np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * scale, err_msg=what)
