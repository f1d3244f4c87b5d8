"""What every layer does alike: parts, building, the training flag, losses; and layers that use random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite import keras
from gradlite.keras import layers

pytestmark = pytest.mark.usefixtures("each_device")


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


class Scale(layers.Layer):
    """A weight made when the input's shape is known."""

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight(shape=input_shape[-1:], initializer="ones", name="factor")

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor


class Tower(layers.Layer):
    """Layers in every kind of container, most of them put there after it was assigned."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.blocks: list[Any] = []
        for _ in range(2):
            self.blocks.append(layers.Dense(3))
        self._hidden = layers.Dense(3)
        self.named: dict[str, Any] = {}
        self.named["first"] = [layers.Dense(3), (layers.Dense(3),)]
        self.pair = (layers.Dense(3), layers.BatchNormalization())
        self.sizes = [3, 3]

    def call(self, inputs: Any) -> Any:
        x = inputs
        for layer in [*self.blocks, self._hidden, self.named["first"][0], self.named["first"][1][0], *self.pair]:
            x = layer(x)
        return x


def test_layers_in_lists_dicts_and_tuples_are_found_whenever_they_were_put_there() -> None:
    tower = Tower()
    tower(ones(2, 3))
    assert len(tower.weights) == 6 * 2 + 4
    assert len(tower.trainable_weights) == 6 * 2 + 2
    kernels = [w for w in tower.weights if w.name == "kernel"]
    used = [*tower.blocks, tower._hidden, tower.named["first"][0], tower.named["first"][1][0], tower.pair[0]]
    assert all(a is b.kernel for a, b in zip(kernels, used))


def test_layers_in_containers_learn() -> None:
    tower = Tower()
    tower(ones(2, 3))
    before = tower.get_weights()
    loss = gradlite.mean(gradlite.square(tower(np.eye(3, dtype=np.float32), training=True) - 2.0))
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.apply(gradlite.grad(loss, tower.trainable_weights), tower.trainable_weights)
    changed = [not np.array_equal(a, b) for a, b in zip(before, tower.get_weights())]
    # Biases before a batch normalization have no influence.
    assert all(c for c, w in zip(changed, tower.weights) if w.name in ("kernel", "gamma"))


def test_a_weight_or_layer_that_is_used_twice_counts_once() -> None:
    class Tied(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first = layers.Dense(3)
            self.also_first = self.first
            self.twice = [self.first, self.first]

    tied = Tied()
    tied.first.build((None, 3))
    tied.own = tied.first.kernel
    assert len(tied.weights) == 2


def test_weights_may_be_variables_of_the_users_own() -> None:
    class Own(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.factors: list[Any] = []
            self.factors.append(keras.Variable([2.0, 3.0], name="factor"))
            self.steps = keras.Variable(0, trainable=False)

        def call(self, inputs: Any) -> Any:
            return inputs * self.factors[0]

    own = Own()
    np.testing.assert_array_equal(own(ones(1, 2)).numpy(), [[2.0, 3.0]])
    assert [w.name for w in own.trainable_weights] == ["factor"]
    assert len(own.non_trainable_weights) == 1


def test_forgetting_the_constructor_of_the_base_class_is_said() -> None:
    class Hasty(layers.Layer):
        def __init__(self) -> None:
            self.inner = layers.Dense(2)

    with pytest.raises(RuntimeError, match=r"Hasty was given 'inner' too early: call super\(\)\.__init__\(\) first"):
        Hasty()


def test_weights_have_paths_that_name_the_layers_around_them() -> None:
    keras.utils.clear_session()
    tower = Tower(name="tower")
    tower(ones(1, 3))
    assert [w.path for w in tower.weights[:3]] == ["tower/dense/kernel", "tower/dense/bias", "tower/dense_1/kernel"]
    assert tower.weights[-1].path == "tower/batch_normalization/moving_variance"


def test_freezing_reaches_layers_within_those_made_later_and_spares_statistics_when_undone() -> None:
    tower = Tower(trainable=False)
    tower(ones(2, 3))
    assert tower.trainable_weights == []
    tower.trainable = True
    assert [w.name for w in tower.non_trainable_weights] == ["moving_mean", "moving_variance"]
    tower.trainable = False
    tower.blocks.append(layers.Dense(3))
    tower(ones(2, 3))
    assert tower.trainable_weights == []
    tower.blocks[0].trainable = True
    assert [w.name for w in tower.trainable_weights] == ["kernel", "bias"]


def test_a_layer_is_built_by_its_first_input_or_by_build_but_once() -> None:
    layer = Scale()
    assert (layer.built, layer.weights) == (False, [])
    layer.build((None, 3))
    weight = layer.factor
    layer(ones(2, 3))
    layer.build((None, 3))
    layer.ensure_built((None, 3))
    assert layer.built
    assert layer.weights == [weight]


def test_a_build_that_calls_the_one_it_overrides_is_complete() -> None:
    class Shifted(Scale):
        def build(self, input_shape: Any) -> None:
            super().build(input_shape)
            self.shift = self.add_weight(shape=input_shape[-1:], initializer="zeros", name="shift")

        def call(self, inputs: Any) -> Any:
            return super().call(inputs) + self.shift

    layer = Shifted()
    layer(ones(1, 2))
    assert [w.path for w in layer.weights] == [f"{layer.name}/factor", f"{layer.name}/shift"]


class Flag(layers.Layer):
    """Remembers the training flag it was called with."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        self.seen = training
        return inputs


