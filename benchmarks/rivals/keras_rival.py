"""Libraries with the Keras API: Keras on JAX and on TensorFlow, and (through gradlite_rival) gradlite."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.images import train_until
from benchmarks.models import data, keras_model

Work = Callable[[], Any]


def configure(threads: int) -> dict[str, Any]:
    """The tasks of Keras on the backend that KERAS_BACKEND names."""
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    import keras

    return tasks(keras)


def tasks(keras: Any, **compile_options: Any) -> dict[str, Any]:
    """The tasks through ``fit`` and its relatives."""

    def train(model: str, batch: int, steps: int) -> Work:
        net = keras_model(keras, model, **compile_options)
        x, y = data(model, batch * steps)
        return lambda: net.fit(x, y, batch_size=batch, verbose=0)

    def predict(model: str, batch: int, steps: int) -> Work:
        net = keras_model(keras, model)
        x, _ = data(model, batch * steps)
        return lambda: net.predict(x, batch_size=batch, verbose=0)

    def one_sample(model: str, steps: int) -> Work:
        net = keras_model(keras, model)
        x, _ = data(model, steps)

        def work() -> None:
            for i in range(steps):
                np.asarray(net.predict_on_batch(x[i : i + 1]))

        return work

    def accuracy(path: str, target: float, batch: int, epochs: int) -> Work:
        arrays = np.load(path)

        def work() -> dict[str, Any]:
            net = keras_model(keras, "mnist")

            def train() -> None:
                net.fit(arrays["x_train"], arrays["y_train"], batch_size=batch, verbose=0)

            def answers() -> np.ndarray:
                return net.predict(arrays["x_test"], batch_size=1000, verbose=0).argmax(1)

            return train_until(target, epochs, arrays["y_test"], train, answers)

        return work

    return {"train": train, "predict": predict, "one_sample": one_sample, "accuracy": accuracy}
