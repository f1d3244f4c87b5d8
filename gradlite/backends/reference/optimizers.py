"""Update kernels of the optimizers: contiguous 1-D parameters and their state, changed in place.

Formulas are those of Keras 3. What varies from step to step comes as 0-d arrays and is never read by the host:
`learning_rate` (float) and `step` (int64, the number of this update, counted from 1). Factors such as 1 - beta**step
are computed in the parameter's dtype (float16: in float32), as Keras does: float32's 0.999 is not 0.999, and exact
factors would make other trajectories. The element-wise parts below each formula are shared with the CPU backend, which
runs them chunk by chunk.
"""

from __future__ import annotations

import math
from typing import Any

from gradlite.backends.registry import into, reference_kernel


def _rate(parameter: Any, learning_rate: Any) -> Any:
    return learning_rate.astype(parameter.dtype)


def _wide(xp: Any, dtype: Any, step: Any) -> tuple[Any, Any]:
    """The type that factors are computed in, and the step as one of its numbers."""
    wide = xp.float64 if dtype.itemsize == 8 else xp.float32
    return wide, step.astype(wide)


@reference_kernel
def sgd(xp: Any, parameter: Any, gradient: Any, learning_rate: Any) -> None:
    """p -= lr g."""
    sgd_part(xp, parameter, gradient, rate=_rate(parameter, learning_rate))


def sgd_part(xp: Any, p: Any, g: Any, *, rate: Any) -> None:
    p -= g * rate


@reference_kernel
def sgd_momentum(
    xp: Any, parameter: Any, gradient: Any, velocity: Any, learning_rate: Any, *, momentum: float, nesterov: bool
) -> None:
    """v = momentum v - lr g; p += v, or p += momentum v - lr g with Nesterov's look-ahead (Sutskever et al. 2013)."""
    rate = _rate(parameter, learning_rate)
    sgd_momentum_part(xp, parameter, gradient, velocity, rate=rate, momentum=momentum, nesterov=nesterov)


def sgd_momentum_part(xp: Any, p: Any, g: Any, v: Any, *, rate: Any, momentum: float, nesterov: bool) -> None:
    step = g * rate
    v *= momentum
    v -= step
    if nesterov:
        p += v * momentum - step
    else:
        p += v


