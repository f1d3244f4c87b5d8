"""Metrics against plain NumPy in float64: batches, weights, resets, state that is only added to, names and configs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gradlite.keras import metrics
from gradlite.keras.activations import sigmoid, softmax
from gradlite.tensor import Tensor

pytestmark = pytest.mark.usefixtures("each_device")


def one_hot(labels: np.ndarray, depth: int) -> np.ndarray:
    return np.eye(depth)[labels]


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


def cross_entropy(t: np.ndarray, p: np.ndarray) -> np.ndarray:
    return -(t * np.log(p / p.sum(-1, keepdims=True))).sum(-1)


def rank_of_label(t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """How many classes score higher than the label's."""
    own = np.take_along_axis(p, t.argmax(-1)[..., None], -1)
    return (p > own).sum(-1)


# name: (arguments, labels and predictions, the value of each sample)
MEANS: dict[str, tuple[dict[str, Any], str, Any]] = {
    "Accuracy": ({}, "integers", lambda t, p: t == p),
    "BinaryAccuracy": ({"threshold": 0.3}, "binary", lambda t, p: t == (p > 0.3)),
    "CategoricalAccuracy": ({}, "classes", lambda t, p: t.argmax(-1) == p.argmax(-1)),
    "TopKCategoricalAccuracy": ({"k": 2}, "classes", lambda t, p: rank_of_label(t, p) < 2),
    "MeanSquaredError": ({}, "real", lambda t, p: (t - p) ** 2),
    "MeanAbsoluteError": ({}, "real", lambda t, p: abs(t - p)),
    "MeanAbsolutePercentageError": ({}, "real", lambda t, p: 100 * abs((t - p) / np.maximum(abs(t), 1e-7))),
    "MeanSquaredLogarithmicError": (
        {}, "positive", lambda t, p: (np.log1p(np.maximum(t, 1e-7)) - np.log1p(np.maximum(p, 1e-7))) ** 2,
    ),
    "LogCoshError": ({}, "real", lambda t, p: np.log(np.cosh(p - t))),
    "CosineSimilarity": ({}, "real", lambda t, p: (unit(t) * unit(p)).sum(-1)),
    "KLDivergence": ({}, "distributions", lambda t, p: (t * np.log(t / p)).sum(-1)),
    "Poisson": ({}, "positive", lambda t, p: p - t * np.log(p + 1e-7)),
    "BinaryCrossentropy": ({}, "binary", lambda t, p: -(t * np.log(p) + (1 - t) * np.log(1 - p))),
    "CategoricalCrossentropy": ({}, "classes", cross_entropy),
    "Hinge": ({}, "binary", lambda t, p: np.maximum(1 - (2 * t - 1) * p, 0)),
    "SquaredHinge": ({}, "binary", lambda t, p: np.maximum(1 - (2 * t - 1) * p, 0) ** 2),
    "CategoricalHinge": (
        {}, "classes", lambda t, p: np.maximum(((1 - t) * p).max(-1) - (t * p).sum(-1) + 1, 0),
    ),
    "PearsonCorrelation": (
        {}, "real", lambda t, p: np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(t, p)]),
    ),
}  # fmt: skip


def draw(kind: str, rng: np.random.Generator, rows: int, columns: int = 4) -> tuple[np.ndarray, np.ndarray]:
    shape = (rows, columns)
    positive = rng.uniform(0.05, 0.95, shape)
    if kind == "integers":
        return rng.integers(0, 3, shape), rng.integers(0, 3, shape)
    if kind == "binary":
        return rng.integers(0, 2, shape).astype("float32"), positive
    if kind == "classes":
        return one_hot(rng.integers(0, columns, rows), columns), positive
    if kind == "positive":
        return rng.integers(0, 4, shape).astype("float32"), positive * 4
    if kind == "distributions":
        other = rng.uniform(0.05, 0.95, shape)
        return other / other.sum(-1, keepdims=True), positive / positive.sum(-1, keepdims=True)
    return rng.normal(size=shape), rng.normal(size=shape)


