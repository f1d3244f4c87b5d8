"""The first network of every lecture: handwritten digits, 784-512-10, in the words of tf.keras.

    python examples/mnist.py                    digits that gradlite draws itself: nothing is downloaded
    python examples/mnist.py --data mnist       MNIST, from this machine or downloaded
    python examples/mnist.py --epochs 1 --train 2000

Only the import differs from a script for TensorFlow: `import gradlite as tf`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import gradlite as tf


def build() -> tf.keras.Sequential:
    """The network, compiled."""
    model = tf.keras.Sequential(
        [
            tf.keras.Input(shape=(28, 28)),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(512, activation="relu"),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Train and test; returns the loss and accuracy on the test images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits", help="default: digits, drawn here")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the images (default: 5)")
    parser.add_argument("--batch", type=int, default=32, help="images in a batch (default: 32)")
    parser.add_argument("--train", type=int, default=60000, help="images to train on (default: all 60000)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the shuffling (default: 0)")
    arguments = parser.parse_args(argv)
    tf.keras.utils.set_random_seed(arguments.seed)

    if arguments.data == "digits":
        (x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data(train=arguments.train)
    else:
        (x_train, y_train), (x_test, y_test) = tf.keras.datasets.mnist.load_data()
    x_train, y_train = x_train[: arguments.train] / 255.0, y_train[: arguments.train]
    x_test = x_test / 255.0

    model = build()
    model.summary()
    model.fit(x_train, y_train, batch_size=arguments.batch, epochs=arguments.epochs)
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"Of {len(x_test)} test images, {accuracy:.2%} are recognised.")

    some = model.predict(x_test[:10], verbose=0).argmax(axis=1)
    print("The first ten:", *some, "  labels:", *y_test[:10])
    return {"loss": loss, "accuracy": accuracy, "parameters": model.count_params()}


if __name__ == "__main__":
    main()
