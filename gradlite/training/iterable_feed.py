"""Feeding batches from a generator, a PyDataset or any iterable."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Sized
from contextlib import closing
from pathlib import Path
from typing import Any

from gradlite.backends import Backend
from gradlite.keras.utils.py_dataset import PyDataset
from gradlite.random import Generator
from gradlite.tensor import Tensor
from gradlite.training.batches import Batch, Batches, as_host_array, unpack
from gradlite.training.checks import check_lengths, weights_of_classes
from gradlite.training.streams import streamed
from gradlite.training.structure import flatten, map_structure

_END = object()
_PACKAGE = str(Path(__file__).parents[1])


class IterableFeed:
    """Batches from a generator, a PyDataset or any iterable: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

    What is not in a list or tuple is read by a thread, up to ``ahead`` batches before their step comes, but never
    beyond the end of an epoch: of a generator that others read too, an epoch takes the batches of its steps and no
    more. Whoever stops within an epoch leaves up to ``ahead`` batches unused. One batch, which the first epoch begins
    with, is looked at before training begins.
    """

    def __init__(
        self,
        source: Iterable[Any],
        steps: int | None,
        backend: Backend,
        class_weight: Any,
        generator: Generator | None,
        ahead: int,
    ) -> None:
        self._source = source
        self.backend = backend
        self._class_weight = class_weight
        self._generator = generator
        self._ahead = 0 if isinstance(source, (list, tuple)) else ahead
        self._once = hasattr(source, "__next__")
        self._iterator: Iterator[Any] | None = None
        self._peeked: list[Any] = []
        self._begun = False
        self._ran_out: int | None = None  # after how many steps of this epoch
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
        return next(streamed(iter([self._batch(self._peeked[0])]), self.backend, 0))

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

    def epoch(self) -> Batches:
        """The batches of one epoch: until the source ends, or as many as ``steps`` says."""
        if isinstance(self._source, PyDataset):
            self._source.on_epoch_begin()
        self._begun, self._ran_out = True, None
        with closing(streamed(self._epoch_items(), self.backend, self._ahead)) as batches:
            yield from batches
        if self._ran_out is not None:
            self._warn_of_end(self._ran_out)
        if isinstance(self._source, PyDataset):
            self._source.on_epoch_end()

    def _epoch_items(self) -> Iterator[Batch]:
        """The batches of one epoch, on the host; the thread that reads ahead is in here."""
        done, restarted = 0, False
        while self._given_steps is None or done < self._given_steps:
            item = self._peeked.pop() if self._peeked else next(self._items(), _END)
            if item is not _END:
                yield self._batch(item)
                done, restarted = done + 1, False
                continue
            self._iterator = None
            if self._given_steps is None and done:
                return
            if self._once or restarted:
                self._ran_out = done
                return
            restarted = True  # this pass is over, the next one begins within the epoch

    def restart(self) -> None:
        """Have the next epoch begin with the first batch, unless the source can be read only once."""
        if self._begun and not self._once:
            self._iterator, self._peeked = None, []

    def _warn_of_end(self, done: int) -> None:
        expected = "" if self._given_steps is None else f" of {self._given_steps}"
        warnings.warn(
            f"The data ran out after {done}{expected} steps of this epoch. A generator is used up after one pass and "
            "must give at least steps_per_epoch * epochs batches: use an endless one, or a list.",
            stacklevel=_levels_to_the_caller(),
        )

    def _batch(self, item: Any) -> Batch:
        """What the source gave, as a batch of host arrays."""
        x, y, weight = unpack(item)
        size = check_lengths(x=x, y=y, sample_weight=weight)
        if self._class_weight is not None and y is not None:
            weight = weights_of_classes(self._class_weight, y, weight)
        x, y, weight = (map_structure(as_host_array, part) for part in (x, y, weight))
        labels = None if any(isinstance(leaf, Tensor) for leaf in flatten(y)) else y
        return Batch(x, y, weight, size, unchecked=labels)


def _levels_to_the_caller() -> int:
    """The ``stacklevel`` that points a warning of the function that asks at the line outside of this package."""
    frame, levels = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, levels = frame.f_back, levels + 1
    return levels
