"""Softmax, and the cross-entropies computed from logits in one stable piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlite.autograd import Node, Op, as_tensor
from gradlite.ops.elementwise import exp, floating, sigmoid
from gradlite.ops.indexing import one_hot, take_along_axis
from gradlite.ops.kernel import KernelOp, vjp_by_definition
from gradlite.ops.reductions import logsumexp, mean, sum
from gradlite.ops.shape import expand_dims, normalize_axis, reshape, squeeze, swapaxes
from gradlite.tensor import Tensor

_softmax = KernelOp("softmax", "Softmax.", lambda g, out, x: _softmax_gradient(g, out), output=True)
_softmax_gradient: KernelOp = KernelOp(
    "softmax_gradient",
    "y * (g - sum(g * y)), for y = softmax(x).",
    lambda gg, out, g, y: _softmax_gradient(gg, y),
    lambda gg, out, g, y: gg * g - gg * sum(g * y, -1, True) - g * sum(gg * y, -1, True),
    inputs=True,
)
_log_softmax = KernelOp("log_softmax", "Log-softmax.", lambda g, out, x: _log_softmax_gradient(g, out), output=True)
_log_softmax_gradient: KernelOp = KernelOp(
    "log_softmax_gradient",
    "g - exp(y) * sum(g), for y = log_softmax(x).",
    lambda gg, out, g, y: gg - sum(gg * exp(y), -1, True),
    lambda gg, out, g, y: -gg * exp(y) * sum(g, -1, True),
    inputs=True,
)


def _last_axis(op: KernelOp, x: Any, axis: int) -> Tensor:
    x = floating(x)
    axis = normalize_axis(axis, x.ndim)
    return op(x) if axis == x.ndim - 1 else swapaxes(op(swapaxes(x, axis, -1)), axis, -1)


def softmax(x: Any, axis: int = -1) -> Tensor:
    """``exp(x) / sum(exp(x))`` along an axis, without overflow.

    >>> import gradlite
    >>> gradlite.softmax(gradlite.Tensor([0.0, 0.0])).numpy()
    array([0.5, 0.5], dtype=float32)
    """
    return _last_axis(_softmax, x, axis)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """The logarithm of softmax, ``x - logsumexp(x)``.

    >>> import gradlite
    >>> gradlite.log_softmax(gradlite.Tensor([1000.0, 0.0])).numpy()
    array([    0., -1000.], dtype=float32)
    """
    return _last_axis(_log_softmax, x, axis)


def _sparse_definition(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    picked = squeeze(take_along_axis(logits, expand_dims(labels, 1), 1), 1)
    return logsumexp(logits, 1) - picked, softmax(logits)


def _soft_definition(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return -sum(labels * log_softmax(logits), -1), softmax(logits)


class _CrossEntropy(Op):
    """(logits (n, k), labels) -> (losses (n,), probabilities (n, k)) in one kernel; the probabilities are what the
    gradient needs."""

    saves_inputs = True
    saves_output = True
    outputs = 2

    def __init__(self, name: str, definition: Any) -> None:
        self.name = self.kernel = name
        self.definition = definition
        self.gradient = _CrossEntropyGradient(name + "_gradient")

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        if gradients[1] is not None or node.edges[1] is not None:
            return vjp_by_definition(self.definition, node, gradients)
        (_, labels), (_, probabilities) = node.saved_inputs(), node.saved_outputs()
        return [self.gradient(gradients[0], probabilities, labels), None]


class _CrossEntropyGradient(Op):
    """(gradient (n,), probabilities (n, k), labels) -> (n, k): (p * sum(labels) - labels) * gradient."""

    saves_inputs = True

    def __init__(self, name: str) -> None:
        self.name = self.kernel = name

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        (g, probabilities, labels), gg = node.saved_inputs(), gradients[0]
        assert gg is not None
        targets = labels if labels.ndim == 2 else one_hot(labels, probabilities.shape[1], probabilities.dtype)
        total, column = sum(targets, -1, True), expand_dims(g, 1)
        to_labels = None
        if node.edges[2] is not None:
            to_labels = column * (sum(gg * probabilities, -1, True) - gg)
        return [sum(gg * (probabilities * total - targets), -1), gg * column * total, to_labels]


_sparse = _CrossEntropy("sparse_softmax_cross_entropy", _sparse_definition)
_soft = _CrossEntropy("softmax_cross_entropy", _soft_definition)
_sigmoid = KernelOp(
    "sigmoid_cross_entropy",
    "max(x, 0) - x * z + log(1 + exp(-|x|)), for logits x and labels z.",
    lambda g, out, logits, labels: g * (sigmoid(logits) - labels),
    lambda g, out, logits, labels: -g * logits,
    inputs=True,
)


def sparse_softmax_cross_entropy(labels: Any, logits: Any) -> Tensor:
    """The cross-entropy of class numbers under softmax(logits): ``logsumexp(logits) - logits[label]``.

    Args:
        labels: integers (...,) in [0, k).
        logits: (..., k).

    Returns:
        (...,), one loss for each label.

    >>> import gradlite
    >>> gradlite.sparse_softmax_cross_entropy([1], gradlite.Tensor([[0.0, 1000.0]])).numpy()
    array([0.], dtype=float32)
    """
    logits = floating(logits)
    labels = labels if isinstance(labels, Tensor) else Tensor(labels, device=logits.device)
    if labels.shape != logits.shape[:-1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"sparse_softmax_cross_entropy() needs integer labels of shape {logits.shape[:-1]} for logits "
            f"{logits.shape}. "
            f"Received: labels of shape {labels.shape} and dtype {labels.dtype}."
        )
    losses, _ = _sparse(reshape(logits, (-1, logits.shape[-1])), reshape(labels, (-1,)))
    return reshape(losses, labels.shape)


def _sparse_loss_definition(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    losses, p = _sparse_definition(logits, labels)
    n, k = logits.shape
    return mean(losses), (p - one_hot(labels, k, p.dtype)) / n, p


def _soft_loss_definition(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    losses, p = _soft_definition(logits, labels)
    return mean(losses), (p * sum(labels, -1, True) - labels) / logits.shape[0], p


class _CrossEntropyLoss(Op):
    """(logits (n, k), labels) -> (the mean loss, its gradient in the logits, probabilities) in one kernel."""

    saves_inputs = True
    saves_output = True
    outputs = 3

    def __init__(self, name: str, definition: Any) -> None:
        self.name = self.kernel = name
        self.definition = definition

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        if gradients[1] is not None or gradients[2] is not None or node.edges[1] is not None:
            return vjp_by_definition(self.definition, node, gradients)
        g = gradients[0]
        assert g is not None
        return [node.saved_outputs()[1] * g, None]


_sparse_loss = _CrossEntropyLoss("sparse_softmax_cross_entropy_loss", _sparse_loss_definition)
_soft_loss = _CrossEntropyLoss("softmax_cross_entropy_loss", _soft_loss_definition)


def sparse_softmax_cross_entropy_loss(labels: Any, logits: Any) -> Tensor:
    """The mean of ``sparse_softmax_cross_entropy`` over a batch; forward and backward are one kernel.

    Args:
        labels: integers (n,) in [0, k).
        logits: (n, k), with n > 0.

    Returns:
        (), the mean loss.

    >>> import gradlite
    >>> from gradlite.ops.classification import sparse_softmax_cross_entropy_loss
    >>> sparse_softmax_cross_entropy_loss([1, 1], gradlite.Tensor([[0.0, 1000.0], [1000.0, 0.0]])).item()
    500.0
    """
    logits = floating(logits)
    labels = labels if isinstance(labels, Tensor) else Tensor(labels, device=logits.device)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu" or not labels.size:
        raise ValueError(
            "sparse_softmax_cross_entropy_loss() needs integer labels (n,) for logits (n, k), n > 0. "
            f"Received: labels of shape {labels.shape} and dtype {labels.dtype}, logits {logits.shape}."
        )
    return _sparse_loss(logits, labels)[0]


def softmax_cross_entropy(labels: Any, logits: Any) -> Tensor:
    """The cross-entropy of distributions under softmax(logits): ``-sum(labels * log_softmax(logits))``.

    Args:
        labels: (..., k), probabilities or one-hot rows.
        logits: (..., k).

    Returns:
        (...,), one loss for each row.

    >>> import gradlite
    >>> gradlite.softmax_cross_entropy([[0.5, 0.5]], gradlite.Tensor([[0.0, 1000.0]])).numpy()
    array([500.], dtype=float32)
    """
    logits = floating(logits)
    labels = as_tensor(labels, logits)
    if labels.shape != logits.shape:
        raise ValueError(
            "softmax_cross_entropy() needs labels and logits of one shape. "
            f"Received: {labels.shape} and {logits.shape}."
        )
    flat = (-1, logits.shape[-1])
    labels = labels.astype(logits.dtype)
    losses, _ = _soft(reshape(logits, flat), reshape(labels, flat))
    return reshape(losses, logits.shape[:-1])


def softmax_cross_entropy_loss(labels: Any, logits: Any) -> Tensor:
    """The mean of ``softmax_cross_entropy`` over a batch; forward and backward are one kernel.

    Args:
        labels: (n, k), probabilities or one-hot rows.
        logits: (n, k), with n > 0.

    Returns:
        (), the mean loss.

    >>> import gradlite
    >>> from gradlite.ops.classification import softmax_cross_entropy_loss
    >>> softmax_cross_entropy_loss([[0.5, 0.5], [1.0, 0.0]], gradlite.Tensor([[0.0, 1000.0], [1000.0, 0.0]])).item()
    250.0
    """
    logits = floating(logits)
    labels = as_tensor(labels, logits)
    if logits.ndim != 2 or labels.shape != logits.shape or not labels.size:
        raise ValueError(
            "softmax_cross_entropy_loss() needs labels and logits of one shape (n, k), n > 0. "
            f"Received: {labels.shape} and {logits.shape}."
        )
    return _soft_loss(logits, labels.astype(logits.dtype))[0]


def sigmoid_cross_entropy(labels: Any, logits: Any) -> Tensor:
    """The binary cross-entropy of labels in [0, 1] under sigmoid(logits), element by element, without overflow.

    >>> import gradlite
    >>> gradlite.sigmoid_cross_entropy([1.0], gradlite.Tensor([1000.0])).numpy()
    array([0.], dtype=float32)
    """
    logits = floating(logits)
    labels = as_tensor(labels, logits).astype(logits.dtype)
    if labels.shape != logits.shape:
        raise ValueError(
            "sigmoid_cross_entropy() needs labels and logits of one shape. "
            f"Received: {labels.shape} and {logits.shape}."
        )
    return _sigmoid(logits, labels)