@pytest.mark.parametrize("training", [True, False])
def test_layers_within_inherit_the_training_flag_unless_they_are_given_one(training: bool) -> None:
    inherited, given = Flag(), Flag()

    class Outer(layers.Layer):  # without a training argument of its own
        def call(self, inputs: Any) -> Any:
            return given(inherited(inputs), training=not training)

    keras.Sequential([keras.Sequential([Outer()])])(ones(1, 2), training=training)
    assert (inherited.seen, given.seen) == (training, not training)
    inherited(ones(1, 2))
    assert inherited.seen is False


@pytest.mark.parametrize("training", [True, False])
def test_the_training_flag_may_be_given_by_position(training: bool) -> None:
    flag = Flag()
    flag(ones(1, 2), training)
    assert flag.seen is training

    class KeywordOnly(Flag):
        def call(self, inputs: Any, *others: Any, training: Any = None) -> Any:
            return super().call(inputs + others[0], training)

    only = KeywordOnly()
    only(ones(1, 2), ones(1, 2), training=training)
    assert only.seen is training


def test_an_error_within_a_call_leaves_the_training_flag_as_it_was() -> None:
    class Broken(layers.Layer):
        def call(self, inputs: Any) -> Any:
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        keras.Sequential([Broken()])(ones(1, 2), training=True)
    flag = Flag()
    flag(ones(1, 2))
    assert flag.seen is False


# Losses.


