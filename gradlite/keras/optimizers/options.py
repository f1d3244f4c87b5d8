"""The arguments that all optimizers share: checked, kept as attributes, written into configs."""

from __future__ import annotations

import inspect
import numbers
from typing import Any

from gradlite.keras.utils.lookup import suggest

DEFAULTS: dict[str, Any] = {
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


class Options:
    """The shared options of an optimizer, as attributes."""

    weight_decay: float | None
    clipnorm: float | None
    global_clipnorm: float | None
    clipvalue: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None

    def _set_options(self, owner: str, options: dict[str, Any]) -> None:
        for name in options:
            if name not in DEFAULTS:
                raise ValueError(self._unknown(owner, name, options[name]))
        for name, default in DEFAULTS.items():
            setattr(self, name, options.get(name, default))
        self._check_options()

    def _unknown(self, owner: str, name: str, value: Any) -> str:
        """The message for an argument that there is none of, with today's spelling of those of old."""
        if name == "lr":
            return f"{owner}: argument `lr` is spelled `learning_rate`. Write learning_rate={value!r}."
        if name == "decay":
            return (
                f"{owner}: argument `decay` no longer exists. The same rate falls off as "
                f"learning_rate=keras.optimizers.schedules.InverseTimeDecay(rate, decay_steps=1, decay_rate={value!r})."
            )
        known = [*inspect.signature(type(self)).parameters, *DEFAULTS]
        known = [k for k in known if k not in ("options", "kwargs", "args")]
        return f"{owner}: argument `{name}` is not recognized.{suggest(name, known)} Received: {name}={value!r}."

    def _check_options(self) -> None:
        clips = {name: getattr(self, name) for name in ("clipnorm", "clipvalue", "global_clipnorm")}
        given = {name: value for name, value in clips.items() if value is not None}
        if len(given) > 1:
            raise ValueError(
                f"Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. Received: {given}."
            )
        for name, value in given.items():
            if not value > 0:
                raise ValueError(f"`{name}` must be positive, or None for no clipping. Received: {name}={value}.")
        steps = self.gradient_accumulation_steps
        if steps is not None and not (isinstance(steps, numbers.Integral) and steps >= 2):
            raise ValueError(
                f"`gradient_accumulation_steps` must be an integer >= 2. Received: gradient_accumulation_steps={steps}"
            )
        if self.loss_scale_factor is not None and not self.loss_scale_factor > 0:
            raise ValueError(f"`loss_scale_factor` must be positive. Received: {self.loss_scale_factor}.")
        if self.use_ema:
            self._check_average()

    def _check_average(self) -> None:
        if not 0 <= self.ema_momentum <= 1:
            raise ValueError(f"`ema_momentum` must be in the range [0, 1]. Received: ema_momentum={self.ema_momentum}")
        frequency = self.ema_overwrite_frequency
        if frequency is not None and not (isinstance(frequency, numbers.Integral) and frequency >= 1):
            raise ValueError(
                "`ema_overwrite_frequency` must be an integer >= 1 or None. "
                f"Received: ema_overwrite_frequency={frequency}"
            )

    def _options_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in DEFAULTS}
