"""SGD: plain gradient descent, with momentum, with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradlite.backends import Backend
from gradlite.keras.optimizers.base import Optimizer
from gradlite.keras.optimizers.group import Slot


class SGD(Optimizer):
    """Gradient descent.

    ``w -= learning_rate * g``; with momentum ``v = momentum * v - learning_rate * g; w += v``; with ``nesterov``
    ``w += momentum * v - learning_rate * g`` instead (Sutskever et al., ICML 2013).

    Args:
        learning_rate: a float, a schedule or a function without arguments.
        momentum: a float from 0 to 1.
        nesterov: whether to look ahead.
        options: see ``Optimizer``: weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, name, ...

    >>> import gradlite
    >>> from gradlite.keras.optimizers import SGD
    >>> w = gradlite.Variable([1.0])
    >>> SGD(learning_rate=0.1).apply([gradlite.Tensor([2.0])], [w])
    >>> w.numpy()
    array([0.8], dtype=float32)
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        if not isinstance(momentum, float) or not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be a float between 0 and 1. Received: momentum={momentum!r}.")
        self.momentum = momentum
        self.nesterov = nesterov

    def slots(self) -> Sequence[Sequence[Slot]]:
        """The velocity, where there is momentum."""
        return [[Slot("momentum")]] if self.momentum else []

    def update(
        self, backend: Backend, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> None:
        """Launch ``sgd`` or ``sgd_momentum``."""
        if self.momentum:
            backend.launch(
                "sgd_momentum",
                parameter,
                gradient,
                state["momentum"],
                rate,
                momentum=self.momentum,
                nesterov=self.nesterov,
            )
        else:
            backend.launch("sgd", parameter, gradient, rate)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}