class Penalty(layers.Layer):
    """Adds the sum of its input to the loss."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(gradlite.sum(inputs))
        return inputs


def total(layer: Any) -> float:
    return float(sum(loss.item() for loss in layer.losses))


def test_regularizers_of_weights_and_activities_and_added_losses_have_their_textbook_values() -> None:
    x = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)
    dense = layers.Dense(2, kernel_regularizer="l2", bias_regularizer=keras.regularizers.L1(0.5))
    active = layers.Dense(2, activity_regularizer=keras.regularizers.L2(0.1), use_bias=False)
    model = keras.Sequential([Penalty(), dense, active])
    y = model(x).numpy()
    dense.bias.assign([1.0, -2.0])
    expected = x.sum() + 0.01 * (dense.kernel.numpy() ** 2).sum() + 0.5 * 3.0 + 0.1 * (y**2).sum() / 2
    assert total(model) == pytest.approx(expected, rel=1e-5)


def test_losses_are_those_of_the_last_call_and_a_frozen_layer_has_no_penalty() -> None:
    model = keras.Sequential([Penalty(), layers.Dense(2, kernel_regularizer="l2")])
    model(ones(4, 2))
    model(ones(1, 2))
    assert len(model.losses) == 2
    model.layers[1].trainable = False
    assert total(model) == pytest.approx(2.0)


def test_an_activity_regularizer_sees_every_output() -> None:
    class Both(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return {"a": inputs, "b": [2 * inputs]}

    layer = Both(activity_regularizer=keras.regularizers.L1(1.0))
    layer(ones(4, 2))
    assert total(layer) == pytest.approx(2.0 + 4.0)


# Random layers.

RANDOM = [
    lambda **o: layers.Dropout(0.4, **o),
    lambda **o: layers.SpatialDropout1D(0.4, **o),
    lambda **o: layers.GaussianDropout(0.3, **o),
    lambda **o: layers.GaussianNoise(0.7, **o),
]


@pytest.mark.parametrize("make", RANDOM)
def test_noise_is_off_in_inference_keeps_the_mean_and_repeats_with_its_seed(make: Any) -> None:
    x = np.full((2000, 10, 3), 2.0, np.float32)
    layer = make(seed=5)
    np.testing.assert_array_equal(layer(x).numpy(), x)
    first = layer(x, training=True).numpy()
    assert first.mean() == pytest.approx(2.0, abs=0.05)
    assert not np.array_equal(layer(x, training=True).numpy(), first)
    np.testing.assert_array_equal(make(seed=5)(x, training=True).numpy(), first)
    assert not np.array_equal(make(seed=6)(x, training=True).numpy(), first)


def test_noise_has_the_deviation_asked_for() -> None:
    x = np.full((1000, 100), 3.0, np.float32)
    assert layers.GaussianNoise(0.7)(x, training=True).numpy().std() == pytest.approx(0.7, rel=0.02)
    deviation = 3.0 * np.sqrt(0.3 / 0.7)
    assert layers.GaussianDropout(0.3)(x, training=True).numpy().std() == pytest.approx(deviation, rel=0.02)
    kept = layers.Dropout(0.25)(x, training=True).numpy()
    assert (kept == 0).mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(kept[kept != 0], 4.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"), [(layers.SpatialDropout1D(0.5), (20, 7, 9)), (layers.SpatialDropout2D(0.5), (20, 4, 5, 9))]
)
def test_spatial_dropout_drops_whole_channels_of_a_sample(layer: Any, shape: tuple[int, ...]) -> None:
    y = layer(ones(*shape), training=True).numpy().reshape(shape[0], -1, shape[-1])
    assert ((y == 0).all(axis=1) | (y == 2).all(axis=1)).all()
    assert 0.3 < (y == 0).mean() < 0.7


def test_the_gradient_of_an_embedding_adds_up_rows_that_are_looked_up_repeatedly() -> None:
    layer = layers.Embedding(4, 2)
    y = layer(np.array([[1, 1, 3], [1, 0, 3]]))
    (y * gradlite.Tensor(np.arange(1.0, 13.0, dtype=np.float32).reshape(2, 3, 2))).sum().backward()
    np.testing.assert_array_equal(layer.embeddings.grad.numpy(), [[9, 10], [11, 14], [0, 0], [16, 18]])


@pytest.mark.cpu_only
def test_an_embedding_refuses_numbers_beyond_its_rows() -> None:
    layer = layers.Embedding(4, 2)
    with pytest.raises(ValueError, match=r"'embedding.*has 4 rows.*from 2 to 4"):
        layer(np.array([[2, 4]]))


def test_a_frozen_batch_normalization_works_as_in_inference() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, (50, 2)).astype(np.float32)
    layer = layers.BatchNormalization(momentum=0.5)
    layer(x, training=True)
    np.testing.assert_allclose(layer.moving_mean.numpy(), x.mean(0) / 2, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.5 + x.var(0) / 2, rtol=1e-5)
    expected, moving = layer(x).numpy(), layer.get_weights()
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True).numpy(), expected)
    for found, before in zip(layer.get_weights(), moving):
        np.testing.assert_array_equal(found, before)


def test_a_normalization_adapts_to_arrays_and_batches_and_keeps_what_it_learned_as_weights() -> None:
    data = np.random.default_rng(1).normal(5.0, 3.0, (60, 4)).astype(np.float32)
    layer, by_batches = layers.Normalization(), layers.Normalization()
    with pytest.raises(ValueError, match=r"'normalization.*no statistics yet: call adapt"):
        layer(data)
    layer.adapt(data)
    by_batches.adapt([data[:25], data[25:]])
    expected = (data - data.mean(0)) / data.std(0)
    for adapted in (layer, by_batches):
        np.testing.assert_allclose(adapted(data).numpy(), expected, rtol=1e-4, atol=1e-5)
    again = layers.Normalization.from_config(layer.get_config())
    again.build((None, 4))
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(data).numpy(), layer(data).numpy())


def test_a_lambda_has_arguments_and_says_the_shape_it_was_told() -> None:
    layer = layers.Lambda(lambda x, power: x[:, :2] ** power, output_shape=(2,), arguments={"power": 3})
    np.testing.assert_array_equal(layer([[2.0, 3.0, 4.0]]).numpy(), [[8.0, 27.0]])
    assert layer.compute_output_shape((None, 3)) == (None, 2)
    by_function = layers.Lambda(lambda x: x, output_shape=lambda shape: (*shape, 1))
    assert by_function.compute_output_shape((None, 3)) == (None, 3, 1)


@pytest.mark.parametrize("given", [{"input_shape": (4,)}, {"input_shape": 4}, {"input_dim": 4}])
def test_a_first_layer_may_say_the_shape_of_the_input(given: dict[str, Any]) -> None:
    model = keras.Sequential([layers.Dense(3, **given)])
    assert model.count_params() == 15
    assert model.input_shape == (None, 4)
