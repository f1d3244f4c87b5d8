"""The activations, losses, metrics, regularizers and constraints recorded from Keras, with their inputs.

Imported by the recorder and by gradlite's tests; see `layer_cases`. No framework is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fixed_arrays import integers, one_hot, probabilities, uniform

# Activations of each element. Their grid avoids the kinks of the piecewise ones, where libraries choose differently.
ELEMENTWISE_ACTIVATIONS = [
    "relu", "leaky_relu", "relu6", "celu", "elu", "selu", "softplus", "softsign", "silu", "swish", "gelu", "tanh",
    "sigmoid", "exponential", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "hard_shrink", "linear", "mish",
    "log_sigmoid", "squareplus", "soft_shrink", "sparse_plus", "tanh_shrink", "sparse_sigmoid",
]  # fmt: skip
# Not sparsemax: Keras 3.15's rows do not sum to one (it adds up all partial sums for its threshold).
ROW_ACTIVATIONS = ["softmax", "log_softmax", "glu"]
LARGE = np.array([20.0, 30.0, 45.0, 80.0, 87.0, 90.0, 100.0, 1e3, 1e4], np.float32)


def activation_grid() -> np.ndarray:
    """(n,) points between -10 and 10, tiny ones, and large ones up to 1e4 of both signs; no kink is among them."""
    smooth = np.linspace(-10.0, 10.0, 122).astype(np.float32) + np.float32(0.013)
    tiny = np.array([1e-3, 1e-6, 1e-20], np.float32)
    return np.concatenate([-LARGE[::-1], smooth, -tiny, tiny, LARGE])


def activation_rows() -> np.ndarray:
    """(9, 6) rows for softmax and the like: ordinary ones, equal ones, and ones with large entries."""
    ordinary = uniform("activations/rows", (6, 6), -4.0, 4.0)
    special = np.array([[0.5] * 6, [90, -90, 3, 2, 1, 0], [1000, 999, 998, -1000, 0, 1]], np.float32)
    return np.concatenate([ordinary, special])


def activation_cotangent() -> np.ndarray:
    """(9, 6) weights w of sum(activation(rows) * w); `glu` uses the first three columns."""
    return uniform("activations/cotangent", (9, 6))


@dataclass(frozen=True)
class ScoreCase:
    """A loss or metric and the kind of labels and predictions it is given.

    `data` is one of: sparse, categorical, binary (labels and probabilities); sparse_logits, categorical_logits,
    binary_logits; extreme_* (probabilities of exactly 0 and 1); regression, positive, signs, zero_one, exact, values.
    """

    name: str
    score: str
    data: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = (6, 4)
    weight_shape: tuple[int, ...] | None = None


def score_data(kind: str, key: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(y_true, y_pred) of one batch; the last axis of `shape` is the classes or features."""
    logits = uniform(f"{key}/pred", shape, -4.0, 4.0)
    labels = integers(f"{key}/true", shape[:-1], 0, shape[-1])
    bits = integers(f"{key}/bits", shape, 0, 2).astype(np.float32)
    fractions = uniform(f"{key}/fractions", shape, 0.01, 0.99)
    soft = probabilities(f"{key}/soft", shape)
    extreme = one_hot(integers(f"{key}/extreme", shape[:-1], 0, shape[-1]), shape[-1])
    table: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "sparse": (labels, soft),
        "sparse_column": (labels[..., None], soft),
        "sparse_logits": (labels, logits),
        "sparse_unnormalized": (labels, soft * 3.0),
        "categorical": (one_hot(labels, shape[-1]), soft),
        "categorical_logits": (one_hot(labels, shape[-1]), logits),
        "soft_labels": (probabilities(f"{key}/soft_true", shape), soft),
        "binary": (bits, fractions),
        "binary_logits": (bits, logits),
        "extreme_sparse": (labels, extreme),
        "extreme_categorical": (one_hot(labels, shape[-1]), extreme),
        "extreme_binary": (bits, integers(f"{key}/extreme_bits", shape, 0, 2).astype(np.float32)),
        "regression": (uniform(f"{key}/regression", shape, -3.0, 3.0), logits),
        "column": (uniform(f"{key}/column", shape[:1], -3.0, 3.0), logits[..., :1]),
        "positive": (uniform(f"{key}/positive", shape, 0.0, 5.0), uniform(f"{key}/rate", shape, 0.05, 5.0)),
        "signs": (bits * 2.0 - 1.0, logits / 2.0),
        "zero_one": (bits, logits / 2.0),
        "values": (bits, logits),
        "exact": (integers(f"{key}/a", shape, 0, 3), integers(f"{key}/b", shape, 0, 3)),
    }
    return table[kind]


