"""ModelCheckpoint: save the model as training goes, every time or only the best."""

from __future__ import annotations

import os
from typing import Any

from gradlite.keras.callbacks.base import Logs
from gradlite.keras.callbacks.monitor import MonitorCallback

_WEIGHTS_SUFFIXES = (".weights.h5", ".weights.npz")


class ModelCheckpoint(MonitorCallback):
    """Save the model to ``filepath`` after every epoch, or after every ``save_freq`` batches.

    Args:
        filepath: ends in `.keras`, or in `.weights.h5` or `.weights.npz` with ``save_weights_only``. May hold
            ``{epoch}`` (counted from 1), ``{batch}`` (with a numeric save_freq) and any log: ``{val_loss:.2f}``.
        monitor: the log that says which model is best.
        verbose: 1 says what was saved and why.
        save_best_only: save only when ``monitor`` got better.
        save_weights_only: save ``model.save_weights`` instead of ``model.save``.
        mode: "min", "max" or "auto".
        save_freq: "epoch" or a number of batches; the latter makes logs be read after every batch.
        initial_value_threshold: the value that the first best model must beat.

    >>> from gradlite.keras.callbacks import ModelCheckpoint
    >>> ModelCheckpoint("best.keras", save_best_only=True).monitor
    'val_loss'
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, best=initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        if save_freq != "epoch" and (not isinstance(save_freq, int) or isinstance(save_freq, bool) or save_freq < 1):
            raise ValueError(
                f"Unrecognized save_freq: {save_freq}. Expected save_freq are 'epoch' or integer values above 0."
            )
        self.save_freq = save_freq
        self._check_suffix()
        self._epoch = 0
        self._batches_since_save = 0
        self._last_batch = -1
        if isinstance(save_freq, int):
            # Only now: a batch hook on the class would make every checkpoint slow down every batch.
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]

    def _check_suffix(self) -> None:
        if self.save_weights_only:
            if not self.filepath.endswith(_WEIGHTS_SUFFIXES):
                raise ValueError(
                    "When using `save_weights_only=True` in `ModelCheckpoint`, the filepath provided must end in "
                    f"`.weights.h5` or `.weights.npz`. Received: filepath={self.filepath}"
                )
        elif not self.filepath.endswith(".keras"):
            raise ValueError(
                f"The filepath provided must end in `.keras` (Keras model format). Received: filepath={self.filepath}"
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def _after_batch(self, batch: int, logs: Logs | None = None) -> None:
        # Several batches may pass between two calls, and batch numbers start again with every epoch.
        self._batches_since_save += batch - self._last_batch if batch > self._last_batch else batch + 1
        self._last_batch = batch
        assert isinstance(self.save_freq, int)
        if self._batches_since_save >= self.save_freq:
            self._batches_since_save = 0
            self._save(self._epoch, batch, logs or {})

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        filepath = self._path(epoch, batch, logs)
        if not self.save_best_only:
            self._say(epoch, f"saving model to {filepath}")
            self._write(epoch, filepath)
            return
        current = self._monitored(logs, "ModelCheckpoint can save the best model only with metric")
        if current is None:
            return
        best = "None" if self.best is None else f"{self.best:.5f}"
        if self._is_improvement(current, self.best):
            self._say(epoch, f"{self.monitor} improved from {best} to {current:.5f}, saving model to {filepath}")
            self.best = current
            self._write(epoch, filepath)
        else:
            self._say(epoch, f"{self.monitor} did not improve from {best}")

    def _say(self, epoch: int, message: str) -> None:
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1}: {message}")

    def _write(self, epoch: int, filepath: str) -> None:
        if os.path.isdir(filepath):
            raise OSError(f"ModelCheckpoint needs the name of a file, and {filepath} is a directory.")
        os.makedirs(os.path.dirname(filepath) or ".", exist_ok=True)
        save = self.model.save_weights if self.save_weights_only else self.model.save
        save(filepath, overwrite=True)
        self._say(epoch, f"finished saving model to {filepath}")

    def _path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        known: dict[str, Any] = {"epoch": epoch + 1, **logs}
        if batch is not None:
            known["batch"] = batch + 1
        try:
            return self.filepath.format(**known)
        except KeyError as error:
            raise KeyError(
                f'Failed to format this callback filepath: "{self.filepath}". There is no {error}. '
                f"Available names are: {', '.join(known)}"
            ) from None
