"""LearningRate: the rate of an optimizer, which is a number that can be set, a schedule, or a function."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from gradlite.backends import Backend
from gradlite.keras.backend import floatx
from gradlite.keras.optimizers import schedules
from gradlite.keras.variables import Variable
from gradlite.tensor import Tensor


class LearningRate:
    """The part of an optimizer that knows its learning rate."""

    _learning_rate: Any  # a Variable, a LearningRateSchedule, or a function without arguments
    _iterations: Variable
    _backend: Backend
    _rate: Any  # a 0-d array that holds what a schedule or function gave
    _layout: int

    def _move_to(self, backend: Backend) -> None:
        raise NotImplementedError

    def _checked_rate(self, learning_rate: Any) -> Any:
        if isinstance(learning_rate, schedules.LearningRateSchedule) or callable(learning_rate):
            return learning_rate
        if isinstance(learning_rate, Mapping):
            return schedules.deserialize(learning_rate)
        if not isinstance(learning_rate, (float, np.floating)):
            raise ValueError(
                "Argument `learning_rate` should be a float, a LearningRateSchedule, or a function without arguments "
                f"that returns the rate. Received: learning_rate={learning_rate!r} of type "
                f"{type(learning_rate).__name__}"
                + (f"; write {float(learning_rate)}." if _is_int(learning_rate) else ".")
            )
        return Variable(np.asarray(learning_rate), trainable=False, name="learning_rate", dtype=floatx())

    def _current_rate(self, functions_only: bool = False) -> Any:
        """The 0-d array with this step's rate."""
        rate = self._learning_rate
        if isinstance(rate, Variable):
            return rate.data
        is_schedule = isinstance(rate, schedules.LearningRateSchedule)
        if not (is_schedule and functions_only):
            value = rate(self._iterations) if is_schedule else rate()
            # What a function gave is written past the recorder of a captured step, by the class's own launch: a replay
            # must not write today's number over tomorrow's.
            backend = self._backend
            launch = backend.launch if is_schedule else partial(type(backend).launch, backend)
            launch("assign", self._rate, value.data if isinstance(value, Tensor) else value)
        return self._rate

    def _rate_is_a_function(self) -> bool:
        """Whether the host is asked for the rate before every step."""
        return not isinstance(self._learning_rate, (Variable, schedules.LearningRateSchedule))

    @property
    def learning_rate(self) -> Any:
        """The rate now, a 0-d Tensor (``float()`` reads it). Settable, unless a schedule was given."""
        rate = self._learning_rate
        if isinstance(rate, schedules.LearningRateSchedule):
            return rate(self._iterations)
        return rate if isinstance(rate, Variable) else rate()

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        held = self._learning_rate
        if isinstance(learning_rate, schedules.LearningRateSchedule) or callable(learning_rate):
            self._learning_rate = learning_rate
            self._layout += 1
        elif isinstance(held, schedules.LearningRateSchedule):
            raise TypeError(
                "This optimizer was created with a `LearningRateSchedule` as its `learning_rate`, hence its learning "
                "rate is not settable. Create the optimizer with a float `learning_rate` to set it."
            )
        elif isinstance(held, Variable):
            held.assign(learning_rate)
        else:
            self._learning_rate = self._checked_rate(float(learning_rate))
            self._layout += 1
            self._move_to(self._backend)


def _is_int(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
