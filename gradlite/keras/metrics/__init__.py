"""Metrics: what training and evaluation report, accumulated batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlite.keras.losses import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kind_of_labels,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from gradlite.keras.metrics.accuracy_metrics import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from gradlite.keras.metrics.auc import AUC
from gradlite.keras.metrics.base import Metric
from gradlite.keras.metrics.confusion_metrics import (
    FalseNegatives,
    FalsePositives,
    Precision,
    PrecisionAtRecall,
    Recall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    TrueNegatives,
    TruePositives,
)
from gradlite.keras.metrics.correlation_metrics import (
    ConcordanceCorrelation,
    PearsonCorrelation,
    concordance_correlation,
    pearson_correlation,
)
from gradlite.keras.metrics.hinge_metrics import CategoricalHinge, Hinge, SquaredHinge
from gradlite.keras.metrics.matrix_metrics import ConfusionMatrix, F1Score, FBetaScore, IoU, MeanIoU
from gradlite.keras.metrics.probabilistic_metrics import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    KLDivergence,
    Poisson,
    SparseCategoricalCrossentropy,
)
from gradlite.keras.metrics.reduction_metrics import Mean, MeanMetricWrapper, Sum
from gradlite.keras.metrics.regression_metrics import (
    CosineSimilarity,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    R2Score,
    RootMeanSquaredError,
    cosine_similarity,
)
from gradlite.keras.utils.lookup import lookup, to_config
from gradlite.keras.utils.naming import snake_case
from gradlite.keras.utils.registry import CustomObjectScope

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "ConcordanceCorrelation",
    "ConfusionMatrix",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "IoU",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "PearsonCorrelation",
    "Poisson",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "accuracy",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "concordance_correlation",
    "cosine_similarity",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "pearson_correlation",
    "poisson",
    "resolve",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]

# Keras's short names of functions.
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
mse = MSE = mean_squared_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kl_divergence

_CLASSES: tuple[type[Metric], ...] = (
    AUC, Accuracy, BinaryAccuracy, BinaryCrossentropy, CategoricalAccuracy, CategoricalCrossentropy,
    CategoricalHinge, ConcordanceCorrelation, ConfusionMatrix, CosineSimilarity, F1Score, FBetaScore,
    FalseNegatives, FalsePositives, Hinge, IoU, KLDivergence, LogCoshError, Mean, MeanAbsoluteError,
    MeanAbsolutePercentageError, MeanIoU, MeanMetricWrapper, MeanSquaredError, MeanSquaredLogarithmicError,
    PearsonCorrelation, Poisson, Precision, PrecisionAtRecall, R2Score, Recall, RecallAtPrecision,
    RootMeanSquaredError, SensitivityAtSpecificity, SparseCategoricalAccuracy, SparseCategoricalCrossentropy,
    SparseTopKCategoricalAccuracy, SpecificityAtSensitivity, SquaredHinge, Sum, TopKCategoricalAccuracy,
    TrueNegatives, TruePositives,
)  # fmt: skip
_ALIASES: dict[str, type[Metric]] = {
    "bce": BinaryCrossentropy, "mse": MeanSquaredError, "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError, "msle": MeanSquaredLogarithmicError, "kld": KLDivergence,
    "rmse": RootMeanSquaredError, "log_cosh": LogCoshError, "logcosh": LogCoshError,
}  # fmt: skip
TABLE: dict[str, Any] = {
    **{kind.__name__: kind for kind in _CLASSES},
    **{snake_case(kind.__name__): kind for kind in _CLASSES},
    **_ALIASES,
    **{name.upper(): kind for name, kind in _ALIASES.items() if len(name) < 5},
}


def get(identifier: Any) -> Any:
    """The metric that a name, config, class, function or instance stands for; None for None.

    Raises:
        ValueError: for an unknown name, with the nearest ones.

    >>> from gradlite.keras import metrics
    >>> metrics.get("mse").name
    'mean_squared_error'
    """
    return lookup("metric", identifier, TABLE)


def serialize(metric: Any) -> Any:
    """A config that ``get`` and ``deserialize`` understand."""
    return to_config("metrics", metric)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The metric that ``serialize`` described."""
    with CustomObjectScope(custom_objects):
        return get(config)


# Names that leave the kind of labels to the shapes.
_GENERAL = {"accuracy": "accuracy", "acc": "accuracy", "crossentropy": "crossentropy", "ce": "crossentropy"}


def resolve(
    identifier: Any, y_true_shape: Sequence[int | None] = (), y_pred_shape: Sequence[int | None] = ()
) -> Metric:
    """The Metric that ``compile(metrics=[identifier])`` means for labels and an output of these shapes.

    ``"accuracy"`` and ``"acc"`` become BinaryAccuracy for one output unit, SparseCategoricalAccuracy for class numbers
    and else CategoricalAccuracy; ``"crossentropy"`` and ``"ce"`` likewise. Functions are wrapped in a mean. A metric
    named by a string has that string as its name, which is the key in logs.

    >>> from gradlite.keras import metrics
    >>> metrics.resolve("accuracy", (32,), (32, 10))
    <SparseCategoricalAccuracy name=accuracy>
    """
    if isinstance(identifier, Metric):
        return identifier
    named = isinstance(identifier, str)
    general = _GENERAL.get(identifier.lower()) if named else None
    found = get(f"{kind_of_labels(y_true_shape, y_pred_shape)}_{general}" if general else identifier)
    if found is None:
        raise ValueError("Expected a metric: a name, a function or a Metric. Received: None.")
    if not isinstance(found, Metric):
        name = getattr(found, "__name__", None) or getattr(found, "name", None)
        found = MeanMetricWrapper(found, name=name or snake_case(type(found).__name__))
    if named:
        found.name = identifier
    return found
