"""Rectification on the CPU: masked bits, chunks and threads select what the reference selects."""

from __future__ import annotations

import numpy as np
import pytest

from gradlite.backends.cpu import elementwise as cpu
from gradlite.backends.cpu import parallel
from gradlite.backends.reference import special as reference

SIZES = [0, 1, cpu.FEW, cpu.FEW + 1, cpu.CHUNK + 3, 2 * cpu.CHUNK + 17]


def values(size, dtype):
    """Numbers of both signs, with zeros of both signs, infinities and NaN among them."""
    rng = np.random.default_rng()
    x = rng.normal(size=size).astype(dtype)
    special = rng.integers(0, 10, size)
    for i, value in enumerate([0.0, -0.0, np.inf, -np.inf, np.nan]):
        x[special == i] = value
    return x


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
def test_the_gradient_of_relu_is_the_references_bit_by_bit_on_any_number_of_threads(monkeypatch, size, dtype):
    gradient, y = values(size, dtype), np.maximum(values(size, dtype), 0)
    expected = reference.relu_gradient(np, gradient, y)
    kept = gradient.copy(), y.copy()
    for threads in (1, 2, 3):
        monkeypatch.setattr(parallel, "_THREADS", threads)
        monkeypatch.setattr(parallel, "SMALL_WORK", 0)
        out = np.full_like(gradient, 7)
        assert cpu.relu_gradient(gradient, y, out=out) is out
        for result in (out, cpu.relu_gradient(gradient, y)):
            assert result.dtype == expected.dtype
            assert result.tobytes() == expected.tobytes()
    assert gradient.tobytes() == kept[0].tobytes()
    assert y.tobytes() == kept[1].tobytes()


def test_the_gradient_of_relu_takes_views_and_other_dtypes():
    gradient, y = values(4 * cpu.FEW, np.float32).reshape(-1, 2), np.maximum(values(4 * cpu.FEW, np.float64), 0)
    for g, z in [
        (gradient[:, 0], y[: 2 * cpu.FEW]),
        (gradient, y.reshape(2, -1).T),
        (gradient[:, :1], y[: 2 * cpu.FEW, None]),
    ]:
        np.testing.assert_array_equal(cpu.relu_gradient(g, z), reference.relu_gradient(np, g, z))
