"""LossScaleOptimizer: keeps float16 gradients from vanishing by scaling the loss, and skips steps that overflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradlite.keras.optimizers.base import Optimizer
from gradlite.keras.optimizers.guard import Guard
from gradlite.keras.optimizers.options import DEFAULTS
from gradlite.keras.utils.lookup import to_config
from gradlite.keras.variables import Variable
from gradlite.tensor import Tensor


class LossScaleOptimizer(Optimizer):
    """Another optimizer, with a loss scale that adapts itself (Micikevicius et al., ICLR 2018).

    The loss is multiplied by the scale (``scale_loss``) and gradients are divided by it. A step with a gradient that is
    not finite is left out and halves the scale; ``dynamic_growth_steps`` good steps in a row double it. A step that is
    left out changes no weight, no state of the inner optimizer and no count of iterations. All of that is decided where
    the gradients are: the host waits for nothing.

    Args:
        inner_optimizer: the optimizer that updates; options such as clipping are set there.
        initial_scale: the first scale.
        dynamic_growth_steps: good steps before the scale is doubled.
        name: for messages and files.

    >>> import gradlite
    >>> from gradlite.keras.optimizers import SGD, LossScaleOptimizer
    >>> w = gradlite.Variable([1.0])
    >>> optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=8.0)
    >>> optimizer.apply([gradlite.Tensor([8.0])], [w])
    >>> w.numpy()
    array([0.5], dtype=float32)
    """

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **options: Any,
    ) -> None:
        for option, value in options.items():
            # Old files hold the shared options with their defaults.
            if option not in DEFAULTS or value != DEFAULTS[option]:
                raise ValueError(
                    f"LossScaleOptimizer does not take `{option}`; give it to the inner optimizer. "
                    f"Received: {option}={value!r}."
                )
        if not isinstance(inner_optimizer, Optimizer):
            raise TypeError(f"inner_optimizer must be an Optimizer. Received: {inner_optimizer!r}.")
        super().__init__(0.0, name=name)
        self.inner_optimizer = inner_optimizer
        self.initial_scale = initial_scale
        self.dynamic_growth_steps = dynamic_growth_steps
        # Otherwise gradients would be divided twice.
        inner_optimizer.loss_scale_factor = None

    def build(self, variables: Iterable[Variable]) -> None:
        """Make the state of this optimizer and of the inner one."""
        variables = list(variables)
        if not self.built:
            self.step_counter = self.add_variable((), 0, "int64", name="step_counter")
            self.dynamic_scale = self.add_variable((), self.initial_scale, "float32", name="dynamic_scale")
            self.inner_optimizer._guard = Guard(self.dynamic_scale, self.step_counter, self.dynamic_growth_steps)
            self.built = True
        self.inner_optimizer.build(variables)

    @property
    def variables(self) -> list[Variable]:
        """This optimizer's state, then the inner one's."""
        return super().variables + self.inner_optimizer.variables

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Update with the gradients of the scaled loss, or leave the step out."""
        if trainable_variables is not None and not self.built:
            self.build(trainable_variables)
        self.inner_optimizer.apply(grads, trainable_variables)

    def phase(self) -> tuple[bool, bool, int]:
        """The inner optimizer's."""
        return self.inner_optimizer.phase()

    def steps_are_alike(self) -> bool:
        """The inner optimizer's."""
        return self.inner_optimizer.steps_are_alike()

    def prepare_replay(self) -> None:
        """The inner optimizer's."""
        self.inner_optimizer.prepare_replay()

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the current scale."""
        return loss * (self.dynamic_scale if self.built else self.initial_scale)

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> Tensor:
        """The inner optimizer's: updates that were made."""
        return self.inner_optimizer.iterations

    def finalize_variable_values(self, var_list: Sequence[Variable] | None = None) -> None:
        """The inner optimizer's."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def swap_ema_values(self) -> None:
        """The inner optimizer's."""
        self.inner_optimizer.swap_ema_values()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "name": self.name,
            "inner_optimizer": to_config("optimizers", self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Optimizer:
        """An optimizer from what ``get_config`` returned."""
        from gradlite.keras.optimizers import deserialize

        arguments = dict(config)
        if isinstance(arguments.get("inner_optimizer"), Mapping):
            arguments["inner_optimizer"] = deserialize(arguments["inner_optimizer"], custom_objects)
        return cls(**arguments)
