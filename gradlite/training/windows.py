"""Windows: how recorded steps find their samples, through memory that stays where it is while the data changes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from gradlite.backends import Backend
from gradlite.tensor import wrap
from gradlite.training.batches import Batch
from gradlite.training.structure import flatten, map_structure


class Window:
    """Where the steps of one kind read: from a position that is on the device, in arrays that may be replaced.

    A step reads its batch by one launch and moves the position on by another, so that a program of it can be replayed
    for one batch after the other with nothing from the host.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._rows = backend.rows()
        self._position = backend.full((), 0, np.int64)
        self._at: int | None = 0  # the position as the host knows it; None: after a step that failed
        self._shown: tuple[Any, ...] = ()

    def show(self, batch: Batch) -> None:
        """Have the next step read this batch."""
        order, start = batch.place or (None, 0)
        shown = (order, *(x.data for x in flatten(batch[:3])))
        if len(shown) != len(self._shown) or any(a is not b for a, b in zip(shown, self._shown)):
            self._rows.point_to(shown[1:], order)
            self._shown = shown
        if self._at != start:
            self._backend.launch("assign", self._position, start)
            self._at = start

    def read(self, batch: Batch) -> Batch:
        """Launch what reads the batch from where the window is; as a Batch of Tensors of its own."""
        results = self._backend.launch("select_rows", self._position, rows=self._rows, size=batch.size)
        tensors: Iterator[Any] = (wrap(array, self._backend) for array in results)
        x, y, weight = (map_structure(lambda _: next(tensors), part) for part in batch[:3])
        return Batch(x, y, weight, batch.size, batch.unchecked)

    def advance(self, size: int) -> None:
        """Launch what moves the position on."""
        self._backend.launch("assign_add", self._position, size)

    def begin(self) -> None:
        """A step begins: should it fail, nobody knows where the position is."""
        self._moving, self._at = self._at, None

    def end(self, samples: int) -> None:
        """Steps that read so many samples are done."""
        assert self._moving is not None
        self._at = self._moving + samples

    def clear(self) -> None:
        """Let go of the data."""
        self._rows.clear()
        self._shown = ()


def kind_of(batch: Batch) -> Hashable:
    """What tells kinds of samples apart: how they are nested, and the types and shapes of one of them."""
    described = tuple((x.data.shape[1:], x.data.dtype.char) for x in flatten(batch[:3]))
    return described, _nesting(batch[:3])


def _nesting(structure: Any) -> Hashable:
    if isinstance(structure, dict):
        return tuple((key, _nesting(value)) for key, value in structure.items())
    if isinstance(structure, (list, tuple)):
        return type(structure), tuple(_nesting(value) for value in structure)
    return structure is None
