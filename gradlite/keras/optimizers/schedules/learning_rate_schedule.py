"""Learning rates as functions of the step number, on the device that holds the step or as plain numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite import ops
from gradlite.autograd import no_grad
from gradlite.keras.backend import floatx
from gradlite.tensor import Tensor


class LearningRateSchedule:
    """Base class: override ``__call__(step)``, and ``get_config`` so that a model with the schedule can be saved.

    An optimizer calls it with a 0-d integer Tensor, the number of steps taken so far. Computed with operators and
    ``gradlite`` functions, the result stays on the device and follows the step when a recorded step is replayed.

    >>> from gradlite.keras.optimizers.schedules import LearningRateSchedule
    >>> class Halving(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.1 / (step + 1)
    >>> Halving()(1)
    0.05
    """

    def __call__(self, step: Any) -> Any:
        raise NotImplementedError(f"The schedule {type(self).__name__} must override `__call__(self, step)`.")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        raise NotImplementedError(
            f"The schedule {type(self).__name__} must override `get_config()` so that it can be saved."
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        """A schedule from what ``get_config`` returned."""
        return cls(**config)


class _Formula(LearningRateSchedule):
    """A schedule whose formula is written once, over a namespace of functions: NumPy's, or the operations'."""

    def __call__(self, step: Any) -> Any:
        """The rate at ``step``: a Tensor for a Tensor, a float for a number, an array for an array.

        Computed in float64: float32 loses steps beyond 2**24 and restarts that fall on a step.
        """
        if isinstance(step, Tensor):
            with no_grad():
                return ops.astype(self.rate(ops, ops.astype(step, "float64")), floatx())
        rate = self.rate(np, np.asarray(step, np.float64))
        return float(rate) if np.ndim(rate) == 0 else rate

    def rate(self, xp: Any, step: Any) -> Any:
        """The formula, for a float64 step and a namespace with NumPy's names."""
        raise NotImplementedError


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"Argument `{name}` must be > 0. Received: {name}={value}")
    return value


class ExponentialDecay(_Formula):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: after so many steps the rate has been multiplied by ``decay_rate``.
        decay_rate: the factor.
        staircase: round ``step / decay_steps`` down, so that the rate falls in steps.
        name: kept for configs.

    >>> from gradlite.keras.optimizers.schedules import ExponentialDecay
    >>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)(20)
    0.025
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def rate(self, xp: Any, step: Any) -> Any:
        """The formula above."""
        periods = step / self.decay_steps
        if self.staircase:
            periods = xp.floor(periods)
        return self.initial_learning_rate * xp.power(self.decay_rate, periods)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "staircase": self.staircase,
            "name": self.name,
        }


class PiecewiseConstantDecay(_Formula):
    """``values[0]`` up to and including step ``boundaries[0]``, then ``values[1]`` up to ``boundaries[1]``, and so on.

    >>> from gradlite.keras.optimizers.schedules import PiecewiseConstantDecay
    >>> [PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.1])(step) for step in (10, 11, 21)]
    [1.0, 0.5, 0.1]
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "There must be one value more than boundaries. "
                f"Received: {len(boundaries)} boundaries {list(boundaries)} and {len(values)} values {list(values)}."
            )
        if any(a >= b for a, b in itertools.pairwise(boundaries)):
            raise ValueError(f"The boundaries must increase. Received: boundaries={list(boundaries)}.")
        self.boundaries = boundaries
        self.values = values
        self.name = name

    def rate(self, xp: Any, step: Any) -> Any:
        """The value of the interval that ``step`` is in."""
        rate: Any = 0.0 * step + self.values[-1]
        for boundary, value in zip(reversed(self.boundaries), reversed(self.values[:-1])):
            rate = xp.where(step <= boundary, value, rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"boundaries": list(self.boundaries), "values": list(self.values), "name": self.name}


class PolynomialDecay(_Formula):
    """``(initial - end) * (1 - step / decay_steps) ** power + end``, and ``end`` from ``decay_steps`` on.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: when ``end_learning_rate`` is reached.
        end_learning_rate: the last rate.
        power: 1 is a straight line.
        cycle: instead of stopping, decay again and again: over 2, 3, ... times ``decay_steps``, whichever is next.
        name: kept for configs.

    >>> from gradlite.keras.optimizers.schedules import PolynomialDecay
    >>> PolynomialDecay(1.0, decay_steps=10, end_learning_rate=0.0)(5)
    0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def rate(self, xp: Any, step: Any) -> Any:
        """The formula above."""
        if self.cycle:
            length = self.decay_steps * xp.maximum(xp.ceil(step / self.decay_steps), 1.0)
        else:
            length = float(self.decay_steps)
            step = xp.minimum(step, length)
        falling = self.initial_learning_rate - self.end_learning_rate
        return falling * xp.power(1.0 - step / length, self.power) + self.end_learning_rate

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "end_learning_rate": self.end_learning_rate,
            "power": self.power,
            "cycle": self.cycle,
            "name": self.name,
        }


