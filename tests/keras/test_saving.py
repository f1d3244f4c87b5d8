"""Models and weights in files: what is written, that it comes back bit for bit, and that bad files change nothing."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradlite.keras import initializers, saving
from gradlite.keras.saving import stores, weights
from gradlite.keras.saving.files import replacing
from gradlite.keras.variables import Variable


class Affine:
    """A layer with a kernel and a bias."""

    def __init__(self, inputs: int = 2, units: int = 3, name: str = "affine", initializer: Any = "ones") -> None:
        self.name, self.inputs, self.units, self.initializer = name, inputs, units, initializers.get(initializer)
        random = np.random.default_rng()
        self.weights = [
            Variable(random.normal(size=(inputs, units)).astype("float32"), name="kernel"),
            Variable(random.normal(size=(units,)), name="bias", dtype="float64"),
        ]

    def get_config(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "units": np.int64(self.units),
            "name": self.name,
            "initializer": self.initializer,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Affine:
        return cls(**config)


class Momentum:
    """An optimizer that makes its variables when it is built."""

    def __init__(self) -> None:
        self.name, self.built = "momentum", False
        self.variables = [Variable(np.int64(0), name="iteration"), Variable(0.1, name="learning_rate")]

    def build(self, trainable: list[Variable]) -> None:
        self.built = True
        self.variables += [Variable(np.zeros(tuple(v.shape), v.dtype), name="m") for v in trainable]


class Chain:
    """A model that is a list of layers or models."""

    def __init__(self, layers: list[Any] | None = None, name: str = "chain") -> None:
        self.name, self.layers, self.built = name, layers or [], True
        self.optimizer: Momentum | None = None
        self.compiled_with: dict[str, Any] = {}

    @property
    def weights(self) -> list[Variable]:
        return [variable for layer in self.layers for variable in layer.weights]

    @property
    def trainable_variables(self) -> list[Variable]:
        return self.weights

    def compile(self, **arguments: Any) -> None:
        self.compiled_with = arguments
        self.optimizer = Momentum()

    def get_compile_config(self) -> dict[str, Any] | None:
        return self.compiled_with

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "layers": self.layers}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Chain:
        return cls(saving.deserialize_keras_object(config["layers"]), config["name"])


KNOWN: dict[str, Any] = {"Chain": Chain, "Affine": Affine, "Momentum": Momentum}


def make_model(units: int = 3, trained: bool = True) -> Chain:
    inner = Chain([Affine(units, 4, name="deep")], name="inner")
    model = Chain([Affine(2, units, name="first"), Affine(units, units, name="second"), inner])
    if trained:
        model.compile(loss="mse")
        assert model.optimizer is not None
        model.optimizer.build(model.trainable_variables)
        for step, variable in enumerate(model.optimizer.variables):
            variable.assign(np.full(variable.shape, step + 1, variable.dtype))
    return model


def arrays(model: Chain) -> list[np.ndarray]:
    state = [] if model.optimizer is None else model.optimizer.variables
    return [variable.numpy() for variable in [*model.weights, *state]]


def assert_same(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def rewrite(path: Path, changes: dict[str, bytes | None]) -> None:
    """Replace or (None) remove members of a zip file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members.update(changes)  # type: ignore[arg-type]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)


