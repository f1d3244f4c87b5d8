"""Feeding data: arrays cut into batches, and iterables of batches, both as the same kind of feed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradlite.backends import Backend
from gradlite.keras.utils.py_dataset import PyDataset
from gradlite.random import Generator
from gradlite.tensor import Tensor
from gradlite.training.array_feeds import ArrayFeed, StreamedArrayFeed
from gradlite.training.batches import as_host_array, numbers_as_array
from gradlite.training.checks import weights_of_classes
from gradlite.training.iterable_feed import IterableFeed
from gradlite.training.structure import flatten, is_array, map_structure

# Arrays that take more than this part of the memory that a device has left are streamed there.
LARGEST_PART = 0.5

Feed = ArrayFeed | IterableFeed


def make_feed(
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    batch_size: int | None,
    steps: int | None,
    shuffle: bool,
    class_weight: Mapping[int, float] | None,
    backend: Backend,
    ahead: int,
) -> Feed:
    """The feed for whatever ``fit``, ``evaluate`` or ``predict`` was given.

    Args:
        ahead: how many batches may be read before their step comes, where they are not all there.

    Raises:
        ValueError: for data that is empty, of several lengths, or given twice.
    """
    for name, number in (("batch_size", batch_size), ("steps", steps)):
        if number is not None and (not isinstance(number, (int, np.integer)) or isinstance(number, bool) or number < 1):
            raise ValueError(f"{name} must be a positive integer. Received: {name}={number!r}.")
    generator = Generator() if shuffle else None
    if is_batches(x):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(
                    f"With {type(x).__name__} as x, {name} comes in its batches. Received: {name} as well."
                )
        return IterableFeed(x, steps, backend, class_weight, generator if isinstance(x, PyDataset) else None, ahead)
    if not flatten(x):
        raise ValueError("No data: x is empty or None. Pass arrays, or an iterable of batches.")
    if callable(x) and not is_array(x):
        raise ValueError(f"x is a function. Received: {x!r}; pass what it returns: {getattr(x, '__name__', 'x')}().")
    x, y, sample_weight = (map_structure(as_host_array, part) for part in map(numbers_as_array, (x, y, sample_weight)))
    if class_weight is not None:
        sample_weight = weights_of_classes(class_weight, y, sample_weight)
    size = int(batch_size or 32)
    if _fit_on(backend, flatten((x, y, sample_weight))):
        return ArrayFeed(x, y, sample_weight, size, backend, generator, steps)
    return StreamedArrayFeed(x, y, sample_weight, size, backend, generator, steps, ahead)


def _fit_on(backend: Backend, arrays: list[Any]) -> bool:
    """Whether there is room for all samples on the device; a device that reports no memory takes everything."""
    memory = backend.memory_stats()
    if not memory or any(isinstance(array, Tensor) for array in arrays):
        return True
    return sum(array.nbytes for array in arrays) <= LARGEST_PART * (memory["free"] + memory["pooled"])


def is_batches(x: Any) -> bool:
    """Whether ``x`` gives batches, rather than being the samples themselves."""
    if isinstance(x, PyDataset) or hasattr(x, "__next__"):
        return True
    if x is None or is_array(x) or isinstance(x, (dict, str)):
        return False
    if isinstance(x, (list, tuple)):
        return bool(x) and isinstance(x[0], tuple)
    return hasattr(x, "__iter__") or hasattr(x, "__getitem__")
