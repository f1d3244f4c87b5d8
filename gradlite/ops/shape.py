"""Operations that change shape: views where memory allows, joins, splits and padding."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite.autograd import Node, Op, as_tensor, as_tensors
from gradlite.ops.kernel import KernelOp, ViewOp
from gradlite.tensor import Tensor

Axes = int | Sequence[int] | None


def normalize_axis(axis: int, ndim: int, name: str = "axis") -> int:
    """``axis`` counted from the front. Raises ValueError where there is no such axis."""
    if not -ndim <= axis < ndim:
        raise ValueError(f"{name}={axis} is out of range for a tensor of {ndim} axes.")
    return axis % ndim


def normalize_axes(axis: Axes, ndim: int) -> tuple[int, ...]:
    """One or several axes, or None for all, as a sorted tuple counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    axes = [axis] if isinstance(axis, (int, np.integer)) else list(axis)
    result = tuple(sorted(normalize_axis(int(a), ndim) for a in axes))
    if len(set(result)) != len(result):
        raise ValueError(f"axis={axis} names an axis twice.")
    return result


_reshape = ViewOp("reshape", lambda xp, x, shape: x.reshape(shape), lambda g, x, shape: reshape(g, x.shape))
_transpose: ViewOp = ViewOp(
    "transpose",
    lambda xp, x, axes: x.transpose(axes),
    lambda g, x, axes: _transpose(g, axes=tuple(int(i) for i in np.argsort(axes))),
)
_broadcast_to = ViewOp("broadcast_to", lambda xp, x, shape: xp.broadcast_to(x, shape), lambda g, x, shape: g)
_flip: ViewOp = ViewOp("flip", lambda xp, x, axis: xp.flip(x, axis), lambda g, x, axis: _flip(g, axis=axis))


