"""Operations that select elements: indexing, gathers along an axis, one-hot rows, sorting and top-k."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from gradlite.autograd import as_tensor
from gradlite.backends import Backend, backend_of
from gradlite.backends.reference.arrays import is_basic
from gradlite.ops.kernel import KernelOp, ViewOp
from gradlite.ops.shape import flip, normalize_axis, reshape
from gradlite.tensor import SCALARS, Tensor


def index(parts: Any, backend: Backend) -> Any:
    """An index as the array module of ``backend`` takes it: Tensors, arrays and lists become arrays there."""
    if isinstance(parts, tuple):
        return tuple(_index_part(part, backend) for part in parts)
    return _index_part(parts, backend)


def _index_part(part: Any, backend: Backend) -> Any:
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        return slice(*(None if n is None else operator.index(n) for n in (part.start, part.stop, part.step)))
    if isinstance(part, Tensor):
        part = plain(part, backend)
    elif isinstance(part, (int, np.integer)) and not isinstance(part, bool):
        return int(part)
    elif backend_of(part) is None:
        part = np.asarray(part, dtype=np.int64 if isinstance(part, (list, tuple)) and not part else None)
    if part.dtype.kind not in "iub":
        raise TypeError(
            f"An index consists of integers, slices, None, ..., or arrays of integers or booleans. "
            f"Received: an array of dtype {part.dtype}."
        )
    return backend.asarray(part)


_view = ViewOp(
    "getitem",
    lambda xp, x, index: x[index],
    lambda g, x, index: _scatter(g, index=index, shape=x.shape),
)
_gather = KernelOp(
    "gather",
    "x[index], where the index holds arrays: a copy.",
    lambda g, out, x, index: _scatter(g, index=index, shape=x.shape),
)
_scatter: KernelOp = KernelOp(
    "scatter",
    "Zeros with values added at an index: the transpose of indexing.",
    lambda g, out, values, index, shape: getitem(g, index),
)


def getitem(x: Any, parts: Any) -> Tensor:
    """``x[parts]`` with NumPy's meaning: integers, slices, None, Ellipsis, and arrays of integers or booleans.

    >>> import gradlite
    >>> x = gradlite.arange(6).reshape(2, 3)
    >>> x[:, [0, 2]].numpy()
    array([[0, 2],
           [3, 5]])
    """
    x = as_tensor(x)
    parts = index(parts, x.backend)
    return _view(x, index=parts) if is_basic(parts) else _gather(x, index=parts)


_take = KernelOp(
    "take",
    "Rows by number.",
    lambda g, out, x, indices, axis: _take_gradient(g, indices, shape=x.shape, axis=axis),
    None,
    inputs=(1,),
)
_take_gradient: KernelOp = KernelOp(
    "take_gradient",
    "The transpose of take.",
    lambda gg, out, g, indices, shape, axis: _take(gg, indices, axis=axis),
    None,
    inputs=(1,),
)


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The elements at ``indices`` along an axis (None: of the flattened tensor); an embedding lookup for ``axis=0``.

    Args:
        x: (..., n, ...).
        indices: integers of any shape in [-n, n); their shape replaces the axis.

    Raises:
        IndexError: for an index out of range.

    >>> import gradlite
    >>> gradlite.take(gradlite.Tensor([[1.0, 2.0], [3.0, 4.0]]), [1, 1, 0], axis=0).shape
    (3, 2)
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    return _take(x, _integers(indices, x, "take"), axis=normalize_axis(axis, x.ndim))


_take_along_axis = KernelOp(
    "take_along_axis",
    "Elements named for each place.",
    lambda g, out, x, indices, axis: _take_along_axis_gradient(g, indices, shape=x.shape, axis=axis),
    None,
    inputs=(1,),
)
_take_along_axis_gradient: KernelOp = KernelOp(
    "take_along_axis_gradient",
    "The transpose of take_along_axis.",
    lambda gg, out, g, indices, shape, axis: _take_along_axis(gg, indices, axis=axis),
    None,
    inputs=(1,),
)


def take_along_axis(x: Any, indices: Any, axis: int) -> Tensor:
    """For each place of ``indices`` (the rank of ``x``) the element of ``x`` that it names along ``axis``.

    >>> import gradlite
    >>> x = gradlite.Tensor([[3.0, 1.0], [2.0, 5.0]])
    >>> gradlite.take_along_axis(x, [[0], [1]], axis=1).numpy()
    array([[3.],
           [5.]], dtype=float32)
    """
    x = as_tensor(x)
    axis = normalize_axis(axis, x.ndim)
    picks = _integers(indices, x, "take_along_axis")
    if picks.ndim != x.ndim:
        raise ValueError(
            f"take_along_axis() needs indices of the tensor's rank {x.ndim}. Received: indices of shape {picks.shape}."
        )
    return _take_along_axis(x, picks, axis=axis)


def _integers(indices: Any, like: Tensor, name: str) -> Tensor:
    picks = indices if isinstance(indices, Tensor) else Tensor(np.asarray(indices, dtype=None), device=like.backend)
    if picks.dtype.kind not in "iu":
        raise TypeError(f"{name}() needs integer indices. Received: dtype {picks.dtype}.")
    return picks


_one_hot = KernelOp("one_hot", "Rows with a one at each index.")


def one_hot(indices: Any, depth: int, dtype: Any = np.float32) -> Tensor:
    """Rows of ``depth`` zeros with a one at each index; an index outside [0, depth) gives zeros only.

    >>> import gradlite
    >>> gradlite.one_hot([2, 0], 3).numpy()
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    return _one_hot(as_tensor(indices), depth=int(depth), dtype=np.dtype(dtype))


