"""Special functions that the array modules lack or compute badly at the ends: erf, sigmoid, softplus, relu."""

from __future__ import annotations

from typing import Any

from gradlite.backends.registry import into, reference_kernel

# Numerators and denominators of Cody's rational functions, highest power first.
_ERF_CENTRE = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_ERFC_FLANK = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2,
     8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
_ERF_SWITCH = 0.46875
# erf is 1 in float64 from here on; the flank's formula, made for |x| <= 4, is still accurate enough up to it.
_ERF_SATURATION = 6.0


@reference_kernel
def erf(xp: Any, x: Any, *, out: Any = None) -> Any:
    """The error function, computed in the next wider dtype: in float32 itself, values near 0.5 are 6 units in the last
    place off, by cancellation.

    W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23 (1969).
    """
    wide = x.astype(xp.float32 if x.dtype.itemsize == 2 else xp.float64)
    distance = xp.minimum(abs(wide), _ERF_SATURATION)
    centre = wide * _rational(_ERF_CENTRE, xp.square(xp.minimum(distance, _ERF_SWITCH)))
    flank = 1.0 - xp.exp(-xp.square(distance)) * _rational(_ERFC_FLANK, distance)
    result = xp.where(distance <= _ERF_SWITCH, centre, xp.copysign(flank, wide))
    return into(out, result.astype(x.dtype))


def _rational(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Any) -> Any:
    numerator, denominator = (_horner(row, x) for row in coefficients)
    return numerator / denominator


def _horner(coefficients: tuple[float, ...], x: Any) -> Any:
    value = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        value = value * x + coefficient
    return value


@reference_kernel
def sigmoid(xp: Any, x: Any, *, out: Any = None) -> Any:
    """1 / (1 + exp(-x)); the exponential is taken of -|x|, so it never overflows."""
    small = xp.exp(-abs(x))
    return into(out, xp.where(x >= 0, x.dtype.type(1), small) / (1 + small))


@reference_kernel
def softplus(xp: Any, x: Any, *, out: Any = None) -> Any:
    """log(1 + exp(x)), without overflow."""
    return into(out, xp.maximum(x, 0) + xp.log1p(xp.exp(-abs(x))))


@reference_kernel
def relu(xp: Any, x: Any, *, out: Any = None) -> Any:
    """max(x, 0); NaN stays NaN."""
    return into(out, xp.maximum(x, 0))


@reference_kernel
def relu_gradient(xp: Any, gradient: Any, y: Any, *, out: Any = None) -> Any:
    """`gradient` where relu's output `y` is positive, else 0: a selection, so that NaN passes or is blocked with it."""
    return into(out, xp.where(y > 0, gradient, gradient.dtype.type(0)))
