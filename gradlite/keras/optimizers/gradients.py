"""Gradients as an optimizer receives them: matched with their variables and checked."""

from __future__ import annotations

import warnings
from typing import Any

from gradlite.keras.variables import Variable
from gradlite.tensor import Tensor


def checked_gradients(grads: list[Any], variables: list[Variable]) -> dict[int, Any]:
    """The gradients' arrays by the id of their variable, without the missing ones."""
    if len(grads) != len(variables):
        raise ValueError(
            f"apply() needs one gradient for each variable. Received: {len(grads)} gradients for "
            f"{len(variables)} variables."
        )
    missing = [variable.path for gradient, variable in zip(grads, variables) if gradient is None]
    if len(missing) == len(grads):
        raise ValueError(
            "No gradients provided for any variable. The loss does not depend on the variables: was it computed "
            "from the model's output, with recording on?"
        )
    if missing:
        warnings.warn(
            f"Gradients do not exist for variables {missing} when minimizing the loss. "
            "If using `model.compile()`, did you forget to provide a `loss` argument?",
            stacklevel=4,
        )
    found = {}
    for gradient, variable in zip(grads, variables):
        if gradient is not None:
            if not isinstance(gradient, Tensor):
                array = variable.backend.asarray(gradient)
            elif gradient.backend is variable.backend:
                array = gradient.data
            else:
                raise RuntimeError(
                    f"The gradient of {variable.path!r} must be where the variable is, on {variable.device}. "
                    f"Received: a gradient on {gradient.device}; move it with .to({variable.device!r})."
                )
            if tuple(array.shape) != variable.shape:
                raise ValueError(
                    f"The gradient of {variable.path!r} must have the variable's shape {variable.shape}. "
                    f"Received: {tuple(array.shape)}."
                )
            found[id(variable)] = array
    return found
