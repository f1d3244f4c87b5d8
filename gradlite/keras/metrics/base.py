"""Metric: numbers accumulated batch by batch in variables, and read as one result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gradlite import ops
from gradlite.backends import Backend
from gradlite.keras import initializers
from gradlite.keras.backend import floatx
from gradlite.keras.utils.naming import unique_name
from gradlite.keras.variables import Variable
from gradlite.tensor import Tensor


class Metric:
    """Base of all metrics: ``update_state`` adds a batch, ``result`` reads the value so far, ``reset_state`` clears it.

    A metric of your own creates its variables in ``__init__`` with ``add_variable`` (after ``super().__init__``), and
    overrides ``update_state`` and ``result``. ``update_state`` changes state by ``assign`` and ``assign_add`` only and
    reads nothing back (no ``float``, ``numpy`` or ``if`` on values), so that a training step can be recorded.

    Args:
        dtype: the type of results, by default ``keras.backend.floatx()``.
        name: the key in logs; by default the class's name in snake case.

    >>> import gradlite
    >>> from gradlite import keras
    >>> class Positives(keras.metrics.Metric):
    ...     def __init__(self, name="positives", **kwargs):
    ...         super().__init__(name=name, **kwargs)
    ...         self.total = self.add_variable(shape=(), initializer="zeros", name="total")
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.total.assign_add(gradlite.sum(gradlite.Tensor(y_pred) > 0).astype("float32"))
    ...     def result(self):
    ...         return self.total
    >>> float(Positives()([1, 0], [0.5, -1.0]))
    1.0
    """

    # Whether a higher ("up") or lower ("down") value is better, for callbacks that watch the metric; None: not known.
    _direction: str | None = None

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name or unique_name(type(self).__name__)
        self._dtype = floatx() if dtype is None else np.dtype(getattr(dtype, "compute_dtype", dtype)).name
        self._variables: list[Variable] = []

    @property
    def dtype(self) -> str:
        """The name of the type of results."""
        return self._dtype

    @property
    def variables(self) -> list[Variable]:
        """What the metric accumulates in, with the variables of metrics that it holds."""
        self._check_initialised()
        found = list(self._variables)
        for value in vars(self).values():
            for part in _parts(value):
                found.extend(part.variables if isinstance(part, Metric) else [part])
        return list({id(variable): variable for variable in found}.values())

    def add_variable(
        self,
        shape: Iterable[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Variable:
        """A new variable of the metric, zero unless an initializer is given.

        ``aggregation`` is accepted for Keras's sake; there is one device.
        """
        self._check_initialised()
        fill: Callable[..., Any] | None = initializers.get("zeros" if initializer is None else initializer)
        name = name or "variable"
        kind = np.dtype(dtype or self._dtype)
        variable = Variable(fill, trainable=False, name=name, dtype=kind, shape=tuple(shape))
        variable.path = f"{self.name}/{name}"
        self._variables.append(variable)
        return variable

    def add_weight(
        self, shape: Iterable[int] = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Variable:
        """The older name of ``add_variable``."""
        return self.add_variable(shape=shape, initializer=initializer, dtype=dtype, name=name)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch: ``update_state(y_true, y_pred, sample_weight=None)``."""
        raise NotImplementedError(f"{type(self).__name__} needs a method `update_state(self, y_true, y_pred, ...)`.")

    def result(self) -> Any:
        """The value so far: a Tensor, or a dict of them."""
        raise NotImplementedError(f"{type(self).__name__} needs a method `result(self)`.")

    def reset_state(self) -> None:
        """Set all variables to zero."""
        for variable in self.variables:
            variable.backend.launch("assign", variable.data, 0)
            variable.bump_version()

    def move_to(self, backend: Backend) -> None:
        """Bring all variables to a device: that of what is measured."""
        for variable in self.variables:
            variable.move_to(backend)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._check_initialised()
        self.update_state(*args, **kwargs)
        return self.result()

    def _read(self, variable: Variable) -> Tensor:
        """The values of a variable as a result: in the metric's dtype, and unchanged by later updates."""
        values = ops.astype(variable, self.dtype)
        return ops.copy(values) if values is variable else values

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """The metric that ``get_config`` described."""
        return cls(**config)

    def _check_initialised(self) -> None:
        if "_variables" not in vars(self):
            raise RuntimeError(
                f"{type(self).__name__} has no variables yet: call `super().__init__()` first in its `__init__`."
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def _parts(value: Any) -> Iterator[Metric | Variable]:
    """The metrics and variables that an attribute holds."""
    if isinstance(value, (Metric, Variable)):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            if isinstance(part, (Metric, Variable)):
                yield part


def accumulate(variable: Variable, value: Tensor | float) -> None:
    """Add ``value`` to the variable on its device, without converting a Tensor or reading anything."""
    if isinstance(value, Tensor):
        if value.backend is not variable.backend:
            variable.move_to(value.backend)  # a metric follows what it measures
        value = value.data
    variable.backend.launch("assign_add", variable.data, value)
    variable.bump_version()
