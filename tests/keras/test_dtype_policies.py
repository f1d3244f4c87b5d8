"""Dtype policies: what layers keep weights in and compute in, how that is set, said and saved."""

from __future__ import annotations

import copy
import pickle
import sys

import numpy as np
import pytest

import gradlite
from gradlite import keras
from gradlite.backends.dtypes import narrow_floats
from gradlite.keras import layers

HALF = {str(dtype): dtype for dtype in narrow_floats()}

pytestmark = pytest.mark.usefixtures("each_device")


@pytest.fixture(autouse=True)
def policy_of_before():
    yield
    keras.config.set_dtype_policy(None)


# Names.


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_a_policy_says_what_weights_are_and_what_is_computed_in(name):
    if "bfloat16" in name:
        pytest.importorskip("ml_dtypes")
    keras.mixed_precision.set_global_policy(name)
    policy = keras.mixed_precision.global_policy()
    assert policy == keras.config.dtype_policy() == keras.mixed_precision.Policy(name) == keras.DTypePolicy(name)
    assert policy.name == name
    assert policy.compute_dtype == name.removeprefix("mixed_")
    assert policy.variable_dtype == ("float32" if name.startswith("mixed_") else name)
    layer = layers.Dense(2)
    y = layer(np.ones((1, 3)))
    assert (layer.dtype, layer.variable_dtype, layer.compute_dtype) == (policy.variable_dtype,) * 2 + (
        policy.compute_dtype,
    )
    assert (str(y.dtype), str(layer.kernel.dtype)) == (policy.compute_dtype, policy.variable_dtype)


@pytest.mark.parametrize(
    ("name", "hint"), [("mixed_float", "mixed_float16"), ("mixed_fp16", "mixed_float16"), ("half precision", "one of")]
)
def test_a_wrong_name_is_refused_with_the_names_there_are(name, hint):
    for use in (keras.DTypePolicy, keras.mixed_precision.set_global_policy, lambda n: layers.Dense(1, dtype=n)):
        with pytest.raises(ValueError, match=hint):
            use(name)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("value", [3, object(), ["float32"]])
def test_what_is_no_policy_is_refused(value):
    with pytest.raises(ValueError, match="Received"):
        layers.Dense(1, dtype=value)


def test_the_global_policy_is_one_of_floating_point():
    with pytest.raises(ValueError, match="floating-point"):
        keras.config.set_dtype_policy("int32")


def test_without_a_policy_floatx_counts():
    keras.backend.set_floatx("float64")
    try:
        assert keras.config.dtype_policy().name == "float64"
    finally:
        keras.backend.set_floatx("float32")


def test_bfloat16_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    for name in ("bfloat16", "mixed_bfloat16"):
        with pytest.raises(ImportError, match="pip install ml_dtypes"):
            keras.mixed_precision.set_global_policy(name)
    assert keras.config.dtype_policy().name == "float32"


# Layers.


@pytest.mark.parametrize("kind", HALF)
def test_a_layer_of_its_own_policy_converts_its_inputs_and_weights_and_gradients_come_back_wide(kind):
    layer = layers.Dense(4, dtype=f"mixed_{kind}")
    x = gradlite.Tensor(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32), requires_grad=True)
    y = layer(x)
    assert y.dtype == HALF[kind]
    to_kernel, to_bias, to_x = gradlite.grad(y.astype("float32").sum(), [layer.kernel, layer.bias, x])
    assert [g.dtype for g in (to_kernel, to_bias, to_x)] == [np.float32] * 3
    rounded = x.numpy().astype(HALF[kind]).astype(np.float64), layer.kernel.numpy().astype(HALF[kind]).astype(float)
    np.testing.assert_allclose(y.numpy().astype(float), rounded[0] @ rounded[1], rtol=2.0**-7, atol=2.0**-7)
    np.testing.assert_allclose(to_kernel.numpy(), np.tile(rounded[0].sum(0)[:, None], 4), rtol=2.0**-7, atol=2.0**-7)
    np.testing.assert_allclose(to_bias.numpy(), np.full(4, 5.0))


