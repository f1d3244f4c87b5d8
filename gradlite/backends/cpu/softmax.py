"""The mean cross-entropies on the CPU, with their gradients: a handful of passes over short rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.registry import cpu_kernel
from gradlite.backends.reference import fused as reference


@cpu_kernel
def sparse_softmax_cross_entropy_loss(logits: Any, labels: Any, *, out: Any = None) -> tuple[Any, Any, Any]:
    """The reference's (mean loss, its gradient in the logits, probabilities)."""
    if logits.dtype not in (np.float32, np.float64) or not logits.size:
        return reference.sparse_softmax_cross_entropy_loss(np, logits, labels, out=out)
    n = logits.shape[0]
    loss, gradient, p = out or (np.empty((), logits.dtype), np.empty(logits.shape, logits.dtype), None)
    if p is None:
        p = np.empty(logits.shape, logits.dtype)
    np.subtract(logits, logits.max(axis=1, keepdims=True), out=p)
    places = np.arange(n), labels
    picked = p[places]
    np.exp(p, out=p)
    total = p.sum(axis=1, keepdims=True)
    loss[...] = (np.log(total[:, 0]) - picked).mean(dtype=np.float64)
    np.divide(p, total, out=p)
    np.multiply(p, logits.dtype.type(1 / n), out=gradient)
    gradient[places] = (p[places] - 1) * logits.dtype.type(1 / n)
    return loss, gradient, p


@cpu_kernel
def softmax_cross_entropy_loss(logits: Any, labels: Any, *, out: Any = None) -> tuple[Any, Any, Any]:
    """The reference's (mean loss, its gradient in the logits, probabilities) for rows of labels."""
    if logits.dtype not in (np.float32, np.float64) or labels.dtype != logits.dtype or not logits.size:
        return reference.softmax_cross_entropy_loss(np, logits, labels, out=out)
    loss, gradient, p = out or (np.empty((), logits.dtype), np.empty(logits.shape, logits.dtype), None)
    if p is None:
        p = np.empty(logits.shape, logits.dtype)
    np.subtract(logits, logits.max(axis=1, keepdims=True), out=p)
    np.exp(p, out=gradient)
    total = gradient.sum(axis=1, keepdims=True)
    p -= np.log(total)
    np.multiply(p, labels, out=p)
    loss[...] = 0 - p.sum(axis=1).mean(dtype=np.float64)
    np.divide(gradient, total, out=p)
    np.multiply(p, labels.sum(axis=1, keepdims=True), out=gradient)
    gradient -= labels
    gradient *= logits.dtype.type(1 / logits.shape[0])
    return loss, gradient, p
