"""Optimizers, and finding them by name, config or instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradlite.keras.optimizers import schedules
from gradlite.keras.optimizers.adam import Adam, Adamax, AdamW, Nadam
from gradlite.keras.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from gradlite.keras.optimizers.base import Optimizer
from gradlite.keras.optimizers.lion import Lion
from gradlite.keras.optimizers.loss_scale import LossScaleOptimizer
from gradlite.keras.optimizers.sgd import SGD
from gradlite.keras.utils.lookup import lookup, to_config
from gradlite.keras.utils.registry import CustomObjectScope

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "LossScaleOptimizer",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]

_KINDS = (SGD, RMSprop, Adam, AdamW, Adamax, Nadam, Adagrad, Adadelta, Lion, LossScaleOptimizer)
_TABLE: dict[str, type[Optimizer]] = {kind.__name__: kind for kind in _KINDS}


def get(identifier: Any) -> Optimizer | None:
    """The optimizer that a name (in any case), a config, a class or an instance stands for; None for None.

    Raises:
        ValueError: for anything else, with the nearest names.

    >>> from gradlite.keras import optimizers
    >>> type(optimizers.get("rmsprop")).__name__
    'RMSprop'
    """
    optimizer = lookup("optimizer", identifier, _TABLE)
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise ValueError(
            f"Could not interpret optimizer identifier: {identifier!r}. "
            f"Expected one of the names {', '.join(sorted(_TABLE))}, or an Optimizer."
        )
    return optimizer


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """The optimizer as plain data, without its state.

    >>> from gradlite.keras import optimizers
    >>> optimizers.serialize(optimizers.SGD(0.5))["config"]["momentum"]
    0.0
    """
    config: dict[str, Any] = to_config("optimizers", optimizer)
    return config


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Optimizer:
    """The optimizer that ``serialize`` described; ``custom_objects`` names classes of your own."""
    with CustomObjectScope(custom_objects):
        optimizer = get(config)
    assert optimizer is not None
    return optimizer
