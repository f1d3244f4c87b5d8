"""Feeding data: arrays cut into batches, and iterables of batches, both as the same kind of feed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any, NamedTuple

import numpy as np

from gradlite.backends import Backend
from gradlite.backends.dtypes import FLOAT_KINDS, is_bfloat16
from gradlite.keras import backend as keras_backend
from gradlite.keras.utils.py_dataset import PyDataset
from gradlite.random import Generator
from gradlite.tensor import Tensor, wrap
from gradlite.training.checks import check_lengths, weights_of_classes
from gradlite.training.structure import flatten, is_array, map_structure

_END = object()


class Batch(NamedTuple):
    """What one step gets: Tensors on the model's device."""

    x: Any
    y: Any
    sample_weight: Any
    size: int
    unchecked: Any = None  # labels that nobody has compared with the loss yet
    fixed: bool = False  # whether all batches of this size come in the same memory


class ArrayFeed:
    """Arrays of all samples, in batches; shuffled anew each epoch."""

    def __init__(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int,
        backend: Backend,
        generator: Generator | None,
        steps: int | None = None,
    ) -> None:
        self.samples = check_lengths(x=x, y=y, sample_weight=sample_weight)
        self.batch_size = batch_size
        self.steps: int | None = steps or math.ceil(self.samples / batch_size)
        self._given_steps = steps
        self._rest: Iterator[Batch] = iter(())
        self.backend = backend
        self._generator = generator
        # The labels of all samples, as they were given: a check of host arrays need not fetch them from a device.
        self.labels = y
        # Uploaded once, in the type that they have: images of bytes stay bytes until the first layer.
        self._arrays = tuple(
            map_structure(lambda a: as_device_tensor(a, backend), part) for part in (x, y, sample_weight)
        )
        # Set for steps that are captured: batches of one size then come in the same memory, one after the other.
        self.fixed = False
        self._kept: dict[int, Batch] = {}

    def epoch(self) -> Iterator[Batch]:
        """The batches of one epoch: all, or as many as ``steps`` says, going on where the epoch before ended."""
        if self._given_steps is None:
            yield from self._all()
            return
        for _ in range(self._given_steps):
            batch = next(self._rest, None)
            if batch is None:
                self._rest = self._all()
                batch = next(self._rest)
            yield batch

    def restart(self) -> None:
        """Have the next epoch begin with the first batch."""
        self._rest = iter(())

    def _all(self) -> Iterator[Batch]:
        """All samples once; the last batch may be smaller."""
        order = None
        if self._generator is not None:
            state = self._generator.draw(self.backend)
            order = self.backend.launch("random_permutation", state, size=self.samples)
        for start in range(0, self.samples, self.batch_size):
            yield self._cut(order, start, min(start + self.batch_size, self.samples))

    def first(self) -> Batch:
        """The first batch, unshuffled, to build a model with."""
        return self._cut(None, 0, min(self.batch_size, self.samples))

    def _cut(self, order: Any, start: int, stop: int) -> Batch:
        """The samples from ``start`` to ``stop`` of the epoch's order."""
        if self.fixed:
            return self._refilled(order, start, stop)

        def rows(tensor: Tensor) -> Tensor:
            if order is None:
                return wrap(tensor.data[start:stop], self.backend)
            return wrap(self.backend.launch("take", tensor.data, order[start:stop], axis=0), self.backend)

        x, y, weight = (map_structure(rows, part) for part in self._arrays)
        return Batch(x, y, weight, stop - start)

    def _refilled(self, order: Any, start: int, stop: int) -> Batch:
        """The one batch of this size, with these samples in it."""
        size = stop - start
        batch = self._kept.get(size)
        if batch is None:
            x, y, weight = (map_structure(lambda a: self._empty_rows(a, size), part) for part in self._arrays)
            batch = self._kept[size] = Batch(x, y, weight, size, fixed=True)
        for tensor, target in zip(flatten(self._arrays), flatten(batch[:3])):
            if order is None:
                self.backend.launch("copy", tensor.data[start:stop], out=target.data)
            else:
                self.backend.launch("take", tensor.data, order[start:stop], axis=0, out=target.data)
        return batch

    def _empty_rows(self, tensor: Tensor, size: int) -> Tensor:
        return wrap(self.backend.empty((size, *tensor.shape[1:]), tensor.dtype), self.backend)


