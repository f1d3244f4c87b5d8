"""The Keras-like API: layers, models and all that training takes. ``from gradlite import keras``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gradlite.keras import (
    activations,
    backend,
    callbacks,
    config,
    constraints,
    dtype_policies,
    initializers,
    layers,
    losses,
    metrics,
    mixed_precision,
    models,
    optimizers,
    regularizers,
    saving,
    utils,
)
from gradlite.keras.callbacks import Callback
from gradlite.keras.dtype_policies import DTypePolicy
from gradlite.keras.initializers import Initializer
from gradlite.keras.layers import Input, InputSpec, Layer
from gradlite.keras.losses import Loss
from gradlite.keras.metrics import Metric
from gradlite.keras.models import Model, Sequential
from gradlite.keras.optimizers import Optimizer
from gradlite.keras.regularizers import Regularizer
from gradlite.keras.variables import Variable
from gradlite.version import __version__

if TYPE_CHECKING:
    from gradlite.keras import datasets


def __getattr__(name: str) -> Any:
    # Datasets bring what downloading needs (hashing, URLs, files), which only those who use them should wait for.
    if name == "datasets":
        return import_module("gradlite.keras.datasets")
    raise AttributeError(f"module 'gradlite.keras' has no attribute {name!r}")


__all__ = [
    "Callback",
    "DTypePolicy",
    "Initializer",
    "Input",
    "InputSpec",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "Variable",
    "__version__",
    "activations",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "dtype_policies",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "optimizers",
    "regularizers",
    "saving",
    "utils",
]
