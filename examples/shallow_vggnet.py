"""ShallowVGGNet, the lecture's small convolutional network (2,171,178 parameters), on 32 x 32 colour pictures.

    python examples/shallow_vggnet.py                    CIFAR-10 if it is on this machine, else drawn pictures
    python examples/shallow_vggnet.py --data cifar10     CIFAR-10, downloaded if need be (170 MB)
    python examples/shallow_vggnet.py --data synthetic --epochs 2 --train 2000

The drawn pictures show ten kinds of shapes in random colours, places and sizes, on textured ground and under noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gradlite as tf
from gradlite.keras.layers import Activation, BatchNormalization, Conv2D, Dense, Dropout, Flatten, MaxPooling2D

Split = tuple[np.ndarray, np.ndarray]

SHAPES = ("disc", "ring", "square", "frame", "triangle", "cross", "stripes", "chequer", "half", "star")


class ShallowVGGNet:
    """Two blocks of two convolutions each, and one hidden layer, after VGGNet (Simonyan and Zisserman, 2014)."""

    @staticmethod
    def build(width: int, height: int, depth: int, classes: int) -> tf.keras.Sequential:
        """The network for pictures of this width, height and number of channels."""
        model = tf.keras.Sequential()

        # two blocks: (CONV => RELU => BN) x 2 => POOL => DROPOUT
        model.add(Conv2D(32, (3, 3), padding="same", input_shape=(height, width, depth)))
        model.add(Activation("relu"))
        model.add(BatchNormalization(axis=-1))
        model.add(Conv2D(32, (3, 3), padding="same"))
        model.add(Activation("relu"))
        model.add(BatchNormalization(axis=-1))
        model.add(MaxPooling2D(pool_size=(2, 2)))
        model.add(Dropout(0.25))

        model.add(Conv2D(64, (3, 3), padding="same"))
        model.add(Activation("relu"))
        model.add(BatchNormalization(axis=-1))
        model.add(Conv2D(64, (3, 3), padding="same"))
        model.add(Activation("relu"))
        model.add(BatchNormalization(axis=-1))
        model.add(MaxPooling2D(pool_size=(2, 2)))
        model.add(Dropout(0.25))

        # FC => RELU => BN => DROPOUT, then the classes
        model.add(Flatten())
        model.add(Dense(512))
        model.add(Activation("relu"))
        model.add(BatchNormalization())
        model.add(Dropout(0.5))
        model.add(Dense(classes))
        model.add(Activation("softmax"))
        return model


def draw(n: int, rng: np.random.Generator, size: int = 32) -> Split:
    """Draw ``n`` pictures (n, size, size, 3), uint8, of the kinds in ``SHAPES``, and their labels (n, 1)."""
    labels = rng.integers(0, len(SHAPES), n)

    def numbers(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (n, 1, 1))

    # Every pixel in the coordinates of its shape: turned, moved, and with the shape reaching from about -1 to 1.
    row, column = np.mgrid[:size, :size] / (size - 1) * 2 - 1
    turn, scale = numbers(-0.4, 0.4), numbers(0.45, 0.8)
    across, down = column - numbers(-0.3, 0.3), row - numbers(-0.3, 0.3)
    x = (np.cos(turn) * across + np.sin(turn) * down) / scale
    y = (np.cos(turn) * down - np.sin(turn) * across) / scale
    radius, angle, box = np.hypot(x, y), np.arctan2(y, x), np.maximum(abs(x), abs(y))
    inside = [
        radius < 0.9,
        (radius < 0.95) & (radius > 0.55),
        box < 0.8,
        (box < 0.9) & (box > 0.55),
        (y < 0.7) & (y > 2 * abs(x) - 0.9),
        (np.minimum(abs(x), abs(y)) < 0.25) & (box < 0.95),
        (np.sin(8 * y) > 0) & (box < 0.95),
        (np.sin(6 * x) * np.sin(6 * y) > 0) & (box < 0.95),
        (radius < 0.95) & (y < 0),
        radius < 0.6 + 0.35 * np.cos(5 * angle),
    ]
    shape = np.choose(labels[:, None, None], inside)[..., None]  # (n, size, size, 1)

    # Two colours that differ, the ground with a wave of its own, light from a side, noise.
    ground = rng.uniform(0.0, 1.0, (n, 1, 1, 3))
    colour = (ground + rng.uniform(0.3, 0.7, (n, 1, 1, 3))) % 1.0
    wave = np.sin(numbers(2, 9) * column + numbers(2, 9) * row + numbers(0, 7))[..., None]
    picture = np.where(shape, colour, ground + 0.12 * wave)
    picture *= (1 + numbers(-0.3, 0.3) * column + numbers(-0.3, 0.3) * row)[..., None]
    picture += numbers(0.02, 0.15)[..., None] * rng.standard_normal(picture.shape)
    return (255 * np.clip(picture, 0, 1)).astype(np.uint8), labels[:, None].astype(np.uint8)


def synthetic(train: int, test: int, seed: int) -> tuple[Split, Split]:
    """Drawn pictures in the structure of CIFAR-10."""
    streams = np.random.default_rng(seed).spawn(2)
    return draw(train, streams[0]), draw(test, streams[1])


def cifar10_is_here() -> bool:
    """Whether CIFAR-10 can be read without a download."""
    from gradlite.keras.datasets import cifar10
    from gradlite.keras.datasets.places import places

    names = (cifar10.FOLDER, cifar10.ARCHIVE)
    folders = [Path(place.directory, *inner) for place in places() for inner in ((), *((n,) for n in cifar10.NAMES))]
    return any((folder / name).exists() for folder in folders for name in names)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Train and test; returns the loss and accuracy on the test pictures, and the last accuracy in training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("cifar10", "synthetic"), help="default: cifar10 if it is here")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the pictures (default: 5)")
    parser.add_argument("--batch", type=int, default=32, help="pictures in a batch (default: 32)")
    parser.add_argument("--train", type=int, default=10000, help="pictures to train on (default: 10000)")
    parser.add_argument("--test", type=int, default=2000, help="pictures to test on (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, shuffling and drawing (default: 0)")
    arguments = parser.parse_args(argv)
    tf.keras.utils.set_random_seed(arguments.seed)

    data = arguments.data or ("cifar10" if cifar10_is_here() else "synthetic")
    print(f"Pictures: {data}")
    if data == "cifar10":
        (x_train, y_train), (x_test, y_test) = tf.keras.datasets.cifar10.load_data()
        x_train, y_train = x_train[: arguments.train], y_train[: arguments.train]
        x_test, y_test = x_test[: arguments.test], y_test[: arguments.test]
    else:
        (x_train, y_train), (x_test, y_test) = synthetic(arguments.train, arguments.test, arguments.seed)
    x_train, x_test = x_train.astype("float32") / 255.0, x_test.astype("float32") / 255.0

    model = ShallowVGGNet.build(width=32, height=32, depth=3, classes=10)
    model.summary()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x_train, y_train, batch_size=arguments.batch, epochs=arguments.epochs)
    loss, accuracy = model.evaluate(x_test, y_test, batch_size=256, verbose=0)
    print(f"Of {len(x_test)} test pictures, {accuracy:.2%} are recognised.")
    return {
        "data": data,
        "train_accuracy": history.history["accuracy"][-1],
        "loss": loss,
        "accuracy": accuracy,
        "parameters": model.count_params(),
    }


if __name__ == "__main__":
    main()
