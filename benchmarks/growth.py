"""How time grows with a size: the exponent of a power law, fitted as a straight line through logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

# Student's t: the half width of a 95 % interval in standard errors, by degrees of freedom.
T_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)


def exponent(x: Sequence[float], y: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The exponent p of y ~ x**p by least squares, and its 95 % interval, which is wide where no power law holds.

    >>> p, (low, high) = exponent([1, 2, 4, 8], [3, 6, 12, 24])
    >>> round(p, 6), round(low, 6), round(high, 6)
    (1.0, 1.0, 1.0)
    """
    if len(x) < 3:
        raise ValueError(f"An exponent with an interval needs three points or more. Received: {len(x)}.")
    u, v = [math.log(value) for value in x], [math.log(value) for value in y]
    mean_u, mean_v = sum(u) / len(u), sum(v) / len(v)
    square = sum((a - mean_u) ** 2 for a in u)
    slope = sum((a - mean_u) * (b - mean_v) for a, b in zip(u, v)) / square
    rest = sum((b - mean_v - slope * (a - mean_u)) ** 2 for a, b in zip(u, v))
    freedom = len(x) - 2
    half = T_95[min(freedom, len(T_95)) - 1] * math.sqrt(rest / freedom / square)
    return slope, (slope - half, slope + half)


def upper_half(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points of the larger sizes, three or more: small ones show fixed costs, not growth."""
    pairs = sorted(zip(x, y))
    kept = pairs[min(len(pairs) // 2, max(0, len(pairs) - 3)) :]
    return [a for a, _ in kept], [b for _, b in kept]


def fits(measurements: Sequence[dict[str, Any]], suite: str = "scale") -> list[dict[str, Any]]:
    """The document's ``fits``: for each sweep and rival, over the larger sizes."""
    from statistics import median

    sweeps: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for m in measurements:
        if m["suite"] == suite:
            group, _, size = m["case"].rpartition("/")
            sweeps.setdefault((group, m["rival"]), []).append((float(size), median(m["samples"])))
    found = []
    for (group, rival), points in sweeps.items():
        if len(points) >= 3:
            x, y = upper_half(*zip(*points))
            slope, interval = exponent(x, y)
            found.append(
                {
                    "case": f"{suite}/{group}",
                    "rival": rival,
                    "x": x,
                    "y": y,
                    "exponent": slope,
                    "interval": list(interval),
                }
            )
    return found
