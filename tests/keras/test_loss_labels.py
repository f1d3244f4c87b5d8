"""What losses say of labels that do not fit, before training; and losses by name and by config."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradlite import ops
from gradlite.keras import losses
from gradlite.keras.utils.registry import register_keras_serializable
from gradlite.tensor import Tensor

# Labels checked before training: (loss, labels, output shape, what the message says)
ONE_HOT = np.eye(3)[[0, 2, 1, 1]]


REFUSED = [
    ("sparse_categorical_crossentropy", ONE_HOT, (None, 3), "Use 'categorical_crossentropy'"),
    ("sparse_categorical_crossentropy", np.array([0, 1, 1]), (None, 1), "Use 'binary_crossentropy'"),
    ("sparse_categorical_crossentropy", np.array([1, 2, 3]), (None, 3), r"use y - 1"),
    ("sparse_categorical_crossentropy", np.array([0, 4, 9]), (None, 4), "needs 10 units"),
    ("sparse_categorical_crossentropy", np.array([-1, 0, 2]), (None, 3), r"ignore_class=-1"),
    ("sparse_categorical_crossentropy", np.array([0.5, 1.0]), (None, 3), "mean_squared_error"),
    ("sparse_categorical_crossentropy", np.zeros((4, 7)), (None, 3), r"needs labels of shape \(n,\)"),
    ("sparse_categorical_crossentropy", np.array(["cat", "dog"]), (None, 2), "np.unique"),
    ("sparse_categorical_crossentropy", np.array([0.0, np.nan]), (None, 2), "NaN"),
    ("categorical_crossentropy", np.array([0, 2, 1]), (None, 3), "'sparse_categorical_crossentropy'"),
    ("categorical_crossentropy", np.array([[0], [2]]), (None, 3), "'sparse_categorical_crossentropy'"),
    ("categorical_crossentropy", np.array([[0], [1]]), (None, 1), "'binary_crossentropy'"),
    ("categorical_crossentropy", np.zeros((5, 4)), (None, 3), r"shape \(n, 4\), the output has shape \(n, 3\)"),
    ("binary_crossentropy", np.array([0, 2, 1]), (None, 3), "'sparse_categorical_crossentropy'"),
    ("binary_crossentropy", np.array([0, 9, 1]), (None, 1), "10 units with softmax"),
    ("binary_crossentropy", np.array([-1, 1, 1]), (None, 1), "'hinge'"),
    ("binary_crossentropy", np.full((2, 3, 3, 1), 255), (None, 3, 3, 1), "y / 255"),
    ("binary_crossentropy", np.array([0.2, 1.7]), (None, 1), "'mean_squared_error'"),
    ("mse", np.array([0, 2, 1]), (None, 3), "'sparse_categorical_crossentropy'"),
    ("mae", np.zeros((4, 2)), (None, 3), "must have the same shape"),
    ("mse", np.zeros((4, 1)), (None, 3), "must have the same shape"),
    ("poisson", np.array([-1.0, 2.0]), (None, 1), "not negative"),
    ("categorical_hinge", np.array([0, 2, 1]), (None, 3), "'sparse_categorical_crossentropy'"),
    ("crossentropy", np.array([0, 3]), (None, 3), "needs 4 units"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "labels", "output", "says"), REFUSED)
def test_labels_that_do_not_fit_are_refused_with_the_loss_that_would(
    name: str, labels: np.ndarray, output: tuple[int | None, ...], says: str
) -> None:
    loss = losses.LossFunctionWrapper(losses.get(name))
    with pytest.raises(ValueError, match=says):
        loss.check_labels(labels, output)
    with pytest.raises(ValueError, match=r"labels of output 'digit' (have|contain)"):
        loss.check_labels(labels, output, "digit")


ACCEPTED = [
    ("SparseCategoricalCrossentropy", np.array([0, 1, 2]), (None, 3)),
    ("SparseCategoricalCrossentropy", np.array([[0], [2]], np.uint8), (None, 3)),
    ("SparseCategoricalCrossentropy", np.zeros((2, 4, 4), int), (None, 4, 4, 5)),
    ("SparseCategoricalCrossentropy", np.zeros((2, 4), int), (None, None, 5)),
    ("SparseCategoricalCrossentropy", np.array([2.0, 0.0]), (None, 3)),
    ("SparseCategoricalCrossentropy", np.array([0, 1]), (2, 2)),
    ("CategoricalCrossentropy", ONE_HOT, (None, 3)),
    ("CategoricalCrossentropy", np.full((2, 3), 1 / 3), (None, 3)),
    ("BinaryCrossentropy", np.array([True, False]), (None, 1)),
    ("BinaryCrossentropy", np.array([[0], [1]]), (None, 1)),
    ("BinaryCrossentropy", np.random.default_rng(1).uniform(size=(2, 3, 3)), (None, 3, 3, 1)),
    ("MeanSquaredError", np.zeros(4), (None, 1)),
    ("MeanSquaredError", np.zeros((4, 1)), (None,)),
    ("Hinge", np.array([-1, 1]), (None, 1)),
    ("Poisson", np.array([0, 3]), (None, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "labels", "output"), ACCEPTED)
def test_labels_that_fit_pass(name: str, labels: np.ndarray, output: tuple[int | None, ...]) -> None:
    getattr(losses, name)().check_labels(labels, output)


def test_an_ignored_label_may_lie_outside_the_classes() -> None:
    losses.SparseCategoricalCrossentropy(ignore_class=-1).check_labels(np.array([-1, 0, 1]), (None, 2))
    losses.SparseCategoricalCrossentropy(ignore_class=255).check_labels(np.array([255, 0, 1], np.uint8), (None, 2))
    with pytest.raises(ValueError, match="they go from -1 to 1"):
        losses.SparseCategoricalCrossentropy(ignore_class=255).check_labels(np.array([-1, 0, 1]), (None, 2))


def test_the_loss_of_a_user_accepts_any_labels() -> None:
    loss = losses.LossFunctionWrapper(lambda y_true, y_pred: ops.mean(y_pred, axis=-1))
    loss.check_labels(np.array(["a"]), (None, 3))


def test_names_give_functions_and_names_of_classes_give_instances() -> None:
    assert losses.get(None) is None
    for short, full in (("mse", "mean_squared_error"), ("MAE", "mean_absolute_error"), ("kld", "kl_divergence")):
        assert losses.get(short) is getattr(losses, full)
    instance = losses.get("SparseCategoricalCrossentropy")
    assert isinstance(instance, losses.SparseCategoricalCrossentropy)
    assert losses.get(instance) is instance
    assert isinstance(losses.get(losses.Huber), losses.Huber)
    with pytest.raises(ValueError, match=r"'sparse_categorical_crossentrpy'.*Did you mean 'sparse_categorical_cross"):
        losses.get("sparse_categorical_crossentrpy")


@pytest.mark.parametrize(
    "loss",
    [
        losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=3, reduction="sum", name="mine"),
        losses.CategoricalCrossentropy(label_smoothing=0.2, axis=1),
        losses.BinaryCrossentropy(from_logits=True),
        losses.BinaryFocalCrossentropy(apply_class_balancing=True, gamma=1.0),
        losses.CategoricalFocalCrossentropy(alpha=0.5),
        losses.Huber(delta=2.0),
        losses.CosineSimilarity(axis=0),
        losses.MeanSquaredError(reduction=None),
        losses.LossFunctionWrapper(losses.huber, name="wrapped", delta=0.5),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_a_config_makes_the_same_loss_again(loss: losses.Loss) -> None:
    again = losses.deserialize(losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert (again.name, again.reduction) == (loss.name, loss.reduction)


def test_a_registered_loss_is_found_by_its_config() -> None:
    @register_keras_serializable("test_losses")
    class Halved(losses.Loss):
        def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
            return ops.mean(y_pred - y_true, axis=-1) * 0.5

    assert isinstance(losses.deserialize(losses.serialize(Halved(name="h"))), Halved)


@pytest.mark.parametrize("make", [lambda: losses.MeanSquaredError(reduction="avg"), lambda: losses.Loss(reduction=3)])
def test_unknown_reductions_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="reduction"):
        make()
