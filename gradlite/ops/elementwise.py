"""Elementwise operations: arithmetic, powers, exponentials, trigonometry, comparison; each beside its derivative.

In every derivative ``g`` is the gradient flowing in and ``out`` the result. Broadcasting follows NumPy, and so does
type promotion; Python numbers take the type of the tensor they meet.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradlite.autograd import as_tensor, as_tensors
from gradlite.backends.dtypes import FLOAT_KINDS, as_dtype, promoted
from gradlite.ops.kernel import KernelOp
from gradlite.tensor import Tensor

# Arithmetic.
add = KernelOp("add", "a + b.", lambda g, out, a, b: g, lambda g, out, a, b: g)
subtract = KernelOp("subtract", "a - b.", lambda g, out, a, b: g, lambda g, out, a, b: -g)
multiply = KernelOp("multiply", "a * b.", lambda g, out, a, b: g * b, lambda g, out, a, b: g * a, inputs=True)
divide = KernelOp(
    "divide",
    "a / b.",
    lambda g, out, a, b: g / b,
    lambda g, out, a, b: -g * out / b,
    inputs=(1,),
    output=True,
)
negative = KernelOp("negative", "-x.", lambda g, out, x: -g)
reciprocal = KernelOp("reciprocal", "1 / x.", lambda g, out, x: -g * square(out), output=True)
floor_divide = KernelOp("floor_divide", "The quotient rounded towards minus infinity; its derivative is zero.")
remainder = KernelOp(
    "remainder",
    "a - b * floor(a / b), with the sign of b.",
    lambda g, out, a, b: g,
    lambda g, out, a, b: -g * floor_divide(a, b),
    inputs=True,
)


def _power_by_base(g: Tensor, out: Tensor, a: Any, b: Any) -> Tensor:
    if isinstance(b, Tensor):
        # At b == 0 the power is constant, also at a == 0, where a ** -1 would be infinite.
        return g * b * power(a, where(equal(b, 0), 1, b - 1))
    return g * (b * power(a, b - 1)) if b not in (0, 1) else g * b


def _power_by_exponent(g: Tensor, out: Tensor, a: Any, b: Any) -> Tensor:
    # The limit of a**b log(a) at a == 0 is 0 for b > 0.
    base = a if isinstance(a, Tensor) else Tensor(a, dtype=out.dtype, device=out.device)
    return g * out * log(where(equal(base, 0), 1, base))


power = KernelOp("power", "a ** b.", _power_by_base, _power_by_exponent, inputs=True, output=True)
square: KernelOp = KernelOp("square", "x * x.", lambda g, out, x: g * (2 * x), inputs=True)
sqrt = KernelOp("sqrt", "The square root.", lambda g, out, x: g * 0.5 / out, output=True)
rsqrt = KernelOp("rsqrt", "1 / sqrt(x).", lambda g, out, x: g * -0.5 * out * square(out), output=True)
abs = KernelOp("abs", "The absolute value; its derivative at 0 is 0.", lambda g, out, x: g * sign(x), inputs=True)
sign: KernelOp = KernelOp("sign", "-1, 0 or 1; its derivative is zero.")
hypot = KernelOp(
    "hypot",
    "sqrt(a*a + b*b) without overflow.",
    lambda g, out, a, b: g * a / out,
    lambda g, out, a, b: g * b / out,
    inputs=True,
    output=True,
)

# Exponentials and logarithms.
exp = KernelOp("exp", "e to the power of x.", lambda g, out, x: g * out, output=True)
exp2 = KernelOp("exp2", "2 to the power of x.", lambda g, out, x: g * out * math.log(2), output=True)
expm1 = KernelOp("expm1", "exp(x) - 1, accurate for small x.", lambda g, out, x: g * (out + 1), output=True)
log = KernelOp("log", "The natural logarithm.", lambda g, out, x: g / x, inputs=True)
log2 = KernelOp("log2", "The logarithm to base 2.", lambda g, out, x: g / (x * math.log(2)), inputs=True)
log10 = KernelOp("log10", "The logarithm to base 10.", lambda g, out, x: g / (x * math.log(10)), inputs=True)
log1p = KernelOp("log1p", "log(1 + x), accurate for small x.", lambda g, out, x: g / (x + 1), inputs=True)

# Trigonometry.
sin = KernelOp("sin", "The sine of x radians.", lambda g, out, x: g * cos(x), inputs=True)
cos: KernelOp = KernelOp("cos", "The cosine of x radians.", lambda g, out, x: -g * sin(x), inputs=True)
tan = KernelOp("tan", "The tangent of x radians.", lambda g, out, x: g * (1 + square(out)), output=True)
arcsin = KernelOp("arcsin", "The inverse sine.", lambda g, out, x: g * rsqrt(1 - square(x)), inputs=True)
arccos = KernelOp("arccos", "The inverse cosine.", lambda g, out, x: -g * rsqrt(1 - square(x)), inputs=True)
arctan = KernelOp("arctan", "The inverse tangent.", lambda g, out, x: g / (1 + square(x)), inputs=True)
arctan2 = KernelOp(
    "arctan2",
    "The angle of the point (b, a): arctan(a / b) in the right quadrant.",
    lambda g, out, a, b: g * b / (square(a) + square(b)),
    lambda g, out, a, b: -g * a / (square(a) + square(b)),
    inputs=True,
)
sinh = KernelOp("sinh", "The hyperbolic sine.", lambda g, out, x: g * cosh(x), inputs=True)
cosh: KernelOp = KernelOp("cosh", "The hyperbolic cosine.", lambda g, out, x: g * sinh(x), inputs=True)
tanh = KernelOp("tanh", "The hyperbolic tangent.", lambda g, out, x: g * (1 - square(out)), output=True)
arcsinh = KernelOp("arcsinh", "The inverse hyperbolic sine.", lambda g, out, x: g * rsqrt(square(x) + 1), inputs=True)
arccosh = KernelOp("arccosh", "The inverse hyperbolic cosine.", lambda g, out, x: g * rsqrt(square(x) - 1), inputs=True)
arctanh = KernelOp("arctanh", "The inverse hyperbolic tangent.", lambda g, out, x: g / (1 - square(x)), inputs=True)

# Functions of statistics and networks.
_erf = KernelOp(
    "erf",
    "The error function.",
    lambda g, out, x: g * (2 / math.sqrt(math.pi)) * exp(-square(x)),
    inputs=True,
)
sigmoid = KernelOp("sigmoid", "1 / (1 + exp(-x)).", lambda g, out, x: g * out * (1 - out), output=True)
softplus = KernelOp("softplus", "log(1 + exp(x)).", lambda g, out, x: g * sigmoid(x), inputs=True)
relu = KernelOp("relu", "max(x, 0); its derivative at 0 is 0.", lambda g, out, x: relu_gradient(g, out), output=True)
relu_gradient: KernelOp = KernelOp(
    "relu_gradient",
    "The gradient g where the output y of relu is positive, else 0.",
    lambda gg, out, g, y: relu_gradient(gg, y),
    None,
    inputs=(1,),
)

# Rounding: flat almost everywhere.
floor = KernelOp("floor", "The largest integer not above x.")
ceil = KernelOp("ceil", "The smallest integer not below x.")
rint = KernelOp("rint", "The nearest integer, ties to even.")
trunc = KernelOp("trunc", "The integer part.")


def round(x: Any, decimals: int = 0) -> Tensor:
    """``x`` rounded to this many decimals, ties to even; integers stay as they are.

    >>> import gradlite
    >>> gradlite.round(gradlite.Tensor([0.125, 1.5]), 2).numpy()
    array([0.12, 1.5 ], dtype=float32)
    """
    x = as_tensor(x)
    if x.dtype.kind in "iu" and decimals >= 0:
        return x
    return rint(x) if decimals == 0 else rint(x * 10.0**decimals) / 10.0**decimals


# Selection.
def _larger(g: Tensor, a: Any, b: Any) -> Tensor:
    # A tie divides the gradient, so that the two derivatives always sum to one.
    return g * (astype(greater(a, b), g.dtype) + 0.5 * astype(equal(a, b), g.dtype))


maximum = KernelOp(
    "maximum",
    "The larger of a and b; NaN where either is. A tie divides the gradient.",
    lambda g, out, a, b: _larger(g, a, b),
    lambda g, out, a, b: _larger(g, b, a),
    inputs=True,
)
minimum = KernelOp(
    "minimum",
    "The smaller of a and b; NaN where either is. A tie divides the gradient.",
    lambda g, out, a, b: _larger(g, b, a),
    lambda g, out, a, b: _larger(g, a, b),
    inputs=True,
)


class _Where(KernelOp):
    def __call__(self, *inputs: Any, **attributes: Any) -> Any:
        _, a, b = inputs
        # Two Python numbers meet no tensor: floats are float32 here as everywhere.
        if isinstance(a, (int, float)) and isinstance(b, (int, float)) and isinstance(a + b, float):
            inputs = (inputs[0], *(x if isinstance(x, np.generic) else np.float32(x) for x in (a, b)))
        return super().__call__(*inputs, **attributes)


where: KernelOp = _Where(
    "where",
    "a where the condition holds, else b.",
    None,
    lambda g, out, condition, a, b: where(condition, g, 0),
    lambda g, out, condition, a, b: where(condition, 0, g),
    inputs=(0,),
)


def clip(x: Any, low: Any = None, high: Any = None) -> Tensor:
    """``x`` held between ``low`` and ``high`` (either may be None).

    The gradient passes where x is inside, bounds included, and is 0 outside.

    >>> import gradlite
    >>> gradlite.clip(gradlite.Tensor([-2.0, 0.5, 3.0]), 0.0, 1.0).numpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    if low is None and high is None:
        raise ValueError("clip() needs a lower bound, an upper bound or both.")
    if low is not None:
        x = where(less(x, low), low, x)
    if high is not None:
        x = where(greater(x, high), high, x)
    return x


