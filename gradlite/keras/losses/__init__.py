"""Losses: what training makes small, as classes with weights and reduction, and as functions of single samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlite.keras.losses.base import Loss, LossFunctionWrapper
from gradlite.keras.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    crossentropy,
    kind_of_labels,
    sparse_categorical_crossentropy,
)
from gradlite.keras.losses.focal import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    binary_focal_crossentropy,
    categorical_focal_crossentropy,
)
from gradlite.keras.losses.hinge import (
    CategoricalHinge,
    Hinge,
    SquaredHinge,
    categorical_hinge,
    hinge,
    squared_hinge,
)
from gradlite.keras.losses.regression import (
    CosineSimilarity,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    cosine_similarity,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)
from gradlite.keras.utils.lookup import lookup, to_config
from gradlite.keras.utils.registry import CustomObjectScope

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossFunctionWrapper",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "crossentropy",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kind_of_labels",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
]

# Keras's short names.
bce = BCE = binary_crossentropy
kld = KLD = kl_divergence
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
mse = MSE = mean_squared_error
msle = MSLE = mean_squared_logarithmic_error

_CLASSES: tuple[type[Loss], ...] = (
    BinaryCrossentropy, BinaryFocalCrossentropy, CategoricalCrossentropy, CategoricalFocalCrossentropy,
    CategoricalHinge, CosineSimilarity, Hinge, Huber, KLDivergence, LogCosh, LossFunctionWrapper, MeanAbsoluteError,
    MeanAbsolutePercentageError, MeanSquaredError, MeanSquaredLogarithmicError, Poisson,
    SparseCategoricalCrossentropy, SquaredHinge,
)  # fmt: skip
_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    binary_crossentropy, binary_focal_crossentropy, categorical_crossentropy, categorical_focal_crossentropy,
    categorical_hinge, cosine_similarity, crossentropy, hinge, huber, kl_divergence, log_cosh, mean_absolute_error,
    mean_absolute_percentage_error, mean_squared_error, mean_squared_logarithmic_error, poisson,
    sparse_categorical_crossentropy, squared_hinge,
)  # fmt: skip
_ALIASES: dict[str, Callable[..., Any]] = {
    "bce": bce, "kld": kld, "mae": mae, "mape": mape, "mse": mse, "msle": msle,
    "BCE": bce, "KLD": kld, "MAE": mae, "MAPE": mape, "MSE": mse, "MSLE": msle,
    "ce": crossentropy, "huber_loss": huber, "kullback_leibler_divergence": kl_divergence, "logcosh": log_cosh,
}  # fmt: skip
TABLE: dict[str, Any] = {
    **{kind.__name__: kind for kind in _CLASSES},
    **{function.__name__: function for function in _FUNCTIONS},
    **_ALIASES,
}


def get(identifier: Any) -> Any:
    """The loss that a name, config, class, function or instance stands for; None for None.

    Snake-case names and short ones give functions, names of classes give instances.

    Raises:
        ValueError: for an unknown name, with the nearest ones.

    >>> from gradlite.keras import losses
    >>> losses.get("mse") is losses.mean_squared_error
    True
    >>> losses.get("CategoricalHinge").name
    'categorical_hinge'
    """
    return lookup("loss", identifier, TABLE)


def serialize(loss: Any) -> Any:
    """A config that ``get`` and ``deserialize`` understand."""
    return to_config("losses", loss)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The loss that ``serialize`` described."""
    with CustomObjectScope(custom_objects):
        return get(config)
