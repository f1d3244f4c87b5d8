"""Optimizers that divide by a root of past squared gradients: RMSprop, Adagrad, Adadelta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradlite.backends import Backend
from gradlite.keras.optimizers.base import Optimizer
from gradlite.keras.optimizers.group import Slot


class RMSprop(Optimizer):
    """The gradient divided by the root of a moving average of its square (Hinton 2012).

    ``s = rho s + (1 - rho) g**2; w -= learning_rate * g / sqrt(s + epsilon)``. Epsilon is inside the root, as in Keras.

    Args:
        learning_rate: a float, a schedule or a function without arguments.
        rho: how slowly the average moves.
        momentum: above 0, steps are accumulated with this factor.
        epsilon: keeps the division finite.
        centered: divide by the estimated standard deviation, not by the root mean square.
        options: see ``Optimizer``: weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, name, ...

    >>> import gradlite
    >>> from gradlite.keras.optimizers import RMSprop
    >>> w = gradlite.Variable([1.0])
    >>> RMSprop(learning_rate=0.1, rho=0.75).apply([gradlite.Tensor([2.0])], [w])
    >>> w.numpy().round(4)
    array([0.8], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered

    def slots(self) -> Sequence[Sequence[Slot]]:
        """The mean square, and what momentum and centring need."""
        slots = [[Slot("velocity")]]
        if self.momentum > 0:
            slots.append([Slot("momentum")])
        if self.centered:
            slots.append([Slot("average_gradient")])
        return slots

    def update(
        self, backend: Backend, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> None:
        """Launch ``rmsprop``."""
        backend.launch(
            "rmsprop",
            parameter,
            gradient,
            state["velocity"],
            state.get("average_gradient"),
            state.get("momentum"),
            rate,
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": self.centered,
        }


class Adagrad(Optimizer):
    """The gradient divided by the root of the sum of all its squares so far (Duchi et al. 2011).

    Args:
        learning_rate: a float, a schedule or a function without arguments; 1.0 is the paper's.
        initial_accumulator_value: what the sums start from; not negative.
        epsilon: keeps the division finite.
        options: see ``Optimizer``: weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, name, ...

    >>> import gradlite
    >>> from gradlite.keras.optimizers import Adagrad
    >>> w = gradlite.Variable([1.0])
    >>> Adagrad(learning_rate=0.5, initial_accumulator_value=0.0).apply([gradlite.Tensor([2.0])], [w])
    >>> w.numpy().round(4)
    array([0.5], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        if initial_accumulator_value < 0:
            raise ValueError(
                "`initial_accumulator_value` must not be negative. "
                f"Received: initial_accumulator_value={initial_accumulator_value}."
            )
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def slots(self) -> Sequence[Sequence[Slot]]:
        """The sums of squares."""
        return [[Slot("accumulator", self.initial_accumulator_value)]]

    def update(
        self, backend: Backend, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> None:
        """Launch ``adagrad``."""
        backend.launch("adagrad", parameter, gradient, state["accumulator"], rate, epsilon=self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }


class Adadelta(Optimizer):
    """Steps of the root mean square of past steps over that of gradients (Zeiler 2012).

    Args:
        learning_rate: a float, a schedule or a function without arguments; 1.0 is the paper's.
        rho: how slowly the averages move.
        epsilon: keeps the division finite, and the first steps from being 0.
        options: see ``Optimizer``: weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, name, ...

    >>> import gradlite
    >>> from gradlite.keras.optimizers import Adadelta
    >>> w = gradlite.Variable([1.0])
    >>> Adadelta(learning_rate=1.0).apply([gradlite.Tensor([2.0])], [w])
    >>> bool(0.99 < w.numpy()[0] < 1.0)
    True
    """

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.epsilon = epsilon

    def slots(self) -> Sequence[Sequence[Slot]]:
        """Mean squares of gradients and of steps."""
        return [[Slot("accumulated_grad"), Slot("accumulated_delta_var")]]

    def update(
        self, backend: Backend, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> None:
        """Launch ``adadelta``."""
        square, delta = state["accumulated_grad"], state["accumulated_delta_var"]
        backend.launch("adadelta", parameter, gradient, square, delta, rate, rho=self.rho, epsilon=self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}
