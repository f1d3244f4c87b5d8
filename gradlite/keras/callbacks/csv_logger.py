"""CSVLogger: a row per epoch in a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from gradlite.keras.callbacks.base import Callback, Logs


class CSVLogger(Callback):
    """Write the logs of every epoch to a CSV file, with columns ``epoch`` and then the logs in alphabetical order.

    Args:
        filename: the file; its directory must exist.
        separator: between fields.
        append: keep what an existing file holds, and its columns.

    A log that appears later (as with ``validation_freq=2``) gets a column of its own; where a log is missing the
    field is ``NA``.

    >>> from gradlite.keras.callbacks import CSVLogger
    >>> CSVLogger("training.csv", append=True).separator
    ','
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = append
        self.keys: list[str] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        header: list[str] = []
        if self.append and os.path.exists(self.filename):
            with open(self.filename, newline="") as file:
                header = next(csv.reader(file, delimiter=self.separator), [])
        self.keys = header[1:]
        if not header:
            # Fails here, not after the first epoch, if the file cannot be written.
            open(self.filename, "w").close()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        missing = sorted(name for name in logs if name not in self.keys)
        if missing:
            self._widen(missing)
        with open(self.filename, "a", newline="") as file:
            row = [epoch] + [_field(logs[name]) if name in logs else "NA" for name in self.keys]
            csv.writer(file, delimiter=self.separator, lineterminator="\n").writerow(row)

    def _widen(self, names: list[str]) -> None:
        """Write the file anew with further columns, ``NA`` in the rows there are."""
        with open(self.filename, newline="") as file:
            rows = list(csv.reader(file, delimiter=self.separator))[1:]
        # Alphabetical only while nothing is written: a column that moved would surprise whoever reads along.
        self.keys = self.keys + names
        temporary = f"{self.filename}.part"
        with open(temporary, "w", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator, lineterminator="\n")
            writer.writerow(["epoch", *self.keys])
            writer.writerows(row + ["NA"] * (1 + len(self.keys) - len(row)) for row in rows)
        os.replace(temporary, self.filename)


def _field(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)) and np.ndim(value) == 0:
        return value.item()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"[{', '.join(map(str, value))}]"
    return value
