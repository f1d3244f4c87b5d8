"""Every layer, over a table that a test holds complete: shapes, configs, weights, dtypes, errors, copies."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite import keras
from gradlite.keras import layers

pytestmark = pytest.mark.usefixtures("each_device")

IMAGE, SEQUENCE, ROW = (2, 6, 5, 4), (2, 7, 3), (3, 4)


@dataclass(frozen=True)
class Case:
    """A layer's class, its arguments, the shapes it is called on, and which of its kinds of input are integers."""

    layer: str
    arguments: dict[str, Any] = field(default_factory=dict)
    shapes: tuple[tuple[int, ...], ...] = (ROW,)
    keeps_integers: bool = False  # where bytes in are bytes out

    def __str__(self) -> str:
        return "-".join([self.layer, *(f"{key}={value}" for key, value in self.arguments.items() if key != "function")])

    def make(self, **options: Any) -> Any:
        return getattr(layers, self.layer)(**self.arguments, **options)

    def shape(self, batch: int | None = -1) -> Any:
        shapes = [shape if batch == -1 else (batch, *shape[1:]) for shape in self.shapes]
        return shapes[0] if len(shapes) == 1 else shapes

    def inputs(self, rng: np.random.Generator, dtype: Any = np.float32) -> Any:
        high = 3 if self.layer == "Embedding" or dtype == np.uint8 else 1
        arrays = [(rng.uniform(0, high, shape)).astype(dtype) for shape in self.shapes]
        return arrays[0] if len(arrays) == 1 else arrays


def case(layer: str, *shapes: tuple[int, ...], keeps_integers: bool = False, **arguments: Any) -> Case:
    return Case(layer, arguments, shapes or (ROW,), keeps_integers)


def twice(x: Any) -> Any:
    return x * 2


REGULAR = {"kernel_regularizer": "l2", "kernel_constraint": "max_norm", "bias_initializer": "ones"}
CASES = [
    case("Dense", units=3, activation="tanh", **REGULAR),
    case("Dense", SEQUENCE, units=2, use_bias=False),
    case("Conv1D", SEQUENCE, filters=2, kernel_size=3, padding="causal", dilation_rate=2),
    case("Conv1DTranspose", SEQUENCE, filters=2, kernel_size=3, strides=2),
    case("Conv2D", IMAGE, filters=6, kernel_size=(3, 2), strides=2, padding="same", groups=2, **REGULAR),
    case("Conv2D", IMAGE, filters=2, kernel_size=3, activation="relu", use_bias=False),
    case("Conv2DTranspose", IMAGE, filters=2, kernel_size=3, strides=(2, 3), padding="same", output_padding=1),
    case("DepthwiseConv2D", IMAGE, kernel_size=3, depth_multiplier=2, depthwise_regularizer="l1"),
    case("SeparableConv2D", IMAGE, filters=3, kernel_size=3, strides=2, padding="same", pointwise_constraint="non_neg"),
    case("Embedding", (2, 5), input_dim=4, output_dim=3, embeddings_regularizer="l2"),
    case("MaxPooling1D", SEQUENCE, pool_size=3, strides=2, padding="same"),
    case("MaxPooling2D", IMAGE, pool_size=(2, 3)),
    case("AveragePooling1D", SEQUENCE),
    case("AveragePooling2D", IMAGE, pool_size=2, strides=1, padding="same"),
    case("GlobalMaxPooling1D", SEQUENCE),
    case("GlobalMaxPooling2D", IMAGE, keepdims=True),
    case("GlobalAveragePooling1D", SEQUENCE, keepdims=True),
    case("GlobalAveragePooling2D", IMAGE),
    case("BatchNormalization", IMAGE, momentum=0.5, epsilon=0.01, beta_regularizer="l2"),
    case("BatchNormalization", SEQUENCE, axis=1, center=False),
    case("LayerNormalization", IMAGE, axis=[1, -1], scale=False),
    case("LayerNormalization"),
    case("GroupNormalization", IMAGE, groups=2),
    case("Activation", activation="sigmoid"),
    case("ReLU", max_value=2.0, negative_slope=0.1, threshold=0.5),
    case("LeakyReLU", negative_slope=0.2),
    case("ELU", alpha=0.5),
    case("PReLU", IMAGE, shared_axes=[1, 2], alpha_initializer="ones"),
    case("Softmax", SEQUENCE, axis=1),
    case("Dropout", rate=0.5, seed=3, noise_shape=(None, 1)),
    case("SpatialDropout1D", SEQUENCE, rate=0.5),
    case("SpatialDropout2D", IMAGE, rate=0.5),
    case("GaussianNoise", stddev=0.5),
    case("GaussianDropout", rate=0.5, seed=1),
    case("Flatten", IMAGE, keeps_integers=True),
    case("Flatten", (3,), keeps_integers=True),
    case("Reshape", IMAGE, target_shape=(-1, 10), keeps_integers=True),
    case("Permute", IMAGE, dims=(3, 1, 2), keeps_integers=True),
    case("RepeatVector", n=3, keeps_integers=True),
    case("ZeroPadding2D", IMAGE, padding=((1, 0), (2, 3)), keeps_integers=True),
    case("Cropping2D", IMAGE, cropping=((1, 2), (0, 1)), keeps_integers=True),
    case("UpSampling1D", SEQUENCE, size=3, keeps_integers=True),
    case("UpSampling2D", IMAGE, size=(2, 3), keeps_integers=True),
    case("UpSampling2D", IMAGE, interpolation="bilinear"),
    case("Add", ROW, ROW, ROW),
    case("Subtract", (2, 3, 4), (2, 1, 4)),
    case("Multiply", ROW, ROW),
    case("Average", ROW, ROW, ROW),
    case("Maximum", ROW, ROW, keeps_integers=True),
    case("Minimum", ROW, ROW, keeps_integers=True),
    case("Concatenate", (2, 3, 4), (2, 2, 4), axis=1, keeps_integers=True),
    case("Rescaling", IMAGE, scale=0.25, offset=-1.0),
    case("Normalization", mean=[0.5, -1.0, 2.0, 0.0], variance=[1.0, 0.25, 4.0, 2.0]),
    case("Lambda", function=twice),
]
NOT_IN_THE_TABLE = {"InputLayer", "Layer", "InputSpec"}  # hold no computation

