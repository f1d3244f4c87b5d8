"""Models: Sequential and subclassed, how they are built, described, copied, saved and loaded."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradlite import keras
from gradlite.keras import layers

pytestmark = pytest.mark.usefixtures("each_device")


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def assert_same_weights(first: Any, second: Any) -> None:
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# Sequential.


def test_a_model_from_a_list_is_that_of_adding_the_layers_one_by_one() -> None:
    parts = [layers.Dense(3), layers.Dropout(0.5), layers.Dense(2)]
    listed, added = keras.Sequential(parts), keras.Sequential()
    for part in parts:
        added.add(part)
    assert listed.layers == added.layers == parts
    assert keras.Sequential(layers.Dense(1)).layers[0].units == 1


def test_without_an_input_there_are_no_weights_before_the_first_data() -> None:
    model = keras.Sequential([layers.Dense(3), layers.Dense(2)])
    assert model.weights == []
    assert not model.built
    with pytest.raises(ValueError, match=r"no weights yet: call it on data, build\(input_shape\), or put an Input"):
        model.count_params()
    with pytest.raises(AttributeError, match=r"has no Input"):
        _ = model.input_shape
    with pytest.raises(AttributeError, match=r"is not built"):
        _ = model.output_shape
    assert model(ones(5, 4)).shape == (5, 2)
    assert model.count_params() == 4 * 3 + 3 + 3 * 2 + 2
    assert model.output_shape == (None, 2)


def test_with_an_input_every_added_layer_is_built_at_once_and_keeps_its_weights() -> None:
    model = keras.Sequential([keras.Input((6, 6, 1))])
    assert model.weights == []
    model.add(layers.Conv2D(2, 3))
    kernel = model.layers[0].kernel
    assert model.output_shape == (None, 4, 4, 2)
    model.add(layers.Flatten())
    model.add(layers.Dense(3))
    assert model.output_shape == (None, 3)
    assert model.layers[0].kernel is kernel
    assert model.count_params() == 20 + 99
    assert kernel.path == f"{model.name}/{model.layers[0].name}/kernel"


def test_layers_can_be_added_after_the_model_has_seen_data() -> None:
    model = keras.Sequential([layers.Dense(3)])
    model(ones(2, 4))
    first = model.weights[0]
    model.add(layers.Dense(2))
    assert model(ones(2, 4)).shape == (2, 2)
    assert model.weights[0] is first
    assert len(model.weights) == 4


def test_pop_takes_the_last_layer_and_its_weights_away() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    last = model.layers[-1]
    assert model.pop() is last
    assert model.output_shape == (None, 3)
    assert len(model.weights) == 2
    model.add(layers.Dense(5))
    assert model(ones(1, 4)).shape == (1, 5)
    model.pop()
    model.pop()
    with pytest.raises(ValueError, match="without layers"):
        model.pop()


def test_models_within_models_are_layers() -> None:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()])
    model = keras.Sequential([inner, layers.Dense(2)])
    assert model.built
    assert model.input_shape == (None, 4)
    assert model.weights[:4] == inner.weights[:2] + inner.weights[2:4]
    inner.trainable = False
    assert len(model.trainable_weights) == 2
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    np.testing.assert_array_equal(model(x).numpy(), model.layers[1](inner(x)).numpy())


def test_a_layer_may_be_shared_by_models_and_within_one() -> None:
    shared = layers.Dense(4)
    first, second = keras.Sequential([keras.Input((4,)), shared, shared]), keras.Sequential([shared, layers.Dense(1)])
    assert len(first.weights) == 2
    second(ones(1, 4))
    assert second.weights[:2] == first.weights


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras.Sequential([layers.Dense(1, name="a"), layers.Dense(1, name="a")]), r"layer named 'a' already"),
        (lambda: keras.Sequential([layers.Dense(1), keras.Input((2,))]), r"Input must come first and once"),
        (lambda: keras.Sequential([layers.Dense]), r"of type type\. Did you mean Dense\(\.\.\.\)\?"),
        (lambda: keras.Sequential([3]), r"consists of layers\. Received: 3 of type int"),
        (lambda: keras.Sequential([keras.Input((2,)), layers.Conv2D(2, 3)]), r"\(Conv2D\).*4 axes.*\(None, 2\)"),
        (lambda: keras.Model(inputs=[1], outputs=[2]), r"keras\.Sequential.*subclass keras\.Model"),
        (lambda: keras.Model(1, 2), r"keras\.Sequential.*subclass keras\.Model"),
        (lambda: keras.Model(layers=[]), r"Unrecognized keyword arguments passed to Model: \{'layers': \[\]\}"),
        (lambda: keras.Input(), r"either shape or batch_shape"),
        (lambda: keras.Input((2.5,)), r"lengths and None\. Received: \(None, 2\.5\)"),
        (lambda: keras.Sequential().build(), r"needs the input's shape"),
    ],
)
def test_what_makes_no_model_is_refused_with_what_to_write(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_failed_first_call_leaves_a_model_that_can_be_built() -> None:
    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = layers.Dense(3), layers.Conv2D(1, 1)
            self.use_second = True

        def call(self, inputs: Any) -> Any:
            x = self.first(inputs)
            return self.second(x) if self.use_second else x

    net = Net()
    with pytest.raises(ValueError, match=r"conv2d.*4 axes"):
        net(ones(2, 4))
    assert not net.built
    net.use_second = False
    assert net(ones(2, 4)).shape == (2, 3)
    assert net.weights[0].path == f"{net.name}/{net.first.name}/kernel"


def test_layers_are_found_by_name_or_place() -> None:
    model = keras.Sequential([layers.Dense(1, name="a"), layers.Dense(1, name="b")])
    assert model.get_layer("b") is model.get_layer(index=-1) is model.layers[1]
    with pytest.raises(ValueError, match=r"no layer 'c'\. The layers are: a, b"):
        model.get_layer("c")
    with pytest.raises(ValueError, match=r"no layer 2: the model has 2"):
        model.get_layer(index=2)
    with pytest.raises(ValueError, match=r"a name or an index"):
        model.get_layer()


def test_a_summary_prints_or_goes_where_it_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    model = keras.Sequential([layers.Dense(3, name="hidden")], name="net")
    model.summary()
    assert 'Model: "net"' in capsys.readouterr().out
    model(ones(2, 4))
    texts: list[str] = []
    model.summary(print_fn=texts.append)
    assert len(texts) == 1
    assert "hidden (Dense)" in texts[0]
    assert "(None, 3)" in texts[0]
    assert "Total params: 15" in texts[0]
    assert capsys.readouterr().out == ""


# Subclassed models.


class TwoInputs(keras.Model):
    """Takes a list or a dict of two inputs, gives a dict of two outputs."""

    def __init__(self, units: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.units = units
        self.left, self.right = layers.Dense(units), layers.Dense(units)
        self.join = layers.Concatenate()
        self.heads = {"a": layers.Dense(1), "b": layers.Dense(2, activation="softmax")}

    def call(self, inputs: Any) -> Any:
        left, right = (inputs["left"], inputs["right"]) if isinstance(inputs, dict) else inputs
        joined = self.join([self.left(left), self.right(right)])
        return {name: head(joined) for name, head in self.heads.items()}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def test_a_subclassed_model_takes_lists_and_dicts_and_gives_several_outputs() -> None:
    model, left, right = TwoInputs(), ones(4, 2), ones(4, 5)
    outputs = model([left, right])
    assert {name: y.shape for name, y in outputs.items()} == {"a": (4, 1), "b": (4, 2)}
    for name, y in model({"left": left, "right": right}).items():
        np.testing.assert_array_equal(y.numpy(), outputs[name].numpy())
    predicted = model.predict([left, right], batch_size=3, verbose=0)
    np.testing.assert_allclose(predicted["b"], outputs["b"].numpy(), rtol=1e-6)
    assert len(model.weights) == 8
    assert len(model.layers) == 5


def test_build_makes_the_weights_of_a_subclassed_model_without_data() -> None:
    model = TwoInputs()
    model.build([(None, 2), (None, 5)])
    assert model.built
    assert model.count_params() == (2 * 3 + 3) + (5 * 3 + 3) + (6 + 1) + (12 + 2)
    weights = list(model.weights)
    model([ones(1, 2), ones(1, 5)])
    assert model.weights == weights


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copied_model_trains_on_alone_and_just_as_the_original(copied: Any) -> None:
    x, y = np.random.default_rng(0).normal(size=(24, 4)).astype("float32"), np.arange(24) % 2
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation="relu", kernel_regularizer="l2", kernel_constraint="max_norm"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            keras.Sequential([layers.Dense(2, activation="softmax")]),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, verbose=0)
    before = model.get_weights()
    twin = copied(model)
    histories = [m.fit(x, y, epochs=2, batch_size=7, shuffle=False, verbose=0).history for m in (twin, model)]
    assert histories[0] == histories[1]
    assert_same_weights(twin, model)
    assert not np.array_equal(before[0], twin.get_weights()[0])


# Files. (How files are laid out, and files that are damaged: test_saving.py; callbacks: test_saving_models.py.)


def test_training_goes_on_from_a_file_as_if_it_had_not_been_interrupted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 6, 6, 2)).astype("float32"), np.arange(30) % 3

    def make() -> Any:
        keras.utils.set_random_seed(4)
        model = keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                layers.Conv2D(3, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.Flatten(),
                layers.Dense(3, activation="softmax"),
            ]
        )
        rate = keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.7)
        model.compile(keras.optimizers.Adam(rate, use_ema=True, clipnorm=1.0), "sparse_categorical_crossentropy")
        return model

    def train(model: Any, epochs: int) -> None:
        for _ in range(epochs):
            for start in range(0, 30, 8):
                model.train_on_batch(x[start : start + 8], y[start : start + 8])

    whole, part = make(), make()
    train(whole, 4)
    train(part, 2)
    part.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    train(loaded, 2)
    assert_same_weights(whole, loaded)
    assert int(loaded.optimizer.iterations.numpy()) == 16


def test_a_subclassed_model_is_loaded_built(tmp_path: Path) -> None:
    model, x = TwoInputs(units=4), [ones(3, 2), ones(3, 5)]
    model.compile("sgd", {"a": "mse", "b": "categorical_crossentropy"})
    model.fit(x, {"a": ones(3), "b": np.eye(2)[[0, 1, 1]]}, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", custom_objects={"TwoInputs": TwoInputs})
    assert_same_weights(model, loaded)
    for name, y in model.predict(x, verbose=0).items():
        np.testing.assert_array_equal(loaded.predict(x, verbose=0)[name], y)


def test_weights_that_do_not_fit_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.weights.npz"
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    model.save_weights(path)
    for other in (
        keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(5)]),
        keras.Sequential([keras.Input((4,)), layers.Dense(3)]),
    ):
        before = other.get_weights()
        with pytest.raises(ValueError, match=r"does not fit the model.*nothing was changed"):
            other.load_weights(path)
        for a, b in zip(before, other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"has no weights yet"):
        keras.Sequential([layers.Dense(3)]).load_weights(path)
