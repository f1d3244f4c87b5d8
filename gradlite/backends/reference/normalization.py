"""Batch and layer normalization: statistics, output and derivative.

Statistics are the mean and the population variance, the latter from centred values (never E[x**2] - E[x]**2, which
cancels). They are accumulated in float64 and returned as float32, for float64 input as float64.
"""

from __future__ import annotations

from typing import Any

from gradlite.backends.registry import into, reference_kernel


def statistics_dtype(xp: Any, dtype: Any) -> Any:
    """float64 for float64, else float32."""
    return xp.dtype("float64") if dtype.itemsize == 8 else xp.dtype("float32")


def moments(xp: Any, x: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """(mean, variance, x - mean), all in the statistics' dtype, the reduced axes kept as 1."""
    dtype = statistics_dtype(xp, x.dtype)
    mean = x.mean(axis=axes, dtype="float64", keepdims=True).astype(dtype)
    centred = x.astype(dtype) - mean
    variance = xp.square(centred).mean(axis=axes, dtype="float64", keepdims=True).astype(dtype)
    return mean, variance, centred


def _scale_and_shift(normalized: Any, gamma: Any, beta: Any) -> Any:
    if gamma is not None:
        normalized = normalized * gamma
    return normalized if beta is None else normalized + beta


def _three(out: Any, values: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    first, second, third = (into(o, v) for o, v in zip(out or (None, None, None), values))
    return first, second, third


def _leading_axes(x: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def _gradients(
    xp: Any, gradient: Any, x: Any, gamma: Any, mean: Any, variance: Any, epsilon: float, axes: tuple[int, ...]
) -> tuple[Any, Any, Any]:
    """(dx, dgamma, dbeta) for statistics that were reduced over `axes`, given with those axes kept as 1.

    With z = (x - mean) / sqrt(variance + epsilon) and dz = gradient * gamma:
    dx = (dz - mean(dz) - z mean(dz z)) / sqrt(variance + epsilon)   (Ioffe and Szegedy 2015, section 3).
    """
    dtype = mean.dtype
    inverse = 1 / xp.sqrt(variance + dtype.type(epsilon))
    z = (x.astype(dtype) - mean) * inverse
    g = gradient.astype(dtype)
    dz = g if gamma is None else g * gamma.astype(dtype)
    dx = (
        dz
        - dz.mean(axis=axes, dtype="float64", keepdims=True).astype(dtype)
        - z * (dz * z).mean(axis=axes, dtype="float64", keepdims=True).astype(dtype)
    ) * inverse
    parameter_dtype = dtype if gamma is None else gamma.dtype
    dgamma, dbeta = (v.sum(axis=_leading_axes(x), dtype="float64").astype(parameter_dtype) for v in (g * z, g))
    return dx.astype(x.dtype), dgamma, dbeta


@reference_kernel
def batch_norm(xp: Any, x: Any, gamma: Any, beta: Any, *, epsilon: float, out: Any = None) -> tuple[Any, Any, Any]:
    """Normalize over all axes but the last -> (y of x's shape, mean (c,), variance (c,)).

    y = gamma (x - mean) / sqrt(variance + epsilon) + beta, for gamma and beta of shape (c,) or None.
    """
    mean, variance, centred = moments(xp, x, _leading_axes(x))
    y = _scale_and_shift(centred / xp.sqrt(variance + variance.dtype.type(epsilon)), gamma, beta).astype(x.dtype)
    return _three(out, (y, mean.reshape(-1), variance.reshape(-1)))


@reference_kernel
def batch_norm_gradient(
    xp: Any, gradient: Any, x: Any, gamma: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> tuple[Any, Any, Any]:
    """(dx of x's shape, dgamma (c,), dbeta (c,)) of `batch_norm`, given its input and statistics."""
    return _three(out, _gradients(xp, gradient, x, gamma, mean, variance, epsilon, _leading_axes(x)))


@reference_kernel
def batch_norm_inference(
    xp: Any, x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> Any:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta with given statistics (c,)."""
    centred = x.astype(statistics_dtype(xp, x.dtype)) - mean
    y = _scale_and_shift(centred / xp.sqrt(variance + variance.dtype.type(epsilon)), gamma, beta)
    return into(out, y.astype(x.dtype))


@reference_kernel
def layer_norm(xp: Any, x: Any, gamma: Any, beta: Any, *, epsilon: float, out: Any = None) -> tuple[Any, Any, Any]:
    """Normalize over the last axis -> (y of x's shape, mean (...,), variance (...,)); gamma and beta (c,) or None."""
    mean, variance, centred = moments(xp, x, (x.ndim - 1,))
    y = _scale_and_shift(centred / xp.sqrt(variance + variance.dtype.type(epsilon)), gamma, beta).astype(x.dtype)
    return _three(out, (y, mean[..., 0], variance[..., 0]))


@reference_kernel
def layer_norm_gradient(
    xp: Any, gradient: Any, x: Any, gamma: Any, mean: Any, variance: Any, *, epsilon: float, out: Any = None
) -> tuple[Any, Any, Any]:
    """(dx of x's shape, dgamma (c,), dbeta (c,)) of `layer_norm`, given its input and statistics (...,)."""
    axes = (x.ndim - 1,)
    return _three(out, _gradients(xp, gradient, x, gamma, mean[..., None], variance[..., None], epsilon, axes))