def npz(values: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    stores.write_store(buffer, values, False, {})
    return buffer.getvalue()


class TestModelFiles:
    def test_a_model_comes_back_bit_for_bit_with_its_optimizer(self, tmp_path: Path) -> None:
        model = make_model()
        saving.save_model(model, tmp_path / "m.keras")
        loaded = saving.load_model(tmp_path / "m.keras", KNOWN)
        assert_same(arrays(loaded), arrays(model))
        assert loaded.compiled_with == {"loss": "mse"}
        assert loaded.layers[1].name == "second"
        assert type(loaded.layers[0].initializer) is initializers.Ones

    def test_without_compile_there_is_no_optimizer(self, tmp_path: Path) -> None:
        saving.save_model(make_model(), tmp_path / "m.keras")
        assert saving.load_model(tmp_path / "m.keras", KNOWN, compile=False).optimizer is None

    def test_the_file_is_a_zip_of_two_texts_and_arrays_that_numpy_reads_without_pickle(self, tmp_path: Path) -> None:
        model = make_model()
        saving.save_model(model, tmp_path / "m.keras")
        with zipfile.ZipFile(tmp_path / "m.keras") as archive:
            assert archive.namelist() == ["metadata.json", "config.json", "model.weights.npz"]
            assert json.loads(archive.read("config.json"))["class_name"] == "Chain"
            stored = np.load(io.BytesIO(archive.read("model.weights.npz")), allow_pickle=False)
        layers = ["layers/affine", "layers/affine_1", "layers/chain/layers/affine"]
        expected = [f"{layer}/vars/{index}" for layer in layers for index in range(2)]
        assert sorted(stored) == sorted(expected + [f"optimizer/vars/{index}" for index in range(8)])
        np.testing.assert_array_equal(stored["layers/affine/vars/0"], model.layers[0].weights[0].numpy())

    def test_a_missing_file_and_a_wrong_ending_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"no file .*m\.keras"):
            saving.load_model(tmp_path / "m.keras")
        for name in ("m.h5", "m", "m.pt"):
            with pytest.raises(ValueError, match=r"must end in \.keras"):
                saving.save_model(make_model(), tmp_path / name)

    def test_an_existing_file_stays_unless_it_may_be_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "m.keras"
        saving.save_model(make_model(), path)
        before = path.read_bytes()
        with pytest.raises(FileExistsError, match=r"overwrite=True"):
            saving.save_model(make_model(), path, overwrite=False)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("cut", [0, 10, 200, -30])
    def test_a_file_cut_short_is_refused_by_name(self, tmp_path: Path, cut: int) -> None:
        path = tmp_path / "m.keras"
        saving.save_model(make_model(), path)
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(ValueError, match=r"m\.keras is not a complete \.keras file"):
            saving.load_model(path, KNOWN)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"config.json": b"{"}, r"damaged at config\.json"),
            ({"config.json": b"[]"}, r"damaged at config\.json.*expected an object"),
            ({"config.json": None}, r"holds no config\.json"),
            ({"metadata.json": None}, r"holds no metadata\.json"),
            ({"metadata.json": b'{"format": 99, "gradlite_version": "9.9"}'}, "gradlite 9.9, in a newer format"),
            ({"model.weights.npz": None}, r"holds no model\.weights\.npz"),
            ({"model.weights.npz": b"PK nonsense"}, r"model\.weights\.npz in .* is not a complete npz"),
            ({"config.json": b'{"class_name": "Chian", "config": {}}'}, "'Chian' is neither gradlite's nor registered"),
        ],
    )
    def test_a_bad_part_of_the_file_is_named(
        self, tmp_path: Path, changes: dict[str, bytes | None], message: str
    ) -> None:
        path = tmp_path / "m.keras"
        saving.save_model(make_model(), path)
        rewrite(path, changes)
        with pytest.raises(ValueError, match=message):
            saving.load_model(path, KNOWN)

    def test_a_flipped_byte_among_the_weights_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "m.keras"
        model = make_model()
        saving.save_model(model, path)
        content = bytearray(path.read_bytes())
        position = content.index(model.layers[1].weights[0].numpy().tobytes())
        content[position] ^= 0x40
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged at model\.weights\.npz"):
            saving.load_model(path, KNOWN)

    def test_what_cannot_be_compiled_says_so_and_loads_with_compile_false(self, tmp_path: Path) -> None:
        class Strict(Chain):
            def compile(self, **arguments: Any) -> None:
                raise ValueError("there is no loss 'mse'")

        Strict.__name__ = "Chain"  # weights are named by classes
        saving.save_model(make_model(), tmp_path / "m.keras")
        known = {**KNOWN, "Chain": Strict}
        with pytest.raises(ValueError, match=r"cannot be compiled as it was: there is no loss 'mse'.*compile=False"):
            saving.load_model(tmp_path / "m.keras", known)
        assert saving.load_model(tmp_path / "m.keras", known, compile=False).name == "chain"

    def test_compile_arguments_that_cannot_be_saved_warn_and_the_rest_is_saved(self, tmp_path: Path) -> None:
        model = make_model()
        model.compiled_with = {"loss": object()}
        with pytest.warns(UserWarning, match=r"How the model was compiled is not saved"):
            saving.save_model(model, tmp_path / "m.keras")
        loaded = saving.load_model(tmp_path / "m.keras", KNOWN)
        assert_same([v.numpy() for v in loaded.weights], [v.numpy() for v in model.weights])


