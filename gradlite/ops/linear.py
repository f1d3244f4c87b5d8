"""Operations of linear algebra: matrix products, dense layers, Einstein sums and tensor contractions."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

from gradlite.autograd import Node, Op, as_tensors
from gradlite.ops.elementwise import alike, relu, relu_gradient, sigmoid, tanh
from gradlite.ops.indexing import getitem
from gradlite.ops.kernel import ByDefinition, KernelOp
from gradlite.ops.shape import broadcast_to, expand_dims, normalize_axis, reshape, squeeze, swapaxes, transpose
from gradlite.tensor import Tensor

_matmul: KernelOp = KernelOp(
    "matmul",
    "The matrix product over the last two axes.",
    lambda g, out, a, b: _matmul(g, swapaxes(b, -1, -2)),
    lambda g, out, a, b: _matmul(swapaxes(a, -1, -2), g),
    inputs=True,
)


def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product ``a @ b``, with NumPy's meaning: the axes before the last two broadcast.

    Args:
        a: (..., n, k), or (k,).
        b: (..., k, m), or (k,).

    Raises:
        ValueError: if the inner lengths differ.

    >>> import gradlite
    >>> gradlite.matmul(gradlite.ones((2, 3)), gradlite.ones((3, 4))).shape
    (2, 4)
    """
    a, b = as_tensors(a, b)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(
            f"matmul() needs (..., n, k) and (..., k, m) with the same k. Received: shapes {a.shape} and {b.shape}."
        )
    if a.ndim > 1 and b.ndim > 1:
        return _matmul(a, b)
    # A vector is a row on the left and a column on the right; the axis that this adds is taken out again.
    product = _matmul(expand_dims(a, 0) if a.ndim == 1 else a, expand_dims(b, 1) if b.ndim == 1 else b)
    extra = ([-2] if a.ndim == 1 else []) + ([-1] if b.ndim == 1 else [])
    return squeeze(product, extra)


column_sum = KernelOp(
    "column_sum",
    "The sum over all axes but the last.",
    lambda g, out, x: broadcast_to(g, x.shape),
)


def _rows(x: Tensor) -> Tensor:
    """All axes but the last joined."""
    return x if x.ndim == 2 else reshape(x, (-1, x.shape[-1]))


ACTIVATIONS = {"relu": relu, "sigmoid": sigmoid, "tanh": tanh}
"""What a product or a convolution can apply in its own kernel: activations whose derivative follows from the output."""


def check_activation(activation: str | None, name: str) -> None:
    """Raise ValueError for a name that is not in ``ACTIVATIONS``."""
    if activation is not None and activation not in ACTIVATIONS:
        raise ValueError(f"{name}() knows the activations {', '.join(ACTIVATIONS)} and None. Received: {activation!r}.")


def before_activation(gradient: Tensor, y: Any, activation: str | None) -> Tensor:
    """The gradient in front of an activation, from its output ``y``: what kernels do by themselves, in operations."""
    if activation == "relu":
        return relu_gradient(gradient, y)
    if activation == "sigmoid":
        return gradient * y * (1 - y)
    if activation == "tanh":
        return gradient * (1 - y * y)
    return gradient


class _Dense(Op):
    """activation(x @ kernel + bias): bias and activation are applied while the product is in registers or cache."""

    name = kernel = "dense"
    saves_inputs = (0, 1)

    def __init__(self, activation: str | None) -> None:
        self.activation = activation
        self.saves_output = activation is not None

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        (x, kernel, _), (to_x, to_kernel, to_bias), g = node.saved_inputs(), node.edges, gradients[0]
        assert g is not None
        y = node.saved_output() if self.saves_output else None
        dx = dkernel = dbias = None
        if to_x is not None:
            dx = _input_gradient(g, y, kernel, activation=self.activation)
        if to_kernel is not None or to_bias is not None:
            dkernel, dbias = _weight_gradient(x, g, y, activation=self.activation)
        return [dx, dkernel, None if to_bias is None else dbias]


