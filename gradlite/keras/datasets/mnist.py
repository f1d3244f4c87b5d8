"""MNIST: handwritten digits, 60,000 to train on and 10,000 to test on."""

from __future__ import annotations

import os

from gradlite.keras.datasets.mnist_format import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    MnistFormat,
    Split,
    load,
)

MNIST = MnistFormat(
    title="MNIST",
    name="mnist",
    other_names=("MNIST/raw",),
    mirrors=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    checksums={
        TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    checksums_of_unpacked=True,
)


def load_data(path: str | os.PathLike[str] = "mnist") -> tuple[Split, Split]:
    """Load MNIST, from this machine if it is there, else from the network into the user's cache.

    The files are the four published ones (``train-images-idx3-ubyte.gz`` and so on, gzipped or not), in a directory
    ``mnist`` or without one, or Keras's ``mnist.npz``. They are looked for in the directory that the environment
    variable ``GRADLITE_DATA_DIR`` names, in the user's cache and in Keras's.

    Arguments:
        path: another name than ``"mnist"`` for the directory or the ``.npz`` file, or an absolute path.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images of shape (60000, 28, 28) and (10000, 28, 28), uint8, white
        (255) on black (0); labels of shape (60000,) and (10000,), uint8, 0 to 9.

    Raises:
        DatasetNotFoundError: it is not on this machine, and no mirror gave it; a FileNotFoundError.
        DatasetFileError: a file is cut short or damaged; a ValueError.

    >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP
    >>> x_train.shape, x_train.dtype, y_train[:5]  # doctest: +SKIP
    ((60000, 28, 28), dtype('uint8'), array([5, 0, 4, 1, 9], dtype=uint8))

    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    return load(MNIST, path)
