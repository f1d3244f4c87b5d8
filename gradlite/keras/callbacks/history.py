"""History: the logs of every epoch, which fit returns."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.keras.callbacks.base import Callback, Logs


class History(Callback):
    """``.history`` maps each log to its values by epoch, as Python floats; ``.epoch`` lists the epochs.

    >>> from gradlite.keras.callbacks import History
    >>> history = History()
    >>> history.on_train_begin()
    >>> history.on_epoch_end(0, {"loss": 0.5})
    >>> history.history
    {'loss': [0.5]}
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.history = {}
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(_plain(value))


def _plain(value: Any) -> Any:
    """A number read from NumPy as Python's own, so that a history can be printed and written as JSON."""
    if isinstance(value, (np.generic, np.ndarray)) and np.ndim(value) == 0:
        return value.item()
    return value
