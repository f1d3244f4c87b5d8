"""Plans of softmax over the last axis and of cross-entropies, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.launches import Launch, Plan, Planner, Scratch
from gradlite.backends.cpu.native.operands import KINDS, apart, are_plain, is_plain, parts_for

# Bytes that moving one is worth: an exponential takes as long.
COST = 32


def _parts(x: Any) -> int:
    """How many parts the rows are worth."""
    return min(parts_for(COST * x.size), x.size // x.shape[-1])


def _of_rows(name: str) -> Planner:
    """The plan of a function of rows."""

    def plan(x: Any, *, out: Any = None) -> Plan | None:
        if not is_plain(x) or x.ndim == 0 or x.size == 0 or not are_plain(out) or not _fits(out, x.shape, x):
            return None
        out = np.empty(x.shape, np.float32) if out is None else out
        return Plan(out, [Launch(f"softmax.{name}", _parts(x), (x.size // x.shape[-1], x.shape[-1], x, out))])

    plan.__name__ = name
    return plan


def _of_gradient(name: str) -> Planner:
    """The plan of its gradient."""

    def plan(gradient: Any, y: Any, *, out: Any = None) -> Plan | None:
        if not (is_plain(gradient) and is_plain(y)) or gradient.shape != y.shape or y.ndim == 0 or y.size == 0:
            return None
        if not are_plain(out) or not _fits(out, y.shape, gradient, y):
            return None
        out = np.empty(y.shape, np.float32) if out is None else out
        words = y.size // y.shape[-1], y.shape[-1], gradient, y, out
        return Plan(out, [Launch(f"softmax.{name}", _parts(y), words)])

    plan.__name__ = name
    return plan


def _fits(out: Any, shape: tuple[int, ...], *inputs: Any) -> bool:
    """Whether a buffer, if there is one, has this shape and may be written."""
    return out is None or (out.shape == shape and apart(out, *inputs))


def _has_rows(logits: Any, labels: Any) -> bool:
    """Whether these are logits (n, k) and integer labels (n,)."""
    if not is_plain(logits) or logits.ndim != 2 or logits.size == 0 or type(labels) is not np.ndarray:
        return False
    known = labels.dtype in KINDS and labels.dtype.kind in "iu" and labels.flags.c_contiguous
    return known and labels.shape == logits.shape[:1]


def sparse_softmax_cross_entropy_loss(logits: Any, labels: Any, *, out: Any = None) -> Plan | None:
    """Row by row; then the mean."""
    if not _has_rows(logits, labels) or not are_plain(*(out or ())):
        return None
    shapes = ((), logits.shape, logits.shape)
    if out is not None and any(not _fits(o, shape, logits) for o, shape in zip(out, shapes)):
        return None
    loss, gradient, p = out or (np.empty(shape, np.float32) for shape in shapes)
    n, k = logits.shape
    losses = Scratch(8 * n)
    rows = Launch(
        "softmax.sparse_loss", _parts(logits), (n, k, logits, labels, KINDS[labels.dtype], losses, p, gradient)
    )
    return Plan((loss, gradient, p), [rows, Launch("softmax.mean", 1, (n, losses, loss))])


def sparse_softmax_cross_entropy(logits: Any, labels: Any, *, out: Any = None) -> Plan | None:
    """Row by row."""
    if not _has_rows(logits, labels) or not are_plain(*(out or ())):
        return None
    n, k = logits.shape
    if out is not None and not (_fits(out[0], (n,), logits) and _fits(out[1], (n, k), logits)):
        return None
    losses, p = out or (np.empty((n,), np.float32), np.empty((n, k), np.float32))
    words = n, k, logits, labels, KINDS[labels.dtype], Scratch(8 * n), p, losses
    return Plan((losses, p), [Launch("softmax.sparse_cross_entropy", _parts(logits), words)])


def sparse_softmax_cross_entropy_gradient(
    gradient: Any, probabilities: Any, labels: Any, *, out: Any = None
) -> Plan | None:
    """Row by row."""
    if not _has_rows(probabilities, labels) or not is_plain(gradient) or gradient.shape != labels.shape:
        return None
    if not are_plain(out) or not _fits(out, probabilities.shape, probabilities, gradient):
        return None
    out = np.empty(probabilities.shape, np.float32) if out is None else out
    words = *probabilities.shape, gradient, probabilities, labels, KINDS[labels.dtype], out
    return Plan(out, [Launch("softmax.sparse_cross_entropy_gradient", _parts(out), words)])


def softmax_cross_entropy_loss(logits: Any, labels: Any, *, out: Any = None) -> Plan | None:
    """Row by row; then the mean."""
    usable = is_plain(logits) and is_plain(labels) and logits.ndim == 2 and labels.shape == logits.shape
    if not usable or logits.size == 0 or not are_plain(*(out or ())):
        return None
    shapes = ((), logits.shape, logits.shape)
    if out is not None and any(not _fits(o, shape, logits, labels) for o, shape in zip(out, shapes)):
        return None
    loss, gradient, p = out or (np.empty(shape, np.float32) for shape in shapes)
    n, k = logits.shape
    losses, share, parts = Scratch(4 * n), np.full(n, 1 / n, np.float32), _parts(logits)
    launches = [
        Launch("softmax.cross_entropy", parts, (n, k, logits, labels, losses, p)),
        Launch("softmax.cross_entropy_gradient", parts, (n, k, share, p, labels, gradient)),
        Launch("softmax.mean_of_singles", 1, (n, losses, loss)),
    ]
    return Plan((loss, gradient, p), launches)


def softmax_cross_entropy(logits: Any, labels: Any, *, out: Any = None) -> Plan | None:
    """Row by row."""
    usable = is_plain(logits) and is_plain(labels) and logits.ndim == 2 and labels.shape == logits.shape
    if not usable or logits.size == 0 or not are_plain(*(out or ())):
        return None
    n, k = logits.shape
    if out is not None and not (_fits(out[0], (n,), logits, labels) and _fits(out[1], (n, k), logits, labels)):
        return None
    losses, p = out or (np.empty((n,), np.float32), np.empty((n, k), np.float32))
    return Plan((losses, p), [Launch("softmax.cross_entropy", _parts(logits), (n, k, logits, labels, losses, p))])


def softmax_cross_entropy_gradient(gradient: Any, probabilities: Any, labels: Any, *, out: Any = None) -> Plan | None:
    """Row by row."""
    usable = are_plain(gradient, labels, out) and is_plain(probabilities) and probabilities.ndim == 2
    if not usable or probabilities.size == 0 or labels.shape != probabilities.shape:
        return None
    if gradient.shape != labels.shape[:1] or not _fits(out, labels.shape, gradient, probabilities, labels):
        return None
    out = np.empty(labels.shape, np.float32) if out is None else out
    words = *labels.shape, gradient, probabilities, labels, out
    return Plan(out, [Launch("softmax.cross_entropy_gradient", _parts(out), words)])


PLANS = (
    *(_of_rows("softmax"), _of_rows("log_softmax"), _of_gradient("softmax_gradient")),
    *(_of_gradient("log_softmax_gradient"), sparse_softmax_cross_entropy_loss, softmax_cross_entropy_loss),
    *(
        sparse_softmax_cross_entropy,
        sparse_softmax_cross_entropy_gradient,
        softmax_cross_entropy,
        softmax_cross_entropy_gradient,
    ),
)
