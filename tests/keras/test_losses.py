"""Losses against loops in float64: values, weights, reductions, gradients, shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite import ops
from gradlite.keras import losses
from gradlite.keras.activations import sigmoid
from gradlite.tensor import Tensor

pytestmark = pytest.mark.usefixtures("each_device")

EPSILON = 1e-7


SHAPES = [(5, 3), (1, 7), (4, 1), (3, 2, 5), (2, 3, 1, 4)]


def one_hot(labels: np.ndarray, depth: int) -> np.ndarray:
    return np.eye(depth)[labels]


def distributions(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    raw = rng.uniform(0.05, 1.0, shape)
    return raw / raw.sum(-1, keepdims=True)


def by_row(function: Any, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """``function`` of pairs of rows, each a list of Python floats; the result has no last axis."""
    rows = zip(y_true.reshape(-1, y_true.shape[-1]).tolist(), y_pred.reshape(-1, y_pred.shape[-1]).tolist())
    return np.array([function(t, p) for t, p in rows]).reshape(y_true.shape[:-1])


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def held(p: float, low: float = EPSILON, high: float = 1 - EPSILON) -> float:
    return min(max(p, low), high)


def unit(v: list[float]) -> list[float]:
    norm = math.sqrt(math.fsum(x * x for x in v))
    return [x / norm for x in v]


def signs(t: list[float]) -> list[float]:
    return [2 * x - 1 for x in t]


# name: (function of two rows, how labels and predictions are drawn)
ROW_LOSSES: dict[str, tuple[Any, str]] = {
    "mean_squared_error": (lambda t, p: mean([(a - b) ** 2 for a, b in zip(t, p)]), "real"),
    "mean_absolute_error": (lambda t, p: mean([abs(a - b) for a, b in zip(t, p)]), "real"),
    "mean_absolute_percentage_error": (
        lambda t, p: 100 * mean([abs(a - b) / max(abs(a), EPSILON) for a, b in zip(t, p)]),
        "real",
    ),
    "mean_squared_logarithmic_error": (
        lambda t, p: mean([(math.log1p(max(a, EPSILON)) - math.log1p(max(b, EPSILON))) ** 2 for a, b in zip(t, p)]),
        "real",
    ),
    "huber": (
        lambda t, p: mean([0.5 * (a - b) ** 2 if abs(a - b) <= 1 else abs(a - b) - 0.5 for a, b in zip(t, p)]),
        "real",
    ),
    "log_cosh": (lambda t, p: mean([math.log(math.cosh(b - a)) for a, b in zip(t, p)]), "real"),
    "cosine_similarity": (lambda t, p: -math.fsum(a * b for a, b in zip(unit(t), unit(p))), "real"),
    "kl_divergence": (
        lambda t, p: math.fsum(held(a, high=1) * math.log(held(a, high=1) / held(b, high=1)) for a, b in zip(t, p)),
        "distribution",
    ),
    "poisson": (lambda t, p: mean([b - a * math.log(b + EPSILON) for a, b in zip(t, p)]), "positive"),
    "hinge": (lambda t, p: mean([max(1 - a * b, 0) for a, b in zip(signs(t), p)]), "binary"),
    "squared_hinge": (lambda t, p: mean([max(1 - a * b, 0) ** 2 for a, b in zip(signs(t), p)]), "binary"),
    "categorical_hinge": (
        lambda t, p: max(
            max((1 - a) * b for a, b in zip(t, p)) - math.fsum(a * b for a, b in zip(t, p)) + 1, 0
        ),
        "one_hot",
    ),
    "binary_crossentropy": (
        lambda t, p: -mean([a * math.log(held(b)) + (1 - a) * math.log(1 - held(b)) for a, b in zip(t, p)]),
        "binary",
    ),
    "categorical_crossentropy": (
        lambda t, p: -math.fsum(a * math.log(held(b / math.fsum(p))) for a, b in zip(t, p)),
        "distribution",
    ),
    "binary_focal_crossentropy": (
        lambda t, p: -mean(
            [(1 - b) ** 2 * a * math.log(b) + b**2 * (1 - a) * math.log(1 - b) for a, b in zip(t, p)]
        ),
        "binary",
    ),
    "categorical_focal_crossentropy": (
        lambda t, p: -math.fsum(0.25 * (1 - b) ** 2 * a * math.log(b) for a, b in zip(t, map(held, unit_sum(p)))),
        "one_hot",
    ),
}  # fmt: skip


def unit_sum(p: list[float]) -> list[float]:
    return [x / math.fsum(p) for x in p]


def draw(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    if kind == "real":
        return rng.normal(size=shape) * 2, rng.normal(size=shape) * 2
    if kind == "positive":
        return rng.integers(0, 5, shape).astype(float), rng.uniform(0.1, 4, shape)
    if kind == "binary":
        return rng.integers(0, 2, shape).astype(float), rng.uniform(0.05, 0.95, shape)
    if kind == "one_hot":
        return one_hot(rng.integers(0, shape[-1], shape[:-1]), shape[-1]), rng.uniform(0.05, 0.95, shape)
    return distributions(rng, shape), distributions(rng, shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ROW_LOSSES)
def test_each_function_is_its_formula_on_every_row(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    reference, kind = ROW_LOSSES[name]
    y_true, y_pred = draw(kind, rng, shape)
    expected = by_row(reference, y_true, y_pred)
    found = getattr(losses, name)(y_true, Tensor(y_pred, dtype="float64"))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)
    rounded = getattr(losses, name)(y_true.astype("float32"), y_pred.astype("float32"))
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded.numpy(), expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", ROW_LOSSES)
def test_the_gradient_of_each_function_is_that_of_finite_differences(name: str, rng: np.random.Generator) -> None:
    y_true, y_pred = draw(ROW_LOSSES[name][1], rng, (4, 3))
    # Away from the kinks of absolute values, hinges and Huber's delta, where there is no derivative.
    error = np.abs(y_true - y_pred)
    y_pred = y_pred + 0.02 * ((error < 0.01) | (np.abs(error - 1) < 0.01))
    x = Tensor(y_pred, dtype="float64", requires_grad=True)
    assert gradlite.gradcheck(lambda p: getattr(losses, name)(y_true, p), x)


@pytest.mark.parametrize("name", ["mean_squared_error", "binary_crossentropy", "kl_divergence"])
def test_labels_that_require_a_gradient_get_one(name: str, rng: np.random.Generator) -> None:
    y_true, y_pred = distributions(rng, (4, 3)), distributions(rng, (4, 3))
    labels = Tensor(y_true, dtype="float64", requires_grad=True)
    assert gradlite.gradcheck(lambda t: getattr(losses, name)(t, Tensor(y_pred, dtype="float64")), labels)


WEIGHT_SHAPES = [None, (4,), (4, 1), (4, 3)]


@pytest.mark.parametrize("weight_shape", WEIGHT_SHAPES, ids=str)
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None])
@pytest.mark.parametrize("name", ["MeanSquaredError", "BinaryCrossentropy", "LogCosh"])
def test_reductions_divide_by_what_they_say(
    name: str, reduction: str | None, weight_shape: tuple[int, ...] | None, rng: np.random.Generator
) -> None:
    y_true, y_pred = rng.integers(0, 2, (4, 3, 2)).astype(float), rng.uniform(0.1, 0.9, (4, 3, 2))
    weights = None if weight_shape is None else rng.uniform(0, 2, weight_shape)
    function = {"MeanSquaredError": "mean_squared_error", "BinaryCrossentropy": "binary_crossentropy"}.get(
        name, "log_cosh"
    )
    values = by_row(ROW_LOSSES[function][0], y_true, y_pred)  # (4, 3)
    full = np.ones((4, 3))
    if weights is not None:
        full = np.broadcast_to(weights.reshape(weights.shape + (1,) * (2 - weights.ndim)), (4, 3))
    expected: Any = values * full
    if reduction in ("sum_over_batch_size", "mean"):
        expected = expected.sum() / 12
    elif reduction == "sum":
        expected = expected.sum()
    elif reduction == "mean_with_sample_weight":
        expected = expected.sum() / full.sum()
    found = getattr(losses, name)(reduction=reduction)(y_true, Tensor(y_pred, dtype="float64"), sample_weight=weights)
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_weights_of_samples_go_with_samples_where_the_batch_is_square(rng: np.random.Generator) -> None:
    y_true, y_pred, weights = rng.normal(size=(3, 3, 2)), rng.normal(size=(3, 3, 2)), np.array([0.0, 1.0, 5.0])
    values = ((y_true - y_pred) ** 2).mean(-1) * weights[:, None]
    found = losses.MeanSquaredError(reduction="none")(y_true, Tensor(y_pred, dtype="float64"), weights)
    np.testing.assert_allclose(found.numpy(), values, rtol=1e-10)


def test_weights_of_zero_give_loss_zero_and_not_nan() -> None:
    for reduction in ("sum_over_batch_size", "mean_with_sample_weight"):
        loss = losses.MeanSquaredError(reduction=reduction)
        assert loss([[1.0], [2.0]], [[0.0], [0.0]], sample_weight=[0.0, 0.0]).item() == 0.0


def test_weights_that_fit_nothing_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"sample_weight of shape \(3,\) does not fit losses of shape \(2,\)"):
        losses.MeanSquaredError()([[1.0], [2.0]], [[0.0], [0.0]], sample_weight=[1.0, 1.0, 1.0])


def test_an_empty_batch_has_loss_zero() -> None:
    for loss in (losses.MeanSquaredError(), losses.MeanAbsolutePercentageError()):
        assert loss(np.zeros((0, 3)), np.zeros((0, 3))).item() == 0.0


@pytest.mark.parametrize(
    ("labels", "outputs"), [((4,), (4, 1)), ((4, 1), (4,)), ((4, 3, 1), (4, 3)), ((4, 3), (4, 3, 1))]
)
def test_a_missing_last_axis_of_one_is_filled_in_and_never_broadcast(
    labels: tuple[int, ...], outputs: tuple[int, ...], rng: np.random.Generator
) -> None:
    y_true, y_pred = rng.integers(0, 2, labels).astype(float), rng.uniform(0.1, 0.9, outputs)
    flat_true, flat_pred = y_true.reshape(-1), y_pred.reshape(-1)
    scores = Tensor(y_pred, dtype="float64")
    assert losses.MeanSquaredError()(y_true, scores).item() == pytest.approx(np.mean((flat_true - flat_pred) ** 2))
    assert losses.MeanSquaredError()(y_true, scores, sample_weight=np.full(4, 0.5)).item() == pytest.approx(
        0.5 * np.mean((flat_true - flat_pred) ** 2)
    )
    expected = -np.mean(flat_true * np.log(flat_pred) + (1 - flat_true) * np.log(1 - flat_pred))
    assert losses.BinaryCrossentropy()(y_true, scores).item() == pytest.approx(expected)
    # The same through logits, which change shape along with their probabilities.
    logits = Tensor(np.log(y_pred / (1 - y_pred)), dtype="float64")
    assert losses.BinaryCrossentropy()(y_true, sigmoid(logits)).item() == pytest.approx(expected)


def test_shapes_that_numpy_would_broadcast_into_nonsense_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"y_true of shape \(3,\) and y_pred of shape \(3, 3\).*sparse_categorical"):
        losses.MeanSquaredError()(np.zeros(3), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="one-hot, use 'categorical_crossentropy'"):
        losses.SparseCategoricalCrossentropy()(np.zeros((2, 3)), np.full((2, 3), 1 / 3))
    with pytest.raises(ValueError, match=r"needs one-hot labels.*'sparse_categorical_crossentropy'"):
        losses.CategoricalCrossentropy()(np.zeros(2, int), np.full((2, 3), 1 / 3))


def test_a_loss_of_ones_own_overrides_call() -> None:
    class Worst(losses.Loss):
        def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
            return ops.max(ops.abs(y_true - y_pred), axis=-1)

    loss = Worst(reduction="sum")
    assert loss.name.startswith("worst")
    x = Tensor([[1.0, 2.0], [0.0, 7.0]], requires_grad=True)
    value = loss([[0.0, 0.0], [0.0, 0.0]], x, sample_weight=[2.0, 1.0])
    assert value.item() == 11.0
    value.backward()
    assert x.grad.numpy().tolist() == [[0.0, 2.0], [0.0, 1.0]]
    with pytest.raises(NotImplementedError, match="needs a method `call"):
        losses.Loss()([0.0], [0.0])


def test_a_wrapped_function_gets_tensors_of_one_rank_and_its_arguments() -> None:
    def scaled(y_true: Tensor, y_pred: Tensor, factor: float = 1.0) -> Tensor:
        assert y_true.shape == y_pred.shape == (2, 1)
        return ops.mean(y_pred - y_true, axis=-1) * factor

    loss = losses.LossFunctionWrapper(scaled, name="scaled", factor=3.0)
    assert loss(np.zeros(2), np.array([[1.0], [2.0]])).item() == 4.5


def test_cosine_similarity_of_a_zero_vector_is_zero_with_a_gradient_of_zero() -> None:
    x = Tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    value = losses.cosine_similarity([[1.0, 1.0], [3.0, 4.0]], x)
    np.testing.assert_allclose(value.numpy(), [0.0, -1.0], rtol=1e-6)
    ops.sum(value).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.zeros((2, 2)), atol=1e-6)


def test_log_cosh_does_not_overflow_and_keeps_small_errors() -> None:
    found = losses.log_cosh(np.zeros((3, 1)), np.array([[1e4], [-1e4], [1e-2]]))
    np.testing.assert_allclose(found.numpy(), [1e4 - math.log(2)] * 2 + [math.log(math.cosh(1e-2))], rtol=1e-3)


def test_huber_meets_its_straight_part_at_delta(rng: np.random.Generator) -> None:
    for delta in (0.3, 2.5):
        errors = rng.normal(size=(50, 1)) * 3
        found = losses.Huber(delta=delta, reduction="none")(np.zeros((50, 1)), Tensor(errors, dtype="float64"))
        e = np.abs(errors[:, 0])
        expected = np.where(e <= delta, e**2 / 2, delta * e - delta**2 / 2)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)
    with pytest.raises(ValueError, match="delta > 0"):
        losses.Huber(delta=0.0)


def test_hinge_converts_zeros_and_ones_but_not_other_labels() -> None:
    scores = [[0.5], [0.5]]
    assert losses.hinge([[0.0], [1.0]], scores).numpy().tolist() == [1.5, 0.5]
    assert losses.hinge([[-1.0], [1.0]], scores).numpy().tolist() == [1.5, 0.5]
    assert losses.hinge([[0.0], [-1.0]], scores).numpy().tolist() == [1.0, 1.5]


def test_a_loss_keeps_float64_and_obeys_a_dtype() -> None:
    y_true, y_pred = np.zeros((2, 1)), np.ones((2, 1))
    assert losses.MeanSquaredError()(y_true, Tensor(y_pred, dtype="float64")).dtype == np.float64
    assert losses.MeanSquaredError(dtype="float32")(y_true, Tensor(y_pred, dtype="float64")).dtype == np.float32
    assert losses.MeanSquaredError()(y_true, Tensor(y_pred, dtype="float16")).dtype == np.float32
    assert losses.MeanSquaredError()(y_true, np.ones((2, 1), int)).dtype == np.float32
