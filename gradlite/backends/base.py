"""Backend: where arithmetic happens. The names of all kernels, and the one boundary they are launched through.

A kernel is a function of arrays, ``kernel(*arrays, **attributes, out=None)``: with ``out`` it writes there, without it
allocates. Update kernels change their first arrays in place and return None. The reference versions in
``backends/reference/`` are written once over an array module ``xp`` (NumPy or CuPy) and define what a kernel means;
a backend replaces those that it computes faster, by name. Derivatives are not known here: they are in ``ops/``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from gradlite.backends import reference  # noqa: F401  (fills the table of reference kernels)
from gradlite.backends.registry import REFERENCE

# Kernels that the array module has under the same name and with the same meaning, `out=` included.
# fmt: off
ARRAY_FUNCTIONS = (
    "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "negative", "abs", "sign", "square",
    "sqrt", "reciprocal", "exp", "exp2", "log", "log2", "log10", "log1p", "expm1",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
    "arctan2", "hypot", "floor", "ceil", "rint", "trunc", "maximum", "minimum",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_not", "logical_xor", "isnan", "isinf", "isfinite",
    "sum", "prod", "max", "min", "argmax", "argmin", "all", "any", "cumsum", "matmul",
)
# fmt: on


class Backend:
    """An array module, a device, and the kernels that run there.

    Args:
        xp: the array module (``numpy`` or ``cupy``).
        device: the name that users give it: ``"cpu"``, ``"gpu:0"``.
        kernels: faster kernels that replace the reference ones of the same names.
    """

    def __init__(self, xp: ModuleType, device: str, kernels: dict[str, Callable[..., Any]] | None = None) -> None:
        self.xp = xp
        self.device = device
        self.array_type: type = xp.ndarray
        self.kernels: dict[str, Callable[..., Any]] = {name: getattr(xp, name) for name in ARRAY_FUNCTIONS}
        self.kernels.update((name, partial(kernel, xp)) for name, kernel in REFERENCE.items())
        if kernels:
            unknown = kernels.keys() - self.kernels.keys()
            if unknown:
                raise ValueError(f"Kernels without a reference of the same name: {sorted(unknown)}.")
            self.kernels.update(kernels)

    def __repr__(self) -> str:
        return f"<Backend {self.device} on {self.xp.__name__}>"

    def launch(self, kernel: str, *arrays: Any, **attributes: Any) -> Any:
        """Run the kernel named ``kernel``. Everything that computes passes here, so this is also where a step
        can be recorded."""
        return self.kernels[kernel](*arrays, **attributes)

    # Memory. All buffers come from here; nothing above this class calls the array module.

    def asarray(self, data: Any, dtype: Any = None) -> Any:
        """``data`` (array, sequence or number) as an array of this device; no copy where it is one already."""
        return self.xp.asarray(data, dtype)

    def copy(self, array: Any, dtype: Any = None) -> Any:
        """A fresh C-contiguous copy of ``array``."""
        return self.xp.array(array, dtype=dtype, order="C", copy=True)

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        """An array whose values are not set."""
        return self.xp.empty(shape, dtype)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any = np.float32) -> Any:
        """An array filled with ``value``."""
        return self.xp.full(shape, value, dtype)

    def to_numpy(self, array: Any) -> np.ndarray:
        """The values on the host, as a fresh NumPy array. On a GPU this waits for the device."""
        return np.array(array)

    def synchronize(self) -> None:
        """Wait until everything launched has finished."""
