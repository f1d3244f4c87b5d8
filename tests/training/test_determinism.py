"""The same seed gives the same bits, and another seed others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite import keras
from gradlite.keras import layers

pytestmark = pytest.mark.usefixtures("each_device")


def mnist_network() -> Any:
    return keras.Sequential(
        [
            keras.Input((12, 12)),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


def vgg_like_network() -> Any:
    return keras.Sequential(
        [
            keras.Input((12, 12)),
            layers.Reshape((12, 12, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.SpatialDropout2D(0.25),
            layers.GaussianNoise(0.1),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def train(make: Any, seed: int, seeding: Any = keras.utils.set_random_seed, **options: Any) -> tuple[list[Any], Any]:
    """Weights and history of two epochs, in batches of which the last is smaller."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 12, 12)).astype("float32"), rng.integers(0, 10, 70)
    seeding(seed)
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=16, epochs=2, validation_split=0.1, verbose=0, **options).history
    return [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)], history


def same(first: list[Any], second: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


NETWORKS = pytest.mark.parametrize("make", [mnist_network, vgg_like_network])


@NETWORKS
@pytest.mark.parametrize("seeding", [keras.utils.set_random_seed, gradlite.random.set_seed])
def test_one_seed_gives_the_same_weights_optimizer_and_logs_bit_for_bit(make: Any, seeding: Any) -> None:
    weights, history = train(make, 11, seeding)
    again, same_history = train(make, 11, seeding)
    assert same(weights, again)
    assert history == same_history


@NETWORKS
def test_another_seed_gives_other_weights(make: Any) -> None:
    assert not same(train(make, 11)[0], train(make, 12)[0])


@NETWORKS
def test_looking_at_a_training_does_not_change_it(make: Any) -> None:
    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.predict(np.zeros((3, 12, 12)), verbose=0)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.get_weights()

    weights, history = train(make, 11)
    observed, observed_history = train(make, 11, callbacks=[Look()])
    assert same(weights, observed)
    assert history == observed_history


def test_without_a_seed_two_models_differ() -> None:
    first, second = mnist_network(), mnist_network()
    assert not np.array_equal(first.get_weights()[0], second.get_weights()[0])


def test_a_network_that_was_made_before_does_not_change_one_that_is_seeded() -> None:
    weights, _ = train(mnist_network, 11)
    vgg_like_network()(np.ones((2, 12, 12)), training=True)
    assert same(weights, train(mnist_network, 11)[0])