def score_weights(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights between 0 and 2, the first row's zero."""
    weights = uniform(f"{key}/sample_weight", shape, 0.0, 2.0)
    weights[0] = 0.0
    return weights


def _loss(name: str, score: str, data: str, shape: tuple[int, ...] = (6, 4), **kwargs: Any) -> ScoreCase:
    weight_shape = kwargs.pop("weight_shape", shape[:-1])
    return ScoreCase(name, score, data, kwargs, shape, weight_shape)


LOSSES = [
    _loss("sparse_ce", "SparseCategoricalCrossentropy", "sparse"),
    _loss("sparse_ce_column_labels", "SparseCategoricalCrossentropy", "sparse_column"),
    _loss("sparse_ce_unnormalized", "SparseCategoricalCrossentropy", "sparse_unnormalized"),
    _loss("sparse_ce_extreme", "SparseCategoricalCrossentropy", "extreme_sparse"),
    _loss("sparse_ce_logits", "SparseCategoricalCrossentropy", "sparse_logits", from_logits=True),
    _loss("sparse_ce_images", "SparseCategoricalCrossentropy", "sparse_logits", (3, 4, 5), from_logits=True),
    _loss("sparse_ce_ignore_class", "SparseCategoricalCrossentropy", "sparse", ignore_class=2),
    _loss(
        "sparse_ce_ignore_logits", "SparseCategoricalCrossentropy", "sparse_logits", from_logits=True, ignore_class=0
    ),
    _loss("categorical_ce", "CategoricalCrossentropy", "categorical"),
    _loss("categorical_ce_soft_labels", "CategoricalCrossentropy", "soft_labels"),
    _loss("categorical_ce_extreme", "CategoricalCrossentropy", "extreme_categorical"),
    _loss("categorical_ce_logits", "CategoricalCrossentropy", "categorical_logits", from_logits=True),
    _loss("categorical_ce_smoothed", "CategoricalCrossentropy", "categorical", label_smoothing=0.1),
    _loss(
        "categorical_ce_smoothed_logits",
        "CategoricalCrossentropy",
        "categorical_logits",
        from_logits=True,
        label_smoothing=0.2,
    ),
    _loss("categorical_ce_rank3", "CategoricalCrossentropy", "categorical", (3, 2, 4)),
    _loss("binary_ce", "BinaryCrossentropy", "binary"),
    _loss("binary_ce_extreme", "BinaryCrossentropy", "extreme_binary"),
    _loss("binary_ce_logits", "BinaryCrossentropy", "binary_logits", from_logits=True),
    _loss("binary_ce_smoothed", "BinaryCrossentropy", "binary", label_smoothing=0.1),
    _loss("binary_ce_one_column", "BinaryCrossentropy", "binary", (6, 1)),
    _loss("binary_ce_images", "BinaryCrossentropy", "binary", (3, 4, 5, 2)),
    _loss("mse", "MeanSquaredError", "regression"),
    _loss("mse_rank3", "MeanSquaredError", "regression", (4, 3, 2)),
    _loss("mse_labels_without_the_last_axis", "MeanSquaredError", "column"),
    _loss("mae", "MeanAbsoluteError", "regression"),
    _loss("mape", "MeanAbsolutePercentageError", "regression"),
    _loss("msle", "MeanSquaredLogarithmicError", "positive"),
    _loss("msle_negative", "MeanSquaredLogarithmicError", "regression"),
    _loss("huber", "Huber", "regression"),
    _loss("huber_delta", "Huber", "regression", delta=2.5),
    _loss("log_cosh", "LogCosh", "regression"),
    _loss("hinge", "Hinge", "signs"),
    _loss("hinge_zero_one", "Hinge", "zero_one"),
    _loss("squared_hinge", "SquaredHinge", "signs"),
    _loss("squared_hinge_zero_one", "SquaredHinge", "zero_one"),
    _loss("categorical_hinge", "CategoricalHinge", "categorical"),
    _loss("kl_divergence", "KLDivergence", "soft_labels"),
    _loss("kl_divergence_zero_labels", "KLDivergence", "categorical"),
    _loss("cosine_similarity", "CosineSimilarity", "regression"),
    _loss("cosine_similarity_axis1", "CosineSimilarity", "regression", (4, 3, 2), axis=1, weight_shape=(4, 2)),
    _loss("poisson", "Poisson", "positive"),
]
REDUCTIONS = ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none"]


def loss_data(case: ScoreCase) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y_true, y_pred, sample_weight) of a loss."""
    y_true, y_pred = score_data(case.data, f"loss/{case.name}", case.shape)
    return y_true, y_pred, score_weights(f"loss/{case.name}", case.weight_shape or case.shape[:1])


def _metric(name: str, score: str, data: str, shape: tuple[int, ...] = (7, 5), **kwargs: Any) -> ScoreCase:
    return ScoreCase(name, score, data, kwargs, shape)


METRICS = [
    _metric("accuracy", "Accuracy", "exact"),
    _metric("accuracy_column", "Accuracy", "exact", (7, 1)),
    _metric("binary_accuracy", "BinaryAccuracy", "binary"),
    _metric("binary_accuracy_threshold", "BinaryAccuracy", "binary", (7, 1), threshold=0.8),
    _metric("categorical_accuracy", "CategoricalAccuracy", "categorical"),
    _metric("sparse_categorical_accuracy", "SparseCategoricalAccuracy", "sparse"),
    _metric("sparse_categorical_accuracy_column", "SparseCategoricalAccuracy", "sparse_column"),
    _metric("top_k", "TopKCategoricalAccuracy", "categorical", k=2),
    _metric("sparse_top_k", "SparseTopKCategoricalAccuracy", "sparse", k=3),
    _metric("sparse_top_k_default", "SparseTopKCategoricalAccuracy", "sparse", (9, 11)),
    _metric("precision", "Precision", "binary"),
    _metric("precision_threshold", "Precision", "binary", thresholds=0.7),
    _metric("precision_thresholds", "Precision", "binary", thresholds=[0.0, 0.3, 0.5, 0.9, 1.0]),
    _metric("precision_top_k", "Precision", "categorical", top_k=2),
    _metric("precision_class", "Precision", "binary", class_id=3),
    _metric("precision_top_k_class", "Precision", "categorical", top_k=2, class_id=1),
    _metric("recall", "Recall", "binary"),
    _metric("recall_thresholds", "Recall", "binary", thresholds=[0.1, 0.5, 0.95]),
    _metric("recall_top_k", "Recall", "categorical", top_k=3),
    _metric("recall_class", "Recall", "binary", class_id=0),
    _metric("auc_roc", "AUC", "binary", (20, 1)),
    _metric("auc_pr", "AUC", "binary", (20, 1), curve="PR"),
    _metric("auc_roc_few_thresholds", "AUC", "binary", (20, 1), num_thresholds=5),
    _metric("auc_roc_minoring", "AUC", "binary", (20, 1), num_thresholds=9, summation_method="minoring"),
    _metric("auc_pr_majoring", "AUC", "binary", (20, 1), num_thresholds=9, curve="PR", summation_method="majoring"),
    _metric("auc_given_thresholds", "AUC", "binary", (20, 1), thresholds=[0.1, 0.33, 0.8]),
    _metric("auc_multi_label", "AUC", "binary", (12, 3), multi_label=True, num_labels=3, num_thresholds=50),
    _metric("auc_logits", "AUC", "binary_logits", (20, 1), from_logits=True),
    _metric("mse", "MeanSquaredError", "regression"),
    _metric("rmse", "RootMeanSquaredError", "regression"),
    _metric("mae", "MeanAbsoluteError", "regression"),
    _metric("mape", "MeanAbsolutePercentageError", "regression"),
    _metric("msle", "MeanSquaredLogarithmicError", "positive"),
    _metric("log_cosh", "LogCoshError", "regression"),
    _metric("cosine_similarity", "CosineSimilarity", "regression"),
    _metric("kl_divergence", "KLDivergence", "soft_labels"),
    _metric("poisson", "Poisson", "positive"),
    _metric("binary_ce", "BinaryCrossentropy", "binary"),
    _metric("binary_ce_logits", "BinaryCrossentropy", "binary_logits", from_logits=True, label_smoothing=0.1),
    _metric("categorical_ce", "CategoricalCrossentropy", "categorical"),
    _metric("categorical_ce_logits", "CategoricalCrossentropy", "categorical_logits", from_logits=True),
    _metric("categorical_ce_smoothed", "CategoricalCrossentropy", "categorical", label_smoothing=0.2),
    _metric("sparse_ce", "SparseCategoricalCrossentropy", "sparse"),
    _metric("sparse_ce_logits", "SparseCategoricalCrossentropy", "sparse_logits", from_logits=True),
    _metric("hinge", "Hinge", "signs"),
    _metric("hinge_zero_one", "Hinge", "zero_one"),
    _metric("squared_hinge", "SquaredHinge", "signs"),
    _metric("categorical_hinge", "CategoricalHinge", "categorical"),
]
# Metrics of values, which have no labels.
VALUE_METRICS = [
    ScoreCase("mean", "Mean", "values", {}, (7,)),
    ScoreCase("mean_rank2", "Mean", "values", {}, (7, 3), (7, 1)),
    ScoreCase("sum", "Sum", "values", {}, (7,)),
]
METRICS += VALUE_METRICS
BATCHES = 3


def update_metric(metric: Any, case: ScoreCase, batch: int, weighted: bool) -> None:
    """Feeds one batch to a metric of either library."""
    y_true, y_pred, weights = metric_batch(case, batch)
    given = {"sample_weight": weights} if weighted else {}
    if case.data == "values":
        metric.update_state(y_pred, **given)
    else:
        metric.update_state(y_true, y_pred, **given)


def metric_batch(case: ScoreCase, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y_true, y_pred, sample_weight) of one of the batches that a metric is fed."""
    key = f"metric/{case.name}/{batch}"
    y_true, y_pred = score_data(case.data, key, case.shape)
    return y_true, y_pred, score_weights(key, case.weight_shape or case.shape[:1])


REGULARIZERS: list[tuple[str, str, dict[str, Any]]] = [
    ("l1_default", "L1", {}),
    ("l1", "L1", {"l1": 0.3}),
    ("l2_default", "L2", {}),
    ("l2", "L2", {"l2": 0.3}),
    ("l1_l2_default", "L1L2", {}),
    ("l1_l2", "L1L2", {"l1": 0.2, "l2": 0.1}),
    ("orthogonal_rows", "OrthogonalRegularizer", {}),
    ("orthogonal_columns", "OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
]
CONSTRAINTS: list[tuple[str, str, dict[str, Any]]] = [
    ("non_neg", "NonNeg", {}),
    ("unit_norm", "UnitNorm", {}),
    ("unit_norm_axis1", "UnitNorm", {"axis": 1}),
    ("max_norm", "MaxNorm", {"max_value": 1.0}),
    ("min_max_norm", "MinMaxNorm", {"min_value": 0.9, "max_value": 1.1, "rate": 0.5}),
]


def regularized_kernel() -> np.ndarray:
    """(4, 3) kernel given to every regularizer and constraint."""
    return uniform("regularizers/kernel", (4, 3))
