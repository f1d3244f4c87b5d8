"""Staging: buffers that data of the host passes through on its way into steps, while other steps run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Staging:
    """Places for a few batches, each used again and again: one thread fills them, another computes with what is there.

    A place is filled, shown to the steps by ``ready``, and may be filled again after ``release``. On the CPU the arrays
    are plain copies: whoever gave them may overwrite his own.

    Args:
        places: how many batches there are room for.
    """

    def __init__(self, places: int) -> None:
        self._buffers: list[list[np.ndarray]] = [[] for _ in range(places)]

    def fill(self, place: int, arrays: Sequence[np.ndarray]) -> tuple[list[Any], list[np.ndarray]]:
        """Copy arrays into a place: as arrays of the device, and as what the host still sees of them there."""
        held = self._buffers[place]
        if [(a.shape, a.dtype) for a in held] != [(a.shape, a.dtype) for a in arrays]:
            held = self._buffers[place] = [np.empty(a.shape, a.dtype) for a in arrays]
        for target, array in zip(held, arrays):
            target[...] = array
        return list(held), held

    def ready(self, place: int) -> None:
        """What is launched from now on finds the values."""

    def release(self, place: int) -> None:
        """What was launched so far was the last to read them."""

    def close(self) -> None:
        """No place is used any more."""
