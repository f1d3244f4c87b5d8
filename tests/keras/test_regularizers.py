"""Regularizers and constraints: values against NumPy and Keras, derivatives, names and configs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite.keras import constraints, regularizers

pytestmark = pytest.mark.usefixtures("each_device")

WEIGHTS = np.array([[1.0, 2, 3], [4, 5, 6]], "float32")
MIXED = np.array([[0.1, -2, 3], [0.4, 5, -0.6]], "float32")


def random_matrix(shape: tuple[int, ...] = (5, 3)) -> np.ndarray:
    return np.random.default_rng().normal(size=shape)


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (regularizers.L1(0.1), 2.1),
        (regularizers.L2(0.1), 9.1),
        (regularizers.L1L2(0.1, 0.2), 20.3),
        (regularizers.L1L2(0.5), 10.5),
        (regularizers.L1L2(), 0.0),
        (regularizers.OrthogonalRegularizer(0.1), 0.09746318310499191),
    ],
)
def test_penalties_are_those_of_keras(regularizer: Any, expected: float) -> None:
    penalty = regularizer(gradlite.Tensor(WEIGHTS))
    assert penalty.shape == ()
    assert penalty.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("mode", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (1, 5), (5, 1)])
@pytest.mark.parametrize("shortest", [1.0, 5e-7])
def test_orthogonality_is_the_mean_absolute_cosine_of_pairs(mode: str, shape: tuple[int, int], shortest: float) -> None:
    x = random_matrix(shape)
    vectors = x if mode == "rows" else x.T
    vectors[0] *= shortest / np.linalg.norm(vectors[0])
    # A vector shorter than a millionth is divided by that, as in Keras.
    length = [max(np.linalg.norm(a), 1e-6) for a in vectors]
    cosines = [
        abs(a @ b) / length[i] / length[j] for i, a in enumerate(vectors) for j, b in enumerate(vectors) if i < j
    ]
    expected = 0.3 * np.mean(cosines) if cosines else 0.0
    penalty = regularizers.OrthogonalRegularizer(0.3, mode)(gradlite.Tensor(x))
    assert penalty.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "regularizer",
    [regularizers.L1(0.3), regularizers.L2(0.3), regularizers.L1L2(0.1, 0.2),
     regularizers.OrthogonalRegularizer(0.5, "rows"), regularizers.OrthogonalRegularizer(0.5, "columns")],
)  # fmt: skip
def test_penalties_differentiate(regularizer: Any) -> None:
    x = gradlite.Tensor(random_matrix(), requires_grad=True)
    assert gradlite.gradcheck(regularizer, [x])


def test_a_row_of_zeros_gives_a_finite_penalty_and_gradient() -> None:
    x = gradlite.Tensor(np.array([[0.0, 0.0], [1.0, 2.0]]), requires_grad=True)
    penalty = regularizers.OrthogonalRegularizer()(x)
    penalty.backward()
    assert penalty.item() == pytest.approx(0.0, abs=1e-12)
    assert np.isfinite(x.grad.numpy()).all()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regularizers.L1(-1.0), "l1: expected a non-negative float. Received: l1=-1.0"),
        (lambda: regularizers.L2("a"), "l2: expected a non-negative float. Received: l2='a'"),
        (lambda: regularizers.L1L2(l2=float("nan")), "Received: l2=nan"),
        (lambda: regularizers.OrthogonalRegularizer(mode="z"), 'Expected "rows" or "columns". Received: mode=z'),
    ],
)
def test_wrong_arguments_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_orthogonality_needs_a_matrix() -> None:
    with pytest.raises(ValueError, match=r"must have rank 2. Received: shape=\(3,\)"):
        regularizers.OrthogonalRegularizer()(gradlite.Tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (constraints.MaxNorm(), [[0.09999997913837433, -0.7427813410758972, 1.9611613750457764],
                                 [0.3999999165534973, 1.8569533824920654, -0.3922322690486908]]),
        (constraints.MaxNorm(1.0, axis=1), [[0.02772434614598751, -0.5544869303703308, 0.8317303657531738],
                                            [0.0791807547211647, 0.9897594451904297, -0.11877113580703735]]),
        (constraints.NonNeg(), [[0.1, 0, 3], [0.4, 5, 0]]),
        (constraints.UnitNorm(), [[0.2425355762243271, -0.3713906705379486, 0.9805806875228882],
                                  [0.9701423048973083, 0.9284766912460327, -0.1961161345243454]]),
        (constraints.MinMaxNorm(), [[0.09999997913837433, -0.3713906705379486, 0.9805806875228882],
                                    [0.3999999165534973, 0.9284766912460327, -0.1961161345243454]]),
        (constraints.MinMaxNorm(0.5, 0.8, rate=0.5, axis=[0, 1]),
         [[0.05644407495856285, -1.1288814544677734, 1.6933221817016602],
          [0.2257762998342514, 2.8222036361694336, -0.3386644423007965]]),
    ],
)  # fmt: skip
def test_constrained_weights_are_those_of_keras(constraint: Any, expected: Any) -> None:
    weights = gradlite.Tensor(MIXED.copy())
    np.testing.assert_allclose(constraint(weights).numpy(), expected, rtol=2e-6)
    np.testing.assert_array_equal(weights.numpy(), MIXED)


def test_norms_of_convolution_filters_are_taken_over_three_axes() -> None:
    w = random_matrix((3, 3, 2, 4))
    limited = constraints.MaxNorm(1.0, axis=[0, 1, 2])(gradlite.Tensor(w)).numpy()
    norms = np.sqrt((w**2).sum((0, 1, 2)))
    np.testing.assert_allclose(limited, w * np.minimum(norms, 1) / norms, rtol=1e-6)


def test_weights_of_norm_zero_stay_zero() -> None:
    zeros = gradlite.Tensor(np.zeros((3, 2)))
    for constraint in (constraints.UnitNorm(), constraints.MaxNorm(), constraints.MinMaxNorm()):
        np.testing.assert_array_equal(constraint(zeros).numpy(), np.zeros((3, 2)))


@pytest.mark.parametrize("module", [regularizers, constraints])
def test_configs_give_an_equal_object_back(module: Any) -> None:
    for name, kind in module.TABLE.items():
        original = kind()
        assert type(module.get(name)) is kind
        restored = module.deserialize(module.serialize(original))
        assert type(restored) is kind
        assert restored.get_config() == original.get_config()


@pytest.mark.parametrize(
    ("module", "name", "nearest"),
    [(regularizers, "orthogonal", "OrthogonalRegularizer"), (constraints, "maxnorm_", "MaxNorm")],
)
def test_a_misspelt_name_is_answered_with_the_nearest(module: Any, name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"identifier: '{name}'. Did you mean '{nearest}"):
        module.get(name)


def test_get_takes_none_instances_and_functions() -> None:
    for module, instance in ((regularizers, regularizers.L2()), (constraints, constraints.NonNeg())):
        assert module.get(None) is None
        assert module.get(instance) is instance
        assert module.get(abs) is abs


def test_the_strings_mean_a_hundredth() -> None:
    assert regularizers.get("l1").get_config() == {"l1": 0.01}  # type: ignore[union-attr]
    assert regularizers.get("l2").get_config() == {"l2": 0.01}  # type: ignore[union-attr]
    assert regularizers.get("l1l2").get_config() == {"l1": 0.0, "l2": 0.0}  # type: ignore[union-attr]
