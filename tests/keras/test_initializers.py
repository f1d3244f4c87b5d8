"""Initializers: their distributions, fans (published formulas, values recorded from Keras), seeds and names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gradlite.keras import initializers
from gradlite.keras.utils.seed import set_random_seed

pytestmark = pytest.mark.usefixtures("each_device")

RANDOM = [
    initializers.RandomNormal,
    initializers.TruncatedNormal,
    initializers.RandomUniform,
    initializers.VarianceScaling,
    initializers.GlorotNormal,
    initializers.GlorotUniform,
    initializers.HeNormal,
    initializers.HeUniform,
    initializers.LecunNormal,
    initializers.LecunUniform,
    initializers.Orthogonal,
]


@pytest.mark.parametrize(
    ("shape", "fans"),
    [((), (1, 1)), ((5,), (5, 5)), ((3, 4), (3, 4)), ((3, 3, 4, 8), (36, 72)), ((3, 4, 8), (12, 24)),
     ((2, 3, 4, 5, 6), (120, 144))],
)  # fmt: skip
def test_fans_are_those_of_keras(shape: tuple[int, ...], fans: tuple[int, int]) -> None:
    assert initializers.compute_fans(shape) == fans


@pytest.mark.parametrize(
    ("kind", "variance", "limit"),
    [
        ("glorot_uniform", 2 / (200 + 300), math.sqrt(6 / 500)),
        ("glorot_normal", 2 / (200 + 300), 2 * math.sqrt(2 / 500) / 0.87962566103423978),
        ("he_uniform", 2 / 200, math.sqrt(6 / 200)),
        ("he_normal", 2 / 200, 2 * math.sqrt(2 / 200) / 0.87962566103423978),
        ("lecun_uniform", 1 / 200, math.sqrt(3 / 200)),
        ("lecun_normal", 1 / 200, 2 * math.sqrt(1 / 200) / 0.87962566103423978),
        ("random_uniform", 0.05**2 / 3, 0.05),
        ("random_normal", 0.05**2, math.inf),
        ("truncated_normal", (0.05 * 0.87962566103423978) ** 2, 0.1),
    ],
)
def test_variance_and_range_are_those_of_the_formula(kind: str, variance: float, limit: float) -> None:
    initializer: Any = initializers.get({"class_name": kind, "config": {"seed": 7}})
    values = initializer((200, 300), "float64")
    # 60,000 values: the sample variance is within 3 % and the mean within 5 standard errors, for all three shapes.
    assert values.var() == pytest.approx(variance, rel=0.03)
    assert abs(values.mean()) < 5 * math.sqrt(variance / values.size)
    assert abs(values).max() <= limit * (1 + 1e-7)
    assert abs(values).max() > 0.98 * min(limit, 3 * math.sqrt(variance))


def test_a_convolution_kernel_counts_its_receptive_field() -> None:
    values = initializers.HeUniform(seed=3)((3, 3, 16, 32), "float64")
    assert abs(values).max() == pytest.approx(math.sqrt(6 / (9 * 16)), rel=0.01)


@pytest.mark.parametrize("kind", RANDOM)
def test_an_integer_seed_gives_the_same_values_at_every_call(kind: type) -> None:
    initializer = kind(seed=11)
    np.testing.assert_array_equal(initializer((3, 5)), initializer((3, 5)))
    np.testing.assert_array_equal(initializer((3, 5)), kind(seed=11)((3, 5)))
    assert (initializer((3, 5)) != kind(seed=12)((3, 5))).any()


@pytest.mark.parametrize("kind", RANDOM)
def test_without_a_seed_every_call_and_every_initializer_draws_anew_repeatably(kind: type) -> None:
    def draw() -> list[np.ndarray]:
        set_random_seed(5)
        first, second = kind(), kind()
        return [first((4, 3)), first((4, 3)), second((4, 3))]

    values = draw()
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        assert (values[a] != values[b]).any()
    for value, again in zip(values, draw()):
        np.testing.assert_array_equal(value, again)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kind", [*RANDOM, initializers.Zeros, initializers.Ones, initializers.Identity])
def test_shape_and_dtype_are_those_asked_for(kind: type, dtype: str) -> None:
    values = kind()((5, 7), dtype)
    assert values.shape == (5, 7)
    assert values.dtype == dtype
    assert values.flags.c_contiguous
    assert kind()((5, 7)).dtype == "float32"


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (3, 3, 2, 5), (1, 6)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape: tuple[int, ...]) -> None:
    values = initializers.Orthogonal(gain=2.0, seed=1)(shape, "float64")
    matrix = values.reshape(-1, shape[-1]) / 2.0
    rows, columns = matrix.shape
    product = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=1e-12)


def test_orthogonal_prefers_no_sign() -> None:
    corners = [initializers.Orthogonal(seed=seed)((2, 2))[0, 0] for seed in range(64)]
    assert 16 <= sum(corner > 0 for corner in corners) <= 48


def test_constants() -> None:
    np.testing.assert_array_equal(initializers.Constant(2.5)((2, 3)), np.full((2, 3), 2.5))
    np.testing.assert_array_equal(initializers.Constant([1.0, 2.0])((3, 2)), [[1.0, 2.0]] * 3)
    np.testing.assert_array_equal(initializers.Identity(3.0)((2, 3)), [[3.0, 0, 0], [0, 3.0, 0]])
    assert initializers.Zeros()((2,), "int32").dtype == "int32"


@pytest.mark.parametrize("shape", [(3,), (3, 3, 3)])
def test_identity_needs_a_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"only be used for 2D matrices.*rank"):
        initializers.Identity()(shape)


def test_orthogonal_needs_two_axes() -> None:
    with pytest.raises(ValueError, match=r"at least two-dimensional.*rank 1"):
        initializers.Orthogonal()((3,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"scale": 0}, "`scale` must be positive"), ({"mode": "zz"}, "Invalid `mode`"),
     ({"distribution": "zz"}, "Invalid `distribution`"), ({"seed": "a"}, "`seed` must be an integer or None"),
     ({"seed": 1.5}, "seed=1.5")],
)  # fmt: skip
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        initializers.VarianceScaling(**arguments)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("he_normal", initializers.HeNormal), ("HeNormal", initializers.HeNormal), ("normal", initializers.RandomNormal),
     ("uniform", initializers.RandomUniform), ("one", initializers.Ones), ("zero", initializers.Zeros),
     ("zeros", initializers.Zeros), ("glorot_uniform", initializers.GlorotUniform),
     ("orthogonal", initializers.Orthogonal), ("identity", initializers.Identity)],
)  # fmt: skip
def test_names_of_both_cases_and_aliases_are_known(name: str, kind: type) -> None:
    assert type(initializers.get(name)) is kind


def test_get_takes_instances_classes_functions_arrays_and_none() -> None:
    instance = initializers.Ones()
    assert initializers.get(instance) is instance
    assert type(initializers.get(initializers.Ones)) is initializers.Ones
    assert initializers.get(None) is None

    def ramp(shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        return np.arange(shape[0], dtype=dtype)

    assert initializers.get(ramp) is ramp
    from_array: Any = initializers.get(np.eye(2))
    np.testing.assert_array_equal(from_array((2, 2)), np.eye(2))


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Could not interpret initializer identifier: 'he_norml'. Did you mean 'he_n"):
        initializers.get("he_norml")
    with pytest.raises(ValueError, match=r"Could not interpret initializer identifier: 3 of type int"):
        initializers.get(3)


@pytest.mark.parametrize("name", sorted(initializers.TABLE))
def test_configs_give_an_equal_initializer_back(name: str) -> None:
    original: Any = initializers.TABLE[name]()
    restored = initializers.deserialize(initializers.serialize(original))
    assert type(restored) is type(original)
    assert restored.get_config() == original.get_config()


def test_a_config_written_by_keras_is_understood() -> None:
    config = {
        "module": "keras.initializers",
        "class_name": "HeNormal",
        "config": {"seed": 3},
        "registered_name": None,
    }
    assert initializers.get(config).get_config() == {"seed": 3}  # type: ignore[union-attr]
    assert initializers.serialize(initializers.HeNormal(3)) == config


def test_an_initializer_of_the_users_own_is_found_by_name_in_custom_objects() -> None:
    class Ramp(initializers.Initializer):
        def __call__(self, shape: Any, dtype: Any = None) -> np.ndarray:
            return np.arange(shape[0], dtype=dtype or "float32")

    config = initializers.serialize(Ramp())
    assert type(initializers.deserialize(config, custom_objects={"Ramp": Ramp})) is Ramp
    with pytest.raises(ValueError, match=r"Ramp"):
        initializers.deserialize(config)
