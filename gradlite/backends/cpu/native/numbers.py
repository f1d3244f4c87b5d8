"""Plans for a few numbers of any type: counters, totals, labels and what is counted of them.

Steps are full of such launches. NumPy is as fast at one of them, but between native launches it costs a way through
Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.launches import Launch, Plan
from gradlite.backends.cpu.native.operands import FLOAT32, INT64, KINDS, apart, common_shape, is_plain

FLOAT64, BOOL = np.dtype(np.float64), np.dtype(np.bool_)
# Above this many elements NumPy's vectors win.
MANY = 4096
OPERATIONS = (
    *("add", "subtract", "multiply", "divide", "equal", "not_equal", "less", "less_equal", "greater"),
    "greater_equal",
)
COMPARISONS = OPERATIONS[OPERATIONS.index("equal") :]
_DONE_IN = (FLOAT32, FLOAT64, INT64)


def _is_known(x: Any) -> bool:
    """Whether bodies can read this."""
    return type(x) is np.ndarray and x.dtype in KINDS and x.flags.c_contiguous and 0 < x.size <= MANY


def binary(name: str, a: Any, b: Any, out: Any) -> Plan | None:
    """An operation on two arrays of one shape, or on an array and one number."""
    if name not in OPERATIONS or not (_is_known(a) and _is_known(b)):
        return None
    dtype = np.result_type(a.dtype, b.dtype)
    if name == "divide" and dtype == INT64:
        dtype = FLOAT64
    if name in COMPARISONS and dtype.kind in "iub":
        dtype = INT64
    shape = common_shape(a.shape, b.shape)
    count = max(a.size, b.size)
    if dtype not in _DONE_IN or not all(x.shape == shape or x.size == 1 for x in (a, b)):
        return None
    result = BOOL if name in COMPARISONS else dtype
    out = np.empty(shape, result) if out is None else out
    if not is_plain(out, result) or out.shape != shape or not apart(out, a, b):
        return None
    words = OPERATIONS.index(name), KINDS[dtype], count, *_source(a), *_source(b), out
    return Plan(out, [Launch("numbers.binary", 1, words)])


def _source(x: Any) -> tuple[Any, int, int]:
    """An array, its type, and elements from one to the next."""
    return x, KINDS[x.dtype], int(x.size > 1)


def _comparison(name: str) -> Any:
    def plan(a: Any, b: Any, *, out: Any = None) -> Plan | None:
        return binary(name, a, b, out)

    plan.__name__ = name
    return plan


def add_to(target: Any, value: Any) -> Plan | None:
    """target += value where the sum has the target's type."""
    return binary("add", target, value, target)


def assign(target: Any, value: Any) -> Plan | None:
    """Numbers of another type, or one number for all."""
    if type(value) in (int, float, bool) and type(target) is np.ndarray:
        value = np.array(value).astype(target.dtype)
    if not (_is_known(target) and _is_known(value)) or not (value.shape == target.shape or value.size == 1):
        return None
    if value.dtype != target.dtype and not np.can_cast(value.dtype, target.dtype, "safe"):
        return None
    if common_shape(target.shape, value.shape) != target.shape or not apart(target, value):
        return None
    return Plan(None, [Launch("numbers.convert", 1, (target.size, *_source(value), target, KINDS[target.dtype]))])


def sum(x: Any, *, axis: Any = None, keepdims: bool = False, out: Any = None) -> Plan | None:
    """How many elements hold, of all."""
    every = axis is None or sorted(a % x.ndim for a in np.atleast_1d(axis)) == list(range(x.ndim))
    shape = (1,) * x.ndim if keepdims else ()
    if not is_plain(x, BOOL) or not every or not (out is None or (is_plain(out, INT64) and out.shape == shape)):
        return None
    out = np.empty(shape, np.int64) if out is None else out
    return Plan(out, [Launch("numbers.count", 1, (x.size, x, out))])


def argmax(x: Any, *, axis: Any = None, keepdims: bool = False, out: Any = None) -> Plan | None:
    """Along the last axis."""
    if not is_plain(x) or x.ndim == 0 or x.size == 0 or axis not in (-1, x.ndim - 1):
        return None
    shape = (*x.shape[:-1], 1) if keepdims else x.shape[:-1]
    if np.dtype(np.intp) != INT64 or not (out is None or (is_plain(out, INT64) and out.shape == shape)):
        return None
    out = np.empty(shape, np.int64) if out is None else out
    return Plan(out, [Launch("numbers.argmax", 1, (x.size // x.shape[-1], x.shape[-1], x, out))])


def count_correct(labels: Any, scores: Any, *, out: Any = None) -> Plan | None:
    """Of rows of scores."""
    plain = is_plain(scores) and scores.ndim == 2 and scores.size and type(labels) is np.ndarray
    if not plain or labels.shape != scores.shape[:1] or labels.dtype not in KINDS or not labels.flags.c_contiguous:
        return None
    if labels.dtype.kind not in "iu" or not (out is None or (is_plain(out, INT64) and out.shape == ())):
        return None
    out = np.empty((), np.int64) if out is None else out
    words = *scores.shape, scores, labels, KINDS[labels.dtype], out
    return Plan(out, [Launch("numbers.count_correct", 1, words)])


def draw_random(state: Any, *, out: Any = None) -> Plan | None:
    """A copy, and the next draw."""
    whole = np.dtype(np.uint64)
    if not is_plain(state, whole) or not (out is None or is_plain(out, whole)) or state.shape != (3,):
        return None
    out = np.empty_like(state) if out is None else out
    return Plan(out, [Launch("numbers.draw_random", 1, (state, out))])


# Their bits are NumPy's.
PLANS = (*map(_comparison, COMPARISONS), sum, argmax, count_correct, draw_random)
