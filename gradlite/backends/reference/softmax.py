"""Softmax over the last axis and the cross-entropies fused with it, in forms that neither overflow nor cancel.

float16 is computed in float32 and rounded once at the end.
"""

from __future__ import annotations

from typing import Any

from gradlite.backends.registry import into, reference_kernel


def _wide(xp: Any, x: Any) -> Any:
    return x.astype(xp.float32) if x.dtype.itemsize == 2 else x


def _sum(x: Any) -> Any:
    return x.sum(axis=-1, keepdims=True)


def _log_softmax(xp: Any, x: Any) -> tuple[Any, Any]:
    """(log softmax, softmax). Subtracting the maximum leaves both unchanged and keeps every exponential at most 1."""
    shifted = x - x.max(axis=-1, keepdims=True)
    exponential = xp.exp(shifted)
    total = _sum(exponential)
    return shifted - xp.log(total), exponential / total


@reference_kernel
def softmax(xp: Any, x: Any, *, out: Any = None) -> Any:
    """exp(x) / sum(exp(x)) over the last axis."""
    wide = _wide(xp, x)
    exponential = xp.exp(wide - wide.max(axis=-1, keepdims=True))
    return into(out, (exponential / _sum(exponential)).astype(x.dtype))


@reference_kernel
def softmax_gradient(xp: Any, gradient: Any, y: Any, *, out: Any = None) -> Any:
    """y (g - sum(g y)), from softmax's output `y`."""
    g, p = _wide(xp, gradient), _wide(xp, y)
    return into(out, (p * (g - _sum(g * p))).astype(y.dtype))


@reference_kernel
def log_softmax(xp: Any, x: Any, *, out: Any = None) -> Any:
    """x - log(sum(exp(x))) over the last axis."""
    return into(out, _log_softmax(xp, _wide(xp, x))[0].astype(x.dtype))


@reference_kernel
def log_softmax_gradient(xp: Any, gradient: Any, y: Any, *, out: Any = None) -> Any:
    """g - exp(y) sum(g), from log_softmax's output `y`."""
    g = _wide(xp, gradient)
    return into(out, (g - xp.exp(_wide(xp, y)) * _sum(g)).astype(y.dtype))


def _pair(out: Any, losses: Any, probabilities: Any, dtype: Any) -> tuple[Any, Any]:
    first, second = (None, None) if out is None else out
    return into(first, losses.astype(dtype)), into(second, probabilities.astype(dtype))


@reference_kernel
def sparse_softmax_cross_entropy(xp: Any, logits: Any, labels: Any, *, out: Any = None) -> tuple[Any, Any]:
    """(-log softmax(logits)[label] (n,), softmax(logits) (n, k)) for logits (n, k) and integer labels (n,) below k."""
    log_p, p = _log_softmax(xp, _wide(xp, logits))
    losses = 0 - xp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]  # a perfect guess costs 0, not -0
    return _pair(out, losses, p, logits.dtype)


@reference_kernel
def sparse_softmax_cross_entropy_gradient(
    xp: Any, gradient: Any, probabilities: Any, labels: Any, *, out: Any = None
) -> Any:
    """(softmax - one_hot(label)) g for gradient (n,): the derivative with respect to the logits, (n, k)."""
    one_hot = labels[:, None] == xp.arange(probabilities.shape[1])
    p = _wide(xp, probabilities)
    return into(out, ((p - one_hot.astype(p.dtype)) * _wide(xp, gradient)[:, None]).astype(probabilities.dtype))


@reference_kernel
def softmax_cross_entropy(xp: Any, logits: Any, labels: Any, *, out: Any = None) -> tuple[Any, Any]:
    """(-sum(labels log softmax(logits)) (n,), softmax(logits) (n, k)) for labels (n, k)."""
    log_p, p = _log_softmax(xp, _wide(xp, logits))
    return _pair(out, 0 - (labels * log_p).sum(axis=-1), p, logits.dtype)


@reference_kernel
def softmax_cross_entropy_gradient(xp: Any, gradient: Any, probabilities: Any, labels: Any, *, out: Any = None) -> Any:
    """(softmax sum(labels) - labels) g for gradient (n,); the labels of a row need not sum to 1."""
    p, y = _wide(xp, probabilities), _wide(xp, labels)
    return into(out, ((p * _sum(y) - y) * _wide(xp, gradient)[:, None]).astype(probabilities.dtype))


@reference_kernel
def sigmoid_cross_entropy(xp: Any, logits: Any, labels: Any, *, out: Any = None) -> Any:
    """-labels log(sigmoid(logits)) - (1 - labels) log(1 - sigmoid(logits)), element by element.

    Computed as max(x, 0) - x z + log(1 + exp(-|x|)).
    """
    x, z = _wide(xp, logits), _wide(xp, labels)
    return into(out, (xp.maximum(x, 0) - x * z + xp.log1p(xp.exp(-abs(x)))).astype(logits.dtype))
