"""Fashion-MNIST: pictures of clothes in MNIST's form, 60,000 to train on and 10,000 to test on."""

from __future__ import annotations

from gradlite.keras.datasets.mnist_format import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    MnistFormat,
    Split,
    load,
)

FASHION_MNIST = MnistFormat(
    title="Fashion-MNIST",
    name="fashion_mnist",
    other_names=("fashion-mnist", "FashionMNIST/raw"),
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    # Of the .gz files, whose MD5 the authors publish: no SHA-256 of the unpacked content is published, and these are
    # recorded in many places beside that MD5. All mirrors carry the authors' own files.
    checksums={
        TRAIN_IMAGES: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        TRAIN_LABELS: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        TEST_IMAGES: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        TEST_LABELS: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    checksums_of_unpacked=False,
)


def load_data() -> tuple[Split, Split]:
    """Load Fashion-MNIST, from this machine if it is there, else from the network into the user's cache.

    The labels are 0 T-shirt/top, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag and
    9 ankle boot. The files have MNIST's names and lie in a directory ``fashion_mnist`` or ``fashion-mnist``; otherwise
    all is as for ``mnist.load_data``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images of shape (60000, 28, 28) and (10000, 28, 28), uint8; labels of
        shape (60000,) and (10000,), uint8, 0 to 9.

    Raises:
        DatasetNotFoundError: it is not on this machine, and no mirror gave it; a FileNotFoundError.
        DatasetFileError: a file is cut short or damaged; a ValueError.

    >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP

    H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", 2017.
    """
    return load(FASHION_MNIST, FASHION_MNIST.name)
