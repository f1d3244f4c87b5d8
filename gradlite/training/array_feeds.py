"""Feeding arrays of all samples: on the device as a whole, or streamed there where they are too large."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from gradlite.backends import Backend
from gradlite.random import Generator
from gradlite.training.batches import Batch, Batches, Place, as_device_tensor
from gradlite.training.checks import check_lengths
from gradlite.training.streams import streamed
from gradlite.training.structure import map_structure

_NOTHING = Batch(None, None, None, 0, times=0)


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
        self._runs: Iterator[Batch] = iter(())
        self._rest = _NOTHING
        self.backend = backend
        self._generator = generator
        # The labels of all samples, as they were given: a check of host arrays need not fetch them from a device.
        self.labels = y
        self._arrays = tuple(map_structure(self._placed, part) for part in (x, y, sample_weight))
        self._order: Any = None

    def _placed(self, array: Any) -> Any:
        """The array where batches are cut from it: uploaded once, in the type that it has."""
        return as_device_tensor(array, self.backend)

    def _shuffled(self, generator: Generator) -> Any:
        """The order of an epoch; in the memory of the one before, which is over."""
        state = generator.draw(self.backend)
        return self.backend.launch("random_permutation", state, size=self.samples, out=self._order)

    def epoch(self) -> Batches:
        """The batches of one epoch: all, or as many as ``steps`` says, going on where the epoch before ended.

        Batches of one size that follow each other come as one, with their number in ``times``.
        """
        if self._given_steps is None:
            yield from self._all()
            return
        left = self._given_steps
        while left:
            if not self._rest.times:
                self._rest = next(self._runs, _NOTHING)
            if not self._rest.times:
                self._runs = self._all()
                continue
            batch, self._rest = self._rest.split(left)
            left -= batch.times
            yield batch

    def restart(self) -> None:
        """Have the next epoch begin with the first batch."""
        self._runs, self._rest = iter(()), _NOTHING

    def _all(self) -> Iterator[Batch]:
        """All samples once; the last batch may be smaller."""
        if self._generator is not None:
            self._order = self._shuffled(self._generator)
        whole, rest = divmod(self.samples, self.batch_size)
        if whole:
            yield self._batch(0, self.batch_size, whole)
        if rest:
            yield self._batch(whole * self.batch_size, rest, 1)

    def first(self) -> Batch:
        """The first batch, unshuffled, to build a model with."""
        return self._batch(0, min(self.batch_size, self.samples), 1, ordered=False).taken()

    def _batch(self, start: int, size: int, times: int, ordered: bool = True) -> Batch:
        x, y, weight = self._arrays
        return Batch(x, y, weight, size, place=Place(self._order if ordered else None, start), times=times)


class StreamedArrayFeed(ArrayFeed):
    """Arrays that stay on the host: a thread cuts batches from them, and copies these to the device ahead of time."""

    def __init__(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int,
        backend: Backend,
        generator: Generator | None,
        steps: int | None,
        ahead: int,
    ) -> None:
        super().__init__(x, y, sample_weight, batch_size, backend, generator, steps)
        self._ahead = ahead

    def epoch(self) -> Batches:
        """The batches of one epoch, one by one."""
        yield from streamed(self._cut(super().epoch()), self.backend, self._ahead)

    def first(self) -> Batch:
        """The first batch, unshuffled, to build a model with."""
        batch = self._batch(0, min(self.batch_size, self.samples), 1, ordered=False)
        return next(streamed(self._cut(iter([batch])), self.backend, 0))

    def _placed(self, array: Any) -> Any:
        return array

    def _shuffled(self, generator: Generator) -> Any:
        return generator.permutation(self.samples)  # the same numbers as on the device

    def _cut(self, runs: Iterator[Batch]) -> Iterator[Batch]:
        """Each batch with its own rows, still on the host."""
        for run in runs:
            while run.times:
                batch, run = run.split(1)
                assert batch.place is not None
                order, start = batch.place
                numbers = slice(start, start + batch.size) if order is None else order[start : start + batch.size]
                x, y, weight = (_rows_of(part, numbers) for part in batch[:3])
                yield Batch(x, y, weight, batch.size)


def _rows_of(part: Any, numbers: Any) -> Any:
    return map_structure(lambda array: array[numbers], part)