RAGGED = (5, 1, 8, 3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", MEANS)
def test_means_over_ragged_batches_are_those_over_all_samples(
    name: str, weighted: bool, rng: np.random.Generator
) -> None:
    arguments, kind, per_sample = MEANS[name]
    metric = getattr(metrics, name)(**arguments)
    values, weights = [], []
    for _ in range(2):
        metric.reset_state()
        assert float(metric.result()) == 0.0
        values, weights = [], []
        for rows in RAGGED:
            y_true, y_pred = draw(kind, rng, rows)
            w = rng.uniform(0, 2, rows) if weighted else np.ones(rows)
            if y_pred.dtype.kind == "f":
                y_pred = y_pred.astype("float32")
            metric.update_state(y_true, y_pred, sample_weight=w if weighted else None)
            sample_values = np.asarray(per_sample(y_true.astype(float), y_pred.astype(float)), float)
            values.append(sample_values.reshape(rows, -1).mean(-1))
            weights.append(w)
            expected = np.average(np.concatenate(values), weights=np.concatenate(weights))
            assert float(metric.result()) == pytest.approx(expected, rel=2e-5, abs=1e-6)
    assert metric.result().dtype == np.float32


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("shape", [(9, 5), (3, 4, 5)], ids=str)
def test_sparse_metrics_agree_with_categorical_ones_on_the_same_labels(
    shape: tuple[int, ...], dtype: str, column: bool, rng: np.random.Generator
) -> None:
    labels = rng.integers(0, shape[-1], shape[:-1])
    # A lead for some labels, so that no accuracy is 0.
    scores = rng.uniform(0.05, 0.95, shape).astype("float32")
    scores[0] += 5 * one_hot(labels[0], shape[-1]).astype("float32")
    given = labels.astype(dtype)[..., None] if column else labels.astype(dtype)
    weights = rng.uniform(0.5, 1.5, shape[0])
    for sparse, dense in (
        (metrics.SparseCategoricalAccuracy(), metrics.CategoricalAccuracy()),
        (metrics.SparseTopKCategoricalAccuracy(k=3), metrics.TopKCategoricalAccuracy(k=3)),
        (metrics.SparseCategoricalCrossentropy(), metrics.CategoricalCrossentropy()),
    ):
        found = float(sparse(given, scores, sample_weight=weights))
        assert found == pytest.approx(float(dense(one_hot(labels, shape[-1]), scores, sample_weight=weights)))
        assert found > 0


def test_accuracy_functions_give_one_or_zero_for_each_sample() -> None:
    scores = [[0.1, 0.9, 0.8], [0.5, 0.1, 0.4]]
    hot = [[0, 0, 1], [1, 0, 0]]
    assert metrics.sparse_categorical_accuracy([2, 0], scores).numpy().tolist() == [0.0, 1.0]
    assert metrics.categorical_accuracy(hot, scores).numpy().tolist() == [0.0, 1.0]
    assert metrics.top_k_categorical_accuracy(hot, scores, k=2).numpy().tolist() == [1.0, 1.0]
    assert metrics.sparse_top_k_categorical_accuracy([1, 1], scores, k=2).numpy().tolist() == [1.0, 0.0]
    ids = np.array([[4.0, 2.0, 9.0], [1.0, 0.0, 3.0]])
    found = metrics.sparse_top_k_categorical_accuracy([2, 3], ids, k=2, from_sorted_ids=True)
    assert found.numpy().tolist() == [1.0, 0.0]
    assert metrics.binary_accuracy([1, 0, 1], [0.5, 0.5, 0.51]).numpy().tolist() == [0.0, 1.0, 1.0]


def test_top_k_counts_ties_for_the_label_and_never_counts_nan() -> None:
    scores = np.array([[0.5, 0.5, 0.5, 0.1], [np.nan, 0.2, 0.3, 0.4]])
    assert metrics.sparse_top_k_categorical_accuracy([2, 0], scores, k=1).numpy().tolist() == [1.0, 0.0]


def test_a_trailing_axis_of_one_may_be_missing_from_labels_or_predictions() -> None:
    y, p = np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.2, 0.1])
    for shapes in (((3,), (3, 1)), ((3, 1), (3,)), ((3, 1), (3, 1))):
        metric = metrics.BinaryAccuracy()
        assert float(metric(y.reshape(shapes[0]), p.reshape(shapes[1]))) == pytest.approx(2 / 3)
        assert float(metrics.MeanAbsoluteError()(y.reshape(shapes[0]), p.reshape(shapes[1]))) == pytest.approx(0.4)
        weighted = metrics.MeanAbsoluteError()(
            y.reshape(shapes[0]), p.reshape(shapes[1]), sample_weight=[1.0, 1.0, 0.0]
        )
        assert float(weighted) == pytest.approx(0.15)


@pytest.mark.parametrize("weight_shape", [(4,), (4, 1), (4, 3)], ids=str)
def test_weights_of_samples_and_of_values_weigh_alike(weight_shape: tuple[int, ...], rng: np.random.Generator) -> None:
    total, count, values_sum = 0.0, 0.0, 0.0
    mean, summed = metrics.Mean(), metrics.Sum()
    for _ in range(3):
        values, weights = rng.normal(size=(4, 3)), rng.uniform(size=weight_shape)
        full = np.broadcast_to(weights.reshape(4, -1), (4, 3))
        total += (values * full).mean(-1).sum()
        count += full.mean(-1).sum()
        values_sum += (values * full).sum()
        mean.update_state(values.astype("float32"), sample_weight=weights)
        summed.update_state(values.astype("float32"), sample_weight=weights)
    assert float(mean.result()) == pytest.approx(total / count, rel=1e-5)
    assert float(summed.result()) == pytest.approx(values_sum, rel=1e-4, abs=1e-5)


def test_a_mean_weighted_by_one_number_counts_it_for_every_sample() -> None:
    mean = metrics.Mean()
    mean.update_state(2.0, sample_weight=32)
    mean.update_state(Tensor(5.0), sample_weight=16)
    mean.update_state([1.0, 3.0], sample_weight=8)
    assert float(mean.result()) == pytest.approx((2 * 32 + 5 * 16 + 1 * 8 + 3 * 8) / (32 + 16 + 16))