@pytest.mark.parametrize("kind", HALF)
def test_a_layer_of_the_users_computes_in_16_bits_and_assigns_to_its_weights_as_they_are(kind):
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight(shape=input_shape[-1:], initializer="ones", name="factor")
            self.exact = self.add_weight(shape=(), initializer="zeros", trainable=False, autocast=False)
            self.number = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False)

        def call(self, inputs):
            self.exact.assign_add(1.0)
            assert (self.number + 1).dtype.kind == "i"
            assert (self.exact + 0).dtype == np.float32
            return inputs * self.factor

    layer = Scale(dtype=keras.DTypePolicy(f"mixed_{kind}"))
    assert layer(np.ones((2, 3))).dtype == HALF[kind]
    assert (layer.factor * 1).dtype == np.float32, "outside of call it is what it is"
    assert layer.exact.numpy() == 1


@pytest.mark.parametrize("kind", HALF)
def test_a_float32_layer_within_a_mixed_model_computes_in_float32(kind):
    class Model(keras.Model):
        def __init__(self):
            super().__init__(dtype=f"mixed_{kind}")
            self.body = layers.Dense(3, dtype=f"mixed_{kind}")
            self.head = layers.Dense(2, activation="softmax", dtype="float32")

        def call(self, inputs):
            self.seen = self.body(inputs)
            return self.head(self.seen)

    model = Model()
    y = model(np.ones((2, 4)))
    assert (model.seen.dtype, y.dtype, model.head.kernel.dtype) == (HALF[kind], np.float32, np.float32)


@pytest.mark.parametrize("kind", HALF)
def test_without_autocast_inputs_and_weights_stay(kind):
    layer = layers.Dense(2, dtype=f"mixed_{kind}", autocast=False)
    assert layer(np.ones((1, 2), np.float32)).dtype == np.float32


@pytest.mark.parametrize("kind", HALF)
def test_normalization_computes_statistics_in_float32(kind):
    x = (1000 + np.random.default_rng(0).normal(size=(64, 3))).astype(np.float32)
    given = x.astype(HALF[kind]).astype(np.float64)
    wanted = (given - given.mean(0)) / np.sqrt(given.var(0) + 1e-3)
    layer = layers.BatchNormalization(momentum=0.0, dtype=f"mixed_{kind}")
    y = layer(x, training=True)
    assert y.dtype == HALF[kind]
    assert {v.dtype for v in layer.weights} == {np.dtype(np.float32)}
    np.testing.assert_allclose(y.numpy().astype(float), wanted, atol=2.0**-6)
    np.testing.assert_allclose(layer.moving_mean.numpy(), given.mean(0), rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), given.var(0), rtol=1e-4)
    for other in (layers.LayerNormalization, layers.GroupNormalization):
        options = {"groups": 1} if other is layers.GroupNormalization else {}
        layer = other(dtype=f"mixed_{kind}", **options)
        y = layer(x[:, None])
        assert y.dtype == HALF[kind]
        rows = (given - given.mean(1, keepdims=True)) / np.sqrt(given.var(1, keepdims=True) + 1e-3)
        np.testing.assert_allclose(y.numpy()[:, 0].astype(float), rows, atol=2.0**-6)


MANY = {
    "conv": (lambda: layers.Conv2D(4, 3, padding="same", activation="relu"), (2, 6, 6, 3)),
    "depthwise": (lambda: layers.DepthwiseConv2D(3), (2, 6, 6, 3)),
    "separable": (lambda: layers.SeparableConv2D(4, 3), (2, 6, 6, 3)),
    "transposed": (lambda: layers.Conv2DTranspose(4, 3, strides=2), (2, 4, 4, 3)),
    "conv1d": (lambda: layers.Conv1D(4, 3, padding="causal"), (2, 6, 3)),
    "pooling": (lambda: layers.MaxPooling2D(), (2, 6, 6, 3)),
    "average pooling": (lambda: layers.AveragePooling2D(2, padding="same"), (2, 5, 5, 3)),
    "global pooling": (lambda: layers.GlobalAveragePooling2D(), (2, 5, 5, 3)),
    "softmax": (lambda: layers.Softmax(), (3, 7)),
    "gelu": (lambda: layers.Activation("gelu"), (3, 7)),
    "prelu": (lambda: layers.PReLU(), (3, 7)),
    "elu": (lambda: layers.ELU(), (3, 7)),
    "padding": (lambda: layers.ZeroPadding2D(), (2, 3, 3, 2)),
    "up": (lambda: layers.UpSampling2D(), (2, 3, 3, 2)),
    "rescaling": (lambda: layers.Rescaling(0.5, offset=1.0), (3, 4)),
    "group": (lambda: layers.GroupNormalization(2), (2, 3, 3, 4)),
    "merge": (lambda: layers.Lambda(lambda x: layers.concatenate([x, x]) + layers.add([x, x, x])[..., :1]), (3, 4)),
}


