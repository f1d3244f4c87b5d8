"""What recorded steps have worked into them: the memory and the objects of a model, compared by identity."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from gradlite import config
from gradlite.keras import backend as keras_backend

# What training itself changes, or what is in ``state_of``.
_NO_TRAITS = frozenset(
    {
        "_trainable", "_losses", "_kept_steps", "_compiled_loss", "_compiled_metrics", "_loss_tracker", "optimizer",
        "history", "stop_training", "run_eagerly", "_compile_arguments", "_initial_epoch",
        "_counted", "_layout", "_iterations", "_learning_rate",
    }
)  # fmt: skip


def same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two sequences hold the very same objects. They must hold them: an id alone may be given anew."""
    return len(some) == len(others) and all(map(operator.is_, some, others))


def state_of(model: Any) -> tuple[list[Any], list[Any]]:
    """The objects that a step of the model works on, and its traits.

    The first are the memory of variables, and what is trained. Traits are what else the Python code of a step reads:
    attributes of the layers and of the optimizer, and settings. One that was set between two calls of ``fit`` shows; a
    change inside of a list or another object does not.
    """
    objects: list[Any] = [model.optimizer, model._compiled_loss]
    traits: list[Any] = [config.get_matmul_precision(), keras_backend.floatx()]
    variables: list[Any] = []
    metrics = [model._loss_tracker, *model._compiled_metrics.metrics] if model.compiled else []
    for layer in model.flatten_layers():
        objects += (layer, layer._trainable)
        variables += layer.own_weights
        metrics += layer._metrics if model.compiled else ()
        traits += _attributes(layer)
    for metric in metrics:
        variables += metric.variables
    for variable in variables:
        objects += (variable, variable.data, variable.requires_grad)
    if model.optimizer is not None:
        traits += _attributes(model.optimizer)
    return objects, traits


def _attributes(thing: Any) -> list[Any]:
    return [value for name, value in vars(thing).items() if name not in _NO_TRAITS]