def test_counts_go_on_beyond_what_float32_can_count() -> None:
    mean = metrics.Mean()
    for _ in range(3):
        mean.update_state(1.0, sample_weight=2**24)
    for _ in range(2**4):
        mean.update_state(0.0)
    # In float32 the last 16 samples would not be counted: 3 * 2**24 + 1 rounds to 3 * 2**24.
    assert mean.count.numpy() == 3 * 2**24 + 2**4
    assert float(mean.result()) < 1.0


def test_root_mean_squared_error_is_the_root_over_all_batches(rng: np.random.Generator) -> None:
    metric, squares, weights = metrics.RootMeanSquaredError(), [], []
    for rows in RAGGED:
        y, p, w = rng.normal(size=(rows, 2)), rng.normal(size=(rows, 2)), rng.uniform(size=rows)
        metric.update_state(y, p, sample_weight=w)
        squares.append(((y - p) ** 2).mean(-1))
        weights.append(w)
    expected = math.sqrt(np.average(np.concatenate(squares), weights=np.concatenate(weights)))
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_crossentropy_metrics_use_the_logits_that_activations_remember() -> None:
    x = Tensor([[1000.0, -1000.0]])
    assert float(metrics.SparseCategoricalCrossentropy()([1], softmax(x))) == 2000.0
    assert float(metrics.CategoricalCrossentropy()([[0.0, 1.0]], softmax(x))) == 2000.0
    assert float(metrics.BinaryCrossentropy()([[0.0, 0.0]], sigmoid(x))) == 500.0


def test_ignored_labels_count_in_no_mean_of_crossentropies(rng: np.random.Generator) -> None:
    p = rng.uniform(0.1, 1, (6, 3))
    p /= p.sum(-1, keepdims=True)
    labels = np.array([0, -1, 2, 1, -1, 0])
    keep = labels >= 0
    values = -np.log(p[np.arange(6), np.where(keep, labels, 0)])
    metric = metrics.SparseCategoricalCrossentropy(ignore_class=-1)
    for part in (slice(0, 2), slice(2, 6)):
        metric.update_state(labels[part], p[part])
    assert float(metric.result()) == pytest.approx(values[keep].mean(), rel=1e-5)
    w = rng.uniform(size=6)
    metric.reset_state()
    metric.update_state(labels, p, sample_weight=w)
    assert float(metric.result()) == pytest.approx(np.average(values[keep], weights=w[keep]), rel=1e-5)


@pytest.mark.parametrize("aggregation", ["uniform_average", "variance_weighted_average", None])
def test_r2_is_one_minus_residual_over_total(aggregation: str | None, rng: np.random.Generator) -> None:
    metric = metrics.R2Score(class_aggregation=aggregation)
    assert float(metric.result()) == 0.0
    truth, guess, weights = [], [], []
    for rows in RAGGED:
        y = rng.normal(size=(rows, 3)) + 100.0
        p, w = y + rng.normal(size=(rows, 3)) * 0.5, rng.uniform(0.5, 1.5, rows)
        metric.update_state(Tensor(y, dtype="float64"), Tensor(p, dtype="float64"), sample_weight=w)
        truth.append(y)
        guess.append(p)
        weights.append(w)
    y, p, w = np.concatenate(truth), np.concatenate(guess), np.concatenate(weights)[:, None]
    centre = (y * w).sum(0) / w.sum()
    total = ((y - centre) ** 2 * w).sum(0)
    expected: Any = 1 - ((y - p) ** 2 * w).sum(0) / total
    if aggregation == "uniform_average":
        expected = expected.mean()
    elif aggregation is not None:
        expected = (expected * total).sum() / total.sum()
    np.testing.assert_allclose(metric.result().numpy(), expected, rtol=1e-5)


def test_adjusted_r2_takes_the_number_of_regressors_into_account(rng: np.random.Generator) -> None:
    y = rng.normal(size=(20, 1))
    p = y + rng.normal(size=(20, 1)) * 0.1
    plain, adjusted = float(metrics.R2Score()(y, p)), float(metrics.R2Score(num_regressors=3)(y, p))
    assert adjusted == pytest.approx(1 - (1 - plain) * 19 / 16, rel=1e-5)
    with pytest.warns(UserWarning, match="20 samples are too few for the adjusted R2 of 19 regressors"):
        assert float(metrics.R2Score(num_regressors=19)(y, p)) == pytest.approx(plain)


def test_concordance_falls_with_a_shift_that_correlation_does_not_see(rng: np.random.Generator) -> None:
    y = rng.normal(size=(3, 50))
    p = y + 1.0
    mean, spread = y.mean(-1), y.var(-1)
    expected = 2 * spread / (2 * spread + (mean - p.mean(-1)) ** 2)
    np.testing.assert_allclose(metrics.concordance_correlation(y, p).numpy(), expected, rtol=1e-4)
    np.testing.assert_allclose(metrics.pearson_correlation(y, p).numpy(), 1.0, rtol=1e-5)