def reshape(x: Any, shape: int | Sequence[int]) -> Tensor:
    """The elements of ``x`` in another shape; one length may be -1.

    >>> import gradlite
    >>> gradlite.reshape(gradlite.arange(6), (2, -1)).shape
    (2, 3)
    """
    x = as_tensor(x)
    lengths = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)
    known = math.prod(n for n in lengths if n != -1)
    free = lengths.count(-1)
    if free > 1 or (known != x.size if not free else (known == 0 or x.size % known)):
        raise ValueError(f"Cannot reshape {x.size} elements of shape {x.shape} into {lengths}.")
    return _reshape(x, shape=lengths)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order; by default reversed.

    >>> import gradlite
    >>> gradlite.transpose(gradlite.zeros((2, 3, 4)), (0, 2, 1)).shape
    (2, 4, 3)
    """
    x = as_tensor(x)
    order = tuple(reversed(range(x.ndim))) if axes is None else tuple(normalize_axis(int(a), x.ndim) for a in axes)
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"transpose() needs every axis of shape {x.shape} once. Received: axes={axes}.")
    return _transpose(x, axes=order)


permute = transpose


def swapaxes(x: Any, first: int, second: int) -> Tensor:
    """Two axes exchanged.

    >>> import gradlite
    >>> gradlite.swapaxes(gradlite.zeros((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    x = as_tensor(x)
    order = list(range(x.ndim))
    i, j = normalize_axis(first, x.ndim), normalize_axis(second, x.ndim)
    order[i], order[j] = order[j], order[i]
    return _transpose(x, axes=tuple(order))


def moveaxis(x: Any, source: int, destination: int) -> Tensor:
    """One axis moved to another place, the others in their order.

    >>> import gradlite
    >>> gradlite.moveaxis(gradlite.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = as_tensor(x)
    i, j = normalize_axis(source, x.ndim), normalize_axis(destination, x.ndim)
    order = [k for k in range(x.ndim) if k != i]
    order.insert(j, i)
    return _transpose(x, axes=tuple(order))


def expand_dims(x: Any, axis: int | Sequence[int]) -> Tensor:
    """New axes of length 1 at these places of the result.

    >>> import gradlite
    >>> gradlite.expand_dims(gradlite.zeros((2, 3)), 1).shape
    (2, 1, 3)
    """
    x = as_tensor(x)
    axes = [axis] if isinstance(axis, (int, np.integer)) else list(axis)
    places = normalize_axes(axes, x.ndim + len(axes))
    lengths = iter(x.shape)
    return _reshape(x, shape=tuple(1 if i in places else next(lengths) for i in range(x.ndim + len(axes))))


def squeeze(x: Any, axis: Axes = None) -> Tensor:
    """Axes of length 1 left out: all of them, or those named.

    >>> import gradlite
    >>> gradlite.squeeze(gradlite.zeros((1, 3, 1)), axis=0).shape
    (3, 1)
    """
    x = as_tensor(x)
    places = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else normalize_axes(axis, x.ndim)
    for i in places:
        if x.shape[i] != 1:
            raise ValueError(f"Cannot squeeze axis {i} of shape {x.shape}: its length is not 1.")
    return _reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in places))


def broadcast_to(x: Any, shape: int | Sequence[int]) -> Tensor:
    """``x`` repeated without copying until it has ``shape``, by NumPy's rules.

    >>> import gradlite
    >>> gradlite.broadcast_to(gradlite.Tensor([1.0, 2.0]), (3, 2)).shape
    (3, 2)
    """
    x, shape = as_tensor(x), (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(shape)
    fits = len(shape) >= x.ndim and builtins.all(n in (1, m) for n, m in zip(x.shape, shape[len(shape) - x.ndim :]))
    if not fits:
        raise ValueError(f"Cannot broadcast shape {x.shape} to {shape}.")
    return _broadcast_to(x, shape=shape)


def flip(x: Any, axis: Axes = None) -> Tensor:
    """The order of elements reversed along these axes, or all.

    >>> import gradlite
    >>> gradlite.flip(gradlite.Tensor([1, 2, 3])).numpy()
    array([3, 2, 1])
    """
    x = as_tensor(x)
    return _flip(x, axis=normalize_axes(axis, x.ndim))


class _Concatenate(Op):
    name = kernel = "concatenate"
    saves_inputs = False

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        axis, gradient, start = node.attributes["axis"], gradients[0], 0
        assert gradient is not None
        parts: list[Tensor | None] = []
        for x, edge in zip(node.saved_inputs(), node.edges):
            stop = start + x.shape[axis]
            index = (slice(None),) * axis + (slice(start, stop),)
            parts.append(gradient[index] if edge is not None else None)
            start = stop
        return parts


_concatenate = _Concatenate()


def concatenate(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors one after the other along an axis.

    >>> import gradlite
    >>> gradlite.concatenate([gradlite.zeros((2, 3)), gradlite.ones((1, 3))]).shape
    (3, 3)
    """
    parts = as_tensors(*tensors)
    if not parts:
        raise ValueError("concatenate() needs at least one tensor.")
    axis = normalize_axis(axis, parts[0].ndim)
    rest = [x.shape[:axis] + x.shape[axis + 1 :] for x in parts]
    if builtins.any(r != rest[0] or x.ndim != parts[0].ndim for r, x in zip(rest, parts)):
        shapes = ", ".join(str(x.shape) for x in parts)
        raise ValueError(f"concatenate() needs shapes that agree except along axis {axis}. Received: {shapes}.")
    return _concatenate(*parts, axis=axis)


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis.

    >>> import gradlite
    >>> gradlite.stack([gradlite.zeros(3), gradlite.ones(3)], axis=1).shape
    (3, 2)
    """
    return concatenate([expand_dims(x, axis) for x in tensors], axis)


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """``x`` cut along an axis: into equal parts (a number), or before these positions (a sequence). Views.

    >>> import gradlite
    >>> [part.shape for part in gradlite.split(gradlite.zeros((5, 2)), [1, 3])]
    [(1, 2), (2, 2), (2, 2)]
    """
    x = as_tensor(x)
    axis = normalize_axis(axis, x.ndim)
    length = x.shape[axis]
    if isinstance(sections, (int, np.integer)):
        if sections < 1 or length % sections:
            raise ValueError(f"Cannot split {length} elements along axis {axis} into {sections} equal parts.")
        cuts = [length // int(sections) * i for i in range(1, int(sections))]
    else:
        cuts = [int(s) for s in sections]
    lead = (slice(None),) * axis
    return [x[lead + (slice(a, b),)] for a, b in zip([0, *cuts], [*cuts, length])]


_pad = KernelOp(
    "pad",
    "Constant padding.",
    lambda g, out, x, widths, value: g[tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, widths))],
)


def pad(x: Any, widths: Any, mode: str = "constant", value: float = 0) -> Tensor:
    """``x`` with elements added around it.

    Args:
        x: the tensor.
        widths: ``(before, after)`` for every axis, or one number or pair for all axes.
        mode: ``"constant"`` (``value``), ``"edge"``, ``"reflect"`` or ``"symmetric"``, as in NumPy.
        value: what constant padding consists of.

    >>> import gradlite
    >>> gradlite.pad(gradlite.Tensor([1, 2]), (1, 2), value=9).numpy()
    array([9, 1, 2, 9, 9])
    """
    x = as_tensor(x)
    pairs = tuple((int(a), int(b)) for a, b in np.broadcast_to(np.asarray(widths), (x.ndim, 2)))
    if builtins.any(n < 0 for pair in pairs for n in pair):
        raise ValueError(f"pad() needs widths that are not negative. Received: {widths}.")
    if mode == "constant":
        return _pad(x, widths=pairs, value=value)
    if mode not in ("edge", "reflect", "symmetric"):
        raise ValueError(f"pad() knows 'constant', 'edge', 'reflect' and 'symmetric'. Received: mode={mode!r}.")
    for axis, pair in enumerate(pairs):
        if pair != (0, 0):
            positions = np.pad(np.arange(x.shape[axis]), pair, mode=mode)  # type: ignore[call-overload]
            x = x[(slice(None),) * axis + (positions,)]
    return x


def repeat(x: Any, repeats: int, axis: int | None = None) -> Tensor:
    """Every element ``repeats`` times in a row, along an axis (None: of the flattened tensor).

    >>> import gradlite
    >>> gradlite.repeat(gradlite.Tensor([1, 2]), 2).numpy()
    array([1, 1, 2, 2])
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    axis = normalize_axis(axis, x.ndim)
    wide = broadcast_to(expand_dims(x, axis + 1), (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :]))
    return reshape(wide, (*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1 :]))


def tile(x: Any, repeats: int | Sequence[int]) -> Tensor:
    """The whole tensor repeated along every axis.

    >>> import gradlite
    >>> gradlite.tile(gradlite.Tensor([1, 2]), (2, 2)).shape
    (2, 4)
    """
    x = as_tensor(x)
    counts = (int(repeats),) if isinstance(repeats, (int, np.integer)) else tuple(repeats)
    ndim = builtins.max(x.ndim, len(counts))
    counts = (1,) * (ndim - len(counts)) + counts
    x = reshape(x, (1,) * (ndim - x.ndim) + x.shape)
    spread = reshape(x, tuple(n for length in x.shape for n in (1, length)))
    wide = broadcast_to(spread, tuple(n for count, length in zip(counts, x.shape) for n in (count, length)))
    return reshape(wide, tuple(count * length for count, length in zip(counts, x.shape)))
