"""Rows: arrays that recorded programs read samples of, which may be others from one replay to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlite.backends.base import Backend


class Rows:
    """Arrays of samples, and the order that they are read in: what the kernel ``select_rows`` finds its rows by.

    A program holds this object instead of the arrays. Other arrays, with rows of the same shapes and types, can take
    the place of these between two replays, and a program that nobody uses keeps no data alive.

    Args:
        backend: where the arrays are.
        arrays: each (n, ...).
        order: (n,) int64, the numbers of the samples in the order in which they come; None: as they are.
    """

    def __init__(self, backend: Backend, arrays: Sequence[Any] = (), order: Any = None) -> None:
        self.backend = backend
        self.arrays: tuple[Any, ...] = ()
        self.order: Any = None
        if arrays:
            self.point_to(arrays, order)

    def point_to(self, arrays: Sequence[Any], order: Any = None) -> None:
        """Read rows of these arrays from now on."""
        self.arrays, self.order = tuple(arrays), order

    def clear(self) -> None:
        """Hold nothing; rows can be read again after the next ``point_to``."""
        self.arrays, self.order = (), None