@pytest.mark.parametrize("kind", HALF)
@pytest.mark.parametrize("name", MANY)
def test_layers_give_16_bit_outputs_near_those_of_float32(name, kind):
    make, shape = MANY[name]
    x = np.random.default_rng(3).normal(size=shape).astype(HALF[kind]).astype(np.float32)
    keras.utils.set_random_seed(1)
    exact = make()
    wide = exact(x)
    keras.mixed_precision.set_global_policy(f"mixed_{kind}")
    layer = make()
    layer(x)
    layer.set_weights(exact.get_weights())
    t = gradlite.Tensor(x, requires_grad=True)
    y = layer(t)
    assert y.dtype == HALF[kind]
    np.testing.assert_allclose(y.numpy().astype(np.float32), wide.numpy(), rtol=2.0**-5, atol=2.0**-5)
    y.astype("float32").sum().backward()
    assert t.grad.dtype == np.float32


# Configs, copies and files.


def test_a_layer_writes_its_policy_as_keras_does_and_reads_it_back():
    for dtype in ("float32", "mixed_float16", np.float64, keras.DTypePolicy("float16")):
        layer = layers.Dense(3, dtype=dtype)
        written = layer.get_config()["dtype"]
        assert written == {
            "module": "keras",
            "class_name": "DTypePolicy",
            "config": {"name": layer.dtype_policy.name},
            "registered_name": None,
        }
        again = layers.Dense.from_config(layer.get_config())
        assert again.dtype_policy == layer.dtype_policy
    assert layers.Dense.from_config({"units": 1, "dtype": "mixed_float16"}).compute_dtype == "float16"
    with pytest.raises(ValueError, match="QuantizedDTypePolicy"):
        layers.Dense(1, dtype={"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8"}})


@pytest.mark.parametrize("kind", HALF)
def test_policies_survive_saving_copying_and_pickling(kind, tmp_path):
    keras.mixed_precision.set_global_policy(f"mixed_{kind}")
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(3, activation="softmax", dtype="float32"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = np.random.default_rng(0).normal(size=(16, 4)), np.arange(16) % 3
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    before = model.predict(x, verbose=0)
    keras.config.set_dtype_policy(None)
    for again in (
        keras.models.load_model(tmp_path / "model.keras"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ):
        assert [layer.dtype_policy.name for layer in (again, *again.layers)] == [
            f"mixed_{kind}", f"mixed_{kind}", f"mixed_{kind}", "float32",
        ]  # fmt: skip
        np.testing.assert_array_equal(again.predict(x, verbose=0), before)
        assert type(again.optimizer) is type(model.optimizer)
        for a, b in zip(again.optimizer.variables, model.optimizer.variables):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        again.fit(x, y, verbose=0)
        assert {v.dtype for v in again.weights} == {np.dtype(np.float32)}


def test_a_loaded_model_of_bfloat16_without_the_package_says_what_to_install(monkeypatch):
    config = {"units": 1, "dtype": {"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}}
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="ml_dtypes"):
        layers.Dense.from_config(config)


# Compiling.


def test_compile_wraps_the_optimizer_under_mixed_float16_alone():
    def compiled(policy, **options):
        model = keras.Sequential([keras.Input((2,)), layers.Dense(1)], dtype=policy)
        model.compile(**{"optimizer": "sgd", "loss": "mse", **options})
        return model.optimizer

    kind = keras.optimizers.LossScaleOptimizer
    assert isinstance(compiled("mixed_float16"), kind)
    assert compiled("mixed_float16").name == "loss_scale_optimizer"
    own = kind(keras.optimizers.SGD(0.5), initial_scale=4.0)
    assert compiled("mixed_float16", optimizer=own) is own
    assert not isinstance(compiled("mixed_float16", auto_scale_loss=False), kind)
    assert not isinstance(compiled("float32"), kind)
    assert not isinstance(compiled("float16"), kind)
