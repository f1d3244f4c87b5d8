"""The operators and methods of Tensor: each calls the operation of the same name.

Operations are defined on Tensors, so their modules import ``tensor``; what they offer is handed to Tensor afterwards,
through ``late``, which keeps imports running one way.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlite.tensor import Tensor


class Late:
    """The modules that Tensor's methods call; ``gradlite.ops`` and ``gradlite.autograd`` enter themselves here."""

    ops: ModuleType | Any
    autograd: ModuleType | Any


late = Late()

Axis = int | tuple[int, ...] | None


class Methods:
    """The surface of Tensor that computes."""

    # Arithmetic.
    def __add__(self, other: Any) -> Tensor:
        return late.ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return late.ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return late.ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return late.ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return late.ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return late.ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return late.ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return late.ops.divide(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return late.ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return late.ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return late.ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return late.ops.remainder(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return late.ops.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return late.ops.power(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return late.ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return late.ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return late.ops.negative(self)

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]

    def __abs__(self) -> Tensor:
        return late.ops.abs(self)

    # Comparison and logic.
    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return late.ops.equal(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return late.ops.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return late.ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return late.ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return late.ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return late.ops.greater_equal(self, other)

    def __and__(self, other: Any) -> Tensor:
        return late.ops.logical_and(self, other)

    def __or__(self, other: Any) -> Tensor:
        return late.ops.logical_or(self, other)

    def __xor__(self, other: Any) -> Tensor:
        return late.ops.logical_xor(self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Tensor:
        return late.ops.logical_not(self)

    # Shape.
    def __getitem__(self, index: Any) -> Tensor:
        return late.ops.getitem(self, index)

    def reshape(self, *shape: Any) -> Tensor:
        """See ``gradlite.reshape``; the shape may be given as one tuple or as numbers."""
        return late.ops.reshape(self, _one_or_many(shape))

    def transpose(self, *axes: Any) -> Tensor:
        """See ``gradlite.transpose``; the axes may be given as one tuple or as numbers."""
        return late.ops.transpose(self, _one_or_many(axes) if axes else None)

    def permute(self, *axes: Any) -> Tensor:
        """See ``gradlite.permute``; the axes may be given as one tuple or as numbers."""
        return late.ops.permute(self, _one_or_many(axes))

    @property
    def T(self) -> Tensor:
        """All axes in reverse order."""
        return late.ops.transpose(self, None)

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return late.ops.swapaxes(self, -1, -2)

    def swapaxes(self, first: int, second: int) -> Tensor:
        """See ``gradlite.swapaxes``."""
        return late.ops.swapaxes(self, first, second)

    def squeeze(self, axis: Axis = None) -> Tensor:
        """See ``gradlite.squeeze``."""
        return late.ops.squeeze(self, axis)

    def expand_dims(self, axis: int | tuple[int, ...]) -> Tensor:
        """See ``gradlite.expand_dims``."""
        return late.ops.expand_dims(self, axis)

    def broadcast_to(self, *shape: Any) -> Tensor:
        """See ``gradlite.broadcast_to``."""
        return late.ops.broadcast_to(self, _one_or_many(shape))

    def flatten(self) -> Tensor:
        """All elements along one axis."""
        return late.ops.reshape(self, (-1,))

    ravel = flatten

    def split(self, sections: Any, axis: int = 0) -> list[Tensor]:
        """See ``gradlite.split``."""
        return late.ops.split(self, sections, axis)

    def flip(self, axis: Axis = None) -> Tensor:
        """See ``gradlite.flip``."""
        return late.ops.flip(self, axis)

    def repeat(self, repeats: int, axis: int | None = None) -> Tensor:
        """See ``gradlite.repeat``."""
        return late.ops.repeat(self, repeats, axis)

    def take(self, indices: Any, axis: int | None = None) -> Tensor:
        """See ``gradlite.take``."""
        return late.ops.take(self, indices, axis)

    def astype(self, dtype: Any) -> Tensor:
        """See ``gradlite.astype``."""
        return late.ops.astype(self, dtype)

    def copy(self) -> Tensor:
        """A copy of the values that gradients flow through."""
        return late.ops.copy(self)

    clone = copy

    def to(self, device: Any) -> Tensor:
        """See ``gradlite.to``: this tensor's values on another device."""
        return late.ops.to(self, device)

    # Reductions.
    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``gradlite.sum``."""
        return late.ops.sum(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``gradlite.mean``."""
        return late.ops.mean(self, axis, keepdims)

    def var(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        """See ``gradlite.var``."""
        return late.ops.var(self, axis, keepdims, ddof)

    def std(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        """See ``gradlite.std``."""
        return late.ops.std(self, axis, keepdims, ddof)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``gradlite.max``."""
        return late.ops.max(self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``gradlite.min``."""
        return late.ops.min(self, axis, keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``gradlite.prod``."""
        return late.ops.prod(self, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """See ``gradlite.argmax``."""
        return late.ops.argmax(self, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """See ``gradlite.argmin``."""
        return late.ops.argmin(self, axis, keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``gradlite.all``."""
        return late.ops.all(self, axis, keepdims)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``gradlite.any``."""
        return late.ops.any(self, axis, keepdims)

    def sum_to(self, shape: tuple[int, ...]) -> Tensor:
        """See ``gradlite.sum_to``."""
        return late.ops.sum_to(self, shape)

    def cumsum(self, axis: int | None = None) -> Tensor:
        """See ``gradlite.cumsum``."""
        return late.ops.cumsum(self, axis)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``gradlite.logsumexp``."""
        return late.ops.logsumexp(self, axis, keepdims)

    def norm(self, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See ``gradlite.norm``."""
        return late.ops.norm(self, ord, axis, keepdims)

    # Elementwise functions that read well as methods.
    def exp(self) -> Tensor:
        """See ``gradlite.exp``."""
        return late.ops.exp(self)

    def log(self) -> Tensor:
        """See ``gradlite.log``."""
        return late.ops.log(self)

    def sqrt(self) -> Tensor:
        """See ``gradlite.sqrt``."""
        return late.ops.sqrt(self)

    def square(self) -> Tensor:
        """See ``gradlite.square``."""
        return late.ops.square(self)

    def abs(self) -> Tensor:
        """See ``gradlite.abs``."""
        return late.ops.abs(self)

    def sin(self) -> Tensor:
        """See ``gradlite.sin``."""
        return late.ops.sin(self)

    def cos(self) -> Tensor:
        """See ``gradlite.cos``."""
        return late.ops.cos(self)

    def tanh(self) -> Tensor:
        """See ``gradlite.tanh``."""
        return late.ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """See ``gradlite.sigmoid``."""
        return late.ops.sigmoid(self)

    def relu(self) -> Tensor:
        """See ``gradlite.relu``."""
        return late.ops.relu(self)

    def clip(self, low: Any = None, high: Any = None) -> Tensor:
        """See ``gradlite.clip``."""
        return late.ops.clip(self, low, high)

    def matmul(self, other: Any) -> Tensor:
        """See ``gradlite.matmul``."""
        return late.ops.matmul(self, other)

    dot = matmul


def _one_or_many(values: tuple[Any, ...]) -> Any:
    """The shape in ``f((2, 3))`` and ``f(2, 3)`` alike."""
    return values[0] if len(values) == 1 else values
