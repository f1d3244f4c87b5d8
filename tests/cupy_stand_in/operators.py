"""The operators of device arrays, by table: each calls a universal function."""

from __future__ import annotations

from typing import Any

from . import ufuncs

UNARY = {"abs": "abs", "neg": "negative", "pos": "positive", "invert": "invert"}
# With a reflected and an in-place form each.
ARITHMETIC = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "lshift": "left_shift",
    "rshift": "right_shift",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}


def add_operators(cls: type) -> None:
    """Give a class the operators of the tables."""
    for operator, name in UNARY.items():
        setattr(cls, f"__{operator}__", _unary(ufuncs.TABLE[name]))
    for operator, name in ARITHMETIC.items():
        function = ufuncs.TABLE[name]
        setattr(cls, f"__{operator}__", _binary(function))
        setattr(cls, f"__r{operator}__", _reflected(function))
        setattr(cls, f"__i{operator}__", _in_place(function))
    for operator, name in COMPARISONS.items():
        setattr(cls, f"__{operator}__", _binary(ufuncs.TABLE[name]))


def _unary(function: ufuncs.ufunc) -> Any:
    return lambda self: function(self)


def _binary(function: ufuncs.ufunc) -> Any:
    return lambda self, other: function(self, other)


def _reflected(function: ufuncs.ufunc) -> Any:
    return lambda self, other: function(other, self)


def _in_place(function: ufuncs.ufunc) -> Any:
    return lambda self, other: function(self, other, out=self)
