"""keras.utils and keras.backend: labels, names, seeds, lookups, the registry and the settings."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from gradlite.keras import backend, utils
from gradlite.keras.utils import lookup, naming
from gradlite.random import Generator


class TestToCategorical:
    def test_rows_are_one_hot_in_float64(self) -> None:
        one_hot = utils.to_categorical([0, 2, 1])
        assert one_hot.dtype == "float64"
        np.testing.assert_array_equal(one_hot, np.eye(3)[[0, 2, 1]])

    @pytest.mark.parametrize(
        ("shape", "expected"), [((), (5,)), ((4,), (4, 5)), ((4, 1), (4, 5)), ((2, 3), (2, 3, 5)), ((1,), (1, 5))]
    )
    def test_a_trailing_axis_of_one_is_dropped(self, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
        labels = np.random.default_rng().integers(0, 5, shape)
        one_hot = utils.to_categorical(labels, 5)
        assert one_hot.shape == expected
        np.testing.assert_array_equal(one_hot.argmax(-1), labels.reshape(expected[:-1]))
        np.testing.assert_array_equal(one_hot.sum(-1), 1)

    @pytest.mark.parametrize("labels", [[0, 3], [-1, 1]])
    def test_a_label_outside_is_an_error_that_gives_the_range(self, labels: list[int]) -> None:
        with pytest.raises(ValueError, match=r"num_classes=3 they must lie between 0 and 2"):
            utils.to_categorical(labels, 3)

    def test_fractions_are_refused_and_whole_floats_are_not(self) -> None:
        np.testing.assert_array_equal(utils.to_categorical([1.0, 0.0]), [[0, 1], [1, 0]])
        with pytest.raises(ValueError, match=r"whole numbers"):
            utils.to_categorical([1.7])

    def test_no_labels_need_a_number_of_classes(self) -> None:
        assert utils.to_categorical([], 3).shape == (0, 3)
        with pytest.raises(ValueError, match=r"pass num_classes"):
            utils.to_categorical([])


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_normalize_gives_rows_of_unit_norm_and_leaves_zeros(axis: int, order: int) -> None:
    x = np.random.default_rng().normal(size=(4, 3))
    x[1] = 0
    normal = utils.normalize(x, axis=axis, order=order)
    norms = np.linalg.norm(normal, order, axis)
    np.testing.assert_allclose(norms[norms > 0], 1)
    np.testing.assert_array_equal(normal[1], 0)
    assert utils.normalize([3, 4]).tolist() == pytest.approx([0.6, 0.8])


def test_one_seed_repeats_python_numpy_and_gradlite() -> None:
    def draw() -> list[Any]:
        utils.set_random_seed(17)
        return [random.random(), np.random.rand(), Generator().uniform((2,)).tolist()]

    assert draw() == draw()
    with pytest.raises(ValueError, match=r"seed=-1"):
        utils.set_random_seed(-1)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "snake"),
        [("Conv2D", "conv2d"), ("MaxPooling2D", "max_pooling2d"), ("ReLU", "re_lu"), ("PReLU", "p_re_lu"),
         ("BatchNormalization", "batch_normalization"), ("RMSprop", "rm_sprop"), ("Dense", "dense"), ("ELU", "elu"),
         ("GlobalAveragePooling2D", "global_average_pooling2d"), ("LeakyReLU", "leaky_re_lu")],
    )  # fmt: skip
    def test_snake_case_is_that_of_keras(self, name: str, snake: str) -> None:
        assert naming.snake_case(name) == snake

    def test_names_are_counted_until_the_session_is_cleared(self) -> None:
        utils.clear_session()
        assert [naming.unique_name(name) for name in ("Conv2D", "Dense", "Conv2D", "Conv2D")] == [
            "conv2d",
            "dense",
            "conv2d_1",
            "conv2d_2",
        ]
        backend.clear_session()
        assert naming.unique_name("Conv2D") == "conv2d"


class TestLookup:
    class Small:
        def __init__(self, size: int = 1) -> None:
            self.size = size

    TABLE: dict[str, Any] = {"Small": Small, "small": Small, "double": lambda x: 2 * x}  # noqa: RUF012

    def test_what_an_identifier_may_be(self) -> None:
        table, kind = self.TABLE, self.Small
        assert lookup.lookup("thing", None, table) is None
        assert isinstance(lookup.lookup("thing", "small", table), kind)
        assert isinstance(lookup.lookup("thing", "SMALL", table), kind)
        assert isinstance(lookup.lookup("thing", kind, table), kind)
        assert lookup.lookup("thing", "double", table)(4) == 8
        assert lookup.lookup("thing", {"class_name": "Small", "config": {"size": 7}}, table).size == 7
        assert lookup.lookup("thing", {"class_name": "function", "config": "double"}, table)(4) == 8
        assert lookup.lookup("thing", len, table) is len

    def test_errors_say_what_was_received_and_what_is_near(self) -> None:
        with pytest.raises(ValueError, match=r"Could not interpret thing identifier: 'smal'. Did you mean 'small'\?"):
            lookup.lookup("thing", "smal", self.TABLE)
        with pytest.raises(ValueError, match=r"Could not interpret thing identifier: 3 of type int"):
            lookup.lookup("thing", 3, self.TABLE)
        with pytest.raises(ValueError, match=r"needs a 'class_name'"):
            lookup.lookup("thing", {"config": {}}, self.TABLE)

    def test_a_scope_adds_names_and_takes_them_away_again(self) -> None:
        with utils.CustomObjectScope({"mine": len}):
            assert lookup.lookup("thing", "mine", self.TABLE) is len
            with utils.custom_object_scope({"mine": abs}):
                assert lookup.lookup("thing", "mine", self.TABLE) is abs
            assert lookup.lookup("thing", "mine", self.TABLE) is len
        with pytest.raises(ValueError, match=r"mine"):
            lookup.lookup("thing", "mine", self.TABLE)


class TestRegistry:
    def test_a_registered_function_is_found_by_both_names(self) -> None:
        def halved(x: float) -> float:
            return x / 2

        utils.register_keras_serializable("test_utils")(halved)
        try:
            assert utils.get_registered_name(halved) == "test_utils>halved"
            assert utils.get_registered_object("test_utils>halved") is halved
            assert utils.get_registered_object("halved") is halved
            assert lookup.lookup("thing", "halved", {}) is halved
        finally:
            del utils.get_custom_objects()["test_utils>halved"]
        assert utils.get_registered_object("halved") is None

    def test_a_class_without_a_config_cannot_be_registered(self) -> None:
        class Mute:
            pass

        with pytest.raises(ValueError, match=r"Mute.*`get_config\(\)`"):
            utils.register_keras_serializable()(Mute)


class TestBackend:
    def test_settings_and_their_defaults(self) -> None:
        assert (backend.epsilon(), backend.floatx(), backend.image_data_format()) == (1e-7, "float32", "channels_last")
        try:
            backend.set_epsilon(1e-5)
            backend.set_floatx("float64")
            assert (backend.epsilon(), backend.floatx()) == (1e-5, "float64")
        finally:
            backend.set_epsilon(1e-7)
            backend.set_floatx("float32")

    def test_wrong_settings_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"Unknown floatx 'int8'"):
            backend.set_floatx("int8")
        with pytest.raises(ValueError, match=r"positive"):
            backend.set_epsilon(0)
        backend.set_image_data_format("channels_last")
        with pytest.raises(ValueError, match=r"Only 'channels_last'.*transpose"):
            backend.set_image_data_format("channels_first")


class TestPyDataset:
    def test_its_length_is_the_number_of_batches(self) -> None:
        class Three(utils.PyDataset):
            def __len__(self) -> int:
                return 3

            def __getitem__(self, index: int) -> int:
                return index

        dataset = Three(workers=2)
        assert dataset.num_batches == 3
        assert dataset.workers == 2
        assert dataset[2] == 2
        dataset.on_epoch_end()

    def test_what_is_missing_is_named(self) -> None:
        with pytest.raises(NotImplementedError, match=r"__len__"):
            len(utils.PyDataset())
        with pytest.raises(NotImplementedError, match=r"__getitem__"):
            utils.PyDataset()[0]