# Comparison and logic: no derivative.
equal = KernelOp("equal", "Whether a == b.")
not_equal = KernelOp("not_equal", "Whether a != b.")
less = KernelOp("less", "Whether a < b.")
less_equal = KernelOp("less_equal", "Whether a <= b.")
greater = KernelOp("greater", "Whether a > b.")
greater_equal = KernelOp("greater_equal", "Whether a >= b.")
logical_and = KernelOp("logical_and", "Whether both are true.")
logical_or = KernelOp("logical_or", "Whether one or both are true.")
logical_xor = KernelOp("logical_xor", "Whether exactly one is true.")
logical_not = KernelOp("logical_not", "Whether x is false.")
isnan = KernelOp("isnan", "Whether x is not a number.")
isinf = KernelOp("isinf", "Whether x is infinite.")
isfinite = KernelOp("isfinite", "Whether x is a finite number.")

# Copies.
_astype = KernelOp("astype", "x converted to another type.", lambda g, out, x, dtype: astype(g, x.dtype))
copy = KernelOp("copy", "A copy.", lambda g, out, x: g)


def astype(x: Any, dtype: Any) -> Tensor:
    """``x`` as ``dtype``; ``x`` itself where it is that already.

    >>> import gradlite
    >>> gradlite.astype(gradlite.Tensor([1, 2]), "float32").dtype
    dtype('float32')
    """
    dtype = as_dtype(dtype)
    if isinstance(x, Tensor) and x.data.dtype == dtype:
        return x
    return _astype(x, dtype=dtype)


def erf(x: Any) -> Tensor:
    """The error function: 2 / sqrt(pi) times the integral of exp(-t*t) from 0 to ``x``.

    >>> import gradlite
    >>> f"{gradlite.erf(0.5):.4f}"
    '0.5205'
    """
    return _erf(floating(x))


def floating(x: Any) -> Tensor:
    """``x`` as a Tensor of a floating-point type: integers become what NumPy's exp makes of them."""
    x = as_tensor(x)
    return x if x.data.dtype.kind in FLOAT_KINDS else astype(x, np.result_type(x.dtype, np.float16))


def alike(*inputs: Any) -> list[Any]:
    """The inputs as Tensors of one floating-point type, by NumPy's promotion; None stays None."""
    tensors = as_tensors(*inputs)
    dtype = tensors[0].data.dtype
    done = dtype.kind in FLOAT_KINDS
    for x in tensors:
        done = done and (x is None or x.data.dtype is dtype)
    if done:
        return tensors
    dtypes = [x.data.dtype for x in tensors if x is not None]
    if all(dtype.kind not in FLOAT_KINDS for dtype in dtypes):
        dtypes.append(np.dtype(np.float16))
    dtype = promoted(*dtypes)
    return [None if x is None else astype(x, dtype) for x in tensors]
