"""The lecture's two scripts, written as users of tf.keras write them, run as they are but for the import."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from gradlite import keras

MNIST = """
import numpy as np
import gradlite as tf
from gradlite.keras.models import Sequential
from gradlite.keras.layers import Dense, Flatten
from gradlite.keras import backend as K

K.clear_session()
assert K.image_data_format() == 'channels_last'

x_train = train_images.reshape((len(train_images), 28 * 28))
x_train = x_train.astype('float32') / 255
x_test = test_images.reshape((len(test_images), 28 * 28)).astype('float32') / 255
y_train = tf.keras.utils.to_categorical(train_labels)
y_test = tf.keras.utils.to_categorical(test_labels, 10)

model = Sequential()
model.add(Dense(512, activation=tf.nn.relu, input_shape=(28 * 28,)))
model.add(Dense(10, activation=tf.nn.softmax))
model.compile(optimizer=OPTIMIZER,
              loss='categorical_crossentropy',
              metrics=['accuracy'])
model.summary()

history = model.fit(x_train, y_train, epochs=3, batch_size=16, validation_split=0.2)
test_loss, test_acc = model.evaluate(x_test, y_test)
print('test_acc:', test_acc)
predictions = model.predict(x_test)
print(np.argmax(predictions[0]))
w, b = model.layers[0].get_weights()
"""

VGG = """
import numpy as np
import gradlite as tf
from gradlite.keras.models import Sequential
from gradlite.keras.layers import BatchNormalization, Conv2D, MaxPooling2D, Activation, Flatten, Dropout, Dense
from gradlite.keras import backend as K

class ShallowVGGNet:
    @staticmethod
    def build(width, height, depth, classes):
        model = Sequential()
        inputShape = (height, width, depth)
        chanDim = -1
        if K.image_data_format() == "channels_first":
            inputShape = (depth, height, width)
            chanDim = 1

        # first CONV => RELU => CONV => RELU => POOL layer set
        model.add(Conv2D(32, (3, 3), padding="same", input_shape=inputShape))
        model.add(Activation("relu"))
        model.add(BatchNormalization(axis=chanDim))
        model.add(Conv2D(32, (3, 3), padding="same"))
        model.add(Activation("relu"))
        model.add(BatchNormalization(axis=chanDim))
        model.add(MaxPooling2D(pool_size=(2, 2)))
        model.add(Dropout(0.25))

        # second CONV => RELU => CONV => RELU => POOL layer set
        model.add(Conv2D(64, (3, 3), padding="same"))
        model.add(Activation("relu"))
        model.add(BatchNormalization(axis=chanDim))
        model.add(Conv2D(64, (3, 3), padding="same"))
        model.add(Activation("relu"))
        model.add(BatchNormalization(axis=chanDim))
        model.add(MaxPooling2D(pool_size=(2, 2)))
        model.add(Dropout(0.25))

        # first (and only) set of FC => RELU layers
        model.add(Flatten())
        model.add(Dense(512))
        model.add(Activation("relu"))
        model.add(BatchNormalization())
        model.add(Dropout(0.5))

        # softmax classifier
        model.add(Dense(classes))
        model.add(Activation("softmax"))
        return model

trainX = train_images.astype("float") / 255.0
testX = test_images.astype("float") / 255.0
trainY = tf.keras.utils.to_categorical(train_labels, 10)
testY = tf.keras.utils.to_categorical(test_labels, 10)

print("[INFO] compiling model...")
opt = tf.keras.optimizers.SGD(learning_rate=0.05, momentum=0.9, nesterov=True)
model = ShallowVGGNet.build(width=SIZE, height=SIZE, depth=3, classes=10)
model.compile(loss="categorical_crossentropy", optimizer=opt, metrics=["accuracy"])

print("[INFO] training network...")
H = model.fit(trainX, trainY, validation_data=(testX, testY), batch_size=16, epochs=2, verbose=1)

print("[INFO] evaluating network...")
predictions = model.predict(testX, batch_size=16)
report = (testY.argmax(axis=1) == predictions.argmax(axis=1)).mean()
full = ShallowVGGNet.build(32, 32, 3, 10)
full.summary()
"""


def run(source: str, **given: Any) -> tuple[dict[str, Any], str]:
    """The script's names and what it printed."""
    names: dict[str, Any] = {"__name__": "__main__", **given}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(source, "lecture.py", "exec"), names)
    return names, out.getvalue()


def images(samples: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Bytes in which the class is to be seen: the brighter row."""
    rng = np.random.default_rng(samples)
    labels = rng.integers(0, 10, samples)
    labels[:10] = np.arange(10)
    pictures = rng.integers(0, 120, (samples, *shape))
    pictures[np.arange(samples), labels] += 130
    return pictures.astype(np.uint8), labels.astype(np.uint8)


@pytest.mark.parametrize(
    "optimizer",
    [
        "'rmsprop'",
        "'adam'",
        "tf.keras.optimizers.Adam()",
        "tf.keras.optimizers.Adam(learning_rate=0.001)",
        "tf.keras.optimizers.SGD(learning_rate=0.1, momentum=0.9)",
        "tf.keras.optimizers.RMSprop(1e-3)",
    ],
)
def test_the_mnist_script_runs_and_learns(optimizer: str) -> None:
    (train_x, train_y), (test_x, test_y) = images(200, 28, 28), images(50, 28, 28)
    source = MNIST.replace("OPTIMIZER", optimizer)
    names, text = run(source, train_images=train_x, train_labels=train_y, test_images=test_x, test_labels=test_y)
    model = names["model"]
    assert model.layers[0].count_params() == 401920
    assert model.count_params() == 407050
    assert names["w"].shape == (784, 512)
    assert names["predictions"].shape == (50, 10)
    np.testing.assert_allclose(names["predictions"].sum(axis=1), 1.0, rtol=1e-5)
    assert list(names["history"].history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert names["test_acc"] > 0.5
    for expected in ("Epoch 3/3", "10/10", "val_accuracy: ", "params: 407,050 (1.55 MB)", "dense (Dense)", "401,920"):
        assert expected in text


def test_the_shallow_vggnet_script_runs_and_learns() -> None:
    # The script sets no seed, and from about one in eighty this network does not learn anything in six steps.
    keras.utils.set_random_seed(0)
    (train_x, train_y), (test_x, test_y) = images(48, 12, 12, 3), images(16, 12, 12, 3)
    names, text = run(VGG, SIZE=12, train_images=train_x, train_labels=train_y, test_images=test_x, test_labels=test_y)
    assert names["full"].count_params() == 2171178
    assert sum(w.size for w in names["full"].trainable_weights) == 2169770
    assert names["H"].history["loss"][1] < names["H"].history["loss"][0]
    assert names["predictions"].shape == (16, 10)
    for expected in ("Epoch 2/2", "3/3", "Total params: 2,171,178 (8.28 MB)", "Non-trainable params: 1,408 (5.50 KB)"):
        assert expected in text
