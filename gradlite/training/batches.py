"""Batches: what a step gets, and data as it is given made into arrays and Tensors."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from gradlite.backends import Backend
from gradlite.backends.dtypes import FLOAT_KINDS, is_bfloat16
from gradlite.keras import backend as keras_backend
from gradlite.tensor import Tensor, wrap
from gradlite.training.structure import flatten, is_array, map_structure


class Place(NamedTuple):
    """Where the samples of a batch are among all samples: from number ``start`` of ``order`` on (None: as they are)."""

    order: Any
    start: int


class Batch(NamedTuple):
    """What one step gets, or several steps: Tensors on the model's device.

    With a ``place``, x, y and sample_weight hold all samples, and ``taken`` is the batch itself; the ``times - 1``
    batches behind it, of the same size, belong to it too.
    """

    x: Any
    y: Any
    sample_weight: Any
    size: int
    unchecked: Any = None  # labels that nobody has compared with the loss yet
    place: Place | None = None
    times: int = 1

    @property
    def backend(self) -> Backend:
        """Where its Tensors are."""
        backend: Backend = flatten(self.x)[0].backend
        return backend

    def split(self, steps: int) -> tuple[Batch, Batch]:
        """The first so many of its batches, at most all of them, and the others."""
        steps = min(steps, self.times)
        if steps == self.times:
            return self, self._replace(times=0)
        assert self.place is not None
        rest = self.place._replace(start=self.place.start + steps * self.size)
        return self._replace(times=steps), self._replace(times=self.times - steps, place=rest)

    def taken(self) -> Batch:
        """The first of its batches, with its own samples alone."""
        if self.place is None:
            return self
        order, start = self.place
        stop = start + self.size

        def rows(tensor: Tensor) -> Tensor:
            backend = tensor.backend
            if order is None:
                return wrap(tensor.data[start:stop], backend)
            return wrap(backend.launch("take", tensor.data, order[start:stop], axis=0), backend)

        x, y, weight = (map_structure(rows, part) for part in self[:3])
        return Batch(x, y, weight, self.size, self.unchecked)


# What can be closed before its end, as loops do that stop early.
Batches = Generator[Batch, None, None]


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
