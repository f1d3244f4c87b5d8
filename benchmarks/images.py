"""The images for the time to an accuracy: MNIST where it is at hand, else the digits that gradlite draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gradlite.keras.datasets import digits, mnist


class Images(NamedTuple):
    """A file of images and labels (x_train, y_train, x_test, y_test) that every rival reads, and what they are."""

    name: str
    path: str


def images_for_accuracy(directory: Path, setting: str) -> Images:
    """Write the images to a file in ``directory``: (n, 784) float32 from 0 to 1.

    MNIST is looked for as gradlite's data sets do (GRADLITE_DATA_DIR, caches, the network). Without it there are
    digits drawn by a program; a run at the smoke setting takes a few of those.
    """
    name = "mnist"
    try:
        if setting == "smoke":
            raise OSError("drawn digits will do")
        (x_train, y_train), (x_test, y_test) = mnist.load_data()
    except OSError:
        name = "digits"
        train, test = (100, 50) if setting == "smoke" else (60000, 10000)
        (x_train, y_train), (x_test, y_test) = digits.load_data(train=train, test=test)
    path = directory / f"{name}.npz"
    flat = [x.reshape(len(x), -1).astype(np.float32) / 255 for x in (x_train, x_test)]
    labels = [y.astype(np.int64) for y in (y_train, y_test)]
    np.savez(path, x_train=flat[0], x_test=flat[1], y_train=labels[0], y_test=labels[1])
    return Images(name, str(path))


def train_until(
    target: float, epochs: int, labels: np.ndarray, train: Callable[[], Any], answers: Callable[[], np.ndarray]
) -> dict[str, float]:
    """Train epoch by epoch until the share of right ``answers`` reaches ``target``; how it went."""
    share, epoch = 0.0, 0
    while epoch < epochs and share < target:
        train()
        epoch += 1
        share = float((answers() == labels).mean())
    return {"epochs": epoch, "accuracy": share}
