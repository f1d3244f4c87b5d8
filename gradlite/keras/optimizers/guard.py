"""Guard: keeps a step whose gradients are not finite from changing anything, decided where the gradients are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite.backends import Backend
from gradlite.keras.variables import Variable


class Gate:
    """Stands for a backend in front of updates: what they launch changes something only where a flag is not 0."""

    def __init__(self, backend: Backend, flag: Any) -> None:
        self._backend = backend
        self.flag = flag

    def launch(self, kernel: str, *arrays: Any, **attributes: Any) -> None:
        """Launch an update kernel, gated."""
        self._backend.launch("gated", *arrays, self.flag, update=kernel, **attributes)


class Guard:
    """A loss scale, and whether the gradients of the running step are finite; nothing of it is read by the host.

    Args:
        scale: what the loss was multiplied by, a float of shape ().
        count: good steps in a row, int64 of shape ().
        growth_steps: so many of them double the scale.
    """

    def __init__(self, scale: Variable, count: Variable, growth_steps: int) -> None:
        self.scale = scale
        self.count = count
        self.growth_steps = growth_steps
        self._finite = Variable(np.int32(1), trainable=False, name="finite")

    def move_to(self, backend: Backend) -> None:
        """Go where the gradients are."""
        for variable in (self.scale, self.count, self._finite):
            variable.move_to(backend)

    @property
    def finite(self) -> Any:
        """The flag, int32 of shape (): an array on the device."""
        return self._finite.data

    @property
    def gate(self) -> Gate:
        """For what changes with every good step."""
        return Gate(self._finite.backend, self.finite)

    def gate_every(self, count: Any, steps: int) -> Gate:
        """For what changes with a good step whose ``count``, an int64 array of shape (), is a multiple of ``steps``."""
        backend = self._finite.backend
        return Gate(backend, backend.launch("is_due", self.finite, count, every=steps))

    def unscale(self, gradients: Sequence[Any]) -> None:
        """Divide the gradients by the scale, in place, and see whether all are finite."""
        self._finite.backend.launch("unscale", self.finite, *gradients, self.scale.data)

    def adapt(self) -> None:
        """The scale of the next step."""
        launch = self._finite.backend.launch
        launch("adapt_scale", self.scale.data, self.count.data, self.finite, growth_steps=self.growth_steps)
        self.scale.bump_version()
        self.count.bump_version()
