"""The networks that are measured, as tables of layers, and the data they train on: the same for every library.

``architecture(name)`` finds one; each library builds its own network from it, ``work.py`` counts its arithmetic.
All train with Adam (1e-3) in float32: the classifiers with softmax and cross-entropy on whole-number labels, counting
right answers as they go, ALVINN on the mean squared error of its humps.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np


class Layer(NamedTuple):
    """One layer: its kind, its size (units, filters or rate) and its activation."""

    kind: str  # dense, conv (3 x 3, same), norm (batch normalization), pool (2 x 2 maximum), dropout, flatten
    size: float = 0
    activation: str | None = None


class Architecture(NamedTuple):
    """A network: the shape of one sample, the layers, how many outputs, and what it is trained for."""

    title: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    outputs: int
    loss: str = "crossentropy"  # or "mse"


def _mlp(title: str, inputs: int, hidden: tuple[int, ...], outputs: int) -> Architecture:
    layers = [Layer("dense", units, "relu") for units in hidden]
    return Architecture(title, (inputs,), (*layers, Layer("dense", outputs)), outputs)


def _vgg(title: str, filters: tuple[int, ...], units: int) -> Architecture:
    """Pairs of convolutions, each with ReLU and batch normalization; pooling and dropout after a pair."""
    layers: list[Layer] = []
    for count in filters:
        layers += [Layer("conv", count, "relu"), Layer("norm")] * 2 + [Layer("pool"), Layer("dropout", 0.25)]
    layers += [Layer("flatten"), Layer("dense", units, "relu"), Layer("norm"), Layer("dropout", 0.5)]
    return Architecture(title, (32, 32, 3), (*layers, Layer("dense", 10)), 10)


ARCHITECTURES = {
    "mnist": _mlp("MNIST network, 784-512-10", 784, (512,), 10),
    "vggnet": _vgg("ShallowVGGNet, 32 x 32 x 3", (32, 64), 512),
    # Pomerleau's network of 1991: a retina of 30 x 32 pixels, four hidden units, 30 steering directions.
    "alvinn": Architecture("ALVINN, 960-4-30", (960,), (Layer("dense", 4, "tanh"), Layer("dense", 30)), 30, "mse"),
    "deep-vgg": _vgg("a deeper VGG, 8 convolutions", (32, 64, 128, 256), 512),
    "wide-mlp": _mlp("a wide MLP, 784-2048-2048-10", 784, (2048, 2048), 10),
}


def architecture(name: str) -> Architecture:
    """The network of this name; ``mlp-256x3`` is 784 inputs, 3 hidden layers of 256 units, 10 outputs."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    sizes = re.fullmatch(r"mlp-(\d+)x(\d+)", name)
    if sizes is None:
        raise ValueError(f"No network is named {name!r}. There are {', '.join(ARCHITECTURES)} and mlp-WIDTHxDEPTH.")
    width, depth = map(int, sizes.groups())
    return _mlp(f"MLP, {depth} hidden layers of {width}", 784, (width,) * depth, 10)


def data(model: str, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Random samples of the model's shape, and labels; humps (samples, outputs) where it learns by squared error."""
    net = architecture(model)
    rng = np.random.default_rng(0)
    x = rng.random((samples, *net.input_shape), dtype=np.float32)
    labels = rng.integers(0, net.outputs, samples)
    if net.loss == "crossentropy":
        return x, labels
    return x, np.exp(-((np.arange(net.outputs) - labels[:, None]) ** 2) / 10).astype(np.float32)


def keras_model(keras: Any, model: str, **compile_options: Any) -> Any:
    """The network in the Keras API, for gradlite and Keras alike, compiled."""
    net, layers = architecture(model), keras.layers
    made = keras.Sequential([keras.Input(shape=net.input_shape)])
    for i, layer in enumerate(net.layers):
        size = int(layer.size)
        if layer.kind == "dense":
            last = i == len(net.layers) - 1 and net.loss == "crossentropy"
            # Probabilities in float32 whatever the policy, as Keras's guide to mixed precision advises.
            more = {"activation": "softmax", "dtype": "float32"} if last else {"activation": layer.activation}
            made.add(layers.Dense(size, **more))
        elif layer.kind == "conv":
            made.add(layers.Conv2D(size, (3, 3), padding="same", activation=layer.activation))
        elif layer.kind == "norm":
            made.add(layers.BatchNormalization())
        elif layer.kind == "pool":
            made.add(layers.MaxPooling2D())
        elif layer.kind == "dropout":
            made.add(layers.Dropout(layer.size))
        else:
            made.add(layers.Flatten())
    if net.loss == "crossentropy":
        made.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **compile_options)
    else:
        made.compile("adam", "mse", **compile_options)
    return made
