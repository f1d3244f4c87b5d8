"""Streams of batches: read by a thread of its own, a few ahead of the step that runs, and copied to the device."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from queue import SimpleQueue
from typing import Any

from gradlite.autograd import is_grad_enabled, no_grad
from gradlite.backends import Backend
from gradlite.tensor import Tensor, wrap
from gradlite.training.batches import Batch, Batches, as_device_tensor
from gradlite.training.structure import flatten, map_structure

# So many batches are read before they are asked for: one waits, one is being read.
AHEAD = 2
# A reader that is still at a batch this long after it was told to stop is left to end by itself.
PATIENCE = 5.0

_END = object()


def streamed(batches: Iterator[Batch], backend: Backend, ahead: int) -> Batches:
    """Batches of host arrays (or Tensors) as batches on the device, in their order.

    A thread reads up to ``ahead`` of them before they are asked for; with 0 they are read when they are. What the
    source raises is raised here, behind the batches that came before it. Whoever stops early closes this generator: the
    thread then ends with the batch that it is at.
    """
    if not ahead:
        for batch in batches:
            yield _converted(batch, lambda a: as_device_tensor(a, backend))
        return
    reader = _Reader(batches, backend, ahead + 1)
    try:
        yield from reader.batches()
    finally:
        reader.close()


def _converted(batch: Batch, function: Callable[[Any], Any]) -> Batch:
    x, y, weight = (map_structure(function, part) for part in batch[:3])
    return batch._replace(x=x, y=y, sample_weight=weight)


class _Reader:
    """The thread, and the places that it fills.

    Args:
        places: one for the batch that steps work on, the others for those that are read ahead.
    """

    def __init__(self, source: Iterator[Batch], backend: Backend, places: int) -> None:
        self._source = source
        self._backend = backend
        self._staging = backend.staging(places)
        self._free: SimpleQueue[int | None] = SimpleQueue()
        self._full: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
        for place in range(places):
            self._free.put(place)
        self._stopped = False
        # The source sees what it would see in the thread that asks: context variables, and whether it is under no_grad.
        context = contextvars.copy_context()
        self._mode = nullcontext if is_grad_enabled() else no_grad
        self._thread = threading.Thread(target=context.run, args=(self._read,), name="gradlite reader", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            with self._mode():
                while (place := self._free.get()) is not None and not self._stopped:
                    batch = next(self._source, _END)
                    self._full.put((None, _END) if batch is _END else (place, self._filled(place, batch)))
                    if batch is _END:
                        return
        except BaseException as error:
            self._full.put((None, error))
        finally:
            if self._stopped:
                self._staging.close()  # nobody may be waiting for this thread any more

    def _filled(self, place: int, batch: Any) -> Batch:
        """The batch in a place, with its Tensors as they are."""
        arrays = [leaf for leaf in flatten(batch[:3]) if not isinstance(leaf, Tensor)]
        device, host = self._staging.fill(place, arrays)
        there, here = iter(device), {id(array): copy for array, copy in zip(arrays, host)}
        unchecked = map_structure(lambda label: here.get(id(label), label), batch.unchecked)
        staged = _converted(
            batch,
            lambda a: as_device_tensor(a, self._backend) if isinstance(a, Tensor) else wrap(next(there), self._backend),
        )
        return staged._replace(unchecked=unchecked)

    def batches(self) -> Iterator[Batch]:
        """The batches; each may be used until the next one is asked for."""
        while True:
            place, found = self._full.get()
            if found is _END:
                return
            if isinstance(found, BaseException):
                try:
                    raise found
                finally:
                    del found  # which would hold this frame, and be held by it
            self._staging.ready(place)
            yield found
            self._staging.release(place)
            self._free.put(place)

    def close(self) -> None:
        """Stop reading."""
        self._stopped = True
        self._free.put(None)
        self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            self._staging.close()
