"""Lion: steps of the sign of a momentum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradlite.backends import Backend
from gradlite.keras.optimizers.base import Optimizer
from gradlite.keras.optimizers.group import Slot


class Lion(Optimizer):
    """Steps of one size in the direction of the sign of a momentum (Chen et al. 2023).

    ``w -= learning_rate sign(beta_1 m + (1 - beta_1) g); m = beta_2 m + (1 - beta_2) g``. The learning rate is usually
    3 to 10 times smaller than Adam's.

    Args:
        learning_rate: a float, a schedule or a function without arguments.
        beta_1: the momentum's share in the step, above 0.
        beta_2: how slowly the momentum moves.
        options: see ``Optimizer``: weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, name, ...

    >>> import gradlite
    >>> from gradlite.keras.optimizers import Lion
    >>> w = gradlite.Variable([1.0])
    >>> Lion(learning_rate=0.25).apply([gradlite.Tensor([2.0])], [w])
    >>> w.numpy()
    array([0.75], dtype=float32)
    """

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        if not 0 < beta_1 <= 1:
            raise ValueError(
                "`beta_1` must be above 0 (where Lion would be the sign of the gradient) and at most 1. "
                f"Received: beta_1={beta_1}."
            )
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def slots(self) -> Sequence[Sequence[Slot]]:
        """The momentum."""
        return [[Slot("momentum")]]

    def update(
        self, backend: Backend, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> None:
        """Launch ``lion``."""
        betas = {"beta_1": self.beta_1, "beta_2": self.beta_2}
        backend.launch("lion", parameter, gradient, state["momentum"], rate, **betas)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2}
