"""What every metric keeps to: variables that are only added to, batches, resets, configs, names and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradlite import ops
from gradlite.keras import losses, metrics
from gradlite.keras.activations import sigmoid, softmax
from gradlite.keras.utils.naming import clear_session
from gradlite.keras.variables import Variable
from gradlite.tensor import Tensor

pytestmark = pytest.mark.usefixtures("each_device")


def one_hot(labels: np.ndarray, depth: int) -> np.ndarray:
    return np.eye(depth)[labels]


RAGGED = (5, 1, 8, 3)
EVERY = [
    name for name in metrics.__all__
    if name[0].isupper() and name not in ("Metric", "Mean", "Sum", "MeanMetricWrapper")
]  # fmt: skip


NEEDS = {
    "IoU": {"num_classes": 2, "target_class_ids": [0, 1]},
    "MeanIoU": {"num_classes": 2},
    "ConfusionMatrix": {"num_classes": 2},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
}


def batch_for(name: str, rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions that a metric of this name takes."""
    if name.startswith("Sparse"):
        return rng.integers(0, 4, rows), rng.uniform(0.05, 0.95, (rows, 4)).astype("float32")
    if name in ("IoU", "MeanIoU", "ConfusionMatrix"):
        return rng.integers(0, 2, rows), rng.integers(0, 2, rows)
    labels = one_hot(rng.integers(0, 4, rows), 4).astype("float32")
    return labels, rng.uniform(0.05, 0.95, (rows, 4)).astype("float32")


