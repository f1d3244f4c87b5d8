"""PyDataset: batches by number, for data that is read or made as training goes."""

from __future__ import annotations

from typing import Any


class PyDataset:
    """A dataset of batches: subclass it with ``__len__`` (batches per epoch) and ``__getitem__`` (batch ``index``).

    A batch is ``x``, ``(x, y)`` or ``(x, y, sample_weight)``. Because batches are asked for by number, ``fit`` can
    shuffle their order. ``workers``, ``use_multiprocessing`` and ``max_queue_size`` say how batches may be made ahead.

    >>> import numpy as np
    >>> from gradlite.keras.utils.py_dataset import PyDataset
    >>> class Squares(PyDataset):
    ...     def __len__(self):
    ...         return 3
    ...     def __getitem__(self, index):
    ...         x = np.arange(4.0) + 4 * index
    ...         return x, x**2
    >>> Squares().num_batches
    3
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a method `__getitem__(self, index)`, giving a batch.")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} needs a method `__len__(self)`: the batches in an epoch.")

    @property
    def num_batches(self) -> int | None:
        """Batches per epoch; override it with None for a dataset without an end."""
        return len(self)

    def on_epoch_begin(self) -> None:
        """Called before every epoch."""

    def on_epoch_end(self) -> None:
        """Called after every epoch; the place to shuffle samples."""
