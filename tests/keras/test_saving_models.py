"""Whole models in files: training goes on from a file bit for bit, and files written by Keras can be read."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradlite import keras
from gradlite.keras import layers

pytestmark = pytest.mark.usefixtures("each_device")

FILES = Path(__file__).parent / "files"


def make_data(samples: int = 70) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(3).normal(size=(samples, 6, 6, 3)).astype("float32")
    return x, np.arange(samples) % 3


def make_model(name: str | None = None, units: int = 5, **arguments: Any) -> Any:
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            keras.Sequential([layers.Flatten(), layers.Dense(units, kernel_constraint="max_norm")]),
            layers.Dense(3, activation="softmax", kernel_initializer=keras.initializers.HeNormal(seed=2)),
        ],
        name=name,
    )
    defaults = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    model.compile(**{**defaults, **arguments})
    return model


def assert_same_weights(first: Any, second: Any) -> None:
    assert len(first.weights) == len(second.weights)
    for a, b in zip(first.weights, second.weights):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_loaded_model_predicts_and_goes_on_training_bit_for_bit_like_the_original(tmp_path: Path) -> None:
    x, y = make_data()
    model = make_model()
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    histories = [m.fit(x, y, epochs=2, shuffle=False, verbose=0).history for m in (model, loaded)]
    assert histories[0] == histories[1]
    assert_same_weights(model, loaded)


@pytest.mark.parametrize(
    "make_arguments",
    [
        lambda: {"optimizer": keras.optimizers.SGD(0.02, momentum=0.5, nesterov=True)},
        lambda: {"optimizer": keras.optimizers.RMSprop(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.5))},
        lambda: {"loss": keras.losses.SparseCategoricalCrossentropy(name="mine")},
        lambda: {"metrics": ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(k=2)]},
        lambda: {"metrics": None},
    ],
)
def test_the_way_a_model_was_compiled_comes_back(tmp_path: Path, make_arguments: Callable[[], dict[str, Any]]) -> None:
    x, y = make_data()
    model = make_model(**make_arguments())
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def test_a_model_that_was_built_by_its_data_comes_back_built(tmp_path: Path) -> None:
    model = keras.Sequential([layers.Dense(4, activation="tanh"), layers.Dense(2)])
    x = np.random.default_rng().normal(size=(5, 3)).astype("float32")
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    assert loaded.optimizer is None


def test_weights_of_one_model_go_into_another_of_the_same_layers_but_not_of_other_widths(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.npz"
    model, same, wider = make_model(), make_model(), make_model(units=7)
    model.fit(*make_data(), verbose=0)
    model.save_weights(path)
    same.load_weights(path)
    assert_same_weights(model, same)
    before = [variable.numpy() for variable in wider.weights]
    with pytest.raises(ValueError, match=r"nothing was changed(.|\n)*layers/sequential/layers/dense/vars/0 \(layer"):
        wider.load_weights(path)
    for variable, value in zip(wider.weights, before):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_a_layer_of_the_users_own_needs_to_be_known_when_it_is_loaded(tmp_path: Path) -> None:
    class Scale(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.factor = self.add_weight(shape=input_shape[-1:], initializer="ones", name="factor")

        def call(self, inputs: Any) -> Any:
            return inputs * self.factor

    model = keras.Sequential([keras.Input((3,)), Scale(), layers.Dense(2)])
    model.layers[0].set_weights([np.array([1.0, 2.0, 3.0], "float32")])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"'Scale' is neither gradlite's nor registered.*custom_objects"):
        keras.models.load_model(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", custom_objects={"Scale": Scale})
    assert_same_weights(model, loaded)


def test_a_loss_function_of_the_users_own_is_saved_by_name(tmp_path: Path) -> None:
    def doubled(y_true: Any, y_pred: Any) -> Any:
        return 2.0 * keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

    x, y = make_data()
    model = make_model(loss=doubled)
    model.fit(x, y, verbose=0)
    with pytest.warns(UserWarning, match=r"doubled is saved by its name only"):
        model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"cannot be compiled as it was.*doubled(.|\n)*compile=False"):
        keras.models.load_model(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", custom_objects={"doubled": doubled})
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert keras.models.load_model(tmp_path / "m.keras", compile=False).optimizer is None


def test_callbacks_save_stop_and_restore_real_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = make_data()
    model = make_model()
    history = model.fit(
        x,
        y,
        epochs=8,
        validation_split=0.2,
        verbose=2,
        callbacks=[
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True, verbose=1),
            keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True),
            keras.callbacks.ReduceLROnPlateau(patience=1),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        ],
    )
    losses = history.history["val_loss"]
    assert f"val_loss improved from None to {losses[0]:.5f}, saving model to" in capsys.readouterr().out
    best = keras.models.load_model(tmp_path / "best.keras")
    assert_same_weights(best, model)
    assert min(losses) == pytest.approx(best.evaluate(x[56:], y[56:], verbose=0)[0], rel=1e-5)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "epoch,accuracy,learning_rate,loss,val_accuracy,val_loss"
    assert [float(row.split(",")[-1]) for row in rows[1:]] == losses


def test_an_interrupted_training_goes_on_where_it_was(tmp_path: Path) -> None:
    class PowerCut(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                raise RuntimeError("power cut")

    x, y = make_data()
    with pytest.raises(RuntimeError, match=r"power cut"):
        make_model().fit(
            x, y, epochs=4, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "b"), PowerCut()]
        )
    again = make_model()
    history = again.fit(x, y, epochs=4, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "b")])
    assert history.epoch == [2, 3]
    assert int(again.optimizer.iterations.numpy()) == 4 * 3


@pytest.fixture
def by_keras() -> Any:
    pytest.importorskip("h5py")
    with np.load(FILES / "trained_by_keras.npz") as recorded:
        return {name: recorded[name] for name in recorded.files}


def test_a_file_written_by_keras_loads_and_predicts_and_goes_on_training_as_it_did_there(by_keras: Any) -> None:
    model = keras.models.load_model(FILES / "trained_by_keras.keras")
    x, y = by_keras["x"], by_keras["y"]
    np.testing.assert_allclose(model.predict(x, verbose=0), by_keras["predictions"], atol=1e-6)
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), by_keras["scores"], rtol=1e-5)
    # The optimizer's moments and step number came along: the trajectory is that of Keras.
    losses = model.fit(x, y, epochs=3, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, by_keras["trained_further"], rtol=1e-4)


def test_weights_written_to_hdf5_are_where_keras_looks_for_them(by_keras: Any, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    model = keras.models.load_model(FILES / "trained_by_keras.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    with zipfile.ZipFile(FILES / "trained_by_keras.keras") as archive:
        original = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    with original, h5py.File(tmp_path / "m.weights.h5") as written:
        compared = 0
        for name in all_datasets(original):
            np.testing.assert_array_equal(written[name][()], original[name][()], err_msg=name)
            compared += 1
        assert compared == len(all_datasets(written)) > 20
        assert written["layers/conv2d/vars"].attrs["name"] == original["layers/conv2d/vars"].attrs["name"] == "first"


def all_datasets(file: Any) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    return names