def _input_gradient_definition(g: Tensor, y: Any, kernel: Tensor, *, activation: str | None) -> Tensor:
    return _dense[None](before_activation(g, y, activation), transpose(kernel), None)


def _weight_gradient_definition(x: Tensor, g: Tensor, y: Any, *, activation: str | None) -> tuple[Tensor, Tensor]:
    inner = _rows(before_activation(g, y, activation))
    return _matmul(transpose(_rows(x)), inner), column_sum(inner)


_dense = {activation: _Dense(activation) for activation in (None, *ACTIVATIONS)}
_input_gradient = ByDefinition("dense_input_gradient", _input_gradient_definition)
_weight_gradient = ByDefinition("dense_weight_gradient", _weight_gradient_definition, outputs=2)


def dense(x: Any, kernel: Any, bias: Any = None, activation: str | None = None) -> Tensor:
    """A fully connected layer: ``activation(x @ kernel + bias)`` over the last axis of ``x``.

    Args:
        x: (..., n).
        kernel: (n, m).
        bias: (m,) or None.
        activation: "relu", "sigmoid" or "tanh", computed in the same kernel, or None.

    Returns:
        (..., m).

    Raises:
        ValueError: if the shapes do not fit, or for another activation.

    >>> import gradlite
    >>> gradlite.dense(gradlite.ones((5, 3)), gradlite.ones((3, 2)), gradlite.zeros(2)).shape
    (5, 2)
    """
    x, kernel, bias = alike(x, kernel, bias)
    fits = x.ndim >= 1 and kernel.ndim == 2 and x.shape[-1] == kernel.shape[0]
    if not fits or (bias is not None and bias.shape != kernel.shape[1:]):
        raise ValueError(
            "dense() needs x (..., n), kernel (n, m) and bias (m,). "
            f"Received: x {x.shape}, kernel {kernel.shape}, bias {None if bias is None else bias.shape}."
        )
    check_activation(activation, "dense")
    return _dense[activation](x, kernel, bias, activation=activation)


def tensordot(a: Any, b: Any, axes: int | Sequence[Any] = 2) -> Tensor:
    """Products summed over pairs of axes: the last ``axes`` of ``a`` with the first of ``b``, or those listed.

    >>> import gradlite
    >>> gradlite.tensordot(gradlite.ones((2, 3, 4)), gradlite.ones((4, 3, 5)), axes=([1, 2], [1, 0])).shape
    (2, 5)
    """
    a, b = as_tensors(a, b)
    if isinstance(axes, int):
        left, right = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        left, right = ([n] if isinstance(n, int) else list(n) for n in axes)
    left = [normalize_axis(i, a.ndim) for i in left]
    right = [normalize_axis(i, b.ndim) for i in right]
    if len(left) != len(right) or builtins.any(a.shape[i] != b.shape[j] for i, j in zip(left, right)):
        raise ValueError(f"tensordot() cannot pair axes {axes} of shapes {a.shape} and {b.shape}.")
    rest_a = [i for i in range(a.ndim) if i not in left]
    rest_b = [i for i in range(b.ndim) if i not in right]
    inner = math.prod(a.shape[i] for i in left)
    shape = tuple(a.shape[i] for i in rest_a) + tuple(b.shape[i] for i in rest_b)
    rows = math.prod(a.shape[i] for i in rest_a)
    product = _matmul(
        reshape(transpose(a, rest_a + left), (rows, inner)),
        reshape(transpose(b, right + rest_b), (inner, math.prod(b.shape[i] for i in rest_b))),
    )
    return reshape(product, shape)


