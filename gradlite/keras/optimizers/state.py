"""State: the variables of an optimizer, their slots, and how they are grouped into flat buffers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gradlite.backends import Backend
from gradlite.keras.backend import floatx
from gradlite.keras.optimizers.group import Group, Slot
from gradlite.keras.optimizers.guard import Guard
from gradlite.keras.variables import Variable

# Attributes that are made anew for a copy.
_BUFFERS = ("_groups", "_backend", "_one", "_step", "_rate")


class State:
    """The part of an optimizer that holds its variables."""

    built: bool
    use_ema: bool
    gradient_accumulation_steps: int | None
    _iterations: Variable
    _learning_rate: Any
    _own_variables: list[Variable]
    _trainable_variables: list[Variable]
    _groups: list[Group]
    _layout: int
    _guard: Guard | None

    def slots(self) -> Sequence[Sequence[Slot]]:
        """The state kept for every variable. Slots of one inner sequence take turns in ``variables``, as in Keras."""
        return ()

    def add_variable(
        self, shape: Sequence[int], initializer: Any = 0.0, dtype: Any = None, name: str = "variable"
    ) -> Variable:
        """State of the optimizer, listed in ``variables``; ``initializer`` is a number or a function (shape, dtype)."""
        dtype = dtype or floatx()
        value = initializer(tuple(shape), dtype) if callable(initializer) else np.full(tuple(shape), initializer, dtype)
        variable = Variable(value, trainable=False, name=name, dtype=dtype)
        self._own_variables.append(variable)
        return variable

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str = "var", initializer: Any = 0.0
    ) -> Variable:
        """State of the shape and dtype of a variable."""
        full_name = f"{reference_variable.path.replace('/', '_')}_{name}"
        return self.add_variable(reference_variable.shape, initializer, reference_variable.dtype, full_name)

    def build(self, variables: Iterable[Variable]) -> None:
        """Make the state for ``variables``. Variables that come later, by unfreezing layers, are added; state stays."""
        new = self._unknown_variables(variables)
        if self.built and not new:
            return
        self._trainable_variables += new
        self._group(self._slot_variables())
        self.built = True

    def _unknown_variables(self, variables: Iterable[Variable]) -> list[Variable]:
        known = {id(variable) for variable in self._trainable_variables}
        return [variable for variable in variables if id(variable) not in known]

    def _group(self, previous: dict[tuple[int, str], Variable]) -> None:
        """Lay all variables out in flat buffers, one for each dtype; slot variables in `previous` keep their values."""
        kinds: dict[Any, list[Variable]] = {}
        for variable in self._trainable_variables:
            if variable.size:
                kinds.setdefault(variable.dtype, []).append(variable)
        devices = sorted({variable.device for variable in self._trainable_variables})
        if len(devices) > 1:
            raise ValueError(f"An optimizer's variables must be on one device. Received variables on {devices}.")
        slots = [slot for together in self._all_slots() for slot in together]
        self._groups = [Group(variables, slots, previous) for variables in kinds.values()]
        self._layout += 1
        if self._groups:
            self._move_to(self._groups[0].backend)

    def _slot_variables(self) -> dict[tuple[int, str], Variable]:
        """Slot variables by the id of their variable and their name."""
        return {key: slot for group in self._groups for key, slot in group.slots.items()}

    def _all_slots(self) -> list[Sequence[Slot]]:
        shared: list[Sequence[Slot]] = []
        if self.use_ema:
            shared.append([Slot("average")])
        if self.gradient_accumulation_steps:
            shared.append([Slot("gradient_accumulator")])
        return [*shared, *self.slots()]

    def _move_to(self, backend: Backend) -> None:
        for variable in (self._iterations, self._learning_rate, *self._own_variables):
            if isinstance(variable, Variable):
                variable.move_to(backend)
        if self._guard is not None:
            self._guard.move_to(backend)
        self._backend = backend
        self._one = backend.full((), 1, np.int64)
        self._step = backend.full((), 1, np.int64)
        self._rate = backend.full((), 0, np.dtype(floatx()))

    @property
    def variables(self) -> list[Variable]:
        """All state: the iteration, the learning rate if it is a number, then the slots of all variables."""
        result = [self._iterations]
        if isinstance(self._learning_rate, Variable):
            result.append(self._learning_rate)
        found = self._slot_variables()
        for together in self._all_slots():
            for variable in self._trainable_variables:
                result += [found[id(variable), slot.name] for slot in together if (id(variable), slot.name) in found]
        return result + self._own_variables

    # Copying and pickling: buffers are laid out anew, since copies of views would no longer share memory.

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in self.__dict__.items() if key not in _BUFFERS}
        found = self._slot_variables()
        names = [slot.name for together in self._all_slots() for slot in together]
        state["_slots"] = [{n: found.get((id(v), n)) for n in names} for v in self._trainable_variables]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        held = state.pop("_slots")
        self.__dict__.update(state, _groups=[])
        self._move_to(self._iterations.backend)
        previous = {
            (id(variable), name): slot
            for variable, slots in zip(self._trainable_variables, held)
            for name, slot in slots.items()
            if slot is not None
        }
        self._group(previous)
