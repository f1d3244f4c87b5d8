"""Writes trained_by_keras.keras and what that model predicts, with Keras 3 itself (needs keras, jax and h5py).

Run it in this folder: ``KERAS_BACKEND=jax python record_keras_file.py``.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)
inner = keras.Sequential([layers.Flatten(), layers.Dense(3, kernel_constraint="max_norm")], name="inner")
model = keras.Sequential(
    [
        keras.Input((5, 5, 2)),
        layers.Conv2D(2, 3, activation="relu", kernel_regularizer="l2", name="first"),
        layers.BatchNormalization(),
        layers.LeakyReLU(),
        inner,
        layers.Dense(3, activation="softmax", kernel_initializer=keras.initializers.HeNormal(3)),
    ]
)
model.compile(
    keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)),
    keras.losses.SparseCategoricalCrossentropy(),
    metrics=["accuracy"],
)
x = np.random.default_rng(0).normal(size=(8, 5, 5, 2)).astype("float32")
y = np.arange(8) % 3
model.fit(x, y, epochs=2, verbose=0)
model.save("trained_by_keras.keras")
predictions = model.predict(x, verbose=0)
scores = np.array(model.evaluate(x, y, verbose=0))
trained_further = np.array(model.fit(x, y, epochs=3, shuffle=False, verbose=0).history["loss"])
np.savez("trained_by_keras.npz", x=x, y=y, predictions=predictions, scores=scores, trained_further=trained_further)