class _Einsum(Op):
    """An Einstein sum in which no operand repeats a subscript, and no ellipsis is left."""

    name = kernel = "einsum"

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        operands, g = node.saved_inputs(), gradients[0]
        assert g is not None
        sources, result = node.attributes["subscripts"].split("->")
        terms = sources.split(",")
        answers: list[Tensor | None] = []
        for i, (term, x) in enumerate(zip(terms, operands)):
            if node.edges[i] is None:
                answers.append(None)
                continue
            others = [(t, y) for j, (t, y) in enumerate(zip(terms, operands)) if j != i]
            known = set(result).union(*(t for t, _ in others))
            present = "".join(s for s in term if s in known)
            lefts = ",".join([result, *(t for t, _ in others)])
            value = _einsum(g, *(y for _, y in others), subscripts=f"{lefts}->{present}")
            # Subscripts that stand nowhere else were summed alone: their gradient is the same all along.
            lengths = tuple(n if s in known else 1 for s, n in zip(term, x.shape))
            answers.append(broadcast_to(reshape(value, lengths), x.shape))
        return answers


_einsum = _Einsum()


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Einstein summation, with NumPy's subscripts: ``"ij,jk->ik"``, ``"...ij->...ji"``, ``"ii->i"``.

    Raises:
        ValueError: if the subscripts do not fit the operands.

    >>> import gradlite
    >>> gradlite.einsum("ij,jk->ik", gradlite.ones((2, 3)), gradlite.ones((3, 4))).shape
    (2, 4)
    """
    tensors = as_tensors(*operands)
    sources, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = sources.split(",")
    if len(terms) != len(tensors):
        raise ValueError(f"einsum() has {len(terms)} terms in {subscripts!r} for {len(tensors)} operands.")
    terms, letters = _without_ellipsis(terms, tensors, subscripts)
    if not arrow:
        joined = "".join(terms)
        result = letters + "".join(sorted(s for s in set(joined) if joined.count(s) == 1 and s not in letters))
    result = result.replace("...", letters)
    lengths: dict[str, int] = {}
    for i, (term, x) in enumerate(zip(terms, tensors)):
        if len(term) != x.ndim:
            raise ValueError(f"einsum() term {i} of {subscripts!r} has {len(term)} subscripts for shape {x.shape}.")
        terms[i], tensors[i] = _diagonal(term, x)
        for s, n in zip(terms[i], tensors[i].shape):
            if lengths.setdefault(s, n) not in (n, 1) and n != 1:
                raise ValueError(f"einsum() subscript {s!r} of {subscripts!r} has lengths {lengths[s]} and {n}.")
            if lengths[s] == 1:
                lengths[s] = n
    unknown = set(result) - set(lengths)
    if unknown or len(set(result)) != len(result):
        raise ValueError(f"einsum() result of {subscripts!r} needs subscripts of the operands, each once.")
    # A length of 1 broadcasts, as in NumPy: made explicit, so that the derivative need not know.
    full = [broadcast_to(x, tuple(lengths[s] for s in term)) for term, x in zip(terms, tensors)]
    return _einsum(*full, subscripts=f"{','.join(terms)}->{result}")


def _without_ellipsis(terms: list[str], tensors: list[Tensor], subscripts: str) -> tuple[list[str], str]:
    """The terms with letters of their own in place of ``...``, and these letters."""
    free = [s for s in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if s not in subscripts]
    counts = [x.ndim - len(t.replace("...", "")) if "..." in t else 0 for t, x in zip(terms, tensors)]
    if builtins.any(n < 0 for n in counts):
        raise ValueError(f"einsum() has more subscripts in {subscripts!r} than its operands have axes.")
    letters = "".join(free[: builtins.max(counts, default=0)])
    return [t.replace("...", letters[len(letters) - n :] if n else "") for t, n in zip(terms, counts)], letters


def _diagonal(term: str, x: Tensor) -> tuple[str, Tensor]:
    """An operand with repeated subscripts as its diagonal along them."""
    for s in sorted(set(term)):
        while term.count(s) > 1:
            i, j = term.index(s), term.rindex(s)
            if x.shape[i] != x.shape[j]:
                raise ValueError(f"einsum() repeats subscript {s!r} over lengths {x.shape[i]} and {x.shape[j]}.")
            rest = [k for k in range(x.ndim) if k not in (i, j)]
            steps = list(range(x.shape[i]))
            x = getitem(transpose(x, [i, j, *rest]), (steps, steps))
            term = s + "".join(term[k] for k in rest)
    return term, x
