"""Plans of Adam in float32, of the packing of gradients, and of moving averages."""

from __future__ import annotations

from typing import Any

from gradlite.backends.cpu.native.launches import Launch, Plan, Scratch
from gradlite.backends.cpu.native.operands import INT64, are_plain, is_plain, parts_for, same_size
from gradlite.backends.cpu.native.target import host_target

# Bytes an element, by which threads are chosen; a root and a quotient take as long as some reads.
ADAM_COST = 48
# Rows of a batch up to which every thread packs the gradient of a layer's output for itself.
MOST_ROWS = 256


def adam(
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
) -> Plan | None:
    """One pass."""
    arrays = parameter, gradient, m, v, v_max
    if not (are_plain(*arrays, learning_rate) and same_size(*arrays) and is_plain(step, INT64)):
        return None
    n = parameter.size
    words = (n, *arrays, learning_rate, step, float(beta_1), float(beta_2), float(epsilon))
    return Plan(None, [Launch("adam.adam", parts_for(ADAM_COST * n), words)])


def adam_segments(*arrays: Any, beta_1: float, beta_2: float, epsilon: float) -> Plan | None:
    """One pass over all runs."""
    *pieces, learning_rate, step = arrays
    count = len(pieces) // 4
    runs = [pieces[i::count] for i in range(count)]
    if not (are_plain(*pieces, learning_rate) and is_plain(step, INT64) and all(same_size(*run) for run in runs)):
        return None
    total = sum(run[0].size for run in runs)
    words = count, total, learning_rate, step, float(beta_1), float(beta_2), float(epsilon)
    each = [word for run in runs for word in (run[0].size, *run)]
    return Plan(None, [Launch("adam.adam_segments", parts_for(ADAM_COST * total), (*words, *each))])


def dense_weight_gradient_adam(
    parameter: Any,
    gradient: Any,
    m: Any,
    v: Any,
    bias_gradient: Any,
    x: Any,
    y: Any,
    learning_rate: Any,
    step: Any,
    *,
    activation: str | None,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> Plan | None:
    """Some rows of the weights at a time, whose gradient stays in cache until the update has used it."""
    arrays = parameter, gradient, m, v, bias_gradient, x
    y = y if activation == "relu" else None
    if activation not in (None, "relu") or not are_plain(*arrays, y, learning_rate) or not is_plain(step, INT64):
        return None
    inputs, units = x.shape[-1], gradient.shape[-1]
    rows = x.size // max(inputs, 1)
    if not 0 < rows <= MOST_ROWS or parameter.size != inputs * units or not same_size(parameter, m, v):
        return None
    if gradient.size != rows * units or bias_gradient.shape != (units,):
        return None
    target = host_target()
    parts = min(parts_for(ADAM_COST * parameter.size), -(-inputs // target.tile_rows))
    panels = -(-units // target.tile_columns)
    numbers = rows * panels * target.tile_columns + target.tile_rows * (rows + target.whole(units))
    numbers = target.whole(numbers)
    words = (inputs, units, rows, x, gradient, y, bias_gradient, parameter, m, v, learning_rate, step)
    betas = float(beta_1), float(beta_2), float(epsilon)
    room = Scratch(4 * parts * numbers), numbers
    return Plan(None, [Launch("adam.weight_gradient_adam", parts, (*words, *betas, *room))])


def pack(*arrays: Any, offsets: tuple[int, ...], out: Any) -> Plan | None:
    """One pass over all arrays."""
    if not are_plain(*arrays, out) or out.ndim != 1:
        return None
    places = [out[offset : offset + array.size] for array, offset in zip(arrays, offsets)]
    if any(place.size != array.size for place, array in zip(places, arrays)):
        return None
    total = sum(array.size for array in arrays)
    each = [word for array, place in zip(arrays, places) for word in (array.size, array, place)]
    return Plan(out, [Launch("adam.pack", parts_for(8 * total), (len(arrays), total, *each))])


def moving_average(average: Any, value: Any, step: Any, *, momentum: float) -> Plan | None:
    """One pass."""
    return _moving_averages([average], [value], step, momentum)


def moving_averages(*arrays: Any, momentum: float) -> Plan | None:
    """One pass over all of them."""
    half = len(arrays) // 2
    return _moving_averages(arrays[:half], arrays[half:], None, momentum)


def _moving_averages(averages: Any, values: Any, step: Any, momentum: float) -> Plan | None:
    if not are_plain(*averages, *values) or not (step is None or is_plain(step, INT64)):
        return None
    if any(a.shape != v.shape for a, v in zip(averages, values)):
        return None
    total = sum(a.size for a in averages)
    each = [word for a, v in zip(averages, values) for word in (a.size, a, v)]
    words = len(averages), step, float(momentum), *each
    return Plan(None, [Launch("adam.moving_averages", parts_for(12 * total), words)])


PLANS = (adam, adam_segments, dense_weight_gradient_adam, pack, moving_average, moving_averages)
