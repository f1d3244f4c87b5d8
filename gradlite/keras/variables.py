"""Variable: a named leaf Tensor that a layer or optimizer owns and changes in place; and mixed precision's cast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradlite.autograd.modes import mode
from gradlite.backends import Backend, gpu_of
from gradlite.backends.dtypes import FLOAT_KINDS, as_dtype, is_bfloat16
from gradlite.tensor import Tensor


class Variable(Tensor):
    """A weight: a Tensor with a name, changed by ``assign``.

    Args:
        value: the initial value, or a function ``(shape, dtype) -> array`` with ``shape`` given.
        trainable: whether gradients are computed for it.
        name: what it is called in messages, summaries and files.
        dtype: the element type; by default the value's, with Python floats as float32.
        shape: only with a function as value.
        regularizer: a function of the variable whose result is added to the loss.
        constraint: a function applied to the variable after every update.
        autocast: whether layers of mixed precision read it in the type that they compute in.

    >>> from gradlite.keras.variables import Variable
    >>> v = Variable([1.0, 2.0], name="v")
    >>> v.assign_add([1.0, 1.0])
    >>> v.numpy()
    array([2., 3.], dtype=float32)
    """

    def __init__(
        self,
        value: Any,
        trainable: bool = True,
        name: str = "variable",
        dtype: Any = None,
        shape: tuple[int, ...] | None = None,
        regularizer: Callable[[Tensor], Tensor] | None = None,
        constraint: Callable[[Tensor], Tensor] | None = None,
        autocast: bool = True,
    ) -> None:
        if callable(value) and not isinstance(value, Tensor):
            if shape is None:
                raise ValueError(f"Variable {name!r} with a function as its value needs a shape.")
            # Random numbers are drawn in NumPy's own types.
            drawn = "float32" if dtype is not None and is_bfloat16(as_dtype(dtype)) else dtype
            value = value(tuple(shape), drawn or "float32")
        super().__init__(value, dtype=dtype)
        # The memory is this variable's own, whatever the value came from; an upload is a copy already.
        if self.device == "cpu" or isinstance(value, Tensor) or gpu_of(value) is not None:
            self.data = self.backend.copy(self.data)
        self.name = name
        self.path = name
        self.regularizer = regularizer
        self.constraint = constraint
        self.autocast = autocast
        self.trainable = trainable

    @property
    def trainable(self) -> bool:
        """Whether gradients are computed for it."""
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        self._trainable = bool(trainable)
        self.requires_grad = self._trainable and self.data.dtype.kind in FLOAT_KINDS

    def move_to(self, backend: Backend) -> None:
        """Change to another device, with the values; nothing happens where the variable is there already."""
        if backend is not self.backend:
            self.data = backend.asarray(self.numpy())
            self.backend = backend
            self.bump_version()

    @property
    def value(self) -> Tensor:
        """The variable itself: the spelling ``variable.value`` works too."""
        return self

    def assign(self, value: Any) -> None:
        """Write ``value`` (of this shape) into the variable.

        Raises:
            ValueError: for another shape; nothing is changed.
        """
        self.backend.launch("assign", self.data, self._checked(value, "assign").data)
        self.bump_version()

    def assign_add(self, value: Any) -> None:
        """Add ``value`` (of this shape) to the variable."""
        self.backend.launch("assign_add", self.data, self._checked(value, "assign_add").data)
        self.bump_version()

    def assign_sub(self, value: Any) -> None:
        """Subtract ``value`` (of this shape) from the variable."""
        self.assign_add(-self._checked(value, "assign_sub"))

    def _checked(self, value: Any, what: str) -> Tensor:
        value = value if isinstance(value, Tensor) else Tensor(value, dtype=self.dtype, device=self.backend)
        if value.shape != self.shape:
            raise ValueError(
                f"{what}() of variable {self.path!r} needs a value of shape {self.shape}. Received: {value.shape}."
            )
        return value if value.backend is self.backend else Tensor(value, device=self.backend)

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild_variable, (self.numpy(), *self._parts())

    def __deepcopy__(self, memo: dict[int, Any]) -> Variable:
        result = rebuild_variable(self.detach(), *self._parts())
        memo[id(self)] = result
        return result

    def _parts(self) -> tuple[Any, ...]:
        """What ``rebuild_variable`` takes besides the values."""
        return self._trainable, self.name, self.path, self.regularizer, self.constraint, self.autocast

    def __repr__(self) -> str:
        return f"<Variable path={self.path!r}, shape={self.shape}, dtype={self.dtype}, value={self.numpy()}>"


def rebuild_variable(
    values: Any,
    trainable: bool,
    name: str,
    path: str,
    regularizer: Any = None,
    constraint: Any = None,
    autocast: bool = True,
) -> Variable:
    """Make a pickled Variable again: on the current device, whatever it was on; a copied one where it was."""
    result = Variable(
        values, trainable=trainable, name=name, regularizer=regularizer, constraint=constraint, autocast=autocast
    )
    result.path = path
    return result


class Autocast:
    """Converts the variables among the inputs of operations: ``call`` of a layer of mixed precision runs under it.

    The conversion is an operation like others, so gradients come back to the variable in its own type.

    Args:
        dtype: what floating-point variables are read in.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def __call__(self, inputs: Sequence[Any]) -> Sequence[Any]:
        if not any(isinstance(x, Variable) for x in inputs):
            return inputs
        mode.autocast = None  # converting is an operation too
        try:
            return [x.astype(self.dtype) if self._converts(x) else x for x in inputs]
        finally:
            mode.autocast = self

    def _converts(self, x: Any) -> bool:
        return isinstance(x, Variable) and x.autocast and x.data.dtype.kind in FLOAT_KINDS
