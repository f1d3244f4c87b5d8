"""16-bit floats where no kernel computes in them: arrays are widened to float32, and results rounded once.

So a product, a convolution or a reduction adds up in float32, as the tensor cores of GPUs do, and a function of several
steps is as exact as its result can be. NumPy's own float16 rounds after every step, and it has no bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradlite.backends.dtypes import FLOAT_KINDS, is_narrow, promoted

# Operations in which types promote as in NumPy; the results of all others have the type of their first array.
PROMOTING = frozenset(
    {
        "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "maximum", "minimum", "arctan2",
        "hypot", "matmul", "einsum", "where", "concatenate", "relu_gradient",
    }
)  # fmt: skip
# Results that stay float32, by their places: statistics.
STATISTICS = {
    "batch_norm": (1, 2),
    "batch_norm_max_pool2d_dropout": (1, 2),
    "conv2d_statistics": (1, 2),
    "layer_norm": (1, 2),
}
# Gradients whose results 1 and 2 have the type of the scale, their third array, or where there is none of statistics.
OF_PARAMETERS = frozenset({"batch_norm_gradient", "batch_norm_max_pool2d_dropout_gradient", "layer_norm_gradient"})


def takes_part(array_type: Any, arrays: tuple[Any, ...]) -> bool:
    """Whether there is a 16-bit float among the arguments of a launch."""
    return any(isinstance(x, array_type) and x.itemsize == 2 and x.dtype.kind in FLOAT_KINDS for x in arrays)


def run(
    array_type: Any,
    convert: Callable[[Any, Any], Any],
    write: Callable[[Any, Any], Any],
    name: str,
    function: Callable[..., Any],
    *arrays: Any,
    out: Any = None,
    **attributes: Any,
) -> Any:
    """``function(*arrays, **attributes)``, the kernel ``name``, in float32.

    Args:
        array_type: of the arrays.
        convert: (array, dtype) -> a copy of that dtype.
        write: (target, values) writes values, of any type, into the target.
    """
    narrow = [isinstance(x, array_type) and is_narrow(x.dtype) for x in arrays]
    wide = [convert(x, np.float32) if is_so else x for x, is_so in zip(arrays, narrow)]
    results = function(*wide, **attributes)
    if results is None:  # an update: what it changed goes back, and what it did not change is exactly what it was
        for x, value, is_so in zip(arrays, wide, narrow):
            if is_so:
                write(x, value)
        return None
    several = isinstance(results, tuple)
    parts = list(results) if several else [results]
    places = [None] * len(parts) if out is None else list(out) if several else [out]
    for i, (part, place) in enumerate(zip(parts, places)):
        if place is not None:
            write(place, part)
            parts[i] = place
        elif getattr(getattr(part, "dtype", None), "kind", None) == "f":
            dtype = _result_type(name, i, arrays, array_type, part.dtype)
            parts[i] = part if part.dtype == dtype else convert(part, dtype)
    return tuple(parts) if several else parts[0]


def _result_type(name: str, place: int, arrays: tuple[Any, ...], array_type: Any, found: Any) -> Any:
    """The type of a kernel's result, which was computed as ``found``, a float type."""
    given = [x for x in arrays if isinstance(x, (array_type, np.generic))]
    if name in PROMOTING:
        return promoted(*(x.dtype for x in given))
    if place in STATISTICS.get(name, ()) or found != np.float32:
        return found
    if name in OF_PARAMETERS and place in (1, 2):
        return found if arrays[2] is None else arrays[2].dtype
    return next(x.dtype for x in given if x.dtype.kind in FLOAT_KINDS)
