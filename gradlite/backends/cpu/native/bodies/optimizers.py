"""The optimizers' updates but Adam's, and what is done to gradients before: clipping and norms.

Formulas are in ``backends/reference/optimizers.py``; factors are rounded to float32 as there. Every body takes the
number of parameters, the arrays, and the attributes, in the order in which the kernel of its name does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.bodies import body, doubles, floats, helper, integers, larger, lines, real, summing

FLOAT, DOUBLE = 4, 8  # bytes


@helper
def part_of(words: Any, position: int, part: int, parts: int) -> Any:
    """The part of the array at this position of the words; where there is none, what must not be read."""
    start, stop = lines(words[0], part, parts)
    return floats(words[position] + FLOAT * start, stop - start)


@helper
def number(address: int) -> float:
    """The float32 number at an address."""
    return floats(address, 1)[0]


@helper
def power(base: float, t: int) -> float:
    """base**t, all in float32."""
    return np.float32(np.float64(np.float32(base)) ** np.float64(np.float32(t)))


@body
def sgd(part: int, parts: int, words: Any) -> None:
    """Words: n, parameter, gradient, learning_rate."""
    p, g = part_of(words, 1, part, parts), part_of(words, 2, part, parts)
    rate = number(words[3])
    for i in range(len(p)):
        p[i] -= g[i] * rate


@body
def sgd_momentum(part: int, parts: int, words: Any) -> None:
    """Words: n, parameter, gradient, velocity, learning_rate, momentum, nesterov."""
    p, g, v = part_of(words, 1, part, parts), part_of(words, 2, part, parts), part_of(words, 3, part, parts)
    rate, momentum = number(words[4]), np.float32(real(words[5]))
    if words[6] != 0:
        for i in range(len(p)):
            step = g[i] * rate
            v[i] = v[i] * momentum - step
            p[i] += v[i] * momentum - step
    else:
        for i in range(len(p)):
            v[i] = v[i] * momentum - g[i] * rate
            p[i] += v[i]


@body
def adamax(part: int, parts: int, words: Any) -> None:
    """Words: n, parameter, gradient, m, u, learning_rate, step, beta_1, beta_2, epsilon."""
    p, g = part_of(words, 1, part, parts), part_of(words, 2, part, parts)
    m, u = part_of(words, 3, part, parts), part_of(words, 4, part, parts)
    rate = number(words[5]) / (np.float32(1.0) - power(real(words[7]), integers(words[6], 1)[0]))
    new, kept, epsilon = np.float32(1.0 - real(words[7])), np.float32(real(words[8])), np.float32(real(words[9]))
    for i in range(len(p)):
        m[i] += (g[i] - m[i]) * new
        u[i] = larger(u[i] * kept, abs(g[i]))
        p[i] -= m[i] * rate / (u[i] + epsilon)


@helper
def nadam_momentum(beta_1: float, t: int) -> float:
    """u_t = b1 (1 - 0.96**t / 2)."""
    return (np.float32(1.0) - np.float32(0.5) * power(0.96, t)) * np.float32(beta_1)


@body
def nadam_product(part: int, parts: int, words: Any) -> None:
    """Words: u_product, step, beta_1."""
    floats(words[0], 1)[0] *= nadam_momentum(real(words[2]), integers(words[1], 1)[0])


@body
def nadam(part: int, parts: int, words: Any) -> None:
    """Words: n, parameter, gradient, m, v, u_product, learning_rate, step, beta_1, beta_2, epsilon."""
    p, g = part_of(words, 1, part, parts), part_of(words, 2, part, parts)
    m, v = part_of(words, 3, part, parts), part_of(words, 4, part, parts)
    product, rate, t = number(words[5]), number(words[6]), integers(words[7], 1)[0]
    one = np.float32(1.0)
    now, ahead = nadam_momentum(real(words[8]), t), nadam_momentum(real(words[8]), t + 1)
    of_m, of_g = rate * (ahead / (one - product * ahead)), rate * ((one - now) / (one - product))
    of_v = one / (one - power(real(words[9]), t))
    new_1, new_2 = np.float32(1.0 - real(words[8])), np.float32(1.0 - real(words[9]))
    epsilon = np.float32(real(words[10]))
    for i in range(len(p)):
        m[i] += (g[i] - m[i]) * new_1
        v[i] += (g[i] * g[i] - v[i]) * new_2
        p[i] -= (m[i] * of_m + g[i] * of_g) / (np.sqrt(v[i] * of_v) + epsilon)


@body
def rmsprop(part: int, parts: int, words: Any) -> None:
    """Words: n, parameter, gradient, square, average, momentum_buffer, learning_rate, rho, momentum, epsilon."""
    p, g, s = part_of(words, 1, part, parts), part_of(words, 2, part, parts), part_of(words, 3, part, parts)
    a, b = part_of(words, 4, part, parts), part_of(words, 5, part, parts)
    rate, rho, new = number(words[6]), np.float32(real(words[7])), np.float32(1.0 - real(words[7]))
    momentum, epsilon = np.float32(real(words[8])), np.float32(real(words[9]))
    centred, heavy = words[4] != 0, words[5] != 0
    for i in range(len(p)):
        s[i] = s[i] * rho + g[i] * g[i] * new
        denominator = s[i] + epsilon
        if centred:
            a[i] = a[i] * rho + g[i] * new
            denominator = s[i] - a[i] * a[i] + epsilon
        step = g[i] * rate / np.sqrt(denominator)
        if heavy:
            b[i] = b[i] * momentum + step
            step = b[i]
        p[i] -= step


@body
def adagrad(part: int, parts: int, words: Any) -> None:
    """Words: n, parameter, gradient, accumulator, learning_rate, epsilon."""
    p, g, a = part_of(words, 1, part, parts), part_of(words, 2, part, parts), part_of(words, 3, part, parts)
    rate, epsilon = number(words[4]), np.float32(real(words[5]))
    for i in range(len(p)):
        a[i] += g[i] * g[i]
        p[i] -= g[i] * rate / np.sqrt(a[i] + epsilon)


@body
def adadelta(part: int, parts: int, words: Any) -> None:
    """Words: n, parameter, gradient, square, delta_square, learning_rate, rho, epsilon."""
    p, g = part_of(words, 1, part, parts), part_of(words, 2, part, parts)
    s, e = part_of(words, 3, part, parts), part_of(words, 4, part, parts)
    rate, rho, new = number(words[5]), np.float32(real(words[6])), np.float32(1.0 - real(words[6]))
    epsilon = np.float32(real(words[7]))
    for i in range(len(p)):
        s[i] = s[i] * rho + g[i] * g[i] * new
        delta = np.sqrt(e[i] + epsilon) * g[i] / np.sqrt(s[i] + epsilon)
        e[i] = e[i] * rho + delta * delta * new
        p[i] -= delta * rate


@body
def lion(part: int, parts: int, words: Any) -> None:
    """Words: n, parameter, gradient, m, learning_rate, beta_1, beta_2."""
    p, g, m = part_of(words, 1, part, parts), part_of(words, 2, part, parts), part_of(words, 3, part, parts)
    rate = number(words[4])
    kept_1, new_1 = np.float32(real(words[5])), np.float32(1.0 - real(words[5]))
    kept_2, new_2 = np.float32(real(words[6])), np.float32(1.0 - real(words[6]))
    for i in range(len(p)):
        direction = m[i] * kept_1 + g[i] * new_1
        # A zero stays one, and so does a NaN.
        sign = np.float32(1.0) if direction > 0 else (np.float32(-1.0) if direction < 0 else direction)
        p[i] -= sign * rate
        m[i] = m[i] * kept_2 + g[i] * new_2


@body
def weight_decay(part: int, parts: int, words: Any) -> None:
    """Words: n, parameter, learning_rate, rate."""
    p = part_of(words, 1, part, parts)
    rate = number(words[2]) * np.float32(real(words[3]))
    for i in range(len(p)):
        p[i] -= p[i] * rate


@body
def scale(part: int, parts: int, words: Any) -> None:
    """Words: n, values, factor."""
    values, factor = part_of(words, 1, part, parts), np.float32(real(words[2]))
    for i in range(len(values)):
        values[i] *= factor


@body
def clip_by_value(part: int, parts: int, words: Any) -> None:
    """Words: n, gradient, limit."""
    g, limit = part_of(words, 1, part, parts), np.float32(real(words[2]))
    for i in range(len(g)):
        g[i] = limit if g[i] > limit else (-limit if g[i] < -limit else g[i])


@summing
def sum_of_squares(address: int, n: int) -> float:
    """In float64, of n numbers."""
    values, total = floats(address, n), 0.0
    for i in range(n):
        total += np.float64(values[i]) * np.float64(values[i])
    return total


@body
def square_sums(part: int, parts: int, words: Any) -> None:
    """Words: arrays, numbers in all, sums (one float64 a part); then for each array n, where it is."""
    first, last = lines(words[1], part, parts)
    position, total = 0, 0.0
    for array in range(words[0]):
        n = words[3 + 2 * array]
        start, stop = max(first - position, 0), min(last - position, n)
        if start < stop:
            total += sum_of_squares(words[4 + 2 * array] + FLOAT * start, stop - start)
        position += n
    doubles(words[2], parts)[part] = total


@body
def sum_of_parts(part: int, parts: int, words: Any) -> None:
    """Words: count, sums, total."""
    sums, total = doubles(words[1], words[0]), 0.0
    for i in range(words[0]):
        total += sums[i]
    doubles(words[2], 1)[0] = total


@body
def scale_to_norm(part: int, parts: int, words: Any) -> None:
    """Words: n, gradient, squares, norm."""
    g, squares, norm = part_of(words, 1, part, parts), doubles(words[2], 1)[0], real(words[3])
    factor = np.float32(norm / max(np.sqrt(squares), norm)) if np.isfinite(squares) else np.float32(np.nan)
    for i in range(len(g)):
        g[i] *= factor