class IterableFeed:
    """Batches from a generator, a PyDataset or any iterable: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``."""

    def __init__(
        self, source: Iterable[Any], steps: int | None, backend: Backend, class_weight: Any, generator: Generator | None
    ) -> None:
        self._source = source
        self.backend = backend
        self._class_weight = class_weight
        self._generator = generator
        self._once = hasattr(source, "__next__")
        self._iterator: Iterator[Any] | None = None
        self._peeked: list[Any] = []
        self._begun = False
        self._given_steps = steps
        self.steps: int | None = steps
        if steps is None and isinstance(source, PyDataset):
            self.steps = source.num_batches
        elif steps is None and isinstance(source, Sized):
            self.steps = len(source)

    def first(self) -> Batch:
        """The first batch; the next epoch starts with it all the same."""
        if not self._peeked:
            self._peeked.append(self._next(self._items()))
        return self._batch(self._peeked[0])

    def _items(self) -> Iterator[Any]:
        """Where the next item comes from: one iterator for what ends by itself, a fresh one an epoch otherwise."""
        if self._iterator is None:
            self._iterator = self._ordered() if isinstance(self._source, PyDataset) else iter(self._source)
        return self._iterator

    def _ordered(self) -> Iterator[Any]:
        dataset: Any = self._source
        number = dataset.num_batches
        if number is None:
            index = 0
            while True:
                yield dataset[index]
                index += 1
        order = range(number) if self._generator is None else self._generator.permutation(number)
        for i in order:
            yield dataset[int(i)]

    def _next(self, items: Iterator[Any]) -> Any:
        try:
            return next(items)
        except StopIteration:
            raise ValueError(
                f"The data is empty: {type(self._source).__name__} gave no batch. A generator can be used only once; "
                "pass a function's fresh generator, a list of batches, or arrays."
            ) from None

    def epoch(self) -> Iterator[Batch]:
        """The batches of one epoch: until the source ends, or as many as ``steps`` says."""
        if isinstance(self._source, PyDataset):
            self._source.on_epoch_begin()
        self._begun = True
        done, restarted = 0, False
        while self._given_steps is None or done < self._given_steps:
            item = self._peeked.pop() if self._peeked else next(self._items(), _END)
            if item is not _END:
                yield self._batch(item)
                done, restarted = done + 1, False
                continue
            self._iterator = None
            if self._given_steps is None and done:
                break
            if self._once or restarted:
                self._warn_of_end(done)
                break
            restarted = True  # this pass is over, the next one begins within the epoch
        if isinstance(self._source, PyDataset):
            self._source.on_epoch_end()

    def restart(self) -> None:
        """Have the next epoch begin with the first batch, unless the source can be read only once."""
        if self._begun and not self._once:
            self._iterator, self._peeked = None, []

    def _warn_of_end(self, done: int) -> None:
        expected = "" if self._given_steps is None else f" of {self._given_steps}"
        warnings.warn(
            f"The data ran out after {done}{expected} steps of this epoch. A generator is used up after one pass and "
            "must give at least steps_per_epoch * epochs batches: use an endless one, or a list.",
            stacklevel=5,
        )

    def _batch(self, item: Any) -> Batch:
        x, y, weight = unpack(item)
        size = check_lengths(x=x, y=y, sample_weight=weight)
        if self._class_weight is not None and y is not None:
            weight = weights_of_classes(self._class_weight, y, weight)
        x, y, weight = (map_structure(as_host_array, part) for part in (x, y, weight))
        labels = None if any(isinstance(leaf, Tensor) for leaf in flatten(y)) else y
        x, y, weight = (map_structure(lambda a: as_device_tensor(a, self.backend), part) for part in (x, y, weight))
        return Batch(x, y, weight, size, unchecked=labels)


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
) -> Feed:
    """The feed for whatever ``fit``, ``evaluate`` or ``predict`` was given.

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
        return IterableFeed(x, steps, backend, class_weight, generator if isinstance(x, PyDataset) else None)
    if not flatten(x):
        raise ValueError("No data: x is empty or None. Pass arrays, or an iterable of batches.")
    if callable(x) and not is_array(x):
        raise ValueError(f"x is a function. Received: {x!r}; pass what it returns: {getattr(x, '__name__', 'x')}().")
    x, y, sample_weight = (map_structure(as_host_array, part) for part in map(numbers_as_array, (x, y, sample_weight)))
    if class_weight is not None:
        sample_weight = weights_of_classes(class_weight, y, sample_weight)
    return ArrayFeed(x, y, sample_weight, int(batch_size or 32), backend, generator, steps)


def is_batches(x: Any) -> bool:
    """Whether ``x`` gives batches, rather than being the samples themselves."""
    if isinstance(x, PyDataset) or hasattr(x, "__next__"):
        return True
    if x is None or is_array(x) or isinstance(x, (dict, str)):
        return False
    if isinstance(x, (list, tuple)):
        return bool(x) and isinstance(x[0], tuple)
    return hasattr(x, "__iter__") or hasattr(x, "__getitem__")


def unpack(item: Any) -> tuple[Any, Any, Any]:
    """A batch as (x, y, sample_weight)."""
    if isinstance(item, list) and len(item) in (2, 3) and all(is_array(part) for part in item):
        item = tuple(item)
    if not isinstance(item, tuple):
        return numbers_as_array(item), None, None
    if not 1 <= len(item) <= 3:
        raise ValueError(f"A batch is x, (x, y) or (x, y, sample_weight). Received: a tuple of {len(item)}.")
    x, y, weight = (*item, None, None)[:3]
    return numbers_as_array(x), numbers_as_array(y), numbers_as_array(weight)


def numbers_as_array(part: Any) -> Any:
    """Nested lists of plain numbers as one array; lists and dicts of arrays, or of such lists, stay what they are."""
    if isinstance(part, dict):
        return {key: numbers_as_array(value) for key, value in part.items()}
    if not isinstance(part, (list, tuple)) or not part or isinstance(part[0], dict):
        return part
    if any(is_array(leaf) for leaf in flatten(part)):
        return part
    try:
        return np.asarray(part)
    except ValueError:
        raise ValueError(
            f"A list of {len(part)} rows of different lengths is not an array. Pad the rows to one length."
        ) from None


def as_host_array(array: Any) -> Any:
    """An array of numbers: Tensors as they are, arrays on a GPU as Tensors there, everything else as NumPy's; floating
    point in the default type."""
    if isinstance(array, Tensor):
        return array.detach()
    if hasattr(array, "__cuda_array_interface__"):
        tensor = Tensor(array)
        return tensor.astype(keras_backend.floatx()) if tensor.dtype.kind in FLOAT_KINDS else tensor
    array = np.asarray(array)
    if array.dtype.kind not in "fiub" and not is_bfloat16(array.dtype):
        raise ValueError(
            f"Data must be numbers. Received: an array of dtype {array.dtype}. "
            "Convert it, for instance class names to numbers."
        )
    if array.dtype.kind in FLOAT_KINDS and array.dtype != keras_backend.floatx():
        return array.astype(keras_backend.floatx())
    return array


def as_device_tensor(array: Any, backend: Backend) -> Tensor:
    """A Tensor without history on ``backend``."""
    array = as_host_array(array)
    return array if isinstance(array, Tensor) and array.backend is backend else Tensor(array, device=backend)
