"""Data sets to train on: MNIST, Fashion-MNIST and CIFAR-10, found on disk or downloaded, and digits drawn by a program.

=================  =====================================================================
``mnist``          60,000 + 10,000 handwritten digits, 28 x 28
``fashion_mnist``  60,000 + 10,000 pictures of clothes, 28 x 28
``cifar10``        50,000 + 10,000 colour pictures of ten kinds of things, 32 x 32 x 3
``digits``         any number of digits in MNIST's form, drawn from a seed, without files
=================  =====================================================================

Each has ``load_data()``, which returns ``(x_train, y_train), (x_test, y_test)`` as NumPy arrays of uint8. Files are
looked for in the directory named by the environment variable ``GRADLITE_DATA_DIR``, in the user's cache and in Keras's.
"""

from gradlite.keras.datasets import cifar10, digits, fashion_mnist, mnist

__all__ = ["cifar10", "digits", "fashion_mnist", "mnist"]
