"""check_op: an operation against NumPy and against finite differences; and the tolerances, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import gradlite
from gradlite.backends import Backend, default_backend
from gradlite.tensor import Tensor

# (relative, absolute) distance from a float64 reference: some rounding errors of numbers around one.
TOLERANCE = {
    np.dtype(np.float64): (1e-10, 1e-12),
    np.dtype(np.float32): (1e-4, 1e-5),
    np.dtype(np.float16): (2e-2, 2e-2),
}


def assert_close(found: Any, expected: Any, dtype: Any = np.float64, scale: float = 1) -> None:
    """Values and shape agree, within the tolerance of ``dtype`` times ``scale``."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, f"shape {found.shape}, should be {expected.shape}"
    rtol, atol = (scale * t for t in TOLERANCE[np.dtype(dtype)])
    np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol)


def share_memory(a: Any, b: Any) -> bool:
    """Whether two arrays of one device are views of the same memory."""
    if isinstance(a, np.ndarray):
        return np.shares_memory(a, b)
    return a.data.mem is b.data.mem


def draw(shapes: Sequence[tuple[int, ...]], low: float = -2.0, high: float = 2.0, seed: int = 0) -> list[np.ndarray]:
    """One random float64 array of each shape, between ``low`` and ``high``."""
    rng = np.random.default_rng([seed, *(n for shape in shapes for n in shape)])
    return [rng.uniform(low, high, shape) for shape in shapes]


def tensors(arrays: Sequence[np.ndarray], backend: Backend | None = None, grad: bool = False) -> list[Tensor]:
    """The arrays as tensors, on the current device unless told otherwise."""
    return [Tensor(x, requires_grad=grad, device=backend or default_backend()) for x in arrays]


def strided(x: np.ndarray) -> np.ndarray:
    """The values of ``x`` in memory that is neither contiguous nor in order: every axis backwards, with gaps."""
    if x.ndim == 0:
        return x.copy()
    wide = np.full(tuple(2 * n for n in x.shape), np.nan, x.dtype)
    view = wide[(slice(None, None, -2),) * x.ndim]
    view[...] = x
    return view


def listed(outputs: Any) -> list[Tensor]:
    """One output or several, as a list."""
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def check_op(
    function: Callable[..., Any],
    shapes: Sequence[tuple[int, ...]],
    reference: Callable[..., Any],
    *,
    backend: Backend | None = None,
    low: float = -2.0,
    high: float = 2.0,
    seed: int = 0,
    dtypes: Sequence[Any] = (np.float64, np.float32, np.float16),
    differentiable: bool = True,
    second: bool = True,
    scale: float = 1,
) -> None:
    """Hold ``function`` of tensors to ``reference``, the same function of float64 NumPy arrays.

    Values, shapes and dtypes agree, for contiguous inputs, strided ones and ones that broadcasting repeats; the inputs
    are as before; gradients of first and second order agree with finite differences.
    """
    inputs = draw(shapes, low, high, seed)
    for dtype in dtypes:
        arrays = [x.astype(dtype) for x in inputs]
        before = [x.copy() for x in arrays]
        expected = reference(*(x.astype(np.float64) for x in arrays))
        check_values(function(*tensors(arrays, backend)), expected, dtype, scale)
        for x, old in zip(arrays, before):
            np.testing.assert_array_equal(x, old, err_msg="the operation changed its input")
    check_values(function(*tensors([strided(x) for x in inputs], backend)), reference(*inputs), np.float64, scale)
    rows = [np.broadcast_to(x[:1], x.shape) if x.ndim and x.shape[0] else x for x in inputs]
    check_values(function(*tensors(rows, backend)), reference(*(x.copy() for x in rows)), np.float64, scale)
    recorded = tensors(inputs, backend, grad=True)
    if differentiable:
        assert any(y.requires_grad for y in listed(function(*recorded))), "the operation should be recorded"
        gradlite.gradcheck(function, recorded)
        if second:
            gradlite.gradgradcheck(function, recorded)
    else:
        assert not any(y.requires_grad for y in listed(function(*recorded))), "nothing to record here"


def check_values(outputs: Any, expected: Any, dtype: Any, scale: float = 1) -> None:
    """Outputs agree with arrays: floating-point ones are of ``dtype``, others of the reference's own."""
    found = listed(outputs)
    references = list(expected) if isinstance(expected, (tuple, list)) else [expected]
    assert len(found) == len(references)
    for y, wanted in zip(found, references):
        wanted = np.asarray(wanted)
        assert isinstance(y, Tensor)
        assert y.dtype == (dtype if wanted.dtype.kind == "f" else wanted.dtype)
        assert_close(y.numpy(), wanted, dtype, scale)
