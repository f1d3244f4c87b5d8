"""Reading: values on their way from a device to the host."""

from __future__ import annotations

import numpy as np


class Reading:
    """Copies of arrays that were asked for; on the CPU they are there at once."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self._arrays = arrays

    @property
    def done(self) -> bool:
        """Whether the values have arrived."""
        return True

    def values(self) -> list[np.ndarray]:
        """The values, waited for where they are not there yet."""
        return self._arrays


class Mark:
    """A place in the work of a device; on the CPU all work before it is done."""

    @property
    def done(self) -> bool:
        """Whether the device has come here."""
        return True

    def synchronize(self) -> None:
        """Wait until the device has come here."""