class InverseTimeDecay(_Formula):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``, with ``staircase`` rounding the quotient down.

    >>> from gradlite.keras.optimizers.schedules import InverseTimeDecay
    >>> InverseTimeDecay(0.1, decay_steps=1, decay_rate=0.5)(2)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def rate(self, xp: Any, step: Any) -> Any:
        """The formula above."""
        periods = step / self.decay_steps
        if self.staircase:
            periods = xp.floor(periods)
        return self.initial_learning_rate / (1.0 + self.decay_rate * periods)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "staircase": self.staircase,
            "name": self.name,
        }


class CosineDecay(_Formula):
    """Half a cosine wave from the initial rate down to ``alpha`` times it, after an optional linear warm-up.

    Loshchilov and Hutter, "SGDR" (ICLR 2017); warm-up as in Goyal et al. (2017).

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: the length of the decay, warm-up not counted.
        alpha: the last rate, as a fraction of the one that the decay starts from.
        name: kept for configs.
        warmup_target: rise to this rate first; the decay then starts from it. None: no warm-up.
        warmup_steps: the length of the warm-up.

    >>> from gradlite.keras.optimizers.schedules import CosineDecay
    >>> round(CosineDecay(0.1, decay_steps=10)(5), 12)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def rate(self, xp: Any, step: Any) -> Any:
        """The warm-up's straight line, then the cosine."""
        if self.warmup_target is None:
            return self._decay(xp, step, self.initial_learning_rate)
        rise = (self.warmup_target - self.initial_learning_rate) * (step / max(self.warmup_steps, 1))
        decay = self._decay(xp, step - self.warmup_steps, self.warmup_target)
        return xp.where(step < self.warmup_steps, rise + self.initial_learning_rate, decay)

    def _decay(self, xp: Any, step: Any, start: float) -> Any:
        fraction = xp.minimum(step, float(self.decay_steps)) / self.decay_steps
        return start * ((1.0 - self.alpha) * (0.5 * (1.0 + xp.cos(math.pi * fraction))) + self.alpha)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "alpha": self.alpha,
            "name": self.name,
            "warmup_target": self.warmup_target,
            "warmup_steps": self.warmup_steps,
        }


class CosineDecayRestarts(_Formula):
    """Cosine decays one after the other (Loshchilov and Hutter, "SGDR", ICLR 2017).

    Args:
        initial_learning_rate: the rate at step 0.
        first_decay_steps: the length of the first decay.
        t_mul: each decay is so many times as long as the one before.
        m_mul: each starts from so many times the rate of the one before.
        alpha: the lowest rate, as a fraction of ``initial_learning_rate``.
        name: kept for configs.

    >>> from gradlite.keras.optimizers.schedules import CosineDecayRestarts
    >>> [round(CosineDecayRestarts(0.1, 10)(step), 12) for step in (0, 5, 10, 20)]
    [0.1, 0.05, 0.1, 0.05]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = _positive("first_decay_steps", first_decay_steps)
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def rate(self, xp: Any, step: Any) -> Any:
        """The cosine of the decay that ``step`` is in. Decay i begins after (1 - t_mul**i) / (1 - t_mul) first ones."""
        fraction = step / self.first_decay_steps
        if self.t_mul == 1.0:
            restarts = xp.floor(fraction)
            fraction = fraction - restarts
        else:
            # The slack keeps a restart that falls on a step from rounding into the decay before it.
            exact = xp.log(1.0 - fraction * (1.0 - self.t_mul)) / math.log(self.t_mul)
            restarts = xp.floor(exact + 1e-9)
            length = xp.power(self.t_mul, restarts)
            fraction = (fraction - (1.0 - length) / (1.0 - self.t_mul)) / length
        wave = 0.5 * xp.power(self.m_mul, restarts) * (1.0 + xp.cos(math.pi * fraction))
        return self.initial_learning_rate * ((1.0 - self.alpha) * wave + self.alpha)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "first_decay_steps": self.first_decay_steps,
            "t_mul": self.t_mul,
            "m_mul": self.m_mul,
            "alpha": self.alpha,
            "name": self.name,
        }