EVERY = pytest.mark.parametrize("case", CASES, ids=str)


def test_the_table_has_every_layer() -> None:
    classes = {value.__name__ for value in vars(layers).values() if inspect.isclass(value)}
    assert {c.layer for c in CASES} == classes - NOT_IN_THE_TABLE


@EVERY
def test_the_computed_shape_is_that_of_the_output_also_for_a_batch_that_is_not_known(
    case: Case, rng: np.random.Generator
) -> None:
    found = case.make()(case.inputs(rng)).shape
    layer = case.make()
    assert tuple(layer.compute_output_shape(case.shape())) == found
    assert tuple(layer.compute_output_shape(case.shape(None))) == (None, *found[1:])
    assert not layer.built


@EVERY
def test_a_layer_from_the_config_is_the_same_layer(case: Case, rng: np.random.Generator) -> None:
    layer, x = case.make(), case.inputs(rng)
    expected = layer(x).numpy()
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    again.build(case.shape(None))
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x).numpy(), expected)
    assert [w.name for w in again.weights] == [w.name for w in layer.weights]


@EVERY
def test_a_layer_from_a_file_of_json_is_the_same_layer(case: Case) -> None:
    if case.layer == "Lambda":
        pytest.skip("files hold no code")
    layer = case.make()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


@EVERY
@pytest.mark.parametrize("training", [False, True])
def test_outputs_are_float32_for_float64_input_and_for_bytes_unless_they_are_only_moved(
    case: Case, training: bool, rng: np.random.Generator
) -> None:
    assert case.make()(case.inputs(rng, np.float64), training=training).dtype == np.float32
    y = case.make()(case.inputs(rng, np.uint8), training=training)
    expected = np.uint8 if case.keeps_integers else np.float32
    if case.layer == "Lambda":
        expected = np.uint8  # the function's own affair
    assert y.dtype == expected


@EVERY
def test_a_float64_layer_computes_in_float64(case: Case, rng: np.random.Generator) -> None:
    layer = case.make(dtype="float64")
    assert layer(case.inputs(rng)).dtype == np.float64
    assert {w.dtype for w in layer.weights if w.dtype.kind == "f"} <= {np.dtype("float64")}


@EVERY
def test_names_are_numbered_and_a_given_name_is_kept(case: Case) -> None:
    keras.utils.clear_session()
    first, second = case.make(), case.make()
    assert second.name == f"{first.name}_1"
    assert case.make(name="mine").name == "mine"


