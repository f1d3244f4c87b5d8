"""What recorded steps have worked into them: the memory and the objects of a model, compared by identity."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from gradlite import config
from gradlite.keras import backend as keras_backend

# Attributes that training itself changes, or that are looked at as memory or as what is trained.
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


class ModelState(NamedTuple):
    """What recorded steps depend on.

    Attributes:
        memory: variables and the arrays that hold their values. Programs of other ones are of no use any more.
        trained: what is trained; programs wait for the time when that is so again.
        traits: what else the Python code of a step reads: attributes of the layers, the losses and the optimizer, and
            settings. One that was set between two steps shows; a change inside of a list or another object does not.
    """

    memory: list[Any]
    trained: list[Any]
    traits: list[Any]


def state_of(model: Any) -> ModelState:
    """The state of a model now."""
    memory: list[Any] = [model.optimizer, model._compiled_loss]
    trained: list[Any] = []
    traits: list[Any] = [config.get_matmul_precision(), config.get_winograd(), keras_backend.floatx()]
    variables: list[Any] = []
    metrics: list[Any] = []
    optimizers = (model.optimizer, getattr(model.optimizer, "inner_optimizer", None))
    parts: list[Any] = [optimizer for optimizer in optimizers if optimizer is not None]
    if model.compiled:
        metrics += (model._loss_tracker, *model._compiled_metrics.metrics)
        parts += model._compiled_loss.losses if model._compiled_loss is not None else ()
    for layer in model.flatten_layers():
        if layer is not model:
            memory.append(layer)
        trained.append(layer._trainable)
        variables += layer.own_weights
        metrics += layer._metrics if model.compiled else ()
        parts.append(layer)
    trained += [variable.requires_grad for variable in variables]
    for metric in metrics:
        variables += metric.variables
    for variable in variables:
        memory += (variable, variable.data)
    for part in parts:
        traits += [value for name, value in vars(part).items() if name not in _NO_TRAITS]
    return ModelState(memory, trained, traits)