@pytest.mark.parametrize("name", EVERY)
def test_update_state_reads_nothing_on_the_host_and_keeps_its_variables(
    name: str, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    metric = getattr(metrics, name)(**NEEDS.get(name, {}))
    metric.update_state(*(Tensor(x) for x in batch_for(name, rng, 6)))  # may make variables
    arrays = [variable.data for variable in metric.variables]
    assert arrays
    assert not any(variable.trainable or variable.requires_grad for variable in metric.variables)
    before = [array.copy() for array in arrays]
    y_true, y_pred = (Tensor(x) for x in batch_for(name, rng, 6))
    weights = Tensor(rng.uniform(0.5, 1.5, 6), dtype="float32")

    def refuse(*_: Any) -> Any:
        raise AssertionError("a value was read on the host")

    with monkeypatch.context() as patch:
        for method in ("numpy", "item", "tolist", "__bool__", "__float__", "__int__", "__index__", "__array__"):
            patch.setattr(Tensor, method, refuse)
        metric.update_state(y_true, y_pred)
        metric.update_state(y_true, y_pred, sample_weight=weights)
    assert all(variable.data is array for variable, array in zip(metric.variables, arrays))
    assert any((old != new).any() for old, new in zip(before, arrays))
    metric.reset_state()
    assert all((variable.numpy() == 0).all() for variable in metric.variables)


@pytest.mark.parametrize("name", EVERY)
def test_batches_one_after_another_equal_one_of_all(name: str, rng: np.random.Generator) -> None:
    whole = getattr(metrics, name)(**NEEDS.get(name, {}))
    streamed = getattr(metrics, name)(**NEEDS.get(name, {}))
    labels, predictions, weights = [], [], []
    for rows in RAGGED:
        y_true, y_pred = batch_for(name, rng, rows)
        w = rng.uniform(0.5, 1.5, rows).astype("float32")
        streamed.update_state(y_true, y_pred, sample_weight=w)
        labels.append(y_true)
        predictions.append(y_pred)
        weights.append(w)
    whole.update_state(np.concatenate(labels), np.concatenate(predictions), sample_weight=np.concatenate(weights))
    np.testing.assert_allclose(streamed.result().numpy(), whole.result().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_a_config_makes_the_same_metric_again(name: str) -> None:
    metric = getattr(metrics, name)(name="mine", **NEEDS.get(name, {}))
    again = metrics.deserialize(metrics.serialize(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    assert again.name == "mine"


def test_predictions_that_require_a_gradient_leave_no_graph_behind(rng: np.random.Generator) -> None:
    x = Tensor(rng.normal(size=(4, 3)).astype("float32"), requires_grad=True)
    for metric in (metrics.SparseCategoricalCrossentropy(), metrics.SparseCategoricalAccuracy()):
        assert not metric([0, 1, 2, 0], softmax(x)).requires_grad
    assert not metrics.AUC()([[1, 0, 1]] * 4, sigmoid(x)).requires_grad


def test_a_result_does_not_change_with_later_updates() -> None:
    for metric in (metrics.Sum(dtype="float64"), metrics.Mean(dtype="float64"), metrics.Mean()):
        first = metric([1.0])
        metric.update_state([5.0])
        assert first.item() == 1.0


def test_a_metric_of_ones_own_keeps_its_variables_and_those_of_metrics_it_holds() -> None:
    class Both(metrics.Metric):
        def __init__(self, name: str = "both") -> None:
            super().__init__(name=name)
            self.seen = self.add_weight(shape=(2,), initializer="ones", name="seen")
            self.parts = [metrics.Mean(name="a"), metrics.Sum(name="b")]

        def update_state(self, values: Any, sample_weight: Any = None) -> None:
            self.seen.assign_add([1.0, 2.0])
            for part in self.parts:
                part.update_state(values, sample_weight)

        def result(self) -> dict[str, Tensor]:
            return {"seen": ops.sum(self.seen), **{part.name: part.result() for part in self.parts}}

    both = Both()
    assert [variable.path for variable in both.variables] == ["both/seen", "a/total", "a/count", "b/total"]
    assert all(isinstance(variable, Variable) for variable in both.variables)
    results = both([1.0, 3.0])
    assert {key: float(value) for key, value in results.items()} == {"seen": 5.0, "a": 2.0, "b": 4.0}
    both.reset_state()
    assert {key: float(value) for key, value in both.result().items()} == {"seen": 0.0, "a": 0.0, "b": 0.0}


def test_a_metric_without_super_init_says_so() -> None:
    class Forgetful(metrics.Metric):
        def __init__(self) -> None:
            self.total = self.add_variable()

    with pytest.raises(RuntimeError, match=r"call `super\(\).__init__\(\)` first"):
        Forgetful()


def test_a_wrapped_function_is_averaged_over_samples() -> None:
    def largest(y_true: Tensor, y_pred: Tensor, factor: float = 1.0) -> Tensor:
        return ops.max(ops.abs(y_pred - y_true), axis=-1) * factor

    metric = metrics.MeanMetricWrapper(largest, name="largest", factor=2.0)
    metric.update_state([[0.0, 0.0]], [[1.0, -3.0]])
    metric.update_state([[0.0, 0.0]] * 2, [[1.0, 0.0]] * 2)
    assert float(metric.result()) == pytest.approx((6 + 2 + 2) / 3)
    assert metric._direction is None
    assert metrics.MeanMetricWrapper(losses.huber)._direction == "down"


@pytest.mark.parametrize(
    ("labels", "outputs", "kind"),
    [
        ((32,), (32, 1), "Binary"),
        ((32, 1), (32, 1), "Binary"),
        ((32,), (32,), "Binary"),
        ((32,), (32, 10), "SparseCategorical"),
        ((32, 1), (32, 10), "SparseCategorical"),
        ((32, 8), (32, 8, 10), "SparseCategorical"),
        ((32, 10), (32, 10), "Categorical"),
    ],
)
@pytest.mark.parametrize("key", ["accuracy", "acc", "Accuracy", "crossentropy", "ce"])
def test_general_names_become_the_metric_that_fits_the_labels_and_keep_their_key(
    key: str, labels: tuple[int, ...], outputs: tuple[int, ...], kind: str
) -> None:
    metric = metrics.resolve(key, labels, outputs)
    what = "Accuracy" if key.lower().startswith("acc") else "Crossentropy"
    assert type(metric) is getattr(metrics, kind + what)
    assert metric.name == key


def test_names_classes_and_functions_become_metrics() -> None:
    assert metrics.resolve("mse").name == "mse"
    assert isinstance(metrics.resolve("mse"), metrics.MeanSquaredError)
    assert isinstance(metrics.get("root_mean_squared_error"), metrics.RootMeanSquaredError)
    assert isinstance(metrics.get("AUC"), metrics.AUC)
    assert isinstance(metrics.get("f1_score"), metrics.F1Score)
    assert isinstance(metrics.get(metrics.Precision), metrics.Precision)
    given = metrics.Recall(name="mine")
    assert metrics.resolve(given) is given
    wrapped = metrics.resolve(losses.mean_absolute_error)
    assert isinstance(wrapped, metrics.MeanMetricWrapper)
    assert wrapped.name == "mean_absolute_error"
    with pytest.raises(ValueError, match=r"'acuracy'.*Did you mean 'accuracy'"):
        metrics.resolve("acuracy")


def test_automatic_names_count_up_as_keras_does() -> None:
    clear_session()
    assert [metrics.Precision().name for _ in range(2)] == ["precision", "precision_1"]
    assert metrics.AUC().name == "auc"
    assert [metrics.MeanSquaredError().name for _ in range(2)] == ["mean_squared_error"] * 2


def test_every_metric_knows_which_way_is_better() -> None:
    up = {name for name in EVERY if getattr(metrics, name)._direction == "up"}
    down = {name for name in EVERY if getattr(metrics, name)._direction == "down"}
    assert {"Accuracy", "AUC", "F1Score", "R2Score", "CosineSimilarity", "Precision", "MeanIoU"} <= up
    assert {"MeanSquaredError", "LogCoshError", "Hinge", "KLDivergence", "SparseCategoricalCrossentropy"} <= down
    undecided = {"ConfusionMatrix", "TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives"}
    assert set(EVERY) - up - down == undecided


@pytest.mark.parametrize(
    ("metric", "labels", "predictions", "says"),
    [
        (
            metrics.SparseCategoricalAccuracy(),
            np.zeros((4, 3)),
            np.zeros((4, 3)),
            "one-hot labels use the metric without",
        ),
        (metrics.CategoricalAccuracy(), np.zeros(4, int), np.zeros((4, 3)), "sparse_categorical_accuracy"),
        (metrics.BinaryAccuracy(), np.zeros(4), np.zeros((4, 3)), "of one shape"),
        (metrics.MeanSquaredError(), np.zeros(4), np.zeros((4, 3)), "same shape"),
        (metrics.Precision(), np.zeros(4), np.zeros((4, 3)), "to_categorical"),
        (metrics.R2Score(), np.zeros((4, 2, 2)), np.zeros((4, 2, 2)), r"\(batch_size, output_dim\)"),
        (metrics.F1Score(), np.zeros(4), np.zeros(4), r"\(batch_size, output_dim\)"),
        (metrics.ConfusionMatrix(3), np.zeros(4, int), np.zeros((4, 2)), r"ConfusionMatrix\(3\)"),
        (metrics.MeanIoU(3), np.zeros(4, int), np.zeros((4, 3)), "sparse_y_pred"),
        (metrics.Mean(), np.zeros((4, 2)), np.zeros(3), "sample_weight of shape"),
    ],
)
def test_shapes_that_do_not_fit_are_an_error_that_names_them(
    metric: metrics.Metric, labels: np.ndarray, predictions: np.ndarray, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        metric.update_state(labels, predictions)
