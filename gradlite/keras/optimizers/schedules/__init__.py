"""Learning rate schedules, and finding them by config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradlite.keras.optimizers.schedules.learning_rate_schedule import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from gradlite.keras.utils.lookup import lookup, to_config
from gradlite.keras.utils.registry import CustomObjectScope

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]

_TABLE: dict[str, type[LearningRateSchedule]] = {
    schedule.__name__: schedule
    for schedule in (
        ExponentialDecay,
        PiecewiseConstantDecay,
        PolynomialDecay,
        InverseTimeDecay,
        CosineDecay,
        CosineDecayRestarts,
    )
}


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any]:
    """The schedule as plain data.

    >>> from gradlite.keras.optimizers import schedules
    >>> schedules.serialize(schedules.ExponentialDecay(0.1, 10, 0.5))["class_name"]
    'ExponentialDecay'
    """
    config: dict[str, Any] = to_config("optimizers.schedules", learning_rate_schedule)
    return config


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> LearningRateSchedule:
    """The schedule that ``serialize`` described; ``custom_objects`` names classes of your own."""
    with CustomObjectScope(custom_objects):
        schedule: LearningRateSchedule = lookup("learning rate schedule", config, _TABLE)
    return schedule
