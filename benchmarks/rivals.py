"""The two lecture models as each library trains them best: rivals that run an epoch on command.

Every rival gets the same data, batch size, optimizer (Adam, 1e-3), loss and metrics, in float32, and shuffles anew
each epoch.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

SHAPES = {"mnist": (784,), "vggnet": (32, 32, 3)}


def data(model: str, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images of the model's shape, and labels."""
    rng = np.random.default_rng(0)
    return rng.random((samples, *SHAPES[model]), dtype=np.float32), rng.integers(0, 10, samples)


def keras_model(keras: Any, model: str) -> Any:
    """The model in the Keras API, for gradlite and Keras alike, compiled."""
    layers = keras.layers
    net = keras.Sequential([keras.Input(shape=SHAPES[model])])
    if model == "mnist":
        net.add(layers.Dense(512, activation="relu"))
    else:
        for filters in (32, 64):
            for _ in range(2):
                net.add(layers.Conv2D(filters, (3, 3), padding="same"))
                net.add(layers.Activation("relu"))
                net.add(layers.BatchNormalization())
            net.add(layers.MaxPooling2D())
            net.add(layers.Dropout(0.25))
        net.add(layers.Flatten())
        net.add(layers.Dense(512))
        net.add(layers.Activation("relu"))
        net.add(layers.BatchNormalization())
        net.add(layers.Dropout(0.5))
    net.add(layers.Dense(10, activation="softmax"))
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


class ThroughFit:
    """A library with the Keras API, through ``fit``."""

    def __init__(self, keras: Any, model: str, batch: int, samples: int) -> None:
        self.net = keras_model(keras, model)
        self.x, self.y = data(model, samples)
        self.batch = batch

    def epoch(self) -> None:
        """One epoch of training."""
        self.net.fit(self.x, self.y, batch_size=self.batch, verbose=0)


def gradlite(model: str, batch: int, samples: int) -> ThroughFit:
    """gradlite."""
    from gradlite import keras

    return ThroughFit(keras, model, batch, samples)


def keras_on_jax(model: str, batch: int, samples: int) -> ThroughFit:
    """Keras 3 on JAX, compiled by its default."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    return ThroughFit(keras, model, batch, samples)


class PyTorch:
    """PyTorch by a hand-written loop: channels_last, Adam(fused=True), eager."""

    def __init__(self, model: str, batch: int, samples: int) -> None:
        import torch

        self.torch = torch
        nn = torch.nn
        if model == "mnist":
            parts = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10)]
        else:
            parts, channels = [], 3
            for filters in (32, 64):
                for _ in range(2):
                    parts += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(filters, eps=1e-3)]
                    channels = filters
                parts += [nn.MaxPool2d(2), nn.Dropout(0.25)]
            parts += [nn.Flatten(), nn.Linear(4096, 512), nn.ReLU(), nn.BatchNorm1d(512, eps=1e-3), nn.Dropout(0.5)]
            parts.append(nn.Linear(512, 10))
        self.net = nn.Sequential(*parts)
        x, y = data(model, samples)
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        if model == "vggnet":
            self.net = self.net.to(memory_format=torch.channels_last)
            self.x = self.x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.net.parameters(), fused=True)
        self.loss = nn.CrossEntropyLoss()
        self.batch = batch

    def epoch(self) -> None:
        """One epoch of training, counting right answers as the others do."""
        order = self.torch.randperm(len(self.x))
        right = self.torch.zeros((), dtype=self.torch.int64)
        for start in range(0, len(self.x), self.batch):
            rows = order[start : start + self.batch]
            x, y = self.x[rows], self.y[rows]
            self.optimizer.zero_grad(set_to_none=True)
            logits = self.net(x)
            loss = self.loss(logits, y)
            loss.backward()
            self.optimizer.step()
            right += (logits.detach().argmax(1) == y).sum()
        right.item()


RIVALS = {"gradlite": gradlite, "keras on jax": keras_on_jax, "pytorch": PyTorch}