@reference_kernel
def adam(
    xp: Any,
    parameter: Any,
    gradient: Any,
    m: Any,
    v: Any,
    v_max: Any,
    learning_rate: Any,
    step: Any,
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """m += (g - m)(1 - b1); v += (g**2 - v)(1 - b2); p -= m lr sqrt(1 - b2**t) / (1 - b1**t) / (sqrt(v) + epsilon).

    `v_max` None, or AMSGrad's running maximum of v, which then takes v's place in the update.
    Kingma and Ba, "Adam" (ICLR 2015), with the epsilon of the formula before section 2.1; Reddi et al. (ICLR 2018).
    """
    rate = adam_rate(xp, parameter.dtype, learning_rate, step, beta_1, beta_2)
    adam_part(xp, parameter, gradient, m, v, v_max, rate=rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)


@reference_kernel
def adam_segments(xp: Any, *arrays: Any, beta_1: float, beta_2: float, epsilon: float) -> None:
    """``adam`` of several runs of parameters: all parameters, all gradients, all m, all v, learning_rate, step.

    The gradients may have any shape; each belongs to the run of as many parameters at its place.
    """
    *runs, learning_rate, step = arrays
    count = len(runs) // 4
    for i in range(count):
        p, g, m, v = runs[i::count]
        adam(xp, p, g.reshape(-1), m, v, None, learning_rate, step, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)


def adam_rate(xp: Any, dtype: Any, learning_rate: Any, step: Any, beta_1: float, beta_2: float) -> Any:
    wide, t = _wide(xp, dtype, step)
    first, second = xp.power(wide(beta_1), t), xp.power(wide(beta_2), t)
    return (learning_rate.astype(wide) * xp.sqrt(1 - second) / (1 - first)).astype(dtype)


def adam_part(
    xp: Any, p: Any, g: Any, m: Any, v: Any, v_max: Any, *, rate: Any, beta_1: float, beta_2: float, epsilon: float
) -> None:
    m += (g - m) * (1.0 - beta_1)
    v += (xp.square(g) - v) * (1.0 - beta_2)
    if v_max is not None:
        v = xp.maximum(v_max, v, out=v_max)
    p -= m * rate / (xp.sqrt(v) + epsilon)


@reference_kernel
def adamax(
    xp: Any,
    parameter: Any,
    gradient: Any,
    m: Any,
    u: Any,
    learning_rate: Any,
    step: Any,
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """m += (g - m)(1 - b1); u = max(b2 u, |g|); p -= lr m / ((1 - b1**t)(u + epsilon)) (Kingma and Ba, section 7.1)."""
    rate = adamax_rate(xp, parameter.dtype, learning_rate, step, beta_1)
    adamax_part(xp, parameter, gradient, m, u, rate=rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)


def adamax_rate(xp: Any, dtype: Any, learning_rate: Any, step: Any, beta_1: float) -> Any:
    wide, t = _wide(xp, dtype, step)
    return (learning_rate.astype(wide) / (1 - xp.power(wide(beta_1), t))).astype(dtype)


def adamax_part(
    xp: Any, p: Any, g: Any, m: Any, u: Any, *, rate: Any, beta_1: float, beta_2: float, epsilon: float
) -> None:
    m += (g - m) * (1.0 - beta_1)
    u *= beta_2
    xp.maximum(u, abs(g), out=u)
    p -= m * rate / (u + epsilon)


@reference_kernel
def nadam_product(xp: Any, u_product: Any, step: Any, *, beta_1: float) -> None:
    """u_product *= b1 (1 - 0.96**t / 2), once an update and before `nadam`: the product of its momentum schedule."""
    wide, t = _wide(xp, u_product.dtype, step)
    u_product *= _nadam_momentum(xp, wide, t, beta_1).astype(u_product.dtype)


def _nadam_momentum(xp: Any, wide: Any, t: Any, beta_1: float) -> Any:
    return (1 - 0.5 * xp.power(wide(0.96), t)) * wide(beta_1)


@reference_kernel
def nadam(
    xp: Any,
    parameter: Any,
    gradient: Any,
    m: Any,
    v: Any,
    u_product: Any,
    learning_rate: Any,
    step: Any,
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """Adam with Nesterov momentum (Dozat 2015), for u_t = b1 (1 - 0.96**t / 2) and U_t their product up to t.

    m and v as in Adam;
    p -= lr (u_{t+1} m / (1 - U_{t+1}) + (1 - u_t) g / (1 - U_t)) / (sqrt(v / (1 - b2**t)) + epsilon).
    """
    factors = nadam_factors(xp, parameter.dtype, u_product, learning_rate, step, beta_1, beta_2)
    nadam_part(xp, parameter, gradient, m, v, factors=factors, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)


def nadam_factors(
    xp: Any, dtype: Any, u_product: Any, learning_rate: Any, step: Any, beta_1: float, beta_2: float
) -> tuple[Any, Any, Any]:
    """What m, g and v are multiplied with."""
    wide, t = _wide(xp, dtype, step)
    rate, product = learning_rate.astype(wide), u_product.astype(wide)
    now, ahead = _nadam_momentum(xp, wide, t, beta_1), _nadam_momentum(xp, wide, t + 1, beta_1)
    of_m = rate * (ahead / (1 - product * ahead))
    of_g = rate * ((1 - now) / (1 - product))
    of_v = 1 / (1 - xp.power(wide(beta_2), t))
    return of_m.astype(dtype), of_g.astype(dtype), of_v.astype(dtype)


def nadam_part(
    xp: Any,
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    *,
    factors: tuple[Any, Any, Any],
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    of_m, of_g, of_v = factors
    m += (g - m) * (1.0 - beta_1)
    v += (xp.square(g) - v) * (1.0 - beta_2)
    p -= (m * of_m + g * of_g) / (xp.sqrt(v * of_v) + epsilon)


@reference_kernel
def rmsprop(
    xp: Any,
    parameter: Any,
    gradient: Any,
    square: Any,
    average: Any,
    momentum_buffer: Any,
    learning_rate: Any,
    *,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None:
    """s = rho s + (1 - rho) g**2; p -= lr g / sqrt(s + epsilon)   (Hinton 2012; epsilon inside the root, as in Keras).

    `average` None, or the mean of g (centred): sqrt(s - average**2 + epsilon). `momentum_buffer` None, or b with
    b = momentum b + the step above, which then is what p loses.
    """
    rate = _rate(parameter, learning_rate)
    rmsprop_part(
        xp,
        parameter,
        gradient,
        square,
        average,
        momentum_buffer,
        rate=rate,
        rho=rho,
        momentum=momentum,
        epsilon=epsilon,
    )


def rmsprop_part(
    xp: Any, p: Any, g: Any, s: Any, a: Any, b: Any, *, rate: Any, rho: float, momentum: float, epsilon: float
) -> None:
    s *= rho
    s += xp.square(g) * (1.0 - rho)
    if a is None:
        denominator = s + epsilon
    else:
        a *= rho
        a += g * (1.0 - rho)
        denominator = s - xp.square(a) + epsilon
    step = g * rate / xp.sqrt(denominator)
    if b is not None:
        b *= momentum
        b += step
        step = b
    p -= step


@reference_kernel
def adagrad(xp: Any, parameter: Any, gradient: Any, accumulator: Any, learning_rate: Any, *, epsilon: float) -> None:
    """a += g**2; p -= lr g / sqrt(a + epsilon)   (Duchi et al. 2011)."""
    adagrad_part(xp, parameter, gradient, accumulator, rate=_rate(parameter, learning_rate), epsilon=epsilon)


def adagrad_part(xp: Any, p: Any, g: Any, a: Any, *, rate: Any, epsilon: float) -> None:
    a += xp.square(g)
    p -= g * rate / xp.sqrt(a + epsilon)


@reference_kernel
def adadelta(
    xp: Any,
    parameter: Any,
    gradient: Any,
    square: Any,
    delta_square: Any,
    learning_rate: Any,
    *,
    rho: float,
    epsilon: float,
) -> None:
    """s = rho s + (1 - rho) g**2; d = g sqrt(e + epsilon) / sqrt(s + epsilon); e = rho e + (1 - rho) d**2; p -= lr d.

    Zeiler, "Adadelta" (2012).
    """
    rate = _rate(parameter, learning_rate)
    adadelta_part(xp, parameter, gradient, square, delta_square, rate=rate, rho=rho, epsilon=epsilon)


def adadelta_part(xp: Any, p: Any, g: Any, s: Any, e: Any, *, rate: Any, rho: float, epsilon: float) -> None:
    s *= rho
    s += xp.square(g) * (1.0 - rho)
    delta = xp.sqrt(e + epsilon) * g / xp.sqrt(s + epsilon)
    e *= rho
    e += xp.square(delta) * (1.0 - rho)
    p -= delta * rate


@reference_kernel
def lion(xp: Any, parameter: Any, gradient: Any, m: Any, learning_rate: Any, *, beta_1: float, beta_2: float) -> None:
    """p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g   (Chen et al. 2023)."""
    lion_part(xp, parameter, gradient, m, rate=_rate(parameter, learning_rate), beta_1=beta_1, beta_2=beta_2)


def lion_part(xp: Any, p: Any, g: Any, m: Any, *, rate: Any, beta_1: float, beta_2: float) -> None:
    p -= xp.sign(m * beta_1 + g * (1.0 - beta_1)) * rate
    m *= beta_2
    m += g * (1.0 - beta_2)


@reference_kernel
def weight_decay(xp: Any, parameter: Any, learning_rate: Any, *, rate: float) -> None:
    """p -= p rate lr: decay that does not pass through the moments (Loshchilov and Hutter 2019)."""
    weight_decay_part(xp, parameter, rate=(learning_rate * rate).astype(parameter.dtype))


def weight_decay_part(xp: Any, p: Any, *, rate: Any) -> None:
    p -= p * rate


@reference_kernel
def moving_average(xp: Any, average: Any, value: Any, step: Any, *, momentum: float) -> None:
    """a = momentum a + (1 - momentum) value, in `average`'s dtype and any shape.

    `step` None, or a count from 1 on: at the first step the average becomes the value.
    """
    dtype = average.dtype
    kept = dtype.type(momentum) if step is None else (momentum * (step != 1)).astype(dtype)
    moving_average_part(xp, average, value, kept=kept, new=1 - kept)


@reference_kernel
def moving_averages(xp: Any, *arrays: Any, momentum: float) -> None:
    """``moving_average`` without a step, of several arrays: first all the averages, then the value of each."""
    half = len(arrays) // 2
    for average, value in zip(arrays[:half], arrays[half:]):
        moving_average(xp, average, value, None, momentum=momentum)


def moving_average_part(xp: Any, a: Any, value: Any, *, kept: Any, new: Any) -> None:
    a *= kept
    a += value * new


@reference_kernel
def pack(xp: Any, *arrays: Any, offsets: tuple[int, ...], out: Any) -> Any:
    """Write each array, flattened, into the 1-D `out` from its offset on, in `out`'s dtype."""
    for array, offset in zip(arrays, offsets):
        out[offset : offset + array.size].reshape(array.shape)[...] = array
    return out


@reference_kernel
def scale(xp: Any, values: Any, *, factor: float) -> None:
    """values *= factor."""
    values *= values.dtype.type(factor)


@reference_kernel
def clip_by_value(xp: Any, gradient: Any, *, limit: float) -> None:
    """Limit every element to [-limit, limit]; NaN stays."""
    xp.clip(gradient, -limit, limit, out=gradient)


@reference_kernel
def square_sum(xp: Any, *arrays: Any, out: Any = None) -> Any:
    """The sum of the squares of all elements of all arrays: a 0-d float64 array, added in the arrays' order."""
    total = xp.zeros((), xp.float64)
    for array in arrays:
        total = total + xp.square(array.astype(xp.float64)).sum()
    return into(out, xp.asarray(total))


@reference_kernel
def scale_to_norm(xp: Any, gradient: Any, squares: Any, *, norm: float) -> None:
    """Scale `gradient` so that sqrt(`squares`), the norm of all that `squares` was summed over, is at most `norm`.

    Where that norm is not finite everything becomes NaN: a step that went wrong stays visible.
    """
    gradient *= norm_factor(xp, squares, norm).astype(gradient.dtype)


def norm_factor(xp: Any, squares: Any, norm: float) -> Any:
    finite = xp.isfinite(squares)
    return xp.where(finite, norm / xp.maximum(xp.sqrt(xp.where(finite, squares, 1.0)), norm), math.nan)
