"""Element-wise kernels of the CPU that compute in their output: the bits of the reference, whatever the operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradlite.backends.cpu.registry import CPU
from gradlite.backends.registry import REFERENCE

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 88.0, -104.0, 750.0]


def same_bits(found: Any, expected: Any) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def check(name: str, *arrays: Any) -> None:
    """Without ``out``, into one, into one that is an input, and into one of another type."""
    with np.errstate(all="ignore"):
        expected = REFERENCE[name](np, *arrays)
        same_bits(CPU[name](*arrays), expected)
        out = np.full(expected.shape, 7, expected.dtype)
        assert CPU[name](*arrays, out=out) is out
        same_bits(out, expected)
        wide = np.empty(expected.shape, np.float64)
        same_bits(CPU[name](*arrays, out=wide), REFERENCE[name](np, *arrays, out=np.empty_like(wide)))
        for i, array in enumerate(arrays):
            if isinstance(array, np.ndarray) and (array.shape, array.dtype) == (expected.shape, expected.dtype):
                own = [np.array(x) if isinstance(x, np.ndarray) else x for x in arrays]
                same_bits(CPU[name](*own, out=own[i]), expected)


@pytest.mark.parametrize("name", ["sigmoid", "softplus"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_functions_of_one_array(name: str, dtype: Any, rng: Any) -> None:
    x = rng.standard_normal((7, 33)).astype(dtype) * 10
    for array in (x, x[:, ::2], x.T, x[:0], np.asarray(dtype(0.5)), np.array(SPECIAL).astype(dtype)):
        check(name, array)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_where(dtype: Any, rng: Any) -> None:
    a, b = (rng.standard_normal((5, 6)).astype(dtype) for _ in range(2))
    condition = rng.random((5, 6)) < 0.5
    check("where", condition, a, b)
    check("where", condition[0], a, b[:, :1])
    check("where", condition, a, dtype(2))
    check("where", condition, a, b.astype(np.float64))
    check("where", condition.astype(np.int8) * 3, a, b)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_gradient_of_cross_entropy(dtype: Any, rng: Any) -> None:
    p, y = (rng.random((9, 5)).astype(dtype) for _ in range(2))
    g = rng.standard_normal(9).astype(dtype)
    check("softmax_cross_entropy_gradient", g, p, y)
    check("softmax_cross_entropy_gradient", np.broadcast_to(g[:1], (9,)), p, y)
    check("softmax_cross_entropy_gradient", g, p, y.astype(np.float64))
    check("softmax_cross_entropy_gradient", g, p[:, ::2], y[:, ::2])
