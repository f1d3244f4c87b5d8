"""Plans of elementwise kernels in float32: arrays of one shape, or an array with a row, a column or a number."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native import numbers
from gradlite.backends.cpu.native.launches import Launch, Plan, Planner
from gradlite.backends.cpu.native.operands import apart, are_plain, common_shape, is_plain, parts_for

# Bytes that moving one is worth: roots and quotients take longer than sums.
SLOW = {"divide": 4, "sqrt": 4}


def _binary(name: str) -> Planner:
    """The plan of a kernel of two operands."""

    def plan(a: Any, b: Any, *, out: Any = None) -> Plan | None:
        a, b = _operand(a, b), _operand(b, a)
        if not are_plain(a, b, out) or a is None or b is None:
            return numbers.binary(name, a, b, out)
        shape = common_shape(a.shape, b.shape)
        if shape is None or 0 in shape:
            return None
        columns = shape[-1] if shape else 1
        layouts = [layout for layout in (_layout(a, shape), _layout(b, shape)) if layout is not None]
        if len(layouts) < 2 or not (out is None or (out.shape == shape and apart(out, a, b))):
            return None
        out = np.empty(shape, np.float32) if out is None else out
        (a_is_number, a_row), (b_is_number, b_row) = layouts
        rows = out.size // columns
        if all(row == columns or (is_number and row == 0) for is_number, row in layouts):
            rows, columns = 1, out.size
        parts = parts_for(SLOW.get(name, 1) * 12 * out.size)
        words = rows, columns, a, a_is_number, a_row, b, b_is_number, b_row, out
        return Plan(out, [Launch(f"elementwise.{name}", parts, words)])

    plan.__name__ = name
    return plan


def _operand(x: Any, other: Any) -> Any:
    """An array; a Python number as an array of the type it takes beside ``other``."""
    if type(x) is int or type(x) is float:
        kind = getattr(other, "dtype", None)
        if kind is not None and (kind.kind == "f" or (kind == np.int64 and type(x) is int and abs(x) < 2**63)):
            return np.array(x, kind)
    return x


def _layout(x: Any, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Whether there is one number a row, and elements from row to row, in an operand broadcast to ``shape``."""
    if x.shape == shape:
        return 0, shape[-1] if shape else 1
    if x.size == 1:
        return 1, 0
    if x.shape[-1] == shape[-1] == x.size:
        return 0, 0
    if x.shape == (*shape[:-1], 1):
        return 1, 1
    return None


def _unary(name: str) -> Planner:
    """The plan of a kernel of one operand."""

    def plan(x: Any, *, out: Any = None) -> Plan | None:
        if not is_plain(x) or not are_plain(out) or x.size == 0:
            return None
        if out is not None and not (out.shape == x.shape and apart(out, x)):
            return None
        out = np.empty(x.shape, np.float32) if out is None else out
        parts = parts_for(SLOW.get(name, 1) * 8 * x.size)
        return Plan(out, [Launch(f"elementwise.{name}", parts, (x.size, x, out))])

    plan.__name__ = name
    return plan


def relu_gradient(gradient: Any, y: Any, *, out: Any = None) -> Plan | None:
    """One pass, over arrays of one shape."""
    if not (is_plain(gradient) and is_plain(y) and gradient.shape == y.shape):
        return None
    return _relu_gradient(gradient, y, out=out)


def assign(target: Any, value: Any) -> Plan | None:
    """A copy of an array of the same shape, or of few numbers of another type."""
    if type(value) is np.ndarray and type(target) is np.ndarray and value.dtype == target.dtype:
        whole = value.shape == target.shape and value.flags.c_contiguous and target.flags.c_contiguous
        if whole and apart(target, value):
            words = target.nbytes, value, target
            return Plan(None, [Launch("elementwise.copy", parts_for(2 * target.nbytes), words)])
    return numbers.assign(target, value)


def assign_add(target: Any, value: Any) -> Plan | None:
    """A sum written to its first operand."""
    if type(target) is not np.ndarray or target.shape != common_shape(target.shape, np.shape(value)):
        return None
    plan = _add(target, value, out=target) or numbers.add_to(target, _operand(value, target))
    return plan and Plan(None, plan.launches)


_add = _binary("add")
_relu_gradient = _binary("relu_gradient")
# Their bits are NumPy's.
PLANS = (
    *(_add, *map(_binary, ("subtract", "multiply", "divide", "maximum", "minimum")), relu_gradient),
    *map(_unary, ("negative", "abs", "square", "sqrt", "relu")),
    *(assign, assign_add),
)
