"""Outputs: what a model predicts batch by batch, brought to the host while the next batches are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite.backends.reading import Reading
from gradlite.training.structure import map_structure

# So many batches may be on their way, each in memory that is set apart for it.
ON_THE_WAY = 4


class Outputs:
    """Collects the outputs of batches.

    Args:
        reported: whether ``logs`` is going to be asked for those since it was asked last.
    """

    def __init__(self, reported: bool = False) -> None:
        self._pending: deque[tuple[Reading, Any]] = deque()
        self._parts: list[Any] = []
        self._reported = 0 if reported else None

    def add(self, reading: Reading, structure: Any) -> None:
        """The arrays of one batch, in the structure of the model's outputs."""
        self._pending.append((reading, structure))
        self._collect(ON_THE_WAY)

    def logs(self) -> dict[str, Any]:
        """What callbacks are told: the outputs of the steps since the last time."""
        self._collect(0)
        assert self._reported is not None
        new, self._reported = self._parts[self._reported :], len(self._parts)
        return {"outputs": joined(new)}

    def joined(self) -> Any:
        """The outputs of all samples."""
        self._collect(0)
        return joined(self._parts)

    def _collect(self, most: int) -> None:
        while len(self._pending) > most:
            reading, structure = self._pending.popleft()
            self._parts.append(_structured(reading.values(), structure))


def _structured(arrays: Sequence[Any], structure: Any) -> Any:
    remaining = iter(arrays)
    return map_structure(lambda _: next(remaining), structure)


def joined(parts: Sequence[Any]) -> Any:
    """The outputs of all batches, in one array for each output."""
    first = parts[0]
    if isinstance(first, dict):
        return {key: joined([part[key] for part in parts]) for key in first}
    if isinstance(first, (list, tuple)):
        return [joined([part[i] for part in parts]) for i in range(len(first))]
    return first if len(parts) == 1 else np.concatenate(parts)
