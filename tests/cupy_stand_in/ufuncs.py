"""Universal functions: NumPy's, called as CuPy lets them be called."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import indexing
from .operations import device_array, operand, operate

# Those of CuPy's that are NumPy's under the same name.
# fmt: off
NAMES = (
    "abs", "absolute", "acos", "acosh", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh",
    "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_count", "bitwise_invert", "bitwise_left_shift",
    "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "cbrt", "ceil", "conj", "conjugate", "copysign",
    "cos", "cosh", "deg2rad", "degrees", "divide", "divmod", "equal", "exp", "exp2", "expm1", "fabs", "float_power",
    "floor", "floor_divide", "fmax", "fmin", "fmod", "frexp", "gcd", "greater", "greater_equal", "heaviside", "hypot",
    "invert", "isfinite", "isinf", "isnan", "lcm", "ldexp", "left_shift", "less", "less_equal", "log", "log10", "log1p",
    "log2", "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum",
    "mod", "modf", "multiply", "negative", "nextafter", "not_equal", "positive", "pow", "power", "rad2deg", "radians",
    "reciprocal", "remainder", "right_shift", "rint", "sign", "signbit", "sin", "sinh", "sqrt", "square", "subtract",
    "tan", "tanh", "true_divide", "trunc",
)
# fmt: on


def integer_power(base: Any, exponent: Any, out: Any = None, **options: Any) -> Any:
    """NumPy's power, but for a negative exponent of integers, which NumPy refuses: a GPU truncates toward zero."""
    if np.asarray(base).dtype.kind not in "iu" or np.asarray(exponent).dtype.kind != "i":
        return np.power(base, exponent, out=out, **options)
    sign = np.where(np.remainder(exponent, 2) == 1, -1, 1)
    inverse = np.where(np.equal(base, 1), 1, np.where(np.equal(base, -1), sign, 0))
    # np.maximum would make a Python number an int64, which decides the result's dtype.
    natural = max(exponent, 0) if isinstance(exponent, int) else np.maximum(exponent, exponent.dtype.type(0))
    result = np.power(base, natural, **options)
    result = np.where(np.less(exponent, 0), inverse.astype(result.dtype), result)
    if out is None:
        return result
    np.copyto(out, result, casting="same_kind")
    return out


class ufunc:
    """``cupy.ufunc`` over NumPy's of the same name."""

    def __init__(self, name: str) -> None:
        self.name = f"cupy_{name}"
        self.__name__ = name
        self._numpy: np.ufunc = getattr(np, name)
        self.nin, self.nout, self.nargs = self._numpy.nin, self._numpy.nout, self._numpy.nargs
        self.types = self._numpy.types

    def __repr__(self) -> str:
        return f"<ufunc '{self.name}'>"

    def __call__(
        self, *args: Any, out: Any = None, where: Any = None, dtype: Any = None, casting: str = "same_kind"
    ) -> Any:
        if len(args) > self.nin:
            if out is not None or len(args) > self.nargs:
                raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
            args, out = args[: self.nin], args[self.nin :]
        if len(args) < self.nin:
            raise TypeError(f"Wrong number of arguments for {self!r}")
        if isinstance(out, tuple):
            out = out[0] if len(out) == 1 else out
        if self.nout > 1 and out is not None:
            raise NotImplementedError(f"stand-in: out= for {self!r}")
        values = [operand(arg) for arg in args]
        function = integer_power if self._numpy is np.power else self._numpy
        options: dict[str, Any] = {"casting": casting}
        if dtype is not None:
            options["dtype"] = dtype
        if where is not None:
            options["where"] = operand(where)

        def compute(destination: Any) -> Any:
            if destination is None:
                return function(*values, **options)
            return function(*values, out=destination, **options)

        return operate(self.__name__, compute, [*args, where], out)

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        """Apply at positions in place, where several values for one position all take part."""
        if self.__name__ not in indexing.SCATTER:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        indexing.scatter(self.__name__, device_array(a), indices, b)

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Reduce along an axis; CuPy has it for addition and multiplication."""
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")
        source = device_array(array)._array

        def compute(destination: Any) -> Any:
            return self._numpy.reduce(source, axis=axis, dtype=dtype, out=destination, keepdims=keepdims)

        return operate(f"{self.__name__}.reduce", compute, [array], out, capturable=False)

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """Running sums or products."""
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"`{self.name}.accumulate` is not supported yet")
        source = device_array(array)._array

        def compute(destination: Any) -> Any:
            return self._numpy.accumulate(source, axis=axis, dtype=dtype, out=destination)

        return operate(f"{self.__name__}.accumulate", compute, [array], out, capturable=False)

    def outer(self, A: Any, B: Any, **kwargs: Any) -> Any:
        """The function of every pair."""
        left = device_array(A)
        right = device_array(B)
        return self(left.reshape(left.shape + (1,) * right.ndim), right, **kwargs)


TABLE: dict[str, ufunc] = {name: ufunc(name) for name in NAMES}
