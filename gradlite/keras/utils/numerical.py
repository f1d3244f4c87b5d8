"""Labels and rows as NumPy arrays: one-hot encoding and normalising to unit length."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """One-hot rows of integer labels: shape ``x.shape + (num_classes,)``, float64.

    A trailing axis of size 1 is dropped: labels of shape (n, 1) give (n, num_classes). ``num_classes`` defaults to
    the largest label plus one. Raises ValueError for a label outside ``[0, num_classes)`` or not a whole number.

    >>> from gradlite.keras.utils.numerical import to_categorical
    >>> to_categorical([0, 2], num_classes=3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    given = np.asarray(x)
    labels = given.astype("int64")
    if not np.array_equal(labels, given):
        raise ValueError("to_categorical needs whole numbers as labels; a cast would have changed some of them.")
    shape = labels.shape
    if len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    if num_classes is None:
        if labels.size == 0:
            raise ValueError("to_categorical cannot tell the number of classes of an empty array; pass num_classes.")
        num_classes = int(labels.max()) + 1
    flat = labels.reshape(-1)
    if flat.size and (flat.min() < 0 or flat.max() >= num_classes):
        raise ValueError(
            f"to_categorical received labels from {flat.min()} to {flat.max()}; with num_classes={num_classes} "
            f"they must lie between 0 and {num_classes - 1}."
        )
    categorical = np.zeros((flat.size, num_classes))
    categorical[np.arange(flat.size), flat] = 1.0
    return categorical.reshape(shape + (num_classes,))


def normalize(x: Any, axis: int = -1, order: int = 2) -> np.ndarray:
    """``x`` divided by its norm of the given ``order`` along ``axis``; all-zero rows stay zero.

    >>> from gradlite.keras.utils.numerical import normalize
    >>> normalize([[3.0, 4.0]])
    array([[0.6, 0.8]])
    """
    values = np.asarray(x)
    if not np.issubdtype(values.dtype, np.inexact):
        values = values.astype("float32")
    norm = np.atleast_1d(np.linalg.norm(values, order, axis, keepdims=True))
    norm[norm == 0] = 1
    return np.asarray(values / norm)
