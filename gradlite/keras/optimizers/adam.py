"""Adam and its kin: AdamW, Adamax, Nadam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradlite.backends import Backend
from gradlite.keras.backend import floatx
from gradlite.keras.optimizers.base import Optimizer
from gradlite.keras.optimizers.group import Slot
from gradlite.keras.variables import Variable


class _Moments(Optimizer):
    """What the four have in common: two decay rates and an epsilon."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def _betas(self) -> dict[str, float]:
        return {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **self._betas()}


class Adam(_Moments):
    """Adaptive moments (Kingma and Ba, ICLR 2015).

    ``m += (g - m)(1 - beta_1)``, ``v += (g**2 - v)(1 - beta_2)``,
    ``w -= learning_rate sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)`` at step t.

    Args:
        learning_rate: a float, a schedule or a function without arguments.
        beta_1: how slowly the mean of the gradient moves.
        beta_2: how slowly the mean of its square moves.
        epsilon: keeps the division finite.
        amsgrad: divide by the largest v so far (Reddi et al., ICLR 2018).
        options: see ``Optimizer``: weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, name, ...

    >>> import gradlite
    >>> from gradlite.keras.optimizers import Adam
    >>> w = gradlite.Variable([1.0])
    >>> Adam(learning_rate=0.1).apply([gradlite.Tensor([2.0])], [w])
    >>> w.numpy().round(4)
    array([0.9], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.amsgrad = amsgrad

    def slots(self) -> Sequence[Sequence[Slot]]:
        """Mean and mean square of the gradient."""
        moments = [Slot("momentum"), Slot("velocity")]
        return [moments, [Slot("velocity_hat")]] if self.amsgrad else [moments]

    def update(
        self, backend: Backend, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> None:
        """Launch ``adam``."""
        m, v, largest = state["momentum"], state["velocity"], state.get("velocity_hat")
        backend.launch("adam", parameter, gradient, m, v, largest, rate, step, **self._betas())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "amsgrad": self.amsgrad}


class AdamW(Adam):
    """Adam with weight decay that does not pass through the moments (Loshchilov and Hutter, ICLR 2019).

    The arguments of ``Adam``, with ``weight_decay`` (0.004) times the learning rate taken from each weight.

    >>> from gradlite.keras.optimizers import AdamW
    >>> AdamW().weight_decay
    0.004
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options)
        if self.weight_decay is None:
            raise ValueError("AdamW needs a `weight_decay`. Received: weight_decay=None. Use Adam for none.")


class Adamax(_Moments):
    """Adam with the infinity norm (Kingma and Ba, ICLR 2015, section 7).

    ``u = max(beta_2 u, |g|)`` takes the place of v: ``w -= learning_rate / (1 - beta_1**t) * m / (u + epsilon)``.
    The arguments are those of ``Adam`` without ``amsgrad``.

    >>> import gradlite
    >>> from gradlite.keras.optimizers import Adamax
    >>> w = gradlite.Variable([1.0])
    >>> Adamax(learning_rate=0.1).apply([gradlite.Tensor([2.0])], [w])
    >>> w.numpy().round(4)
    array([0.9], dtype=float32)
    """

    def slots(self) -> Sequence[Sequence[Slot]]:
        """The mean of the gradient and its norm."""
        return [[Slot("momentum"), Slot("norm")]]

    def update(
        self, backend: Backend, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> None:
        """Launch ``adamax``."""
        backend.launch("adamax", parameter, gradient, state["momentum"], state["norm"], rate, step, **self._betas())


class Nadam(_Moments):
    """Adam with Nesterov momentum (Dozat 2015), whose momentum follows ``beta_1 (1 - 0.96**t / 2)``.

    The arguments are those of ``Adam`` without ``amsgrad``.

    >>> import gradlite
    >>> from gradlite.keras.optimizers import Nadam
    >>> w = gradlite.Variable([1.0])
    >>> Nadam(learning_rate=0.1).apply([gradlite.Tensor([2.0])], [w])
    >>> bool(w.numpy()[0] < 0.95)
    True
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self._product: Variable | None = None

    def slots(self) -> Sequence[Sequence[Slot]]:
        """Mean and mean square of the gradient."""
        return [[Slot("momentum"), Slot("velocity")]]

    def build(self, variables: Any) -> None:
        """Make the state, with the product of the momentum schedule so far."""
        variables = list(variables)
        if self._product is None:
            dtype = variables[0].dtype if variables else np.dtype(floatx())
            self._product = self.add_variable((), 1.0, dtype, name="u_product")
        super().build(variables)

    def prepare(self, backend: Backend, step: Any) -> None:
        """Launch ``nadam_product``."""
        assert self._product is not None
        backend.launch("nadam_product", self._product.data, step, beta_1=self.beta_1)
        self._product.bump_version()

    def update(
        self, backend: Backend, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> None:
        """Launch ``nadam``."""
        assert self._product is not None
        m, v = state["momentum"], state["velocity"]
        backend.launch("nadam", parameter, gradient, m, v, self._product.data, rate, step, **self._betas())
