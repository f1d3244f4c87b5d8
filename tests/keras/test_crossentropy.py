"""Cross-entropies against loops in float64: every path to the same value, large logits, smoothing, ignored labels."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

from gradlite import ops
from gradlite.keras import losses
from gradlite.keras.activations import sigmoid, softmax
from gradlite.tensor import Tensor

pytestmark = pytest.mark.usefixtures("each_device")


def one_hot(labels: np.ndarray, depth: int) -> np.ndarray:
    return np.eye(depth)[labels]


def distributions(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    raw = rng.uniform(0.05, 1.0, shape)
    return raw / raw.sum(-1, keepdims=True)


def sparse_reference(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """log(sum(exp(x))) - x[label], row by row."""
    rows = []
    for label, row in zip(labels.reshape(-1).tolist(), logits.reshape(-1, logits.shape[-1]).tolist()):
        top = max(row)
        rows.append(top + math.log(math.fsum(math.exp(x - top) for x in row)) - row[label])
    return np.array(rows).reshape(labels.shape)


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 5), (1, 2)], ids=str)
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
def test_sparse_crossentropy_takes_class_numbers_of_any_type_with_or_without_a_last_axis(
    shape: tuple[int, ...], column: bool, dtype: str, rng: np.random.Generator
) -> None:
    logits = rng.normal(size=shape) * 3
    labels = rng.integers(0, shape[-1], shape[:-1])
    expected = sparse_reference(labels, logits)
    given = labels.astype(dtype)[..., None] if column else labels.astype(dtype)
    x = Tensor(logits, dtype="float64")
    for found in (
        losses.sparse_categorical_crossentropy(given, x, from_logits=True),
        losses.sparse_categorical_crossentropy(given, softmax(x)),
        losses.sparse_categorical_crossentropy(given, ops.softmax(x) * 3.0),
    ):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_classes_may_be_on_any_axis(axis: int, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(3, 4, 5))
    k = logits.shape[axis]
    last = np.moveaxis(logits, axis, -1)
    labels = rng.integers(0, k, last.shape[:-1])
    expected = sparse_reference(labels, last)
    hot = np.moveaxis(one_hot(labels, k), -1, axis)
    x = Tensor(logits, dtype="float64")
    for scores, from_logits in ((x, True), (softmax(x, axis), False), (ops.softmax(x, axis), False)):
        sparse = losses.sparse_categorical_crossentropy(labels, scores, from_logits=from_logits, axis=axis)
        dense = losses.categorical_crossentropy(hot, scores, from_logits=from_logits, axis=axis)
        np.testing.assert_allclose(sparse.numpy(), expected, rtol=1e-6)
        np.testing.assert_allclose(dense.numpy(), expected, rtol=1e-6)


def test_a_softmax_over_the_last_axis_is_not_mistaken_for_one_over_another(rng: np.random.Generator) -> None:
    x = Tensor(rng.normal(size=(3, 4, 5)), dtype="float64")
    probabilities = softmax(x)
    labels = rng.integers(0, 4, (3, 5))
    share = probabilities.numpy() / probabilities.numpy().sum(1, keepdims=True)
    expected = -np.log(np.take_along_axis(share, labels[:, None, :], 1)[:, 0, :])
    found = losses.sparse_categorical_crossentropy(labels, probabilities, axis=1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("axis", [-1, 1])
def test_label_smoothing_spreads_over_the_classes_and_agrees_on_every_path(
    smoothing: float, axis: int, rng: np.random.Generator
) -> None:
    shape = (5, 4, 3)
    logits = rng.normal(size=shape)
    k = shape[axis]
    labels = rng.integers(0, k, np.delete(shape, axis))
    hot = np.moveaxis(one_hot(labels, k), -1, axis)
    smooth = hot * (1 - smoothing) + smoothing / k
    log_p = logits - np.log(np.exp(logits).sum(axis, keepdims=True))
    expected = -(smooth * log_p).sum(axis)
    x = Tensor(logits, dtype="float64")
    for scores, from_logits in ((x, True), (softmax(x, axis), False), (ops.softmax(x, axis), False)):
        found = losses.categorical_crossentropy(
            hot, scores, from_logits=from_logits, label_smoothing=smoothing, axis=axis
        )
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7)
    targets = (logits > 0).astype(float)
    soft = targets * (1 - smoothing) + smoothing / 2
    expected = (np.log1p(np.exp(-logits)) + (1 - soft) * logits).mean(-1)
    for scores, from_logits in ((x, True), (sigmoid(x), False), (ops.sigmoid(x), False)):
        found = losses.binary_crossentropy(targets, scores, from_logits=from_logits, label_smoothing=smoothing)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7)


def test_a_loss_of_softmax_outputs_is_exact_and_has_a_gradient_at_logits_of_a_thousand() -> None:
    logits = np.array([[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 1000.0]], np.float32)
    x = Tensor(logits, requires_grad=True)
    value = losses.SparseCategoricalCrossentropy(reduction="none")([1, 2], softmax(x))
    np.testing.assert_allclose(value.numpy(), [2000.0, math.log(2.0)], rtol=1e-6)
    ops.sum(value).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[1, -1, 0], [0, 0.5, -0.5]], atol=1e-6)
    y = Tensor(logits, requires_grad=True)
    value = losses.CategoricalCrossentropy(reduction="none")(one_hot(np.array([1, 2]), 3), softmax(y))
    np.testing.assert_allclose(value.numpy(), [2000.0, math.log(2.0)], rtol=1e-6)
    ops.sum(value).backward()
    np.testing.assert_allclose(y.grad.numpy(), x.grad.numpy(), atol=1e-6)


def test_a_loss_of_sigmoid_outputs_is_exact_and_has_a_gradient_at_logits_of_a_thousand() -> None:
    x = Tensor([[1000.0], [-1000.0], [1000.0]], requires_grad=True)
    loss = losses.BinaryCrossentropy(reduction="sum")([0.0, 1.0, 1.0], sigmoid(x))
    assert loss.item() == 2000.0
    loss.backward()
    assert x.grad.numpy().tolist() == [[1.0], [-1.0], [0.0]]


def test_the_loss_of_half_precision_softmax_outputs_is_computed_in_float32() -> None:
    x = Tensor(np.array([[12.0, -12.0]], np.float16), requires_grad=True)
    loss = losses.SparseCategoricalCrossentropy()([1], softmax(x))
    assert loss.dtype == np.float32
    assert loss.item() == pytest.approx(24.0, abs=1e-4)
    loss.backward()
    assert x.grad.dtype == np.float16
    assert x.grad.numpy().tolist() == [[1.0, -1.0]]


def test_probabilities_of_zero_and_one_give_finite_losses() -> None:
    hot = np.array([[1.0, 0.0]], np.float32)
    worst = -math.log(1e-7)
    assert losses.categorical_crossentropy([[0.0, 1.0]], hot).item() == pytest.approx(worst, rel=1e-5)
    assert losses.sparse_categorical_crossentropy([1], hot).item() == pytest.approx(worst, rel=1e-5)
    # In float32 the nearest number to 1 - 1e-7 is 1 - 2**-23.
    assert losses.binary_crossentropy([[0.0]], [[1.0]]).item() == pytest.approx(23 * math.log(2), rel=1e-5)
    assert losses.sparse_categorical_crossentropy([0], hot).item() == pytest.approx(0, abs=2e-7)


def test_from_logits_on_the_output_of_an_activation_is_warned_of(rng: np.random.Generator) -> None:
    scores = softmax(Tensor(rng.normal(size=(2, 3))))
    with pytest.warns(UserWarning, match="from_logits=True, but the predictions come from a softmax"):
        losses.sparse_categorical_crossentropy([0, 1], scores, from_logits=True)


def test_ignored_labels_count_in_no_mean_and_get_no_gradient(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(2, 4, 3))
    for ignored, dtype in ((-1, "int64"), (255, "uint8"), (1, "int32")):
        labels = rng.integers(0, 3, (2, 4)).astype(dtype)
        labels[0, 1] = labels[1, 3] = np.array(ignored).astype(dtype)
        keep = labels.astype(int) != ignored
        expected = sparse_reference(np.where(keep, labels, 0).astype(int), logits) * keep
        for from_logits in (True, False):
            x = Tensor(logits, dtype="float64", requires_grad=True)

            def value(reduction: str | None, weights: Any = None, x: Tensor = x, labels: Any = labels) -> Any:
                scores = x if from_logits else softmax(x)  # noqa: B023
                loss = losses.SparseCategoricalCrossentropy(
                    from_logits=from_logits,  # noqa: B023
                    ignore_class=ignored,  # noqa: B023
                    reduction=reduction,
                )
                return loss(labels, scores, sample_weight=weights)

            np.testing.assert_allclose(value("none").numpy(), expected, rtol=1e-7)
            assert value("sum").item() == pytest.approx(expected.sum())
            mean_loss = value("sum_over_batch_size")
            assert mean_loss.item() == pytest.approx(expected.sum() / keep.sum())
            weights = rng.uniform(0.5, 2, (2, 4))
            weighted = (expected * weights).sum()
            assert value("mean", weights).item() == pytest.approx(weighted / keep.sum())
            assert value("mean_with_sample_weight", weights).item() == pytest.approx(weighted / (weights * keep).sum())
            mean_loss.backward()
            assert np.all(x.grad.numpy()[~keep] == 0)
            assert np.all(x.grad.numpy()[keep] != 0)


def test_a_batch_of_ignored_labels_only_has_loss_zero() -> None:
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    assert loss([-1, -1], [[1.0, 2.0], [3.0, 4.0]]).item() == 0.0


def test_balanced_focal_loss_weighs_positives_by_alpha(rng: np.random.Generator) -> None:
    y, p = rng.integers(0, 2, (6, 2)).astype(float), rng.uniform(0.1, 0.9, (6, 2))
    right = y * p + (1 - y) * (1 - p)
    expected = (-np.log(right) * (1 - right) ** 1.5 * np.where(y == 1, 0.3, 0.7)).mean(-1)
    loss = losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.3, gamma=1.5, reduction="none")
    np.testing.assert_allclose(loss(y, Tensor(p, dtype="float64")).numpy(), expected, rtol=1e-9)


def test_crossentropy_chooses_by_the_shapes(rng: np.random.Generator) -> None:
    p = distributions(rng, (5, 3))
    labels = rng.integers(0, 3, 5)
    expected = -np.log(p[np.arange(5), labels])
    for y_true in (labels, labels[:, None], one_hot(labels, 3)):
        np.testing.assert_allclose(losses.get("crossentropy")(y_true, Tensor(p)).numpy(), expected, rtol=1e-6)
    binary = losses.get("ce")([[0.0], [1.0]], [[0.2], [0.2]])
    np.testing.assert_allclose(binary.numpy(), [-math.log(0.8), -math.log(0.2)], rtol=1e-6)


def test_smoothing_outside_zero_and_one_is_refused() -> None:
    for kind in (losses.CategoricalCrossentropy, losses.BinaryCrossentropy):
        with pytest.raises(ValueError, match=r"label_smoothing must be a number in \[0, 1\]"):
            kind(label_smoothing=1.5)


@pytest.mark.parametrize(
    ("loss", "labels", "limit"),
    [
        (losses.SparseCategoricalCrossentropy(), np.arange(6) % 4, 2),
        (losses.MeanSquaredError(), np.ones((6, 4), np.float32), 3),
        (losses.BinaryCrossentropy(), np.ones((6, 4), np.float32), 2),
    ],
    ids=["sparse", "mse", "binary"],
)
def test_the_most_used_losses_are_a_few_kernels(
    loss: losses.Loss, labels: np.ndarray, limit: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    x = Tensor(rng.normal(size=(6, 4)).astype("float32"))
    predictions = sigmoid(x) if isinstance(loss, losses.BinaryCrossentropy) else softmax(x)
    y_true, launched = Tensor(labels), []
    launch = type(x.backend).launch

    def counting(backend: Any, kernel: str, *arrays: Any, **attributes: Any) -> Any:
        launched.append(kernel)
        return launch(backend, kernel, *arrays, **attributes)

    monkeypatch.setattr(type(x.backend), "launch", counting)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(y_true, predictions)
    assert len(launched) <= limit, launched


def test_the_function_gives_ignored_labels_a_loss_of_zero() -> None:
    found = losses.sparse_categorical_crossentropy([-1, 1], [[0.0, 5.0], [0.0, 0.0]], from_logits=True, ignore_class=-1)
    np.testing.assert_allclose(found.numpy(), [0.0, math.log(2.0)], rtol=1e-6)