_argsort = KernelOp("argsort", "The order that sorts.")


def argsort(x: Any, axis: int = -1, descending: bool = False) -> Tensor:
    """The positions of the elements in sorted order; equal elements keep theirs.

    >>> import gradlite
    >>> gradlite.argsort(gradlite.Tensor([3.0, 1.0, 2.0])).numpy()
    array([1, 2, 0])
    """
    x = as_tensor(x)
    axis = normalize_axis(axis, x.ndim)
    if not descending:
        return _argsort(x, axis=axis)
    # Sorted backwards and read backwards, because a negative exists neither of booleans nor of unsigned integers.
    return x.shape[axis] - 1 - flip(_argsort(flip(x, axis), axis=axis), axis)


def sort(x: Any, axis: int = -1, descending: bool = False) -> Tensor:
    """The elements in order along an axis.

    >>> import gradlite
    >>> gradlite.sort(gradlite.Tensor([3.0, 1.0, 2.0])).numpy()
    array([1., 2., 3.], dtype=float32)
    """
    x = as_tensor(x)
    return take_along_axis(x, argsort(x, axis, descending), normalize_axis(axis, x.ndim))


def top_k(x: Any, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest elements along the last axis, largest first, and their positions; of equal ones the first.

    >>> import gradlite
    >>> values, positions = gradlite.top_k(gradlite.Tensor([1.0, 9.0, 5.0]), 2)
    >>> values.numpy(), positions.numpy()
    (array([9., 5.], dtype=float32), array([1, 2]))
    """
    x = as_tensor(x)
    if not 0 < k <= x.shape[-1]:
        raise ValueError(f"top_k() needs 0 < k <= {x.shape[-1]}, the length of the last axis. Received: k={k}.")
    positions = argsort(x, -1, descending=True)[..., :k]
    return take_along_axis(x, positions, -1), positions


def plain(value: Any, backend: Backend) -> Any:
    """The array (or number) behind ``value``. Raises RuntimeError for a tensor that is not on ``backend``."""
    if isinstance(value, SCALARS):
        return value
    tensor = value if isinstance(value, Tensor) else Tensor(value, device=backend)
    if tensor.backend is not backend:
        raise RuntimeError(
            f"A tensor on {backend.device} got values on {tensor.device}. Move them with .to({backend.device!r})."
        )
    return tensor.data
