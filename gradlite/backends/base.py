"""Backend: where arithmetic happens. The names of all kernels, and the one boundary they are launched through.

A kernel is a function of arrays, ``kernel(*arrays, **attributes, out=None)``: with ``out`` it writes there, without it
allocates. Update kernels change their first arrays in place and return None. The reference versions in
``backends/reference/`` are written once over an array module ``xp`` (NumPy or CuPy) and define what a kernel means;
a backend replaces those that it computes faster, by name. Derivatives are not known here: they are in ``ops/``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from gradlite.backends import reference  # noqa: F401  (fills the table of reference kernels)
from gradlite.backends.reading import Mark, Reading
from gradlite.backends.registry import REFERENCE
from gradlite.backends.rows import Rows
from gradlite.backends.staging import Staging

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


# Bytes that memory and processor exchange at a time.
CACHE_LINE = 64


class Memory(NamedTuple):
    """Where an array lies: what identifies the allocation while it lives, the offset in it, and its size in bytes."""

    identity: int
    offset: int
    nbytes: int


class Backend:
    """An array module, a device, and the kernels that run there.

    Args:
        xp: the array module (``numpy`` or ``cupy``).
        device: the name that users give it: ``"cpu"``, ``"gpu:0"``.
        kernels: faster kernels that replace the reference ones of the same names.

    Attributes:
        fusions: the rules by which launches of recorded programs are joined here; see ``gradlite.recording.fusion``.
    """

    fusions: frozenset[str] = frozenset({"activation", "activation gradient", "normalization gradient", "softmax"})

    def __init__(self, xp: ModuleType, device: str, kernels: dict[str, Callable[..., Any]] | None = None) -> None:
        self.xp = xp
        self.device = device
        self.array_type: Any = xp.ndarray
        self.kernels: dict[str, Callable[..., Any]] = {name: getattr(xp, name) for name in ARRAY_FUNCTIONS}
        self.kernels.update((name, partial(kernel, xp)) for name, kernel in REFERENCE.items())
        if kernels:
            unknown = kernels.keys() - self.kernels.keys()
            if unknown:
                raise ValueError(f"Kernels without a reference of the same name: {sorted(unknown)}.")
            self.kernels.update(kernels)

    def __repr__(self) -> str:
        return f"<Backend {self.device} on {self.xp.__name__}>"

    # There is one object for each device, which copies and files refer to by its name.

    def __deepcopy__(self, memo: dict[int, Any]) -> Backend:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        from gradlite.backends import existing_backend

        return existing_backend, (self.device,)

    def launch(self, kernel: str, *arrays: Any, **attributes: Any) -> Any:
        """Run the kernel named ``kernel``. Everything that computes passes here, so this is also where a step
        can be recorded."""
        return self.kernels[kernel](*arrays, **attributes)

    def function(self, kernel: str, arrays: tuple[Any, ...], attributes: dict[str, Any]) -> Callable[..., Any]:
        """What ``launch`` calls for these arguments: for a program that replays the launch."""
        return self.kernels[kernel]

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """``function(*arguments, **options)`` where this device's work is done: for what uses the array module itself,
        such as views, and operations that users write."""
        return function(*arguments, **options)

    def entered(self) -> AbstractContextManager[None]:
        """Inside, the current thread is where this device's work is done, so that each launch need not go there."""
        return nullcontext()

    def adopt(self) -> Callable[[], None]:
        """Go there for good; the function that this returns goes back."""
        return lambda: None

    # For recorded programs (see gradlite.recording): where an array lies, memory to lay arrays in, and how calls run.

    def memory_of(self, array: Any) -> Memory:
        """The allocation that ``array`` lies in, and where in it its first element is."""
        owner = array
        while isinstance(owner.base, self.array_type):
            owner = owner.base
        start = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
        return Memory(id(owner), start, owner.nbytes)

    def arena(self, nbytes: int) -> Any:
        """Bytes in one piece, which begin at a cache line."""
        space = self.xp.empty(nbytes + CACHE_LINE, np.uint8)
        start = -space.__array_interface__["data"][0] % CACHE_LINE
        return space[start : start + nbytes]

    def view_of_arena(self, arena: Any, offset: int, like: Any) -> Any:
        """An array with shape, dtype and strides of ``like`` whose first element is at ``offset`` in the arena."""
        # Negative strides reach in front of the first element, so this is no plain slice.
        return self.xp.ndarray(like.shape, like.dtype, arena, offset, like.strides)

    def computes_at_once(self, kernel: str, arrays: tuple[Any, ...], attributes: dict[str, Any]) -> bool:
        """Whether a kernel that stands for a row of others is more than that row here, for such arrays, and gives its
        bits; rules of fusion ask."""
        return False

    def bind(self, calls: Sequence[Callable[[], Any]]) -> Callable[[int], None]:
        """One function that makes all calls in order, as many times as it is told."""

        def run(times: int = 1) -> None:
            for _ in range(times):
                for call in calls:
                    call()

        return run

    def rows(self, arrays: Sequence[Any] = (), order: Any = None) -> Rows:
        """Arrays that programs read samples of by the kernel ``select_rows``."""
        return Rows(self, arrays, order)

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

    def from_dlpack(self, array: Any) -> Any:
        """Another library's array on this device as an array of the array module, on the same memory."""
        return self.xp.from_dlpack(array)

    def to_numpy(self, array: Any) -> np.ndarray:
        """The values on the host, as a fresh NumPy array. On a GPU this waits for the device."""
        return np.array(array)

    def item(self, array: Any) -> Any:
        """The one element of ``array`` as a Python number. On a GPU this waits for the device."""
        return array.item()

    def read_later(self, arrays: Sequence[Any]) -> Reading:
        """Ask for the values of arrays, which may be overwritten at once; nothing waits before they are looked at."""
        return Reading([self.to_numpy(array) for array in arrays])

    def staging(self, places: int) -> Staging:
        """Buffers for so many batches of host data, filled by another thread than the one that computes."""
        return Staging(places)

    def mark(self) -> Mark:
        """A mark behind everything launched so far, to wait for."""
        return Mark()

    def synchronize(self) -> None:
        """Wait until everything launched has finished."""

    def memory_stats(self) -> dict[str, int]:
        """Bytes of device memory by kind; nothing for the CPU, whose memory is the operating system's affair."""
        return {}

    def empty_cache(self) -> None:
        """Give memory that is kept for later arrays back to the driver."""