@EVERY
def test_a_frozen_layer_has_no_trainable_weights_and_statistics_are_never_trained(
    case: Case, rng: np.random.Generator
) -> None:
    layer = case.make(trainable=False)
    layer(case.inputs(rng))
    assert layer.trainable_weights == []
    assert layer.non_trainable_weights == layer.weights
    layer.trainable = True
    statistics = [w.name for w in layer.weights if w.name.startswith("moving_")]
    assert [w.name for w in layer.non_trainable_weights] == statistics
    assert layer.count_params() == sum(w.size for w in layer.weights)


@EVERY
def test_weights_of_wrong_shape_or_number_change_nothing(case: Case, rng: np.random.Generator) -> None:
    layer = case.make()
    layer(case.inputs(rng))
    before = layer.get_weights()
    wrong = [w + 1 for w in before]
    with pytest.raises(ValueError, match=rf"{layer.name}.* has {len(before)} weights.*received: {len(before) + 1}"):
        layer.set_weights([*wrong, np.zeros(1)])
    if before:
        wrong[-1] = np.zeros((*wrong[-1].shape, 2))
        with pytest.raises(ValueError, match=rf"{layer.name}/{layer.weights[-1].name}.*Received: \("):
            layer.set_weights(wrong)
    for found, expected in zip(layer.get_weights(), before):
        np.testing.assert_array_equal(found, expected)


@EVERY
def test_an_unknown_keyword_is_named(case: Case) -> None:
    message = rf"Unrecognized keyword arguments passed to {case.layer}: .*'colour': 'red'"
    with pytest.raises(ValueError, match=message):
        case.make(colour="red")


@EVERY
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_computes_the_same_and_has_weights_of_its_own(case: Case, copied: Any, rng: np.random.Generator) -> None:
    layer, x = case.make(), case.inputs(rng)
    layer(x, training=True)
    twin = copied(layer)
    np.testing.assert_array_equal(twin(x, training=True).numpy(), layer(x, training=True).numpy())
    assert [w.regularizer is None for w in twin.weights] == [w.regularizer is None for w in layer.weights]
    assert [w.constraint is None for w in twin.weights] == [w.constraint is None for w in layer.weights]
    assert not {id(w) for w in twin.weights} & {id(w) for w in layer.weights}


ONE_INPUT = pytest.mark.parametrize("case", [c for c in CASES if len(c.shapes) == 1], ids=str)


@ONE_INPUT
def test_another_width_than_built_for_is_refused_naming_layer_and_both_shapes(
    case: Case, rng: np.random.Generator
) -> None:
    layer = case.make()
    layer(case.inputs(rng))
    if layer.input_spec is None or not layer.input_spec.axes:
        assert not layer.weights or case.layer == "Embedding"
        return
    axis, length = next(iter(layer.input_spec.axes.items()))
    shape = list(case.shapes[0])
    shape[axis] += 1
    with pytest.raises(ValueError, match=rf"{layer.name}.*axis {axis}.*length {length}.*shape \({shape[0]}"):
        layer(np.zeros(shape, np.float32))


def axes_needed(case: Case) -> int:
    spec = case.make().input_spec
    return 0 if spec is None else spec.ndim or spec.min_ndim


@pytest.mark.parametrize("case", [c for c in CASES if axes_needed(c) > 1], ids=str)
def test_another_rank_is_refused_naming_layer_and_both_numbers_of_axes(case: Case) -> None:
    layer, needed = case.make(), axes_needed(case)
    shape = (2,) * (needed - 1)
    for call in (lambda: layer(np.zeros(shape, np.float32)), lambda: layer.ensure_built((None, *shape[1:]))):
        with pytest.raises(ValueError, match=rf"{layer.name!r} \({case.layer}\).*{needed} axes.*shape \("):
            call()
    with pytest.raises(ValueError, match=rf"{layer.name!r} \({case.layer}\) takes one input.*2 inputs"):
        layer([gradlite.ones(case.shapes[0])] * 2)


def test_advice_says_how_to_make_the_input_fit() -> None:
    dense = layers.Dense(2)
    dense.build((None, 784))
    with pytest.raises(ValueError, match=r"Flatten\(\) layer first, or reshape the data to \(n, 784\)"):
        dense(np.zeros((3, 28, 28)))
    with pytest.raises(ValueError, match=r"x\[\.\.\., None\] has shape \(3, 28, 28, 1\)"):
        layers.Conv2D(2, 3)(np.zeros((3, 28, 28)))


def test_a_dense_layer_of_512_units_on_784_has_401920_parameters() -> None:
    layer = layers.Dense(512)
    with pytest.raises(ValueError, match=r"no weights yet.*Input"):
        layer.count_params()
    layer.build((None, 784))
    assert layer.count_params() == 401920