class TestAtomicWrites:
    def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "m.keras"
        saving.save_model(make_model(), path)
        before = path.read_bytes()

        def interrupted(*arguments: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("gradlite.keras.saving.archive.write_store", interrupted)
        with pytest.raises(KeyboardInterrupt):
            saving.save_model(make_model(), path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["m.keras"]

    def test_a_directory_is_no_file_and_a_missing_one_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError, match=r"it is a directory"), replacing(str(tmp_path)):
            pass
        with pytest.raises(FileNotFoundError, match=r"there is no directory .*nowhere"):
            saving.save_model(make_model(), tmp_path / "nowhere" / "m.keras")


class TestWeightFiles:
    @pytest.fixture(params=[".weights.npz", ".weights.h5"])
    def path(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        if request.param.endswith("h5"):
            pytest.importorskip("h5py")
        return tmp_path / f"m{request.param}"

    def test_weights_come_back_bit_for_bit_with_the_optimizer(self, path: Path) -> None:
        model, other = make_model(), make_model(trained=False)
        other.compile()
        saving.save_weights(model, path)
        saving.load_weights(other, path)
        assert_same(arrays(other), arrays(model))

    def test_layers_correspond_by_class_and_order_whatever_they_are_called(self, path: Path) -> None:
        model, other = make_model(), make_model()
        other.layers[0].name = "renamed"
        saving.save_weights(model, path)
        saving.load_weights(other, path)
        assert_same(arrays(other), arrays(model))

    def test_a_wrong_shape_names_the_layer_and_changes_nothing(self, path: Path) -> None:
        model, wider = make_model(units=3), make_model(units=5)
        before = arrays(wider)
        saving.save_weights(model, path)
        with pytest.raises(ValueError) as error:
            saving.load_weights(wider, path)
        assert "nothing was changed" in str(error.value)
        assert "layers/affine/vars/0 (layer 'first') has shape (2, 3) in the file and (2, 5) in the model" in str(
            error.value
        )
        assert_same(arrays(wider), before)

    def test_missing_and_surplus_weights_are_named_and_change_nothing(self, path: Path) -> None:
        small, large = Chain([Affine()]), Chain([Affine(), Affine(3, 1, name="extra")])
        before = arrays(large), arrays(small)
        saving.save_weights(small, path)
        with pytest.raises(ValueError, match=r"layers/affine_1/vars/0 \(layer 'extra', shape \(3, 1\)\) is not in the"):
            saving.load_weights(large, path)
        saving.save_weights(large, path)
        with pytest.raises(ValueError, match=r"affine_1/vars/0 of shape \(3, 1\) is in the file, and the model has no"):
            saving.load_weights(small, path)
        assert_same(arrays(large), before[0])
        assert_same(arrays(small), before[1])

    def test_with_skip_mismatch_what_fits_is_loaded_and_the_rest_warned_of(self, path: Path) -> None:
        model, other = Chain([Affine(2, 3), Affine(3, 4)]), Chain([Affine(2, 3), Affine(3, 5)])
        kept = other.layers[1].weights[0].numpy()
        saving.save_weights(model, path)
        with pytest.warns(UserWarning, match=r"Skipped while loading .*affine_1"):
            saving.load_weights(other, path, skip_mismatch=True)
        np.testing.assert_array_equal(other.layers[0].weights[0].numpy(), model.layers[0].weights[0].numpy())
        np.testing.assert_array_equal(other.layers[1].weights[0].numpy(), kept)

    def test_the_state_of_another_optimizer_is_left_out_with_a_warning(self, path: Path) -> None:
        model, other = make_model(), make_model(trained=False)
        other.compile()
        assert other.optimizer is not None
        other.optimizer.variables.append(Variable(1.0, name="another"))
        saving.save_weights(model, path)
        with pytest.warns(UserWarning, match=r"optimizer's state .* does not fit Momentum; it starts afresh"):
            saving.load_weights(other, path)
        assert_same([v.numpy() for v in other.weights], [v.numpy() for v in model.weights])
        assert other.optimizer.variables[0].numpy() == 0

    def test_a_model_without_an_optimizer_takes_the_weights_alone(self, path: Path) -> None:
        model, other = make_model(), make_model(trained=False)
        saving.save_weights(model, path)
        saving.load_weights(other, path)
        assert other.optimizer is None

    def test_a_model_without_weights_is_told_to_be_built(self, path: Path) -> None:
        with pytest.raises(ValueError, match=r"no weights yet"):
            saving.save_weights(Chain(), path)
        saving.save_weights(make_model(), path)
        with pytest.raises(ValueError, match=r"has no weights yet. Build it first"):
            saving.load_weights(Chain(), path)

    def test_a_file_that_is_none_is_refused(self, path: Path) -> None:
        path.write_bytes(b"no such format")
        model = make_model()
        before = arrays(model)
        with pytest.raises(ValueError, match=r"is not a complete"):
            saving.load_weights(model, path)
        assert_same(arrays(model), before)

    def test_a_damaged_array_is_named_and_changes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "m.weights.npz"
        model, other = make_model(), make_model()
        saving.save_weights(model, path)
        rewrite(path, {"layers/affine_1/vars/1.npy": b"\x93NUMPY\x01\x00broken"})
        before = arrays(other)
        with pytest.raises(ValueError, match=r"damaged or foreign: layers/affine_1/vars/1 cannot be read"):
            saving.load_weights(other, path)
        assert_same(arrays(other), before)

    def test_an_array_shorter_than_its_header_says_is_named_and_changes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "m.weights.npz"
        model, other = make_model(), make_model()
        saving.save_weights(model, path)
        with zipfile.ZipFile(path) as archive:
            short = archive.read("layers/affine_1/vars/1.npy")[:-1]
        rewrite(path, {"layers/affine_1/vars/1.npy": short})
        before = arrays(other)
        with pytest.raises(ValueError, match=r"layers/affine_1/vars/1 cannot be read"):
            saving.load_weights(other, path)
        assert_same(arrays(other), before)

    def test_a_pickle_in_the_file_is_not_run(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[Any, ...]:
                return (os.mkdir, (str(tmp_path / "sprung"),))

        buffer = io.BytesIO()
        np.save(buffer, np.array([Trap()] * 3, dtype=object), allow_pickle=True)
        path = tmp_path / "m.weights.npz"
        model = Chain([Affine()])
        saving.save_weights(model, path)
        rewrite(path, {"layers/affine/vars/1.npy": buffer.getvalue()})
        with pytest.raises(ValueError, match=r"layers/affine/vars/1 cannot be read.*allow_pickle=False"):
            saving.load_weights(model, path)
        assert not (tmp_path / "sprung").exists()

    def test_the_ending_is_checked(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"must end in \.weights\.npz or \.weights\.h5. Received: .*m\.h5"):
            saving.save_weights(make_model(), tmp_path / "m.h5")

    def test_without_h5py_the_error_says_what_to_install_or_use(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "h5py", None)
        with pytest.raises(ImportError, match=r"pip install h5py.*\.weights\.npz"):
            saving.save_weights(make_model(), tmp_path / "m.weights.h5")
        assert os.listdir(tmp_path) == []

    def test_hdf5_files_have_the_layout_of_keras(self, tmp_path: Path) -> None:
        h5py = pytest.importorskip("h5py")
        model = make_model()
        saving.save_weights(model, tmp_path / "m.weights.h5")
        with h5py.File(tmp_path / "m.weights.h5") as file:
            np.testing.assert_array_equal(file["layers/affine_1/vars/1"], model.layers[1].weights[1].numpy())
            assert file["layers/affine_1/vars"].attrs["name"] == "second"
            assert file["optimizer/vars/0"][()] == 1
            assert file["optimizer/vars"].attrs["name"] == "momentum"

    def test_variables_that_belong_to_no_layer_are_the_models_own(self) -> None:
        class WithScale(Chain):
            scale = Variable(2.0, name="scale")

            @property
            def weights(self) -> list[Variable]:
                return [*super().weights, self.scale]

        names = weights.named_variables(WithScale([Affine()]))
        assert list(names) == ["layers/affine/vars/0", "layers/affine/vars/1", "vars/0"]


class TestSerialization:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, None), (3, 3), ("a", "a"), (np.float32(0.5), 0.5), ((1, (2, 3)), [1, [2, 3]]),
            ({"a": np.int64(1)}, {"a": 1}), (np.dtype("float32"), "float32"),
        ],
    )  # fmt: skip
    def test_values_become_plain_data(self, value: Any, expected: Any) -> None:
        assert saving.serialize_keras_object(value) == expected

    def test_arrays_and_nested_objects_come_back(self) -> None:
        original = {"a": np.arange(3, dtype="int16"), "b": [initializers.HeNormal(4), None]}
        restored = saving.deserialize_keras_object(json.loads(json.dumps(saving.serialize_keras_object(original))))
        np.testing.assert_array_equal(restored["a"], original["a"])
        assert restored["a"].dtype == "int16"
        assert restored["b"][0].get_config() == {"seed": 4}

    def test_configs_in_keras_own_form_are_understood(self) -> None:
        for module in ("keras.initializers", "keras", "gradlite"):
            config = {"module": module, "class_name": "HeNormal", "config": {"seed": 1}, "registered_name": None}
            assert saving.deserialize_keras_object(config).seed == 1
        pair = {"class_name": "__tuple__", "config": {"items": [1, 2]}}
        assert saving.deserialize_keras_object(pair) == (1, 2)
        assert (
            saving.deserialize_keras_object({"class_name": "DTypePolicy", "config": {"name": "float32"}}) == "float32"
        )

    def test_what_keras_says_of_features_that_are_switched_off_is_passed_over_at_any_depth(self) -> None:
        axes = {"input_axes": None, "output_axes": None}
        initializer = {"module": "keras.initializers", "class_name": "HeNormal", "config": {"seed": 2, **axes}}
        config = {
            "module": "keras.layers",
            "class_name": "Dense",
            "config": {"units": 3, "kernel_initializer": initializer, "quantization_config": None},
        }
        assert saving.deserialize_keras_object(config).kernel_initializer.seed == 2
        initializer["config"]["input_axes"] = [0]  # type: ignore[index]
        with pytest.raises(TypeError, match=r"input_axes"):
            saving.deserialize_keras_object(config)

    def test_an_argument_that_does_not_exist_is_an_error_with_the_config(self) -> None:
        with pytest.raises(TypeError, match=r"HeNormal cannot be built from its config.*gain"):
            saving.deserialize_keras_object({"class_name": "HeNormal", "config": {"gain": 2}})

    @pytest.mark.parametrize(
        "config",
        [
            {"module": "os", "class_name": "system", "config": "echo"},
            {"module": "builtins", "class_name": "function", "config": "eval"},
            {"module": "subprocess", "class_name": "Popen", "config": {"args": "true"}},
            {"module": "gradlite.keras.initializers", "class_name": "Generator", "config": {}},
            {"module": "keras.initializers", "class_name": "np", "config": {}},
            {"module": "keras.initializers", "class_name": "__builtins__", "config": {}},
            {"module": "keras.initializers.random", "class_name": "math", "config": {}},
        ],
    )
    def test_a_file_cannot_name_anything_that_is_not_gradlites(self, config: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"neither gradlite's nor registered"):
            saving.deserialize_keras_object(config)

    @pytest.mark.parametrize("safe_mode", [True, False])
    def test_bytecode_is_never_run(self, safe_mode: bool) -> None:
        config = {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}
        with pytest.raises(ValueError, match=r"Python bytecode.*never run here"):
            saving.deserialize_keras_object([config], safe_mode=safe_mode)

    def test_a_registered_class_comes_back_by_its_name(self) -> None:
        @saving.register_keras_serializable("test_saving")
        class Point:
            def __init__(self, x: float) -> None:
                self.x = x

            def get_config(self) -> dict[str, Any]:
                return {"x": self.x}

        try:
            config = saving.serialize_keras_object(Point(3.0))
            assert config["registered_name"] == "test_saving>Point"
            assert saving.deserialize_keras_object(config).x == 3.0
        finally:
            del saving.get_custom_objects()["test_saving>Point"]

    @pytest.mark.parametrize("make", [lambda: lambda x: x, lambda: TestSerialization.plain])
    def test_a_function_is_saved_by_name_with_a_warning_and_found_in_custom_objects(
        self, make: Callable[[], Callable[[Any], Any]]
    ) -> None:
        function = make()
        with pytest.warns(UserWarning, match=r"saved by its name only, because files hold no code"):
            config = saving.serialize_keras_object(function)
        assert saving.deserialize_keras_object(config, {function.__name__: function}) is function
        with pytest.raises(ValueError, match=r"neither gradlite's nor registered"):
            saving.deserialize_keras_object(config)

    @staticmethod
    def plain(x: Any) -> Any:
        return x

    def test_an_object_without_a_config_is_an_error_that_says_what_to_do(self) -> None:
        with pytest.raises(ValueError, match=r"object has no `get_config\(\)`.*register"):
            saving.serialize_keras_object(object())


def test_arrays_written_are_read_again_whatever_their_shape_and_type(tmp_path: Path) -> None:
    random = np.random.default_rng()
    values = {
        "a/0": np.float64(3.5),
        "a/1": random.normal(size=(0, 3)),
        "b": random.normal(size=(4, 6)).astype("float16")[::2, ::3],
        "c/d/e": np.asfortranarray(random.integers(0, 9, (3, 4))),
        "f": np.array([True, False]),
    }
    data = npz({name: np.asarray(value) for name, value in values.items()})
    with stores.open_store(io.BytesIO(data), False, "data") as store:
        assert store.names() == list(values)
        for name, value in values.items():
            assert store.shape(name) == np.shape(value)
            np.testing.assert_array_equal(store.read(name), value)
            assert store.read(name).dtype == np.asarray(value).dtype
