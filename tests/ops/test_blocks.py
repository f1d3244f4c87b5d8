"""Rows of layers in one kernel: the values and gradients, of any order, of the layers one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, draw

import gradlite
from gradlite import Tensor, gradcheck, gradgradcheck, keras, ops
from gradlite.keras import layers
from gradlite.keras.layers import fusion
from gradlite.ops.blocks import batch_norm_pool_dropout, conv2d_statistics
from gradlite.ops.classification import softmax_cross_entropy_loss, sparse_softmax_cross_entropy_loss
from gradlite.random import Generator

pytestmark = pytest.mark.usefixtures("each_device")

POOL = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}
OVERLAPPING = {"window": (3, 2), "strides": (1, 2), "padding": ((1, 1), (0, 1))}


def leaves(*shapes):
    return [Tensor(x, requires_grad=True, device=gradlite.get_device()) for x in draw(shapes)]


@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
def test_statistics_of_a_convolution_are_those_of_its_output(activation):
    x, w, b = leaves((2, 5, 4, 3), (3, 3, 3, 4), (4,))
    y, mean, variance = conv2d_statistics(x, w, b, padding="same", activation=activation)
    expected = ops.conv2d(x, w, b, padding="same", activation=activation).numpy()
    assert_close(y.numpy(), expected)
    assert_close(mean.numpy(), expected.mean(axis=(0, 1, 2)))
    assert_close(variance.numpy(), expected.var(axis=(0, 1, 2)))


@pytest.mark.parametrize("pool", [None, POOL, OVERLAPPING], ids=["unpooled", "pooled", "overlapping"])
@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("given", [False, True])
def test_a_normalization_with_what_follows_is_the_three_operations(pool, rate, given):
    x, gamma, beta = leaves((2, 6, 4, 3), (3,), (3,))

    def apart():
        y, mean, variance = ops.batch_norm(x, gamma, beta, 1e-3)
        if pool:
            y = ops.max_pool2d(y, **pool)
        return ops.dropout(y, rate, generator=Generator(3)), mean, variance

    def together():
        statistics = None
        if given:
            eye = Tensor(np.eye(3)[None, None], device=x.device)
            same, *statistics = conv2d_statistics(x, eye)
            return batch_norm_pool_dropout(
                same, gamma, beta, 1e-3, statistics=tuple(statistics), pool=pool, rate=rate, generator=Generator(3)
            )
        return batch_norm_pool_dropout(x, gamma, beta, 1e-3, pool=pool, rate=rate, generator=Generator(3))

    for found, expected in zip(together(), apart()):
        assert_close(found.numpy(), expected.numpy())
    ramp = Tensor(np.linspace(-1, 1, apart()[0].size).reshape(apart()[0].shape), device=x.device)
    inputs = [x, gamma, beta]
    first = [gradlite.grad((f()[0] * ramp).sum(), inputs, create_graph=True) for f in (together, apart)]
    for found, expected in zip(*first):
        assert_close(found.numpy(), expected.numpy(), scale=100)
    second = [gradlite.grad(sum((g * g).sum() for g in gradients), [x, gamma]) for gradients in first]
    for found, expected in zip(*second):
        assert_close(found.numpy(), expected.numpy(), scale=1000)


def test_gradients_of_the_fused_operations_agree_with_finite_differences():
    x, w, b, gamma, beta = leaves((2, 4, 4, 2), (2, 2, 2, 3), (3,), (3,), (3,))

    def block(x, w, b, gamma, beta):
        y, mean, variance = conv2d_statistics(x, w, b, padding="same", activation="tanh")
        return batch_norm_pool_dropout(
            y, gamma, beta, 1e-2, statistics=(mean, variance), pool=POOL, rate=0.3, generator=Generator(1)
        )[0]

    gradcheck(block, [x, w, b, gamma, beta])
    gradgradcheck(block, [x, w, b, gamma, beta])


def vggnet_block(filters=3):
    return [
        layers.Conv2D(filters, 3, padding="same"),
        layers.Activation("relu"),
        layers.BatchNormalization(),
        layers.Conv2D(filters, 3, activation="relu"),
        layers.BatchNormalization(momentum=0.5),
        layers.MaxPooling2D(),
        layers.Dropout(0.25, seed=1),
        layers.Flatten(),
        layers.Dense(5),
        layers.ReLU(),
        layers.BatchNormalization(),
        layers.Dropout(0.5, seed=2),
    ]


def lengths(parts):
    return [getattr(part, "length", 1) for part in fusion.rows(parts)]


def built(parts, shape=(None, 8, 8, 2)):
    model = keras.Sequential([keras.Input(shape[1:]), *parts])
    return model, [layer for layer in model.layers if not isinstance(layer, layers.InputLayer)]


def test_rows_are_convolutions_and_normalizations_with_what_follows():
    _, parts = built(vggnet_block())
    assert lengths(parts) == [3, 4, 1, 1, 1, 2]


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: setattr(parts[2], "trainable", False),
        lambda parts: setattr(parts[2], "activity_regularizer", keras.regularizers.L2(0.1)),
        lambda parts: setattr(parts[0], "activation", keras.activations.gelu),
        lambda parts: setattr(parts[1], "activation", keras.activations.tanh),
        lambda parts: parts.__setitem__(2, type("Own", (layers.BatchNormalization,), {})()),
    ],
    ids=["frozen", "penalty", "activation of the convolution", "another activation", "subclass"],
)
def test_layers_that_the_kernels_do_not_know_compute_by_themselves(change):
    _, parts = built(vggnet_block())
    change(parts)
    assert lengths(parts)[:2] == [1, 1]


def test_a_sequential_trains_as_its_layers_would_one_by_one():
    class Apart(keras.Sequential):
        def call(self, inputs, training=False):
            for layer in self._layers:
                inputs = layer(inputs)
            return inputs

    x = np.random.default_rng(0).standard_normal((12, 8, 8, 2)).astype(np.float32)
    y = np.arange(12) % 4
    results = []
    for kind in (keras.Sequential, Apart):
        keras.utils.set_random_seed(0)
        model = kind([keras.Input((8, 8, 2)), *vggnet_block(), layers.Dense(4, activation="softmax")])
        model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
        losses = model.fit(x, y, batch_size=6, epochs=3, verbose=0, shuffle=False).history["loss"]
        results.append((losses, model.get_weights()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=2e-4)
    for a, b in zip(results[0][1], results[1][1]):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("rows", [False, True])
def test_the_mean_cross_entropy_and_its_gradients_are_those_of_the_single_losses(rows):
    (logits,) = leaves((6, 4))
    numbers = np.array([0, 3, 1, 1, 2, 0])
    labels = Tensor(np.eye(4)[numbers] * 0.7 + 0.1 if rows else numbers, device=logits.device)

    def together(x):
        return softmax_cross_entropy_loss(labels, x) if rows else sparse_softmax_cross_entropy_loss(labels, x)

    def apart(x):
        losses = ops.softmax_cross_entropy if rows else ops.sparse_softmax_cross_entropy
        return losses(labels, x).mean()

    assert_close(together(logits).numpy(), apart(logits).numpy())
    first = [gradlite.grad(f(logits) * 3.0, logits, create_graph=True) for f in (together, apart)]
    assert_close(first[0].numpy(), first[1].numpy())
    second = [gradlite.grad((g * g).sum(), logits) for g in first]
    assert_close(second[0].numpy(), second[1].numpy())
    gradcheck(together, logits)
    gradgradcheck(together, logits)
    if rows:
        labels.requires_grad = True
        found, wanted = (gradlite.grad(f(logits), labels) for f in (together, apart))
        assert_close(found.numpy(), wanted.numpy())
        with pytest.raises(ValueError, match=r"needs labels and logits of one shape \(n, k\), n > 0"):
            softmax_cross_entropy_loss(labels[:3], logits)
    else:
        with pytest.raises(ValueError, match=r"needs integer labels \(n,\) for logits \(n, k\), n > 0"):
            sparse_softmax_cross_entropy_loss(labels, logits[:0])


def test_the_loss_of_class_numbers_uses_it_and_gives_the_same_as_with_weights_of_one():
    y_true, y_pred = np.array([[1], [0], [2]]), Tensor(draw([(3, 4)])[0], device=gradlite.get_device())
    for loss, scores in (
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), y_pred),
        (keras.losses.SparseCategoricalCrossentropy(), keras.activations.softmax(y_pred)),
    ):
        assert_close(loss(y_true, scores).numpy(), loss(y_true, scores, sample_weight=np.ones(3)).numpy(), np.float32)
