"""Plans of the optimizers' updates but Adam's, and of clipping: one pass each, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.launches import Launch, Plan, Scratch
from gradlite.backends.cpu.native.operands import FLOAT32, INT64, are_plain, is_plain, parts_for, same_size


def _update(kernel: str, arrays: tuple[Any, ...], numbers: dict[str, Any], *attributes: float) -> Plan | None:
    """One pass over arrays of one size, with numbers that are arrays of one element: a step, or in float32."""
    if not are_plain(*arrays) or not same_size(*arrays):
        return None
    if not all(is_plain(a, INT64 if position == "step" else FLOAT32) for position, a in numbers.items()):
        return None
    n = arrays[0].size
    parts = parts_for(8 * len(arrays) * n)
    return Plan(None, [Launch(f"optimizers.{kernel}", parts, (n, *arrays, *numbers.values(), *map(float, attributes)))])


def sgd(parameter: Any, gradient: Any, learning_rate: Any) -> Plan | None:
    return _update("sgd", (parameter, gradient), {"rate": learning_rate})


def sgd_momentum(
    parameter: Any, gradient: Any, velocity: Any, learning_rate: Any, *, momentum: float, nesterov: bool
) -> Plan | None:
    return _update("sgd_momentum", (parameter, gradient, velocity), {"rate": learning_rate}, momentum, nesterov)


def adamax(
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
) -> Plan | None:
    return _update(
        "adamax", (parameter, gradient, m, u), {"rate": learning_rate, "step": step}, beta_1, beta_2, epsilon
    )


def nadam_product(u_product: Any, step: Any, *, beta_1: float) -> Plan | None:
    if not (is_plain(u_product) and is_plain(step, INT64)):
        return None
    return Plan(None, [Launch("optimizers.nadam_product", 1, (u_product, step, float(beta_1)))])


def nadam(
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
) -> Plan | None:
    numbers = {"product": u_product, "rate": learning_rate, "step": step}
    return _update("nadam", (parameter, gradient, m, v), numbers, beta_1, beta_2, epsilon)


def rmsprop(
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
) -> Plan | None:
    arrays = parameter, gradient, square, average, momentum_buffer
    return _update("rmsprop", arrays, {"rate": learning_rate}, rho, momentum, epsilon)


def adagrad(parameter: Any, gradient: Any, accumulator: Any, learning_rate: Any, *, epsilon: float) -> Plan | None:
    return _update("adagrad", (parameter, gradient, accumulator), {"rate": learning_rate}, epsilon)


def adadelta(
    parameter: Any, gradient: Any, square: Any, delta_square: Any, learning_rate: Any, *, rho: float, epsilon: float
) -> Plan | None:
    return _update("adadelta", (parameter, gradient, square, delta_square), {"rate": learning_rate}, rho, epsilon)


def lion(parameter: Any, gradient: Any, m: Any, learning_rate: Any, *, beta_1: float, beta_2: float) -> Plan | None:
    return _update("lion", (parameter, gradient, m), {"rate": learning_rate}, beta_1, beta_2)


def weight_decay(parameter: Any, learning_rate: Any, *, rate: float) -> Plan | None:
    return _update("weight_decay", (parameter,), {"rate": learning_rate}, rate)


def scale(values: Any, *, factor: float) -> Plan | None:
    return _update("scale", (values,), {}, factor)


def clip_by_value(gradient: Any, *, limit: float) -> Plan | None:
    return _update("clip_by_value", (gradient,), {}, limit)


def square_sum(*arrays: Any, out: Any = None) -> Plan | None:
    """A sum a part, in float64; then their sum."""
    if not are_plain(*arrays) or not are_plain(out, dtype=np.float64):
        return None
    out = np.empty((), np.float64) if out is None else out
    total = sum(a.size for a in arrays)
    parts = parts_for(4 * total)
    sums = Scratch(8 * parts)
    each = [word for a in arrays for word in (a.size, a)]
    first = Launch("optimizers.square_sums", parts, (len(arrays), total, sums, *each))
    return Plan(out, [first, Launch("optimizers.sum_of_parts", 1, (parts, sums, out))])


def scale_to_norm(gradient: Any, squares: Any, *, norm: float) -> Plan | None:
    if not (is_plain(gradient) and is_plain(squares, np.float64)):
        return None
    words = gradient.size, gradient, squares, float(norm)
    return Plan(None, [Launch("optimizers.scale_to_norm", parts_for(8 * gradient.size), words)])


PLANS = (
    *(sgd, sgd_momentum, adamax, nadam_product, nadam, rmsprop, adagrad, adadelta, lion),
    *(weight_decay, scale, clip_by_value, square_sum, scale_to_norm),
)
